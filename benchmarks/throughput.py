"""The rate of `classify` compared with the limit of the machine, and with Keras.

    python -m benchmarks.throughput --data DATA [--images 20000] [--rounds 3] [--keras-rounds N]
                                    [--json FILE] [--fill]

One folder holds real JPEGs: the single cells of PBC (360 x 363 pixels) and the cells of BCCD's
fields, cropped as `hematovision data import` does (30 to 300 pixels); they are linked
under new names until there are enough. The following run alternately, --rounds times each:

- `hematovision classify FOLDER --out FILE.csv`, the whole process;
- `keras.utils.image_dataset_from_directory` and `model.predict` in batches of 32, a whole process,
  with the Keras model of the same bundle (which shrinks to 128 pixels within);
- the same with the classic recipe's network, MobileNetV2 at 224 pixels (untrained: as fast);
- a plain loop over ONNX Runtime, a whole process: Pillow, one image after the other, a default
  session, the self-contained ONNX file of the same bundle;
- decoding alone (`images.load`: read, decode, resize) and inference alone, each on as many threads
  as there are processors, in this process. The limit is 1 / (1 / decode + 1 / inference): where
  both need the same processors, nothing is faster with these two parts.

Rates are images per second: of the whole process, and without its start, which is the time that
the same command takes for a single image. Keras takes two thirds of the time of a round; with
--keras-rounds, it takes part in the first so many rounds only, and is compared with `classify` in
these. Needs the group ``dev``; run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from benchmarks.machine import describe, markdown_table, run_measured
from benchmarks.options import images_option, parse, publish, results_options
from hematovision import images
from hematovision.data.importing import import_dataset
from hematovision.model.bundle import ONNX, read_bundle
from hematovision.model.registry import DEFAULT_MODEL, find_model
from hematovision.model.session import Session, open_session, run_one, usable_cpus

NAME = "throughput"
PROGRAM = (sys.executable, "-m", "hematovision")
HELD = 512
"""So many fitted images are in memory for inference alone: 77 MB, more than any cache."""

KERAS = """
import sys, keras
folder, model = sys.argv[1:]
if model == "classic":
    backbone = keras.applications.MobileNetV2(
        input_shape=(224, 224, 3), include_top=False, pooling="avg", weights=None)
    model = keras.Sequential([
        keras.Input((224, 224, 3)), keras.layers.Rescaling(1 / 127.5, -1), backbone,
        keras.layers.Dense(128, activation="relu"), keras.layers.Dense(3, activation="softmax")])
else:
    model = keras.saving.load_model(model)
files = keras.utils.image_dataset_from_directory(
    folder, labels=None, image_size=(224, 224), batch_size=32, shuffle=False, verbose=False)
print(len(model.predict(files, verbose=0)))
"""

PLAIN = """
import sys, numpy, onnxruntime
from pathlib import Path
from PIL import Image
folder, model = sys.argv[1:]
session, predictions = onnxruntime.InferenceSession(model), []
for path in sorted(Path(folder).iterdir()):
    with Image.open(path) as image:
        pixels = numpy.asarray(image.convert("RGB").resize((224, 224)))
    predictions.append(session.run(["probabilities"], {"images": pixels[None]})[0])
print(len(predictions))
"""


class Rates(NamedTuple):
    """Images per second: of the whole process, and without its start; seconds of the start."""

    whole: float
    steady: float
    start: float


def main() -> None:
    """Measure, print a table, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    images_option(parser)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keras-rounds", type=int, metavar="N", help="by default all rounds")
    results_options(parser)
    args = parse(parser)
    keras_rounds = args.rounds if args.keras_rounds is None else args.keras_rounds
    if not 1 <= keras_rounds <= args.rounds:
        parser.error(f"--keras-rounds must be 1 to {args.rounds}; got {keras_rounds}.")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        folder = make_images(args.data, work, args.images)
        runs = measure(folder, work, args.rounds, keras_rounds)
    table = table_of(runs, args.images)
    print(table)
    rates = {what: [rate._asdict() for rate in found] for what, found in runs.items()}
    publish(args, NAME, table, {"images": args.images, "rates": rates})


def make_images(data: Path, work: Path, n: int) -> Path:
    """Link `n` real JPEGs, single cells and cells cut out of fields in turn, into a folder."""
    import_dataset(data / "bccd", work / "bccd", format="voc")
    fields = sorted((work / "bccd").rglob("*.png"))[:: max(1, 11_000 // n)]
    for path in fields:
        with Image.open(path) as image:
            image.save(path.with_suffix(".jpg"), quality=92)
    cells = sorted((data / "pbc").rglob("*.jpg"))[:: max(1, 13_000 // n)]
    both = zip(itertools.cycle(cells), itertools.cycle(fields), strict=False)
    chosen = itertools.chain.from_iterable((a, b.with_suffix(".jpg")) for a, b in both)
    folder, one = work / "images", work / "one"
    folder.mkdir()
    one.mkdir()
    for number, path in enumerate(itertools.islice(chosen, n)):
        (folder / f"{number:06d}.jpg").symlink_to(path.resolve())
    (one / "0.jpg").symlink_to(cells[0].resolve())
    return folder


def measure(folder: Path, work: Path, rounds: int, keras_rounds: int) -> dict[str, list[Rates]]:
    """Run everything in turn; each thing's rates, one for each round that it took part in."""
    keras, onnx = work / "model.keras", work / "model.onnx"
    for path in (keras, onnx):
        run_measured((*PROGRAM, "export", DEFAULT_MODEL, "--to", path.suffix[1:], "--out", path))
    scripts = {"by_keras.py": KERAS, "by_hand.py": PLAIN}
    for name, text in scripts.items():
        (work / name).write_text(text, encoding="utf-8")
    by_keras, by_hand = ((sys.executable, work / name) for name in scripts)
    files = sorted(folder.iterdir())
    # Before anything is decoded: having freed the model's bytes, glibc keeps large blocks instead
    # of giving each back to the system, in `classify` as here; decoding is twice as fast then.
    bundle = read_bundle(find_model(DEFAULT_MODEL))
    session = open_session(bundle.read(ONNX), bundle.external_weights())
    contenders: dict[str, Callable[[], Rates]] = {
        "classify": lambda: process(folder, lambda f: (*PROGRAM, "classify", f, *_out(work))),
        "decode": lambda: decoding(files),
        "inference": lambda: inference(session, files),
        "plain loop": lambda: process(folder, lambda f: (*by_hand, f, onnx)),
        "Keras, same bundle": lambda: process(folder, lambda f: (*by_keras, f, keras)),
        "Keras, MobileNetV2 at 224": lambda: process(folder, lambda f: (*by_keras, f, "classic")),
    }
    runs: dict[str, list[Rates]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, run in contenders.items():
            if name.startswith("Keras") and number >= keras_rounds:
                continue
            runs[name].append(run())
            print(f"round {number + 1}: {name}: {runs[name][-1]}", file=sys.stderr, flush=True)
    return runs


def _out(work: Path) -> tuple[object, ...]:
    return "--out", work / "predictions.csv"


def process(folder: Path, words: Callable[[Path], Sequence[object]]) -> Rates:
    """Time a command for one image and for the folder."""
    n = len(list(folder.iterdir()))
    start = run_measured(words(folder.with_name("one"))).seconds
    whole = run_measured(words(folder)).seconds
    return Rates(n / whole, (n - 1) / (whole - start), start)


def decoding(files: Sequence[Path]) -> Rates:
    """Time reading, decoding and resizing, on all processors."""
    return on_all_processors(lambda number: images.load(files[number]), len(files))


def inference(session: Session, files: Sequence[Path]) -> Rates:
    """Time the model on images that are in memory, on all processors."""
    held = [images.load(path)[None] for path in files[:HELD]]
    outputs = ("probabilities", "novelty")
    return on_all_processors(
        lambda number: run_one(session, outputs, held[number % len(held)]), len(files)
    )


def on_all_processors(work: Callable[[int], Any], n: int) -> Rates:
    """Time `work` on each of `n` numbers, dealt out to as many threads as there are processors."""
    threads = usable_cpus()

    def share(first: int) -> None:
        for number in range(first, n, threads):
            work(number)

    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        list(pool.map(share, range(threads)))
        seconds = time.perf_counter() - began
    return Rates(n / seconds, n / seconds, 0)


def table_of(runs: dict[str, list[Rates]], n: int) -> str:
    """Return the table: medians over the rounds, and what `classify` makes of them."""
    ours = runs["classify"]
    middle = {name: medians(found) for name, found in runs.items()}
    limit = 1 / sum(1 / middle[part].whole for part in ("decode", "inference"))
    middle["limit"] = Rates(limit, limit, 0)
    # `classify` in the rounds in which each of the others ran.
    compared = {name: medians(ours[: len(runs.get(name, ours))]) for name in middle}
    rows = [
        [
            name,
            f"{rates.whole:.0f}",
            f"{rates.steady:.0f}",
            f"{rates.start:.1f} s" if rates.start else "",
            f"{compared[name].whole / rates.whole:.2f}",
            f"{compared[name].steady / rates.steady:.2f}",
        ]
        for name, rates in middle.items()
    ]
    columns = [
        f"{n:,} JPEGs",
        "images/s",
        "after start-up",
        "start-up",
        "speed-up of classify",
        "after start-up",
    ]
    rounds, by_all = len(ours), min(map(len, runs.values()))
    note = f"Medians of {rounds} round{'s' if rounds > 1 else ''}"
    note += f"; Keras ran in the first {by_all}" if by_all < rounds else ""
    note += f". {describe()}."
    return f"{markdown_table(columns, rows)}\n\n{note}"


def medians(rounds: Sequence[Rates]) -> Rates:
    """Return the medians over rounds."""
    return Rates(*map(statistics.median, zip(*rounds, strict=True)))


if __name__ == "__main__":
    main()
