"""Asking the driver for a GPU."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from pipeline.errors import EngineError
from pipeline.inference import gpu


class Driver:
    """What `libcuda.so.1` answers on a machine with these GPUs."""

    def __init__(self, *capabilities: tuple[int, int], init: int = 0) -> None:
        self.capabilities, self.init = capabilities, init

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self.init

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.capabilities)
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:  # noqa: N802
        device._obj.value = index
        return 0

    def cuDeviceGetName(self, name: Any, longest: int, device: ctypes.c_int) -> int:  # noqa: N802
        name.value = b"NVIDIA L4"
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = 13010
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: ctypes.c_int) -> int:  # noqa: N802
        value._obj.value = self.capabilities[device.value][attribute - 75]
        return 0


@pytest.mark.parametrize(
    ("driver", "expected"),
    [
        (Driver((9, 0)), "9.0"),
        (Driver((8, 9), (7, 5)), "8.9"),
        (Driver(), None),
        (Driver((8, 9), init=100), None),
    ],
)
def test_the_first_gpu_or_none(driver: Driver, expected: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert gpu.compute_capability() == expected


def test_no_driver_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert gpu.compute_capability() is None


class Management:
    """What `libnvidia-ml.so.1` answers."""

    def __init__(self, failed: int) -> None:
        self.failed = failed

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return 0

    def nvmlSystemGetDriverVersion(self, version: Any, longest: int) -> int:  # noqa: N802
        version.value = b"580.82.07"
        return self.failed

    def nvmlShutdown(self) -> int:  # noqa: N802
        return 0


@pytest.mark.parametrize(
    ("management", "version"), [(Management(0), "580.82.07"), (Management(3), "CUDA 13.1"), (None, "CUDA 13.1")]
)
def test_what_the_gpu_and_its_driver_are(
    management: Management | None, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def library(name: str) -> Any:
        if "cuda" in name:
            return Driver((8, 9))
        if management is None:
            raise OSError(name)
        return management

    monkeypatch.setattr(ctypes, "CDLL", library)
    assert gpu.require() == gpu.Gpu("NVIDIA L4", "8.9", version)


@pytest.mark.parametrize(
    ("driver", "found"),
    [(None, r"no driver \(libcuda.so.1\)"), (Driver(), "a driver and no GPU"), (Driver((8, 9), init=100), "no GPU")],
)
def test_what_is_lacking_is_said(driver: Driver | None, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def library(name: str) -> Any:
        if driver is None:
            raise OSError(name)
        return driver

    monkeypatch.setattr(ctypes, "CDLL", library)
    with pytest.raises(EngineError, match=f"an NVIDIA GPU and its driver; found .*{found}.*nvidia-smi"):
        gpu.require()
