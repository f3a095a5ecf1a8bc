"""Which code made something: results of another one are not mixed with ours."""

from __future__ import annotations

import hashlib
import subprocess
import zlib
from importlib import metadata
from pathlib import Path

_READING = ("pydicom", "numpy", "nibabel", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle")
_TRAINING = ("torch", "torchvision", "timm", "monai", "numpy", "scipy")


def code_version() -> str:
    """A digest of all code that decides what reading gives: the readers here, and the packages they stand on."""
    return _digest(_READING, ("dicom/*.*", "imaging/*.*"), zlib.ZLIB_RUNTIME_VERSION)


def training_version() -> str:
    """A digest of all code that decides what a training gives."""
    return _digest(_TRAINING, ("transfer/*.*", "stages/finetune.py", "targets.py", "temperature.py"))


def git_revision() -> str | None:
    """The commit that the current directory is at; None where it is no checkout."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def _digest(packages: tuple[str, ...], patterns: tuple[str, ...], beginning: str = "") -> str:
    digest = hashlib.sha256(beginning.encode())
    for package in packages:
        digest.update(f"{package} {metadata.version(package)}\n".encode())
    for pattern in patterns:
        for path in sorted(Path(__file__).parent.glob(pattern)):
            if path.suffix in {".py", ".csv"}:
                digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
