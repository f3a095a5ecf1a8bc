"""Whether there is an NVIDIA GPU, asked of its driver: no torch and no CUDA toolkit."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from pipeline.errors import EngineError

# CUdevice_attribute of the CUDA driver API, cuda.h.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
#: Longest name and version that a driver is asked for.
_LONGEST = 96


@dataclass(frozen=True)
class Gpu:
    """The first GPU and its driver, for example "NVIDIA H200", "9.0" and "580.82.07"."""

    name: str
    compute_capability: str
    driver: str


def compute_capability() -> str | None:
    """The first GPU's compute capability, for example "8.9"; None where no driver or no GPU is."""
    found = _first()
    if found is None:
        return None
    driver, device = found
    parts = []
    for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR):
        value = ctypes.c_int()
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device):
            return None
        parts.append(value.value)
    return "{}.{}".format(*parts)


def require() -> Gpu:
    """The first GPU.

    Raises:
        EngineError: no driver or no GPU is there, or the driver does not tell what it is.
    """
    capability, found = compute_capability(), _first()
    if capability is None or found is None:
        raise EngineError(
            "an NVIDIA GPU and its driver",
            "no driver (libcuda.so.1)" if _library("libcuda.so.1") is None else "a driver and no GPU that it can use",
            "Install the GPU's driver and see that `nvidia-smi` lists it; in a container, start it with the GPU.",
        )
    driver, device = found
    name = ctypes.create_string_buffer(_LONGEST)
    driver.cuDeviceGetName(name, _LONGEST, device)
    return Gpu(name.value.decode(errors="replace"), capability, _driver_version(driver))


def _first() -> tuple[ctypes.CDLL, ctypes.c_int] | None:
    """The driver and its first GPU."""
    driver = _library("libcuda.so.1")
    count, device = ctypes.c_int(), ctypes.c_int()
    if driver is None or driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or count.value == 0:
        return None
    return None if driver.cuDeviceGet(ctypes.byref(device), 0) else (driver, device)


def _driver_version(driver: ctypes.CDLL) -> str:
    """As NVIDIA numbers its drivers; where only the driver itself is there, the CUDA that it is for."""
    management = _library("libnvidia-ml.so.1")
    version = ctypes.create_string_buffer(_LONGEST)
    if management is not None and not management.nvmlInit_v2():
        failed = management.nvmlSystemGetDriverVersion(version, _LONGEST)
        management.nvmlShutdown()
        if not failed:
            return version.value.decode(errors="replace")
    number = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(number))
    return f"CUDA {number.value // 1000}.{number.value % 1000 // 10}"


def _library(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None
