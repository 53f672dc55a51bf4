"""How many altered copies the near-duplicate search finds, and how many cells it confuses.

    python benchmarks/near_duplicates.py FOLDER_OF_REAL_IMAGES [--copies 1000] [--pairs FOLDER]

Prints, in Markdown: the share of synthetic copies found (any of the eight views, each side cropped
by 0-5%, JPEG quality 60-90, brightness by up to 7%), what the hashes alone would find, the pairs
found among different files, and the pairs of `txl/pbc` with `pbc` that `txl/index.csv` names.
`--pairs` writes the pairs found among different files as images, for inspection.
"""

from __future__ import annotations

import argparse
import csv
import io
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hematovision import images
from hematovision.data.duplicates import (
    MAX_HASH_DISTANCE,
    Fingerprint,
    Fingerprints,
    fingerprint,
    fingerprint_all,
    near_duplicates,
)
from hematovision.data.importing import import_dataset

Named = dict[str, list[Path]]
CROPS = (0.0, 0.02, 0.035, 0.05)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--copies", type=int, default=1000)
    parser.add_argument("--pairs", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sets, fields = collect(arguments.data, Path(folder))
        report_copies(sets, arguments.copies)
        report_different(sets, fields, arguments.pairs)
    report_known(arguments.data)


def collect(data: Path, work: Path) -> tuple[Named, dict[Path, str]]:
    """List the images by kind, and the field that each comes from."""
    sets: Named = {"pbc": sorted((data / "pbc").rglob("*.jpg"))}
    fields = {path: path.name for path in sets["pbc"]}
    import_dataset(data / "bccd", work / "bccd", format="voc", lab="bccd")
    with (work / "bccd" / "cells.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            path = work / "bccd" / row["file"]
            sets.setdefault(f"bccd {row['class']}", []).append(path)
            fields[path] = row["field"]
    return sets, fields


def altered(
    image: NDArray[np.uint8], generator: np.random.Generator, crop: float
) -> NDArray[np.uint8]:
    """Crop each side by up to `crop` of the image, turn, brighten and compress it."""
    height, width = image.shape[:2]
    top, bottom, left, right = generator.uniform(0, crop, 4)
    image = image[
        round(top * height) : height - round(bottom * height),
        round(left * width) : width - round(right * width),
    ]
    image = images.view(image, int(generator.integers(8)))
    light = image * generator.uniform(0.93, 1.07) + generator.uniform(-5, 5)
    buffer = io.BytesIO()
    compressed = Image.fromarray(np.clip(light, 0, 255).astype(np.uint8))
    compressed.save(buffer, "JPEG", quality=int(generator.integers(60, 91)))
    return images.read(buffer.getvalue())


def report_copies(sets: Named, count: int) -> None:
    """Print how many altered copies are found, by kind and crop."""
    print("| images | crop of each side, up to | copies | hash close | found |")
    print("|---|---|---|---|---|")
    generator = np.random.default_rng(0)
    for kind, paths in sets.items():
        chosen = [paths[i] for i in generator.permutation(len(paths))[:count]]
        originals = [images.read(path) for path in chosen]
        for crop in CROPS:
            copies = [altered(image, generator, crop) for image in originals]
            prints = stack([fingerprint(image) for image in [*originals, *copies]])
            half = len(originals)
            distance = np.bitwise_count(prints.hashes[:half, :1] ^ prints.hashes[half:]).min(1)
            found = {(pair.first, pair.second) for pair in near_duplicates(prints)}
            hits = sum((row, row + half) in found for row in range(half))
            print(
                f"| {kind} | {crop:.1%} | {half} | {(distance <= MAX_HASH_DISTANCE).mean():.2%} "
                f"| {hits / half:.2%} |"
            )


def stack(prints: Iterable[Fingerprint]) -> Fingerprints:
    """Stack fingerprints of images that are in memory."""
    rows = list(prints)
    return Fingerprints(
        np.arange(len(rows)),
        tuple(row.pixels_sha256 for row in rows),
        np.stack([row.hashes for row in rows]),
        np.stack([row.thumbnail for row in rows]),
    )


def report_different(sets: Named, fields: dict[Path, str], pair_folder: Path | None) -> None:
    """Print which pairs of different files are found, by kind."""
    print(
        "\n| images | files | pairs of different fields | found | hash close | read s | search s |"
    )
    print("|---|---|---|---|---|---|---|")
    for kind, paths in sets.items():
        began = time.perf_counter()
        prints = fingerprint_all(paths)
        read = time.perf_counter() - began
        pairs = near_duplicates(prints)
        search = time.perf_counter() - began - read
        names = np.array([fields[path] for path in paths])
        other = [pair for pair in pairs if names[pair.first] != names[pair.second]]
        counts = np.unique(names, return_counts=True)[1]
        total = len(paths) * (len(paths) - 1) // 2 - int((counts * (counts - 1) // 2).sum())
        close = hash_share(prints.hashes)
        print(
            f"| {kind} | {len(paths)} | {total:,} | {len(other)} | {close:.2%} | {read:.1f} "
            f"| {search:.1f} |"
        )
        if pair_folder:
            for number, pair in enumerate(other):
                first, second = images.read(paths[pair.first]), images.read(paths[pair.second])
                both = [images.fit(first, 200), images.view(images.fit(second, 200), pair.view)]
                name = f"{kind}-{number:03d}-{pair.correlation:.3f}-{pair.detail:.3f}.png"
                images.write(pair_folder / name, np.hstack(both))
                print(f"  {name}: {names[pair.first]} {names[pair.second]}")


def hash_share(hashes: NDArray[np.uint64], sample: int = 2000) -> float:
    """Return the share of pairs whose hashes alone would call them near duplicates."""
    some = hashes[np.random.default_rng(0).permutation(len(hashes))[:sample]]
    close = np.bitwise_count(some[:, None, :1] ^ some[None]).min(2) <= MAX_HASH_DISTANCE
    return float(close[np.triu_indices(len(some), 1)].mean())


def report_known(data: Path) -> None:
    """Print how many of the known pairs of txl/pbc and pbc are found."""
    with (data / "txl" / "index.csv").open(newline="") as stream:
        twins = {row["image"]: row["pbc_file"] for row in csv.DictReader(stream)}
    pbc = {path.name: path for path in sorted((data / "pbc").rglob("*.jpg"))}
    known = {image: name for image, name in twins.items() if name in pbc}
    paths = [data / "txl" / "pbc" / "images" / image for image in known] + list(pbc.values())
    prints = fingerprint_all(paths)
    found = {
        (paths[pair.first].name, paths[pair.second].name): pair for pair in near_duplicates(prints)
    }
    hits = [image for image, name in known.items() if (image, name) in found]
    val = [image for image, name in known.items() if pbc[name].parts[-3] == "val"]
    print(f"\ntxl/pbc images whose PBC file is in pbc: {len(known)}, found {len(hits)};")
    print(f"of these in pbc/val: {len(val)}, found {len(set(val) & set(hits))}.")
    other = [pair for pair in found if known.get(pair[0]) != pair[1]]
    print(f"Other pairs found among these {len(paths)} files: {len(other)} {other[:5]}")


if __name__ == "__main__":
    main()
