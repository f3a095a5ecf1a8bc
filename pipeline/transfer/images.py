"""Labelled RGB photographs of one size, from a folder or an npz, as a memory-mapped array: what a backbone learns."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from pipeline.errors import DataError
from pipeline.files import read_json, write_atomic, write_json
from pipeline.parallel import ordered_map
from pipeline.progress import track

SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".webp"})


@dataclass(frozen=True)
class Images:
    """Decoded images.

    Attributes:
        pixels: uint8 (N, size, size, 3), memory-mapped.
        labels: int64 (N,), index into `classes`.
        classes: names, sorted.
    """

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: list[str]


def decode(source: Path, out: Path, size: int) -> None:
    """Write `pixels.npy` and `labels.json` in `out`: shorter side to `size`, then the middle square.

    Args:
        source: an ImageNet-style folder (one subfolder a class), or an npz with `data` (the files' bytes, one after
            the other), `offsets` (N + 1 places in them), `labels` and `wnids`.
        out: the folder to write.
        size: pixels of a side.

    Raises:
        DataError: no such source, nothing usable in it, or an image that cannot be read.
        StorageError: the disk is full.
    """
    items, labels, classes = _from_npz(source) if source.suffix == ".npz" else _from_folder(source)
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(items), size, size, 3)}

    def write(handle: BinaryIO) -> None:
        np.lib.format.write_array_header_1_0(handle, header)
        with ordered_map(os.cpu_count() or 1) as over:
            for square in track(over(partial(_square, size), items), f"decode {source.name}", len(items)):
                handle.write(square)

    write_atomic(out / "pixels.npy", write)
    write_json(out / "labels.json", {"classes": classes, "labels": labels})


def load(folder: Path) -> Images:
    """What `decode` wrote."""
    index = read_json(folder / "labels.json")
    return Images(np.load(folder / "pixels.npy", mmap_mode="r"), np.array(index["labels"]), index["classes"])


def _from_npz(source: Path) -> tuple[Sequence[bytes | Path], list[int], list[str]]:
    if not source.is_file():
        raise _no_images(source, "no such file")
    with np.load(source, allow_pickle=False) as archive:
        missing = {"data", "offsets", "labels", "wnids"} - set(archive.files)
        if missing:
            raise _no_images(source, f"an npz without {', '.join(sorted(missing))}")
        data, offsets = archive["data"].tobytes(), archive["offsets"]
        items = [data[begin:end] for begin, end in pairwise(offsets)]
        return items, [int(label) for label in archive["labels"]], [str(name) for name in archive["wnids"]]


def _from_folder(source: Path) -> tuple[Sequence[bytes | Path], list[int], list[str]]:
    classes = sorted(entry.name for entry in source.iterdir() if entry.is_dir()) if source.is_dir() else []
    found = [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((source / name).rglob("*"))
        if path.suffix.lower() in SUFFIXES
    ]
    if not found:
        raise _no_images(source, "no image in any subfolder" if source.is_dir() else "no such folder")
    return [path for path, _ in found], [label for _, label in found], classes


def _no_images(source: Path, found: str) -> DataError:
    return DataError(
        f"labelled images in {source}", found, "Give a folder with one subfolder a class, or an npz of encoded images."
    )


def _square(size: int, item: bytes | Path) -> bytes:
    """One image's bytes, RGB, `size` x `size`."""
    opened: Callable[[], Image.Image] = partial(Image.open, io.BytesIO(item) if isinstance(item, bytes) else item)
    try:
        with opened() as image:
            scale = size / min(image.size)
            width, height = (max(size, round(side * scale)) for side in image.size)
            resized = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    except (UnidentifiedImageError, OSError) as error:
        name = f"image of {len(item)} bytes" if isinstance(item, bytes) else item
        raise DataError("an image that can be read", f"{name} ({error})", "Take it out, or fetch it again.") from error
    left, top = (width - size) // 2, (height - size) // 2
    return resized.crop((left, top, left + size, top + size)).tobytes()
