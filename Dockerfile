# The HTTP server in a container: the core and the extra `serve`, pinned by hash, as an unprivileged user.
#
#   docker build -t hematovision .
#   docker run --rm --init --read-only --cap-drop ALL -p 127.0.0.1:8000:8000 hematovision
#
# More in docs/server.md. tests/test_container.py runs these lines without Docker.

FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv --without-pip /venv
COPY requirements/serve.txt requirements/build.txt requirements/
RUN pip --python /venv/bin/python install --no-cache-dir --require-hashes -r requirements/serve.txt
RUN pip install --no-cache-dir --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN python -m build --wheel --no-isolation --outdir dist .
RUN pip --python /venv/bin/python install --no-cache-dir --no-deps dist/*.whl

FROM python:3.13-slim
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that a cluster can see that it is not root. Nothing is written, not even to a home.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/v2/health/ready'); raise SystemExit(c.getresponse().status != 200)"]
# Without a shell, so that SIGTERM reaches the server, which finishes pending requests and exits.
CMD ["hematovision", "serve", "--address", "0.0.0.0", "--port", "8000"]
