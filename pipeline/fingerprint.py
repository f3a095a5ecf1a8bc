"""What a TensorRT engine was built from and for: it runs only where all of it still holds."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import Field

from pipeline.errors import EngineError
from pipeline.strict import Strict

Precision = Literal["fp32", "fp16", "bf16", "int8"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

#: Of an engine that no GPU has run, and of one whose answers were compared on its own GPU.
NOT_RUN: Literal["built, not run"] = "built, not run"
PASSED: Literal["parity passed on its GPU"] = "parity passed on its GPU"
#: The command that builds an engine for the machine it is typed on.
REBUILD = "python -m deploy.box compile RELEASE --state DIR"


class Provenance(Strict):
    """Where a model comes from.

    Attributes:
        weights_sha256: of the fine-tuned weights.
        data_sha256: of the tables of ingested volumes, which hold a hash of each, and of their labels.
        git_revision: of the code; None where it is no checkout.
    """

    weights_sha256: Sha256
    data_sha256: Sha256
    git_revision: str | None


class Fingerprint(Strict):
    """An engine's origin and target.

    Attributes:
        builder, builder_version: `tensorrt` or `tensorrt_rtx`.
        compute_capabilities: of the GPUs that it was built for.
        gpu, driver: of the machine that built it; None where it had none.
        precision: of its graph's trunk, read from the network that was built.
        onnx_sha256: of that graph.
        transform_sha256: of the preprocessing that it expects.
        provenance: of the model.
    """

    builder: Literal["tensorrt", "tensorrt_rtx"]
    builder_version: str
    compute_capabilities: Annotated[list[str], Field(min_length=1)]
    gpu: str | None
    driver: str | None
    precision: Precision
    onnx_sha256: Sha256
    transform_sha256: Sha256
    provenance: Provenance


class Engine(Strict):
    """One TensorRT engine, of a release or in a box's state.

    Attributes:
        slices: least, usual and most in one call.
        version_compatible: it runs in later versions of its builder, too, of the same major version.
        hardware_compatible: it runs on other GPUs, too: with `tensorrt` on all from compute capability 8.0, with
            `tensorrt_rtx` on all of its `compute_capabilities`.
    """

    file: str
    sha256: Sha256
    fingerprint: Fingerprint
    slices: tuple[int, int, int]
    version_compatible: bool
    hardware_compatible: bool
    status: Literal["built, not run", "parity passed on its GPU"]

    @property
    def built_for(self) -> str:
        """Its compute capabilities, as people read them."""
        return ", ".join(self.fingerprint.compute_capabilities)


class ParityCases(Strict):
    """The simulated calls of a release and what was said of them, see `pipeline.inference.cases`.

    Attributes:
        tolerance: of fp32, the largest difference of any output, of values beyond 1 as a share of them.
        band: of other precisions, the largest difference of a probability; and of all, decisions may differ only where
            the one that was said is no farther from another one than this.
        file: parity.npz, what the fp32 graph said, which an engine must say on its GPU; or runs.npz, what the way that
            runs on CPUs said where `compile` ran, which it must say on every other processor.
    """

    file: Literal["parity.npz", "runs.npz"] = "parity.npz"
    sha256: Sha256
    tolerance: Annotated[float, Field(gt=0)]
    band: Annotated[float, Field(ge=0)]


class Here(Strict):
    """What a machine would run an engine with."""

    builder: str
    builder_version: str
    compute_capability: str
    gpu: str
    driver: str


def sha256_of(value: Strict) -> str:
    """Of a part of the contract, such as its preprocessing."""
    return hashlib.sha256(json.dumps(value.model_dump(), sort_keys=True).encode()).hexdigest()


def require_match(engine: Engine, here: Here, model: dict[str, Any]) -> None:
    """See that an engine was built from this model and for this machine.

    Args:
        engine: as it is recorded.
        here: the machine.
        model: `onnx_sha256`, `transform_sha256` and `provenance` as the release has them.

    Raises:
        EngineError: it was not; the message names everything that differs, and the command that builds it anew.
    """
    found = engine.fingerprint
    pairs = {name: (getattr(found, name), value) for name, value in model.items()}
    pairs["builder"] = (found.builder, here.builder)
    if not (engine.version_compatible and _later(here.builder_version, found.builder_version)):
        pairs["builder_version"] = (found.builder_version, here.builder_version)
    if not _serves(engine, here.compute_capability):
        pairs["compute_capability"] = (engine.built_for, here.compute_capability)
    if not engine.hardware_compatible:
        pairs["gpu"] = (found.gpu, here.gpu)
    pairs["driver"] = (found.driver, here.driver)
    differs = [f"{name} {_short(was)}, here {_short(now)}" for name, (was, now) in pairs.items() if was != now]
    if differs:
        raise EngineError(f"{engine.file} built from this release and for this machine", "; ".join(differs), REBUILD)


def _later(here: str, built: str) -> bool:
    """Whether a version is the one that built, or a later one of the same major version."""
    now, then = ([int(part) for part in version.split(".") if part.isdigit()] for version in (here, built))
    return now[:1] == then[:1] and now >= then


def _serves(engine: Engine, capability: str) -> bool:
    """Whether the engine runs on GPUs of this compute capability."""
    if capability in engine.fingerprint.compute_capabilities:
        return True
    ampere = engine.hardware_compatible and engine.fingerprint.builder == "tensorrt"
    return ampere and float(capability) >= 8


def _short(value: object) -> str:
    """A hash by its beginning, and of a provenance its parts."""
    if isinstance(value, Provenance):
        return " ".join(_short(part) for part in value.model_dump().values())
    text = str(value)
    return text[:12] if len(text) >= 40 else text
