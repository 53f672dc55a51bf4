"""``python -m website``: build the documentation site."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from website.building import SiteError, build
from website.sources import BrokenLinkError

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Build the site into a folder; print what is wrong, and exit with code 1, if it is broken."""
    parser = argparse.ArgumentParser(prog="python -m website", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="folder to write")
    options = parser.parse_args()
    try:
        pages = build(ROOT, options.out)
    except (SiteError, BrokenLinkError) as error:
        sys.exit(str(error))
    sys.stdout.write(f"{pages} pages in {options.out}; no warnings, no broken links\n")
    sys.stdout.write(f"See them: python -m http.server -b 127.0.0.1 -d {options.out}\n")
    if not (options.out / "demo" / "assets.js").is_file():
        sys.stdout.write("The demo in the browser has no models: run `make browser-demo` first.\n")


if __name__ == "__main__":
    main()
