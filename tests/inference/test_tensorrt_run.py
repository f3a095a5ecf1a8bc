"""The run side, on a GPU in memory whose every call is held to the real signatures."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tensorrt_rtx

from pipeline.errors import EngineError
from pipeline.inference import cuda, tensorrt
from pipeline.inference.answers import Answers, each
from pipeline.inference.backends import OnnxRuntime
from pipeline.inference.tensorrt_run import TensorRt
from tests.gpu_in_memory import GPU, Machine
from tests.signatures import Checked, overloads
from tests.small_network import SIZE

MOST = 8


@pytest.fixture
def machine(graph: Path) -> Machine:
    return Machine(graph, (1, 4, MOST))


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "model.engine"
    path.write_bytes(b"vtrt and more")
    return path


@pytest.fixture
def slices() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(2).integers(0, 256, (MOST, SIZE, SIZE), dtype=np.uint8)


def same(found: Answers, expected: Answers) -> None:
    for name, value in vars(expected).items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("module", ["tensorrt", "tensorrt_rtx"])
def test_it_answers_as_the_graph_at_any_number_of_slices(
    module: str, machine: Machine, engine: Path, graph: Path, slices, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = machine.install(monkeypatch, module)
    backend = TensorRt(engine, builder, "fp16")
    assert backend.name == f"{module} {builder.version}, {GPU.name}, fp16"
    assert (backend.size, backend.most) == (SIZE, MOST)
    reference = OnnxRuntime(graph)
    assert backend.outputs == reference.outputs
    for count in (1, 3, 3, 3, 8, 1, 1):
        for belongs in (np.ones((1, count), np.float32), each(count)):
            part = slices[:count]
            same(backend.run(part, belongs), reference.run(part, belongs))
    kept = backend.run(slices, each(MOST))
    backend.run(slices[::-1], each(MOST))
    same(kept, reference.run(slices, each(MOST)))
    backend.close()
    assert machine.driver.memory == {}


def test_a_shape_that_comes_again_is_captured_and_one_that_goes_is_forgotten(
    machine: Machine, engine: Path, graph: Path, slices, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = TensorRt(engine, machine.install(monkeypatch, "tensorrt"), "fp32")
    reference, calls = OnnxRuntime(graph), machine.driver.calls
    for round_, (count, captures, launches) in enumerate(((3, 0, 0), (3, 1, 1), (3, 1, 2), (5, 1, 2), (3, 1, 2))):
        part = np.roll(slices, round_, axis=0)[:count]
        same(backend.run(part, each(count)), reference.run(part, each(count)))
        assert (calls.count("cuStreamBeginCapture"), calls.count("cuGraphLaunch")) == (captures, launches)
    assert calls.count("cuGraphExecDestroy") == 1
    assert calls.count("cuMemAlloc") == len(backend.outputs) + 2
    backend.close()


def test_tensorrt_rtx_captures_by_itself_and_keeps_what_it_compiled(
    machine: Machine, engine: Path, slices, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    builder = machine.install(monkeypatch)
    for compiled, anew in ((b"mine", False), (b"mine", False), (b"of another driver", True)):
        machine.compiled = compiled
        backend = TensorRt(engine, builder, "fp32")
        settings = backend._context._settings
        assert settings.cuda_graph_strategy == tensorrt_rtx.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        strategies = tensorrt_rtx.DynamicShapesKernelSpecializationStrategy
        assert settings.dynamic_shapes_kernel_specialization_strategy == strategies.NONE
        for _ in range(3):
            backend.run(slices[:2], each(2))
        assert "cuStreamBeginCapture" not in machine.driver.calls
        backend.close()
        assert engine.with_suffix(".kernels").read_bytes() == compiled
        assert ("kernels are compiled anew" in capfd.readouterr().err) == anew


@pytest.mark.parametrize("count", [0, MOST + 1])
def test_more_slices_than_it_was_built_for_are_an_error(
    count: int, machine: Machine, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = TensorRt(engine, machine.install(monkeypatch), "fp32")
    with pytest.raises(EngineError, match=rf"1 to {MOST} slices, as the engine was built for; found {count}\."):
        backend.run(np.zeros((count, SIZE, SIZE), np.uint8), np.ones((1, count), np.float32))


def test_what_is_no_engine_is_an_error(machine: Machine, engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.write_bytes(b"something else")
    with pytest.raises(EngineError, match=r"said: not an engine. .*python -m deploy.box compile RELEASE"):
        TensorRt(engine, machine.install(monkeypatch), "fp32")
    assert machine.driver.calls[-1] == "cuDevicePrimaryCtxRelease"


@pytest.mark.parametrize("call", ["cuInit", "cuMemAlloc", "cuStreamCreate"])
def test_what_the_driver_refuses_is_an_error(
    call: str, machine: Machine, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.driver.fails = call
    with pytest.raises(EngineError, match=f"{call} to work on {GPU.name}; found CUDA_ERROR_OUT_OF_MEMORY"):
        TensorRt(engine, machine.install(monkeypatch), "fp32")


def test_no_gpu_is_an_error(engine: Path) -> None:
    with pytest.raises(EngineError, match=r"an NVIDIA GPU and its driver; found (no driver|a driver and no GPU)"):
        TensorRt(engine, tensorrt.find(), "fp32")


def test_no_cuda_bindings_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(EngineError, match="pip install cuda-bindings"):
        cuda._import()


def test_a_call_that_the_real_module_does_not_take_fails_here() -> None:
    """The double has teeth: a wrong name, a wrong number of arguments, a wrong type."""

    class Context(Checked):
        REAL = "IExecutionContext"

        def set_tensor_address(self, *values: object) -> bool:
            return True

        def execute_async(self) -> bool:
            return True

    context = Context()
    assert context.set_tensor_address("slices", 7)
    for wrong in (("slices",), (7, "slices"), ("slices", 7, 7)):
        with pytest.raises(AssertionError):
            context.set_tensor_address(*wrong)
    with pytest.raises(AttributeError, match="execute_async"):
        context.execute_async()
    assert len(overloads(tensorrt_rtx.ICudaEngine.create_execution_context)) == 2
