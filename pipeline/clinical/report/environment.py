"""What the figures were computed with: libraries, and the kind of machine; no name or path of one."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import pipeline

#: Libraries that can change a figure.
LIBRARIES = ("torch", "timm", "monai", "scikit-learn", "scipy", "statsmodels", "numpy", "pydicom", "dvc")
_CPU = Path("/proc/cpuinfo")


def software() -> list[tuple[str, str]]:
    """Python and the libraries with their versions; one that is not installed is left out."""
    found = [("mri-transfer", pipeline.__version__), ("Python", platform.python_version())]
    for name in LIBRARIES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """The kind of processor, and of the GPU where PyTorch finds one."""
    system = f"{platform.system()} on {platform.machine()}"
    processor = _processor()
    parts = [f"{system}, {processor}" if processor else system]
    parts.append(f"GPU {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "no GPU")
    return "; ".join(parts)


def _processor() -> str:
    """The processor's model, as Linux says it."""
    if not _CPU.is_file():
        return ""
    lines = _CPU.read_text(encoding="utf-8", errors="replace").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else ""
