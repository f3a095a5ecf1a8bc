"""A volume that stands in a NIfTI file, and what is known of it without its voxels."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pipeline.dicom.admission import Plan
from pipeline.dicom.reasons import Rejection
from pipeline.dicom.scan import Described, described, image_sha256, read_volume
from pipeline.files import write_atomic
from pipeline.imaging import nifti


class Image(NamedTuple):
    """What the table of ingest says of the voxels.

    Attributes:
        shape: slices, rows, columns.
        spacing_mm: in the same order.
        sha256: see `scan.image_sha256`.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    sha256: str


@dataclass(frozen=True)
class Saved(Described):
    """A volume whose voxels lie in `path`; shape, spacing and `source_sha256` as in `Image`."""

    path: Path
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    source_sha256: str

    def put(self, target: Path) -> None:
        """The file under another name: a second link to it, or a copy where there can be none."""
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(self.path, target)
        except OSError:
            with open(self.path, "rb") as handle:
                write_atomic(target, lambda out: shutil.copyfileobj(handle, out))


class Encoded(NamedTuple):
    """A volume that was read, as the content of its NIfTI file."""

    image: Image
    content: bytes


def encode(plan: Plan) -> Encoded | Rejection:
    """Read the pixels of a planned volume."""
    volume = read_volume(plan)
    if isinstance(volume, Rejection):
        return volume
    slices, rows, columns = volume.voxels.shape
    image = Image((slices, rows, columns), volume.spacing_mm, image_sha256(volume))
    return Encoded(image, nifti.packed(volume))


def save(encoded: Encoded, path: Path) -> None:
    """Write a volume to its file.

    Raises:
        StorageError: the disk is full.
    """
    write_atomic(path, lambda handle: handle.write(encoded.content))


def saved(plan: Plan, path: Path, image: Image) -> Saved:
    """The volume of a plan that was written to `path`."""
    return Saved(path, image.shape, image.spacing_mm, image.sha256, **described(plan))
