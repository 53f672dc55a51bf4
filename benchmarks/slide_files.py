"""Synthetic slides with exact ground truth: tiled pyramids of any size, written tile by tile."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from hematovision.synthetic import render_field

PATCH = 1024
"""Default side of a rendered field in pixels; a slide is a mosaic of a few."""

TILE = 512
UM_PER_PX = 0.1
LABELS = {"rbc": "RBC", "platelet": "Platelets"}  # the rest are white cells
_HALO = 8  # pixels around a cell that is painted over
_STEP = 4  # downsample from level to level


@dataclass(frozen=True, eq=False)
class Patch:
    """A field whose cells are all whole."""

    image: NDArray[np.uint8]  # (side, side, 3)
    boxes: NDArray[np.float32]  # (n, 4)
    labels: tuple[str, ...]
    glass: tuple[int, int, int]  # colour of the background

    def on_glass(self, glass: tuple[int, int, int]) -> Patch:
        """Return the patch with another colour of the background."""
        gains = np.array(glass) / self.glass
        image = np.clip(np.rint(self.image * gains), 0, 255).astype(np.uint8)
        return replace(self, image=image, glass=glass)

    @cached_property
    def reduced(self) -> dict[int, NDArray[np.uint8]]:
        """The image by downsample."""
        return {1: self.image}

    def at(self, downsample: int) -> NDArray[np.uint8]:
        """Return the image scaled down."""
        if downsample not in self.reduced:
            size = max(1, len(self.image) // downsample)
            small = Image.fromarray(self.image).resize((size, size), Image.Resampling.BOX)
            self.reduced[downsample] = np.asarray(small)
        return self.reduced[downsample]


def render_patch(seed: int, lab: str = "synthetic-a", side: int = PATCH) -> Patch:
    """Render a field without the cells that its border cuts, and those that overlap them."""
    field = render_field(seed, (side, side), lab)
    masks = np.array([field.mask(index) for index in range(len(field.cells))])
    cut = np.array([cell.touches_border for cell in field.cells])
    while True:
        gone = masks[cut].any(axis=0)
        grown = cut | (masks & gone).any(axis=(1, 2))
        if (grown == cut).all():
            break
        cut = grown
    image = field.image.copy()
    painted = _dilate(gone) & ~_dilate(masks[~cut].any(axis=0))
    glass = field.image[~_dilate(field.labels > 0)]
    rng = np.random.default_rng(seed)
    image[painted] = glass[rng.integers(len(glass), size=int(painted.sum()))]
    kept = [cell for cell, is_cut in zip(field.cells, cut, strict=True) if not is_cut]
    boxes = np.array([cell.box for cell in kept], np.float32).reshape(-1, 4)
    labels = tuple(LABELS.get(cell.kind, "WBC") for cell in kept)
    return Patch(image, boxes, labels, tuple(np.median(glass, axis=0).astype(int).tolist()))


def _dilate(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    grown = mask
    for axis in (0, 1):
        shifted = [np.roll(grown, by, axis) for by in range(-_HALO, _HALO + 1)]
        grown = np.any(shifted, axis=0)
    return np.asarray(grown)


@dataclass(frozen=True, eq=False)
class Mosaic:
    """A slide of patches and empty glass."""

    side: int  # in pixels
    patches: tuple[Patch, ...]
    grid: NDArray[np.int64]  # (n, n): the patch of each place; -1 is glass

    @property
    def patch(self) -> int:
        """The side of a patch in pixels."""
        return len(self.patches[0].image)

    @property
    def truth(self) -> tuple[NDArray[np.float32], list[str]]:
        """The boxes (n, 4) of all cells in pixels of level 0, and their labels."""
        boxes, labels = [np.empty((0, 4), np.float32)], list[str]()
        for row, column in np.argwhere(self.grid >= 0):
            patch = self.patches[self.grid[row, column]]
            boxes.append(patch.boxes + np.tile([column * self.patch, row * self.patch], 2))
            labels += patch.labels
        return np.concatenate(boxes).astype(np.float32), labels

    def read(self, x: int, y: int, side: int, downsample: int) -> NDArray[np.uint8]:
        """Return a square of a level (side, side, 3), in its pixels; glass beyond the border."""
        own = self.patch // downsample
        result = np.empty((side, side, 3), np.uint8)
        result[:] = self.patches[0].glass
        for row in range(y // own, min(len(self.grid), -(-(y + side) // own))):
            for column in range(x // own, min(len(self.grid), -(-(x + side) // own))):
                if self.grid[row, column] >= 0:
                    _paste(
                        result,
                        self.patches[self.grid[row, column]].at(downsample),
                        column * own - x,
                        row * own - y,
                    )
        return result


def _paste(target: NDArray[np.uint8], block: NDArray[np.uint8], x: int, y: int) -> None:
    left, top = max(x, 0), max(y, 0)
    right = min(x + block.shape[1], target.shape[1])
    bottom = min(y + block.shape[0], target.shape[0])
    target[top:bottom, left:right] = block[top - y : bottom - y, left - x : right - x]


def make_mosaic(
    side: int, *, patch: int = PATCH, patches: int = 4, glass: float = 0.5, seed: int = 0
) -> Mosaic:
    """Return a mosaic of `side` pixels from several patches, a share `glass` of which is empty."""
    rendered = [render_patch(seed + index, side=patch) for index in range(patches)]
    rendered = [one.on_glass(rendered[0].glass) for one in rendered]
    n = side // patch
    rng = np.random.default_rng(seed)
    grid = np.where(rng.random((n, n)) < glass, -1, rng.integers(patches, size=(n, n)))
    return Mosaic(side, tuple(rendered), grid)


def write_pyramid(path: Path, mosaic: Mosaic, *, ome: bool = False, aperio: bool = False) -> Path:
    """Write a mosaic as a BigTIFF pyramid of JPEG tiles.

    A plain pyramid has its levels as pages, an OME-TIFF as sub-directories of its page. `aperio`
    adds Aperio's description, by which OpenSlide takes the file for an SVS.
    """
    count = max(1, math.ceil(math.log(max(1, mosaic.side / 1024), _STEP)) + 1)
    options = {
        "tile": (TILE, TILE),
        "photometric": "ycbcr",
        "compression": "jpeg",
        "subsampling": (2, 2),
        "dtype": np.uint8,
    }
    if not ome:
        per_cm = 10_000 / UM_PER_PX
        options |= {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
    text = f"Aperio Image Library v1\n{mosaic.side}x{mosaic.side} |AppMag = 100|MPP = {UM_PER_PX}"
    # tifffile checks that it has an encoder for JPEG, although all tiles are encoded.
    vars(tifffile.tifffile.imagecodecs).setdefault("jpeg_encode", _jpeg)
    with tifffile.TiffWriter(path, bigtiff=True, ome=ome) as writer:
        for level in range(count):
            side = -(-mosaic.side // _STEP**level)
            own = dict(options)
            if ome:
                own["metadata"] = {
                    "axes": "YXS",
                    "PhysicalSizeX": UM_PER_PX,
                    "PhysicalSizeXUnit": "µm",
                    "PhysicalSizeY": UM_PER_PX,
                    "PhysicalSizeYUnit": "µm",
                }
                own |= {"subifds": count - 1} if level == 0 else {}
            else:
                own["metadata"] = None
                own |= {"description": text} if aperio else {}
            if level:
                own["subfiletype"] = 1
            writer.write(_tiles(mosaic, side, _STEP**level), shape=(side, side, 3), **own)
    return path


def _tiles(mosaic: Mosaic, side: int, downsample: int) -> Iterator[bytes]:
    """Yield the JPEGs of a level's tiles; equal ones are encoded once."""
    known = dict[tuple[int, ...], bytes]()
    own = mosaic.patch // downsample
    for y in range(0, side, TILE):
        for x in range(0, side, TILE):
            rows = slice(y // own, -(-(y + TILE) // own))
            columns = slice(x // own, -(-(x + TILE) // own))
            key = (y % own, x % own, *mosaic.grid[rows, columns].ravel())
            if key not in known:
                if len(known) > 256:
                    known.clear()
                known[key] = _jpeg(mosaic.read(x, y, TILE, downsample))
            yield known[key]


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """Encode a tile, without the marker of JFIF, as scanners do."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90, subsampling=2)
    content = stream.getvalue()
    (length,) = struct.unpack_from(">H", content, 4)
    return content[:2] + content[4 + length :]


def write_dicom(folder: Path, mosaic: Mosaic) -> Path:
    """Write a mosaic as a whole slide in DICOM, one file per level; return the first file.

    A VL Whole Slide Microscopy Image (PS3.3, A.32.8) with tiles in JPEG baseline, in full tiling.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage, generate_uid

    folder.mkdir(parents=True, exist_ok=True)
    series, study, frame, paths = generate_uid(), generate_uid(), generate_uid(), []
    for level, downsample in enumerate((1, _STEP)):
        side = -(-mosaic.side // downsample)
        data = Dataset()
        data.SOPClassUID, data.SOPInstanceUID = VLWholeSlideMicroscopyImageStorage, generate_uid()
        data.SeriesInstanceUID, data.StudyInstanceUID = series, study
        data.FrameOfReferenceUID, data.Modality = frame, "SM"
        derived = ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
        data.ImageType = derived if level else ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
        data.TotalPixelMatrixColumns = data.TotalPixelMatrixRows = side
        data.Rows = data.Columns = TILE
        data.SamplesPerPixel, data.PhotometricInterpretation = 3, "YBR_FULL_422"
        data.BitsAllocated = data.BitsStored = 8
        data.HighBit, data.PixelRepresentation, data.PlanarConfiguration = 7, 0, 0
        data.DimensionOrganizationType = "TILED_FULL"
        data.TotalPixelMatrixFocalPlanes = data.NumberOfOpticalPaths = 1
        measures, groups = Dataset(), Dataset()
        measures.PixelSpacing = [UM_PER_PX * downsample / 1000] * 2
        groups.PixelMeasuresSequence = [measures]
        data.SharedFunctionalGroupsSequence = [groups]
        path = Dataset()
        path.ObjectiveLensPower = 100
        data.OpticalPathSequence = [path]
        tiles = list(_tiles(mosaic, side, downsample))
        data.NumberOfFrames = len(tiles)
        data.LossyImageCompression = "01"
        data.PixelData = encapsulate(tiles)
        data["PixelData"].VR = "OB"
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        paths.append(folder / f"{level}.dcm")
        data.save_as(paths[-1], enforce_file_format=True)
    return paths[0]
