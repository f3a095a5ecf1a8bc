"""`python -m deploy.box compile`, on a GPU in memory: what is built, what is refused, and what a box then runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.box import engines
from deploy.box.__main__ import main
from deploy.box.answer import answer, opened
from pipeline import contract
from pipeline.errors import ContractError, EngineError
from pipeline.files import read_json, sha256_file, write_json
from pipeline.inference import cases, gpu, signature
from pipeline.inference.backends import OnnxRuntime
from tests.compiled import MOST
from tests.gpu_in_memory import GPU, Machine
from tests.inference.conftest import SeriesWriter
from tests.inference.test_processors import tell

Maker = Callable[..., Path]


@pytest.fixture
def release(make_release: Maker, tmp_path: Path) -> Path:
    return make_release(tmp_path / "release")


@pytest.fixture
def machine(graph: Path) -> Machine:
    return Machine(graph, (1, 4, MOST))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def run(release: Path, state: Path, *more: str) -> int:
    return main(["compile", str(release), "--state", str(state), "--allow-unsigned", *more])


def test_an_engine_is_built_tried_kept_and_run(
    release: Path,
    state: Path,
    machine: Machine,
    graph: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    builder = machine.install(monkeypatch)
    assert run(release, state) == 0
    said = capfd.readouterr().err
    assert "parity passed on 3 cases" in said
    assert "signature was not checked" in said
    folder = state / "engines" / sha256_file(release / "SHA256SUMS")
    assert {path.name for path in folder.iterdir()} == {
        *("engine.json", "model.fp32.engine", "model.fp32.kernels", "model.fp32.layers.json")
    }
    record = read_json(folder / "engine.json")
    assert record["release_sha256"] == folder.name
    assert record["engine"]["status"] == "parity passed on its GPU"
    assert record["parity"]["slices"] == [1, 3, 5]
    assert record["parity"]["largest"]["probabilities"] < 1e-5
    made, manifest = record["engine"]["fingerprint"], contract.load(release)
    assert (made["gpu"], made["driver"], made["builder_version"]) == (GPU.name, GPU.driver, builder.version)
    assert made["onnx_sha256"] == manifest.graph.sha256
    assert made["provenance"] == manifest.made_from.model_dump()
    assert machine.driver.memory == {}
    backend = engines.open_engine(release, state)
    assert backend.name == f"tensorrt_rtx {builder.version}, {GPU.name}, fp32"
    slices = np.zeros((2, backend.size, backend.size), np.uint8)
    whole = np.ones((1, 2), np.float32)
    expected = OnnxRuntime(graph).run(slices, whole).probabilities
    np.testing.assert_allclose(backend.run(slices, whole).probabilities, expected, atol=1e-5)
    backend.close()


def test_a_box_answers_by_the_engine_where_there_is_one(
    release: Path,
    state: Path,
    machine: Machine,
    write_series: SeriesWriter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_series(tmp_path / "study", 1, slices=5)
    files = sorted((tmp_path / "study").iterdir())
    plain = answer(opened(release, None, state), files).predictions
    builder = machine.install(monkeypatch)
    assert run(release, state) == 0
    by = opened(release, None, state)
    assert by.release.backend.name == f"tensorrt_rtx {builder.version}, {GPU.name}, fp32"
    found = answer(by, files)
    assert [each.status for each in found.predictions] == ["ok"]
    assert found.predictions[0].probabilities == pytest.approx(plain[0].probabilities, abs=1e-5)
    assert by.release.backend.name.encode() in found.contents["sr"]
    (engine,) = (state / "engines").rglob("*.engine")
    engine.write_bytes(b"changed")
    with pytest.raises(EngineError, match="the engine of this release"):
        opened(release, None, state)


def test_what_its_processor_would_answer_does_not_matter_where_an_engine_answers(
    make_release: Maker, state: Path, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = make_release(tmp_path / "release", runs={"runtime": "openvino", "precision": "int8"})
    known = cases.read(release / "parity.npz")
    said = [replace(case.expected, probabilities=1 - case.expected.probabilities) for case in known]
    tell(release, [replace(case, expected=other) for case, other in zip(known, said, strict=True)])
    with pytest.raises(EngineError, match="otherwise where it was made"):
        opened(release, None, state)
    builder = machine.install(monkeypatch)
    assert run(release, state, "--precision", "fp32") == 0
    assert opened(release, None, state).release.backend.name == f"tensorrt_rtx {builder.version}, {GPU.name}, fp32"


@pytest.mark.parametrize("off", [0.1, float("nan")])
def test_an_engine_that_answers_otherwise_is_not_kept(
    off: float,
    release: Path,
    state: Path,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    machine.install(monkeypatch)
    assert run(release, state) == 0
    machine.off = off
    assert run(release, state) == 1
    assert "Do not use this engine" in capfd.readouterr().err
    folder = engines.place(release, state)
    assert not list(folder.iterdir())
    with pytest.raises(EngineError, match="built on this machine for this release; found none"):
        engines.open_engine(release, state)
    assert machine.driver.memory == {}


def test_without_a_gpu_it_says_what_is_lacking(release: Path, state: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if gpu.compute_capability() is not None:
        pytest.skip("this machine has a GPU")
    assert run(release, state) == 1
    assert "expected an NVIDIA GPU and its driver; found" in capfd.readouterr().err
    assert not state.exists()


def test_a_gpu_that_the_builder_does_not_know_is_an_error(
    release: Path,
    state: Path,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    machine.install(monkeypatch)
    monkeypatch.setattr(gpu, "require", lambda: gpu.Gpu("NVIDIA H200", "9.0", "580.00"))
    assert run(release, state) == 1
    assert "builds for NVIDIA H200 (9.0); found tensorrt_rtx, which builds for 8.9." in capfd.readouterr().err


def change_record(**engine: Any) -> Callable[[Path, Path], None]:
    def change(folder: Path, release: Path) -> None:
        record = read_json(folder / "engine.json")
        write_json(folder / "engine.json", record | {"engine": record["engine"] | engine})

    return change


def flip(folder: Path, release: Path) -> None:
    path = folder / "model.fp32.engine"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(folder: Path, release: Path) -> None:
    path = folder / "model.fp32.engine"
    path.write_bytes(path.read_bytes()[:-100])


def garble(folder: Path, release: Path) -> None:
    (folder / "engine.json").write_text("{}")


def another_release(folder: Path, release: Path) -> None:
    manifest = read_json(release / "manifest.json")
    write_json(release / "manifest.json", manifest | {"version": "9.9.9"})
    (release / "SHA256SUMS").unlink()
    signature.write_sums(release)
    folder.rename(engines.place(release, folder.parent.parent))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (flip, r"the engine of this release in .*; found engine \w{12}, not \w{12}\. python -m deploy.box compile"),
        (truncate, r"found engine \w{12}, not"),
        (garble, "the record of an engine in .*; found something else"),
        (another_release, r"found release \w{12}, not"),
        (change_record(status="built, not run"), "found status built, not"),
    ],
    ids=["one bit", "truncated", "record", "another release", "never tried"],
)
def test_what_was_changed_since_is_refused(
    change: Callable[[Path, Path], None],
    message: str,
    release: Path,
    state: Path,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine.install(monkeypatch)
    assert run(release, state) == 0
    change(engines.place(release, state), release)
    with pytest.raises(EngineError, match=message):
        engines.open_engine(release, state)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "Another"}, "gpu A card that is none, here Another"),
        ({"driver": "590"}, "driver 580.00, here 590"),
        ({"compute_capability": "8.6"}, "compute_capability 8.9, here 8.6"),
    ],
)
def test_another_gpu_or_driver_is_refused(
    changed: dict[str, str],
    said: str,
    release: Path,
    state: Path,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine.install(monkeypatch)
    assert run(release, state) == 0
    monkeypatch.setattr(gpu, "require", lambda: gpu.Gpu(**{**vars(GPU), **changed}))
    with pytest.raises(EngineError, match=f"built from this release and for this machine; found .*{said}.*deploy.box"):
        engines.open_engine(release, state)


def test_a_precision_that_the_release_has_not_is_an_error(
    release: Path,
    state: Path,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    machine.install(monkeypatch)
    assert run(release, state, "--precision", "bf16") == 1
    assert "a graph in bf16 in the release; found fp32" in capfd.readouterr().err


def test_only_a_release_of_the_boxs_key_is_compiled(
    make_release: Maker, state: Path, tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.install(monkeypatch)
    keys = {}
    for name in ("own", "other"):
        key = Ed25519PrivateKey.generate()
        pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
        (tmp_path / name).write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none))
        keys[name] = tmp_path / f"{name}.pub"
        keys[name].write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    release = make_release(tmp_path / "signed", key_file=tmp_path / "own")
    command = ["compile", str(release), "--state", str(state)]
    assert main([*command, "--public-key", str(keys["own"])]) == 0
    assert main([*command, "--public-key", str(keys["other"])]) == 1
    assert main(command) == 1
    with pytest.raises(ContractError, match="the public key of the release's maker; found none"):
        engines.require_trusted(release, None, allow_unsigned=False)
    (release / "parity.npz").write_bytes(b"another")
    with pytest.raises(ContractError, match="parity.npz with the SHA-256"):
        engines.require_trusted(release, None, allow_unsigned=True)
