"""Which code reads scans: results of another one are not mixed with ours."""

from __future__ import annotations

import hashlib
import zlib
from importlib import metadata
from pathlib import Path

_PACKAGES = ("pydicom", "numpy", "nibabel", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle")
_FOLDERS = ("dicom", "imaging")


def code_version() -> str:
    """A digest of all code that decides what reading gives: the readers here, and the packages they stand on."""
    digest = hashlib.sha256(zlib.ZLIB_RUNTIME_VERSION.encode())
    for package in _PACKAGES:
        digest.update(f"{package} {metadata.version(package)}\n".encode())
    for folder in _FOLDERS:
        for path in sorted((Path(__file__).parent / folder).glob("*.*")):
            if path.suffix in {".py", ".csv"}:
                digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
