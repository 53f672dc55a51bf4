"""``data.yaml``: the names of YOLO's class ids, and the folders or lists of each split."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hematovision.data.folders import find_split
from hematovision.data.lookup import Lookup
from hematovision.data.samples import Split
from hematovision.data.texts import read_text
from hematovision.errors import AnnotationError
from hematovision.extras import require

__all__ = ["DataYaml", "find_data_yaml", "read_data_yaml"]

_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_KEYS: Mapping[str, Split] = {"train": "train", "val": "valid", "valid": "valid", "test": "test"}
_MAX_BYTES = 2**20
_MOST_CLASSES = 10_000
_SWAPPABLE = 2  # images/train and train/images


@dataclass(frozen=True)
class DataYaml:
    """What a ``data.yaml`` says.

    Parameters
    ----------
    file : Path
        The file itself.
    source : Path
        The folder to import.
    names : tuple of str
        The names of the ids 0, 1, 2, ...; empty where it gives none.
    folders : mapping of Path to Split
        Folders of images inside SOURCE.
    lists : Lookup of Split
        The split of each image that a text file of a split lists.
    problems : tuple of str
        Splits whose images are not where it says.
    """

    file: Path
    source: Path
    names: tuple[str, ...]
    folders: Mapping[Path, Split]
    lists: Lookup[Split]
    problems: tuple[str, ...]

    def split(self, image: Path) -> Split | None:
        """Return the split of an image: that of a list, or of the innermost folder around it."""
        listed = self.lists.find(image.relative_to(self.source).as_posix())
        if len(listed) == 1:
            return listed[0]
        return next((self.folders[f] for f in image.parents if f in self.folders), None)


def find_data_yaml(source: Path) -> Path | None:
    """Return the ``data.yaml`` of a folder, under any of its usual names."""
    usual = next((file for name in _FILES if (file := source / name).is_file()), None)
    if usual is not None:
        return usual
    others = sorted([*source.glob("*.yaml"), *source.glob("*.yml")])
    return others[0] if len(others) == 1 else None


def read_data_yaml(file: Path, source: Path) -> DataYaml:
    """Read a ``data.yaml``.

    Parameters
    ----------
    file : Path
        The file.
    source : Path
        The folder to import. Nothing outside it is looked at, wherever the file points: paths of
        another machine, and Roboflow's ``../train/images``, are looked for inside it.

    Raises
    ------
    AnnotationError
        If it is no such file.
    MissingExtraError
        If PyYAML is not installed.
    """
    value = _load(file)
    names = _names(file, value["names"]) if "names" in value else ()
    folders: dict[Path, Split] = {}
    entries: list[tuple[str, Split]] = []
    problems: list[str] = []
    root = value.get("path")
    base = root if isinstance(root, str) else ""
    for key, split in _KEYS.items():
        for given in _paths(value.get(key)):
            found = _inside(source, file.parent, base, given, split)
            if found is None:
                problems.append(
                    f"{file}: {key}: {given[:200]!r} is not in {source}; this entry was skipped"
                )
            elif found.is_file():
                entries += ((line, split) for line in _lines(found))
            elif folders.setdefault(found, split) != split:
                problems.append(
                    f"{file}: {key} and {_key(folders[found])} are the same folder {found}; its "
                    f"images were taken for {folders[found]}"
                )
    return DataYaml(file, source, names, folders, Lookup(entries), tuple(problems))


def _key(split: Split) -> str:
    return next(key for key, value in _KEYS.items() if value == split)


def _load(file: Path) -> Mapping[str, Any]:
    require("data.yaml")
    import yaml

    text = read_text(file, _MAX_BYTES).content
    try:
        # Aliases let a kilobyte stand for gigabytes once it is walked; box files need none.
        if any(isinstance(token, yaml.AliasToken | yaml.AnchorToken) for token in yaml.scan(text)):
            raise AnnotationError(
                f"{file}: anchors and aliases (& and *) are not accepted in it. Write the values "
                "out, or give the names with --names and remove the file."
            )
        value = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise AnnotationError(
            f"{file}{_problem(error)}. Correct it, or give the names with --names and remove the "
            "file."
        ) from error
    return value if isinstance(value, dict) else {}


def _problem(error: Exception) -> str:
    """Say what is wrong with a YAML file, and in which line."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    line = "" if mark is None else f", line {mark.line + 1}"
    return f"{line}: not valid YAML: {' '.join(problem.split())[:300]}"


def _names(file: Path, value: object) -> tuple[str, ...]:
    """Return the names of the ids: a list, or a mapping from 0, 1, 2, ... to names."""
    items: list[object] = []
    if isinstance(value, list):
        items = value
    elif isinstance(value, dict) and set(map(str, value)) == set(map(str, range(len(value)))):
        by_id = {str(key): name for key, name in value.items()}
        items = [by_id[str(i)] for i in range(len(by_id))]
    usable = [str(item).strip() for item in items if _is_name(item)]
    if not items or len(usable) != len(items) or len(items) > _MOST_CLASSES:
        raise AnnotationError(
            f"{file}: cannot understand `names:`. Expected names: [WBC, RBC, Platelets]. Write it "
            "so, or give the names with --names."
        )
    return tuple(usable)


def _is_name(value: object) -> bool:
    # YAML takes yes, no, on and off for truth values: as names they must be quoted.
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""


def _paths(value: object) -> Iterator[str]:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str) and item.strip():
            yield item.strip()


def _lines(file: Path) -> list[str]:
    lines = (line.strip() for line in read_text(file).content.splitlines())
    return [line for line in lines if line]


def _inside(source: Path, folder: Path, base: str, given: str, split: Split) -> Path | None:
    """Find what a path in ``data.yaml`` means; None if there is no such place inside `source`.

    The end of a path of another machine is looked for too, and its folders the other way round:
    ``/content/bccd/train/images`` may be ``images/train`` here. An end without the folder that is
    called like the split would be the images of all splits, and does not count. Links inside
    `source` count as inside: whoever made them wanted them followed.
    """
    given = given.replace("\\", "/")
    parts = [part for part in PurePosixPath(given).parts if part not in ("..", ".", "/")]
    candidates = [folder / base / given, folder / given]
    ends = [parts[start:] for start in range(len(parts))]
    if split in map(find_split, parts):
        ends = [end for end in ends if split in map(find_split, end)]
    candidates += [folder.joinpath(*end) for end in ends]
    candidates += [folder.joinpath(*reversed(end)) for end in ends if len(end) == _SWAPPABLE]
    for candidate in candidates:
        found = Path(os.path.normpath(candidate))
        try:
            if found.is_relative_to(source) and found != source and found.exists():
                return found
        except (OSError, ValueError):  # a name that no file can have
            continue
    return None
