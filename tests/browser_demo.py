"""The demo in the browser, served on loopback, and the analysis in it called from Python."""

import base64
import functools
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

TYPES = {".js": "text/javascript", ".wasm": "application/wasm"}

_OPEN = """async () => {
  const load = (name) => import(new URL(`analysis/${name}.js`, location.href).href);
  const names = ["bundles", "session", "decoding"];
  const [bundles, session, decoding] = await Promise.all(names.map(load));
  const read = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());
  session.useRuntime(await read("vendor/ort-wasm-simd-threaded.wasm"));
  const analyzer = await bundles.openAnalyzer((name) => read(`models/${name}`));
  window.analyzeBytes = async (bytes, name) => {
    const pixels = await decoding.decoded(new Blob([bytes]));
    return analyzer.analyze(pixels, name, () => {});
  };
}"""

_ANALYZE = """async ([content, name]) => {
  const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
  return analyzeBytes(bytes, name);
}"""


class _Handler(http.server.SimpleHTTPRequestHandler):
    def guess_type(self, path: Any) -> str:
        return TYPES.get(Path(path).suffix) or super().guess_type(path)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback, and yield its address."""
    handler = functools.partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def open_analysis(page: Page, address: str) -> None:
    """Open the models in a page without the demo's own, so that only the analysis runs."""
    page.goto(f"{address}licences.txt")
    page.evaluate(_OPEN)


def analyze(page: Page, image: bytes, name: str) -> dict[str, Any]:
    """Analyse an image file in the browser: its field, and its cells by column."""
    found: dict[str, Any] = page.evaluate(_ANALYZE, [base64.b64encode(image).decode(), name])
    return found


def call(page: Page, module: str, expression: str, *values: Any) -> Any:
    """Evaluate an expression with a module as `m` and values as `v`; both ways, bytes are bytes."""
    text = page.evaluate(
        f"""async (text) => {{
          const m = await import(new URL("analysis/{module}.js", location.href).href);
          const v = JSON.parse(text, (_, value) => value?.bytes === undefined ? value
            : Uint8Array.from(atob(value.bytes), (character) => character.charCodeAt(0)));
          const packed = (_, value) => {{
            if (!(value instanceof Uint8Array)) return value;
            let binary = "";
            for (const byte of value) binary += String.fromCharCode(byte);
            return {{ bytes: btoa(binary) }};
          }};
          return JSON.stringify({expression}, packed);
        }}""",
        json.dumps(values, default=lambda content: {"bytes": base64.b64encode(content).decode()}),
    )
    return json.loads(text, object_hook=_unpacked)


def _unpacked(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["bytes"]) if set(value) == {"bytes"} else value
