"""Asking a HematoVision service from Python, with nothing but the core installed.

>>> from hematovision.client import Client
>>> client = Client("http://127.0.0.1:8000")  # doctest: +SKIP
>>> for prediction in client.classify(["a.jpg", "b.jpg"]):  # doctest: +SKIP
...     print(prediction.path, prediction.label, prediction.decision)
"""

from __future__ import annotations

from hematovision.client.answers import KINDS, ServedModel
from hematovision.client.asking import Client

__all__ = ["KINDS", "Client", "ServedModel"]
