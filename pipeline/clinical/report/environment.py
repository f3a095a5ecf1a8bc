"""What models and figures were computed with: libraries, time, and the kind of machine; no name or path of one."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import pipeline
from pipeline.files import read_json, sha256_file

#: Libraries that can change a figure.
LIBRARIES = ("torch", "timm", "monai", "scikit-learn", "scipy", "statsmodels", "numpy", "pydicom", "dvc")
_CPU = Path("/proc/cpuinfo")
#: Where stages leave their seconds.
TIMES = Path("reports/times")


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


def trained(name: str) -> dict[str, str]:
    """What a training adds to its seconds in `reports/times/`: the kind of machine, and which model it made."""
    return {"machine": machine(), "model_sha256": sha256_file(_model(name))}


def training(name: str, stage: str) -> str:
    """How long the training of `models/<name>/` took and on what kind of machine, in words.

    Seconds are those of the run that finished it. A record of another model does not count: it stays behind when this
    one comes from a cache.
    """
    path = TIMES / f"{stage}.json"
    found = read_json(path) if path.is_file() else {}
    if "machine" not in found or found.get("model_sha256") != sha256_file(_model(name)):
        return "not recorded for this model"
    return f"{_duration(found['seconds'])} on {found['machine']}"


def _model(name: str) -> Path:
    return Path("models") / name / "model.safetensors"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _processor() -> str:
    """The processor's model, as Linux says it."""
    if not _CPU.is_file():
        return ""
    lines = _CPU.read_text(encoding="utf-8", errors="replace").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else ""
