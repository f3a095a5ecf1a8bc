"""The TensorRT adapter: real builds with `tensorrt_rtx`, and what it says where it cannot."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.errors import EngineError
from pipeline.files import sha256_file
from pipeline.inference import gpu, tensorrt
from tests.signatures import Checked


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


def test_it_builds_one_engine_for_several_gpus(builder: tensorrt.Builder, graph: Path, tmp_path: Path) -> None:
    how = tensorrt.Options(hardware_compatible=True, alone=True, cache=tmp_path / "cache")
    made = tensorrt.build(builder, graph, tmp_path / "engine", ["8.6", "8.9"], (1, 4, 8), how)
    assert made.compute_capabilities == ["8.6", "8.9"]
    assert not (tmp_path / "cache").exists(), "its timing cache is a stub"


class Config(Checked):
    """A build's settings, with a timing cache as `tensorrt` has one."""

    REAL = "IBuilderConfig"
    hardware_compatibility_level = None

    def _start(self, machine: bytes) -> None:
        self._machine, self._cache, self._flags = machine, None, []

    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCache:
        return TimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        fits = cache._content in (b"", self._machine)
        self._cache = cache if fits else self._cache
        return fits

    def get_timing_cache(self) -> TimingCache:
        return TimingCache(self._machine)

    def set_flag(self, flag: object) -> None:
        self._flags.append(flag)


class TimingCache(Checked):
    REAL = "ITimingCache"

    def _start(self, content: bytes) -> None:
        self._content = content

    def serialize(self) -> bytes:
        return self._content


def test_a_timing_cache_is_kept_and_taken_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    full = tensorrt.Builder(SimpleNamespace(__name__="tensorrt", __version__="10.9"), ["9.0"])
    for machine, begins_with, anew in ((b"a", b"", False), (b"a", b"a", False), (b"b", b"", True)):
        config = Config(machine)
        full.recall(config, tmp_path)
        assert config._cache._content == begins_with
        full.keep(config, tmp_path)
        assert (tmp_path / "tensorrt-10.9-sm90.timing").read_bytes() == machine
        assert ("measured anew" in capfd.readouterr().err) == anew


def test_what_tensorrt_is_told_for_wider_use() -> None:
    rtx = importlib.import_module("tensorrt_rtx")
    names = {"BuilderFlag": rtx.BuilderFlag, "HardwareCompatibilityLevel": rtx.HardwareCompatibilityLevel}
    full = tensorrt.Builder(SimpleNamespace(__name__="tensorrt", __version__="11.0", **names), ["9.0"])
    config = Config(b"")
    full.widen(config, version_compatible=True, hardware_compatible=True)
    assert config._flags == [rtx.BuilderFlag.VERSION_COMPATIBLE]
    assert config.hardware_compatibility_level == rtx.HardwareCompatibilityLevel.AMPERE_PLUS
    full.aim(config, ["9.0"])


def test_no_flag_that_tensorrt_11_removed_is_named(root: Path) -> None:
    removed = {"FP16", "INT8", "BF16", "FP8", "INT4", "FP4", "DIRECT_IO"}
    removed |= {"OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS"}
    for path in (root / "pipeline/inference").glob("tensorrt*.py"):
        named = re.findall(r"BuilderFlag\.(\w+)", path.read_text())
        assert not set(named) & removed, path
