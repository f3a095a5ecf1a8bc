"""Data sets as they stand in a file."""

from __future__ import annotations

import io

from pydicom import dcmread
from pydicom.dataset import Dataset


def written(dataset: Dataset) -> bytes:
    target = io.BytesIO()
    dataset.save_as(target, implicit_vr=False, little_endian=True)
    return target.getvalue()


def reread(dataset: Dataset) -> Dataset:
    """As it stands in a file."""
    return dcmread(io.BytesIO(written(dataset)), force=True)
