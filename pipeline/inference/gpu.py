"""Whether there is an NVIDIA GPU, asked of its driver: no torch and no CUDA toolkit."""

from __future__ import annotations

import ctypes

# CUdevice_attribute of the CUDA driver API, cuda.h.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76


def compute_capability() -> str | None:
    """The first GPU's compute capability, for example "8.9"; None where no driver or no GPU is."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    count, device = ctypes.c_int(), ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or count.value == 0:
        return None
    if driver.cuDeviceGet(ctypes.byref(device), 0):
        return None
    parts = []
    for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR):
        value = ctypes.c_int()
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device):
            return None
        parts.append(value.value)
    return "{}.{}".format(*parts)
