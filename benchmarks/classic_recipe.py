"""The classic recipe as people write it: what `benchmarks/training.py` compares with `train`.

    python benchmarks/classic_recipe.py CROPS --weights FILE --out FOLDER [--epochs N]
                                        [--patience N]

Every epoch reads, decodes and resizes every image and runs it through the frozen backbone. Uses
nothing of HematoVision. ``FOLDER/figures.json`` gets the test accuracy, the validation losses, and
the seconds of each epoch.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import tensorflow as tf
from sklearn.metrics import classification_report
from tensorflow.keras.applications import MobileNetV2
from tensorflow.keras.callbacks import EarlyStopping, LambdaCallback
from tensorflow.keras.layers import Dense, GlobalAveragePooling2D
from tensorflow.keras.models import Model
from tensorflow.keras.preprocessing.image import ImageDataGenerator


def main() -> None:
    """Train, evaluate, and write the figures and the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("crops", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="of MobileNetV2 without top")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--patience", type=int, help="stop early; by default it does not")
    args = parser.parse_args()
    args.out.mkdir(parents=True)
    tf.keras.utils.set_random_seed(0)

    generator = ImageDataGenerator(rescale=1 / 255)
    train, valid, test = (
        generator.flow_from_directory(
            args.crops / part,
            target_size=(224, 224),
            batch_size=32,
            class_mode="categorical",
            shuffle=part == "Train",
        )
        for part in ("Train", "Valid", "Test")
    )
    model = classic_model(train.num_classes, args.weights)
    began, ended = list[float](), list[float]()
    clock = LambdaCallback(
        on_epoch_begin=lambda *_: began.append(time.perf_counter()),
        on_epoch_end=lambda *_: ended.append(time.perf_counter()),
    )
    callbacks: list[Any] = [clock]
    if args.patience is not None:
        callbacks.append(EarlyStopping(patience=args.patience, restore_best_weights=True))
    history = model.fit(
        train, validation_data=valid, epochs=args.epochs, callbacks=callbacks, verbose=2
    )
    _, accuracy = model.evaluate(test, verbose=2)
    predicted = model.predict(test, verbose=2).argmax(axis=1)
    print(classification_report(test.classes, predicted, target_names=list(test.class_indices)))
    model.save(args.out / "model.h5")
    figures = {
        "accuracy": accuracy,
        "val_loss": history.history["val_loss"],
        "seconds": [end - begin for begin, end in zip(began, ended, strict=True)],
    }
    (args.out / "figures.json").write_text(json.dumps(figures), encoding="utf-8")


def classic_model(n_classes: int, weights: Path) -> Any:
    """Build the frozen MobileNetV2 with two dense layers on its averaged outputs."""
    backbone = MobileNetV2(input_shape=(224, 224, 3), include_top=False, weights=str(weights))
    backbone.trainable = False
    features = GlobalAveragePooling2D()(backbone.output)
    hidden = Dense(128, activation="relu")(features)
    model = Model(backbone.input, Dense(n_classes, activation="softmax")(hidden))
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    return model


if __name__ == "__main__":
    main()
