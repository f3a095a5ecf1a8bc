"""From the volumes of a folder to the slices that the network sees."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms import Transform as MonaiTransform

from pipeline.contract import Transform
from pipeline.errors import DataError
from pipeline.imaging.prepare import prepare
from pipeline.imaging.volume import Volume

#: MONAI counts to the right and front (RAS), DICOM to the left and back (LPS).
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def find(folder: str) -> list[dict[str, str]]:
    """A volume for each NIfTI file in `folder`.

    Not of DICOM, whose slices MONAI's reader takes in the order of their InstanceNumber, which need not be that of
    their places.

    Raises:
        DataError: there is none.
    """
    entries = sorted(Path(folder).iterdir()) if Path(folder).is_dir() else []
    found = [path for path in entries if path.name.endswith((".nii", ".nii.gz"))]
    if not found:
        raise DataError(f"NIfTI files in {folder}", "none", "Convert the scans, and name their folder: --dataset_dir.")
    return [{"image": str(path)} for path in found]


class PrepareSlicesd(MonaiTransform):  # type: ignore[misc]
    """A volume as MONAI's `LoadImaged` reads it, whose third axis is that of its slices, to (N, size, size).

    The slices are what `prepare` makes of them, whole numbers of 0 to 255, as float32.
    """

    def __init__(self, size: int, window_percentiles: tuple[float, float], head_margin_mm: float) -> None:
        low, high = window_percentiles
        self._transform = Transform(size=size, window_percentiles=(low, high), head_margin_mm=head_margin_mm)

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Prepare `image`.

        Raises:
            DataError: it has not three dimensions, is constant, or holds values that are no numbers.
        """
        image: MetaTensor = data["image"]
        if image.ndim != 3:
            raise DataError("a volume of three dimensions", f"{image.ndim}", "Give one volume a file.")
        voxels = np.ascontiguousarray(np.asarray(image.as_tensor(), np.float32).transpose(2, 1, 0))
        affine_lps = _RAS_TO_LPS @ np.asarray(image.affine, np.float64)
        slices = prepare(Volume(voxels, affine_lps), self._transform)
        meta = {"filename_or_obj": image.meta["filename_or_obj"]}
        return {**data, "image": MetaTensor(torch.from_numpy(slices.astype(np.float32)), meta=meta)}
