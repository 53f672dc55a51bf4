"""A server as in tutorials: Keras behind FastAPI, for comparison in `benchmarks.server`.

    KERAS_MODEL=model.keras uvicorn benchmarks.keras_server:app

One handler is written with ``async def``, as most are, the other without, so that FastAPI runs it
on a thread.
"""

from __future__ import annotations

import io
import os
from typing import Any

import keras
import numpy as np
from fastapi import FastAPI, UploadFile
from PIL import Image

app = FastAPI()
model = keras.models.load_model(os.environ["KERAS_MODEL"])
CLASSES = os.environ["KERAS_CLASSES"].split(",")


@app.post("/async")
async def on_the_loop(files: UploadFile) -> dict[str, Any]:
    """Classify one image."""
    return classify(await files.read())


@app.post("/thread")
def on_a_thread(files: UploadFile) -> dict[str, Any]:
    """Classify one image."""
    return classify(files.file.read())


def classify(content: bytes) -> dict[str, Any]:
    """Decode, resize, predict."""
    image = Image.open(io.BytesIO(content)).convert("RGB").resize((224, 224))
    x = np.asarray(image, np.float32)
    probabilities = model.predict(x[None], verbose=0)[0]
    return {
        "label": CLASSES[int(probabilities.argmax())],
        "probabilities": dict(zip(CLASSES, map(float, probabilities), strict=True)),
    }
