"""The model repository, read back by protobuf's own parser and held against the graph."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto

from deploy.box import engines
from deploy.triton import config, repository
from deploy.triton.__main__ import main
from pipeline.contract import load
from pipeline.errors import ContractError, EngineError
from pipeline.files import write_json
from pipeline.fingerprint import NOT_RUN, PASSED, Engine
from pipeline.inference import signature
from pipeline.inference.openvino import OpenVino
from tests import compiled
from tests.deploy.triton_messages import parse

TYPES = {TensorProto.UINT8: "TYPE_UINT8", TensorProto.FLOAT: "TYPE_FP32"}


@pytest.fixture
def release(make_release, tmp_path) -> Path:
    return make_release(tmp_path / "release")


def of_graph(values: Any) -> list[tuple[str, str, list[int]]]:
    """By `onnx`, which the command does not use."""
    return [
        (value.name, TYPES.get(value.type.tensor_type.elem_type, "another"), [dim.dim_value or -1 for dim in shape.dim])
        for value in values
        for shape in [value.type.tensor_type.shape]
    ]


def of_config(tensors: Any, enum: Any) -> list[tuple[str, str, list[int]]]:
    return [(tensor.name, enum.values_by_number[tensor.data_type].name, list(tensor.dims)) for tensor in tensors]


def test_the_repository_serves_the_graph_of_the_release_as_it_is(release, tmp_path, capsys) -> None:
    out = tmp_path / "repository"
    assert main([str(release), str(out)]) == 0
    assert "UNSIGNED" in capsys.readouterr().err
    (folder,) = out.iterdir()
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "1/model.onnx",
        "config.pbtxt",
    ]
    assert (folder / "1/model.onnx").read_bytes() == (release / "model.onnx").read_bytes()
    found = parse((folder / "config.pbtxt").read_text())
    graph, enum = onnx.load(release / "model.onnx").graph, found.DESCRIPTOR.file.enum_types_by_name["DataType"]
    assert (found.name, found.platform, found.max_batch_size) == (folder.name, "onnxruntime_onnx", 0)
    assert found.default_model_filename == "model.onnx"
    assert of_config(found.input, enum) == of_graph(graph.input)
    assert of_config(found.output, enum) == of_graph(graph.output)
    kinds = found.DESCRIPTOR.file.enum_types_by_name["Kind"].values_by_number
    assert [kinds[group.kind].name for group in found.instance_group] == ["KIND_CPU"]


def test_a_client_can_ask_what_it_must_know(release, tmp_path) -> None:
    main([str(release), str(tmp_path / "out")])
    (path,) = (tmp_path / "out").glob("*/config.pbtxt")
    stated = {entry.key: entry.value.string_value for entry in parse(path.read_text()).parameters}
    manifest = load(release)
    assert json.loads(stated["classes"]) == manifest.task.classes
    assert json.loads(stated["threshold"]) == manifest.calibration.threshold
    assert json.loads(stated["transform"]) == manifest.transform.model_dump(mode="json")
    assert json.loads(stated["most_slices"]) == manifest.graph.most_slices
    assert json.loads(stated["neighbours_sd"]) == manifest.calibration.neighbours_sd
    assert stated["graph_sha256"] == manifest.graph.sha256


def test_equal_releases_give_equal_repositories_and_other_models_stay(release, tmp_path) -> None:
    out = tmp_path / "out"
    (out / "another").mkdir(parents=True)
    texts = []
    for _ in range(2):
        assert main([str(release), str(out)]) == 0
        (path,) = out.glob("*/config.pbtxt")
        texts.append(path.read_bytes())
    assert texts[0] == texts[1]
    assert sorted(path.name for path in out.iterdir()) == sorted(["another", path.parent.name])


def engine(folder: Path, builder: Any, capability: str, status: Any = NOT_RUN) -> Engine:
    """An engine of nothing in a folder, as a release or a box has it."""
    path = folder / f"model.sm{capability.replace('.', '')}.engine"
    path.write_bytes(f"{builder} {capability} {status}".encode())
    made = compiled.fingerprint(builder=builder, compute_capabilities=[capability], precision="fp16")
    return compiled.engine(path, fingerprint=made, status=status)


def served(model: Path) -> dict[str, bytes]:
    """By compute capability, what Triton would load."""
    found = parse((model / "config.pbtxt").read_text())
    assert (found.name, found.platform, found.default_model_filename) == (model.name, "tensorrt_plan", "")
    named = {entry.key: entry.value for entry in found.cc_model_filenames}
    assert {path.name for path in (model / "1").iterdir()} == set(named.values())
    return {capability: (model / "1" / file).read_bytes() for capability, file in named.items()}


def test_engines_are_served_by_compute_capability_and_only_those_that_triton_loads(release, tmp_path) -> None:
    made = [engine(release, "tensorrt", "9.0"), engine(release, "tensorrt", "8.9")]
    made.append(engine(release, "tensorrt_rtx", "12.0", PASSED))
    manifest = load(release).model_copy(update={"engines": made})
    none = repository.write(manifest, release, tmp_path / "none")
    assert len(none.models) == 1
    assert [reason.partition(":")[0] for reason in none.left_out] == [each.file for each in made]
    assert "python -m deploy.box compile" in none.left_out[0]
    written = repository.write(manifest, release, tmp_path / "out", untried=True)
    assert [reason.partition(":")[0] for reason in written.left_out] == ["model.sm120.engine"]
    found = served(tmp_path / "out" / written.models[1])
    wanted = {each.fingerprint.compute_capabilities[0]: (release / each.file).read_bytes() for each in made[:2]}
    assert found == wanted
    (release / "model.sm90.engine").write_bytes(b"another")
    with pytest.raises(ContractError, match=r"model\.sm90\.engine"):
        repository.write(manifest, release, tmp_path / "out", untried=True)


def test_a_box_serves_the_engine_that_passed_on_its_gpu(release, tmp_path, capsys) -> None:
    state = tmp_path / "state"
    asked = [str(release), str(tmp_path / "out"), "--state", str(state)]
    assert main(asked) == 1
    assert "python -m deploy.box compile" in capsys.readouterr().err
    folder = engines.place(release, state)
    folder.mkdir(parents=True)
    made = engine(folder, "tensorrt", "9.0", PASSED)
    kept = engines.Kept(release_sha256=engines.release_sha256(release), engine=made, parity={})
    write_json(folder / engines.RECORD, kept.model_dump())
    assert main(asked) == 0
    (model,) = (tmp_path / "out").glob("*_tensorrt")
    assert served(model) == {"9.0": (folder / made.file).read_bytes()}


@pytest.mark.parametrize(
    "change",
    [
        lambda graph: setattr(graph.output[0], "name", "answers"),
        lambda graph: graph.output.pop(),
        lambda graph: setattr(graph.input[0].type.tensor_type.shape.dim[2], "dim_value", 96),
        lambda graph: setattr(graph.input[1].type.tensor_type, "elem_type", TensorProto.DOUBLE),
        lambda graph: setattr(graph.output[1].type.tensor_type.shape.dim[0], "dim_value", 1),
    ],
    ids=["name", "missing", "size", "type", "fixed batch"],
)
def test_a_graph_that_is_not_the_contracts_is_refused(change, release) -> None:
    manifest, graph = load(release), onnx.load(release / "model.onnx").graph
    config.check(config.ports(release / "model.onnx"), manifest)
    change(graph)
    named = config.Ports(
        *(
            tuple(config.Tensor(name, kind, tuple(dims)) for name, kind, dims in of_graph(values))
            for values in (graph.input, graph.output)
        )
    )
    with pytest.raises(ContractError, match="ask its maker"):
        config.check(named, manifest)


def test_a_changed_release_is_not_served(release, tmp_path, capsys) -> None:
    (release / "model_card.md").write_text("changed")
    assert main([str(release), str(tmp_path / "out")]) == 1
    assert "model_card.md" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_machine_that_cannot_run_the_chosen_precision_can_still_serve_the_graph(
    release, tmp_path, monkeypatch
) -> None:
    manifest = json.loads((release / "manifest.json").read_text())
    manifest["runs"] = {"runtime": "openvino", "precision": "bf16"}
    write_json(release / "manifest.json", manifest)
    (release / signature.SUMS).unlink()
    signature.write_sums(release)

    def refuse(*_: object, **__: object) -> None:
        raise EngineError("a processor with AMX", "none", "Get one.")

    monkeypatch.setattr(OpenVino, "__init__", refuse)
    assert main([str(release), str(tmp_path / "out")]) == 0


def test_the_command_needs_no_training_library(release, tmp_path, root) -> None:
    program = "import sys; sys.modules.update(dict.fromkeys(['torch', 'onnx', 'monai', 'timm']));"
    program += "from deploy.triton.__main__ import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, str(release), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
