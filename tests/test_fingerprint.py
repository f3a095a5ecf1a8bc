"""What an engine was built from and for, and the refusal of one that does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.contract import Transform
from pipeline.errors import EngineError
from pipeline.fingerprint import PASSED, Engine, Here, require_match, sha256_of
from tests import compiled

HERE = Here(builder="tensorrt_rtx", builder_version="1.7.1", compute_capability="8.9", gpu="L4", driver="580.82.07")
MODEL = {"onnx_sha256": compiled.ONNX, "transform_sha256": "56" * 32, "provenance": compiled.provenance()}
BUILT = {
    "builder": "tensorrt_rtx",
    "builder_version": "1.7.1",
    "compute_capabilities": ["8.9"],
    "gpu": "L4",
    "driver": "580.82.07",
}


def engine(tmp_path: Path, wider: dict[str, Any] | None = None, **built: Any) -> Engine:
    path = tmp_path / "model.engine"
    path.write_bytes(b"engine")
    made = compiled.engine(path)
    fingerprint = made.fingerprint.model_copy(update={**BUILT, **built})
    return made.model_copy(update={"fingerprint": fingerprint, "status": PASSED, **(wider or {})})


def test_what_was_built_here_of_this_model_runs(tmp_path: Path) -> None:
    require_match(engine(tmp_path), HERE, MODEL)


@pytest.mark.parametrize(
    ("here", "said"),
    [
        ({"builder": "tensorrt"}, "builder tensorrt_rtx, here tensorrt"),
        ({"builder_version": "1.8.0"}, r"builder_version 1\.7\.1, here 1\.8\.0"),
        ({"compute_capability": "8.6"}, r"compute_capability 8\.9, here 8\.6"),
        ({"gpu": "L40S"}, "gpu L4, here L40S"),
        ({"driver": "590.10"}, r"driver 580\.82\.07, here 590\.10"),
    ],
)
def test_another_machine_is_named(here: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=rf"found {said}\. python -m deploy\.box compile RELEASE --state DIR"):
        require_match(engine(tmp_path), HERE.model_copy(update=here), MODEL)


@pytest.mark.parametrize("name", ["onnx_sha256", "transform_sha256", "provenance"])
def test_another_model_is_named(name: str, tmp_path: Path) -> None:
    other = compiled.provenance("ef" * 32) if name == "provenance" else "ef" * 32
    with pytest.raises(EngineError, match=rf"found {name} .*, here efefefefefef"):
        require_match(engine(tmp_path), HERE, MODEL | {name: other})


def test_everything_that_differs_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"onnx_sha256 .*; gpu .*; driver "):
        require_match(engine(tmp_path, gpu=None, driver=None), HERE, MODEL | {"onnx_sha256": "ef" * 32})


@pytest.mark.parametrize(
    ("version", "runs"), [("1.7.1", True), ("1.8.0", True), ("1.7.0", False), ("2.0.0", False), ("0.9", False)]
)
def test_a_version_compatible_engine_runs_in_later_ones_of_its_major(version: str, runs: bool, tmp_path: Path) -> None:
    made, here = engine(tmp_path, {"version_compatible": True}), HERE.model_copy(update={"builder_version": version})
    if runs:
        require_match(made, here, MODEL)
        return
    with pytest.raises(EngineError, match="builder_version"):
        require_match(made, here, MODEL)


@pytest.mark.parametrize(
    ("builder", "built_for", "capability", "runs"),
    [
        ("tensorrt", ["8.6"], "12.0", True),
        ("tensorrt", ["8.6"], "7.5", False),
        ("tensorrt_rtx", ["8.6", "8.9"], "8.6", True),
        ("tensorrt_rtx", ["8.6", "8.9"], "12.0", False),
    ],
)
def test_a_hardware_compatible_engine_runs_on_other_gpus(
    builder: str, built_for: list[str], capability: str, runs: bool, tmp_path: Path
) -> None:
    made = engine(tmp_path, {"hardware_compatible": True}, builder=builder, compute_capabilities=built_for)
    here = HERE.model_copy(update={"builder": builder, "compute_capability": capability, "gpu": "Another"})
    if runs:
        require_match(made, here, MODEL)
        return
    with pytest.raises(EngineError, match=f"compute_capability {', '.join(built_for)}, here {capability}"):
        require_match(made, here, MODEL)


def test_the_hash_of_the_preprocessing_is_of_what_it_does() -> None:
    first = Transform(size=128, window_percentiles=(0.5, 99.5), head_margin_mm=6.0)
    again = Transform(head_margin_mm=6, window_percentiles=(0.5, 99.5), size=128)
    assert sha256_of(first) == sha256_of(again)
    assert sha256_of(first) != sha256_of(first.model_copy(update={"size": 129}))
