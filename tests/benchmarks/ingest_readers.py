"""Whoever reads DICOM, each as one function from the folder of a series to its values (D, H, W)."""

from __future__ import annotations

import subprocess
import tempfile
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK
from monai.data import PydicomReader
from monai.transforms import LoadImage
from openjpeg import decode_pixel_data
from pydicom import dcmread
from pydicom.encaps import generate_frames

from pipeline.dicom.admission import admit, group
from pipeline.dicom.header import find_files, read_headers
from pipeline.dicom.scan import read_volume
from pipeline.imaging.volume import Volume

#: Encoded frames of a folder, taken out of their files beforehand for the codec alone.
_frames: dict[Path, list[bytes]] = {}


def ours(folder: Path) -> np.ndarray:
    """Headers, grouping, checks, geometry, pixels: all of ingest's reading but the hash of the image."""
    [series], _ = group(read_headers(find_files(folder)))
    [plan] = admit(series, None)
    volume = read_volume(plan)
    assert isinstance(volume, Volume)
    return volume.voxels


def raw(folder: Path) -> None:
    """The bytes alone, the system's way."""
    for path in sorted(folder.iterdir()):
        with open(path, "rb", buffering=0) as handle:
            handle.read()


def pydicom(folder: Path) -> np.ndarray:
    """`dcmread` and `pixel_array`; sorted by place, with the rescale's arithmetic."""
    planes = []
    for path in folder.iterdir():
        ds = dcmread(path)
        planes.append(
            (ds.ImagePositionPatient[2], ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept))
        )
    return np.array([plane for _, plane in sorted(planes, key=lambda plane: plane[0])], np.float32)


def monai(folder: Path) -> np.ndarray:
    """MONAI's own reader of DICOM."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LoadImage(PydicomReader, image_only=True)(folder).numpy().transpose(2, 1, 0)


def simpleitk(folder: Path) -> np.ndarray:
    """GDCM finds the series and sorts it by place; `ImageSeriesReader` reads."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    return SimpleITK.GetArrayFromImage(reader.Execute())


def dcm2niix(folder: Path) -> np.ndarray | None:
    """The program with its start; it writes an uncompressed NIfTI too. Several series: only the time counts."""
    with tempfile.TemporaryDirectory() as out:
        command = ["dcm2niix", "-z", "n", "-b", "n", "-f", "%j", "-o", out, str(folder)]
        subprocess.run(command, check=True, capture_output=True)
        written = sorted(Path(out).glob("*.nii"))
        if len(written) > 1:
            return None
        return np.asarray(nib.load(written[0]).dataobj).transpose(2, 1, 0)[:, ::-1]


def codec(folder: Path) -> None:
    """JPEG 2000 decoded from memory by the library that ingest decodes with, and nothing else."""
    if folder not in _frames:
        datasets = [dcmread(path) for path in sorted(folder.iterdir())]
        _frames[folder] = [next(generate_frames(ds.PixelData, number_of_frames=1)) for ds in datasets]
    for frame in _frames[folder]:
        decode_pixel_data(frame, version=2)


def control(_: Path) -> None:
    """No reading at all: what two processes gain by this, the machine has free for them."""
    sum(range(1_000_000))
