"""Speed of filling the feature cache, compared with `classify` on the same files.

    python -m benchmarks.features --data DATA [--images 2000] [--rounds 5] [--json FILE] [--fill]

The images are cells of BCCD's fields, cut out as `hematovision data import` does. In one process,
in turn, each --rounds times:

- `Classifier.stream`, which is what `classify` runs: the yardstick;
- `training.features.extract` with an empty cache, one view of each image;
- the same with four views of each of a quarter of the images, which are decoded once for all four;
- `extract` once more with the cache that is full now.

Rates are rows a second, and each is also given as a share of the yardstick's in the same round;
medians. Run nothing else at the same time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from benchmarks.machine import describe, markdown_table
from benchmarks.options import images_option, parse, publish, results_options
from hematovision.data.importing import import_dataset
from hematovision.images import find_images
from hematovision.model.backbone import Backbone
from hematovision.model.classifier import Classifier
from hematovision.model.registry import DEFAULT_MODEL
from hematovision.model.weights import bundled_weights
from hematovision.training.feature_cache import FeatureCache
from hematovision.training.features import View, extract

NAME = "features"
VIEWS = 4
WAYS = {
    "stream": "`Classifier.stream`",
    "empty": "features, empty cache",
    "views": f"features, empty cache, {VIEWS} views of each image",
    "full": "features, full cache",
}


def main() -> None:
    """Measure, print a table, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    images_option(parser)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    results_options(parser)
    args = parse(parser)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        import_dataset(args.data / "bccd", work / "bccd", format="voc")
        files = find_images([work / "bccd"])
        order = np.random.default_rng(0).permutation(len(files))[: args.images]
        rates = measure([files[i] for i in order], work, args.rounds)
    rows = [row(way, rates) for way in WAYS]
    text = markdown_table(["step", "rows/s", "relative to `Classifier.stream`"], rows)
    text += f"\n\n{describe()}. {args.images} images, {args.rounds} rounds in turn; medians."
    print(text)
    publish(args, NAME, text, {"images": args.images, "rates": rates})


def measure(files: Sequence[Path], work: Path, rounds: int) -> dict[str, list[float]]:
    """Run everything in turn; each way's rates, one for each round."""
    classifier, backbone = Classifier.load(DEFAULT_MODEL), Backbone(bundled_weights())
    once = [View(path) for path in files]
    several = [View(path, view) for path in files[::VIEWS] for view in range(VIEWS)]
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in classifier.stream(files[:64]):
        pass  # The first images are slower, whoever runs them.
    for number in range(rounds):
        rates["stream"].append(rate(len(files), lambda: list(classifier.stream(files))))
        for way, views in (("empty", once), ("full", once), ("views", several)):
            folder = work / f"{number}-{'views' if way == 'views' else 'once'}"
            with closing(FeatureCache(backbone.sha256, folder)) as cache:
                looking = bound(views, backbone, cache)
                rates[way].append(rate(len(views), looking))
    return rates


def bound(views: Sequence[View], backbone: Backbone, cache: FeatureCache) -> Callable[[], object]:
    """Return a call of `extract`."""
    return lambda: extract(views, backbone, cache)


def rate(n: int, work: Callable[[], object]) -> float:
    """Return how many of `n` a second `work` does."""
    began = time.perf_counter()
    work()
    return n / (time.perf_counter() - began)


def row(way: str, rates: dict[str, list[float]]) -> list[str]:
    """Return a row of the table."""
    shares = [mine / its for mine, its in zip(rates[way], rates["stream"], strict=True)]
    return [
        WAYS[way],
        f"{statistics.median(rates[way]):.0f}",
        f"{100 * statistics.median(shares):.0f}%",
    ]


if __name__ == "__main__":
    main()
