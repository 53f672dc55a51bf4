#!/bin/sh
# Compile requirements/*.txt from pyproject.toml: every package pinned, with hashes, for all platforms and
# Python versions at once, and without the address of an index.
#
#   make pins                      keep the pins that still fit, add what is new
#   make pins PINS=--upgrade       take the newest of everything
#   make pins PINS="-P pillow"     take the newest of one package
#
# It needs `uv` (0.9 or newer): on the path, or named by the variable UV.
set -eu
cd "$(dirname "$0")/.."
UV=${UV:-uv}
if ! command -v "$UV" >/dev/null 2>&1; then
    echo "compile-pins: needs the tool uv, and '$UV' was not found. Install it (pip install uv), or set UV=/path/to/uv." >&2
    exit 1
fi

compile() {
    output=$1
    shift
    "$UV" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-emit-find-links --no-annotate --no-header --no-strip-extras "$@" -o "requirements/$output"
}

# dev.txt is the superset; the others take its versions, so that all of them fit into one environment.
# shellcheck disable=SC2086
compile dev.txt pyproject.toml --all-extras --group dev --group build --group docs ${PINS:-}
compile app.txt pyproject.toml --extra train --extra app -c requirements/dev.txt
compile eval.txt pyproject.toml --extra eval -c requirements/dev.txt
compile formats.txt pyproject.toml --extra formats -c requirements/dev.txt
compile serve.txt pyproject.toml --extra serve -c requirements/dev.txt
compile scale.txt pyproject.toml --extra scale -c requirements/dev.txt
compile slides.txt pyproject.toml --extra slides -c requirements/dev.txt
compile train.txt pyproject.toml --extra train -c requirements/dev.txt
compile core.txt pyproject.toml -c requirements/dev.txt
compile docs.txt pyproject.toml --group docs -c requirements/dev.txt
compile build.txt --group build -c requirements/dev.txt
