"""Volumes as NIfTI files; the pipeline's own volumes between the stages, in scanner geometry."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError

from pipeline.errors import DataError
from pipeline.imaging.volume import Volume

#: DICOM counts to the left and back (LPS), NIfTI to the right and front (RAS).
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

#: Fast: level 6 takes five times as long for some percent less.
GZIP_LEVEL = 1


def packed(volume: Volume) -> bytes:
    """The content of a `.nii.gz` file; equal volumes give equal bytes.

    Voxels are stored (column, row, slice), as int16 where all are whole numbers that fit, else as float32. Both sform
    and qform are the scanner's (code 1), in mm.
    """
    image = nib.Nifti1Image(_compact(volume.voxels).transpose(2, 1, 0), LPS_TO_RAS @ volume.affine_lps)
    image.set_sform(image.affine, code=1)
    image.set_qform(image.affine, code=1)
    image.header.set_xyzt_units("mm")
    content = io.BytesIO()
    # No name and no time in the header, so that the bytes depend on the volume alone.
    with gzip.GzipFile("", "wb", GZIP_LEVEL, content, mtime=0) as handle:
        handle.write(image.to_bytes())
    return content.getvalue()


def load(path: Path) -> Volume:
    """Read a three-dimensional NIfTI file.

    Raises:
        DataError: no such file, or one that is damaged or not three-dimensional.
    """
    try:
        image = nib.load(path)
        voxels = np.asarray(image.dataobj, dtype=np.float32)
    except (ImageFileError, EOFError, OSError, ValueError, zlib.error) as error:
        raise DataError(
            f"a NIfTI volume in {path}", type(error).__name__, "Run the stage `ingest` again (dvc repro -f -s ingest)."
        ) from error
    if voxels.ndim != 3:
        raise DataError(f"three dimensions in {path}", f"{voxels.ndim}", "Write one volume a file.")
    affine_lps = LPS_TO_RAS @ np.asarray(image.affine, dtype=np.float64)
    return Volume(np.ascontiguousarray(voxels.transpose(2, 1, 0)), affine_lps)


def _compact(voxels: npt.NDArray[np.float32]) -> npt.NDArray[np.int16] | npt.NDArray[np.float32]:
    """The voxels as int16 where that loses nothing."""
    limits = np.iinfo(np.int16)
    whole = limits.min <= voxels.min() and voxels.max() <= limits.max and bool((voxels == np.rint(voxels)).all())
    return voxels.astype(np.int16) if whole else voxels.astype(np.float32)
