"""The TensorRT adapter: real builds with `tensorrt_rtx`, and what it says where it cannot."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.errors import EngineError
from pipeline.files import sha256_file
from pipeline.inference import gpu, tensorrt


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "compute_capability", lambda: None)


@pytest.fixture
def builder() -> tensorrt.Builder:
    return tensorrt.find()


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch):
    """Which of the two packages an import finds."""
    real = importlib.import_module

    def choose(**modules: object) -> None:
        def found(name: str) -> object:
            if name not in tensorrt.MODULES:
                return real(name)
            if name not in modules:
                raise ModuleNotFoundError(name)
            return modules[name]

        monkeypatch.setattr(importlib, "import_module", found)

    return choose


def test_it_builds_ahead_of_time_without_a_gpu(builder: tensorrt.Builder, graph: Path, tmp_path: Path) -> None:
    contents = []
    for capability in ("8.6", "8.9"):
        out = tmp_path / f"{capability}.engine"
        engine = tensorrt.build(builder, graph, out, capability, (1, 4, 8))
        assert engine.file == out.name
        assert engine.sha256 == sha256_file(out)
        assert (engine.builder, engine.compute_capabilities) == ("tensorrt_rtx", [capability])
        assert engine.precision == "fp32"
        assert engine.builder_version.startswith("1.")
        assert engine.status == "built, not run"
        assert out.stat().st_size > graph.stat().st_size / 2
        contents.append(out.read_bytes())
    assert contents[0] != contents[1]


def test_a_profile_that_does_not_rise_is_an_error_of_ours(
    builder: tensorrt.Builder, graph: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(EngineError, match=r"that rise: least, usual, most; found \[4, 2, 8\]"):
        tensorrt.build(builder, graph, tmp_path / "engine", "8.6", (4, 2, 8))
    assert list(tmp_path.iterdir()) == []
    assert "[TRT]" not in capfd.readouterr().err


def test_a_file_that_is_no_graph_is_an_error(builder: tensorrt.Builder, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(EngineError, match="an ONNX graph that tensorrt_rtx reads .* tensorrt_rtx 1.* said: "):
        tensorrt.build(builder, tmp_path / "model.onnx", tmp_path / "engine", "8.6", (1, 4, 8))


def test_it_builds_for_what_is_asked_for(builder: tensorrt.Builder) -> None:
    assert tensorrt.targets(builder, ["8.6", "8.9"]) == ["8.6", "8.9"]
    assert "12.0" in builder.capabilities
    with pytest.raises(EngineError, match=r"builds for \(.*8\.6.*\); found 9\.0\."):
        tensorrt.targets(builder, ["8.6", "9.0"])


@pytest.mark.parametrize(("own", "expected"), [("8.9", ["8.9"]), ("9.0", ["8.6"])])
def test_with_a_gpu_it_builds_for_that_one_if_it_can(
    own: str, expected: list[str], builder: tensorrt.Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "compute_capability", lambda: own)
    assert tensorrt.targets(builder, ["8.6"]) == expected


def test_neither_package_is_an_error_with_the_install_lines(install) -> None:
    install()
    with pytest.raises(EngineError, match=r"neither .*`pip install tensorrt_rtx`.*`pip install tensorrt`"):
        tensorrt.find()


def test_tensorrt_is_preferred_only_where_there_is_a_gpu(install, monkeypatch: pytest.MonkeyPatch) -> None:
    rtx = importlib.import_module("tensorrt_rtx")
    full = SimpleNamespace(__name__="tensorrt", __version__="11.0")
    install(tensorrt=full)
    with pytest.raises(EngineError, match="needs a GPU to build, and no GPU"):
        tensorrt.find()
    install(tensorrt=full, tensorrt_rtx=rtx)
    assert tensorrt.find().name == "tensorrt_rtx"
    monkeypatch.setattr(gpu, "compute_capability", lambda: "9.0")
    assert tensorrt.find() == tensorrt.Builder(full, ["9.0"])
