"""Asking the driver for a GPU."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

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
