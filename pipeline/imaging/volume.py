"""A volume in scanner geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Volume:
    """Voxels and where they stand in the patient.

    Attributes:
        voxels: float32 (D, H, W): slice, row, column; values as the scanner means them (rescale applied).
        affine_lps: float64 (4, 4): (column, row, slice, 1) to millimetres, LPS as in PS3.3 C.7.6.2.1.1.
    """

    voxels: npt.NDArray[np.float32]
    affine_lps: npt.NDArray[np.float64]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along slice, row index and column index, in mm."""
        column, row, slice_ = np.linalg.norm(self.affine_lps[:3, :3], axis=0)
        return float(slice_), float(row), float(column)
