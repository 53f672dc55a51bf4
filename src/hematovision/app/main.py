"""The page, as Streamlit runs it: its parts, and what stands on every one of them."""

from __future__ import annotations

from hematovision.app import frame

frame.show()
