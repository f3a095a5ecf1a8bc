"""TensorRT engines in a box's state: built on it from a release, used only after they passed the parity cases there.

`STATE/engines/<hash of the release>/` holds `model.<precision>.engine`, what its inspector says, and `engine.json`,
which is written last: without it there is no engine. The release's hash is that of its SHA256SUMS.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from pipeline import contract
from pipeline.errors import ContractError, EngineError
from pipeline.files import sha256_file, write_json
from pipeline.fingerprint import PASSED, REBUILD, Engine, Here, Precision, require_match, sha256_of
from pipeline.inference import cases, engines, gpu, signature, tensorrt
from pipeline.inference.engines import Model
from pipeline.inference.tensorrt_run import TensorRt
from pipeline.progress import say
from pipeline.strict import Strict

RECORD = "engine.json"


class Kept(Strict):
    """`engine.json`: an engine, the release that it is of, and how it did on the parity cases."""

    release_sha256: str
    engine: Engine
    parity: dict[str, object]


def require_trusted(folder: Path, public_key: Path | None, allow_unsigned: bool) -> None:
    """See that a release is whole and by the owner of the box's key, before anything in it is read.

    Raises:
        ContractError: it is not, or no key was given and unsigned releases are not allowed.
    """
    if public_key is not None:
        signature.verify(folder, public_key)
        return
    if not allow_unsigned:
        raise ContractError(
            "the public key of the release's maker",
            "none",
            "Give it with `--public-key PEM`; `--allow-unsigned` takes a release for which nobody vouches.",
        )
    signature.check_sums(folder)
    say("the release's signature was not checked: --allow-unsigned")


def compile(folder: Path, state: Path, precision: Precision | None = None) -> Path:  # noqa: A001 - the command's name
    """Build the engine of a release for this machine's GPU, and run the release's parity cases on it.

    Args:
        folder: the release, which `require_trusted` has seen.
        state: the box's folder; the timing cache lies in it, too.
        precision: None: that of the release's engines, or fp32 where it has none.

    Returns:
        The engine's file.

    Raises:
        ContractError: the release does not match its contract.
        EngineError: no GPU, driver or TensorRT; the build failed; or the engine answers otherwise than the release.
    """
    machine = gpu.require()
    builder = tensorrt.find()
    if machine.compute_capability not in builder.capabilities:
        raise EngineError(
            f"a TensorRT that builds for {machine.name} ({machine.compute_capability})",
            f"{builder.name}, which builds for {', '.join(builder.capabilities)}",
            "`pip install tensorrt` builds for any NVIDIA GPU, on it.",
        )
    manifest = contract.load(folder)
    model = of_release(folder, manifest, precision or _usual(manifest))
    out = place(folder, state) / f"model.{model.precision}.engine"
    (out.parent / RECORD).unlink(missing_ok=True)
    how = tensorrt.Options(alone=manifest.task.label_level == "slice", cache=state / "cache")
    slices = (1, manifest.graph.usual_slices, manifest.graph.most_slices)
    engine, report = engines.make(builder, model, out, [machine.compute_capability], slices, how)
    if report is None or engine.status != PASSED:
        raise EngineError("the parity cases run on this GPU", engine.status, "Run the same command again.")
    kept = Kept(release_sha256=release_sha256(folder), engine=engine, parity=report)
    write_json(out.parent / RECORD, kept.model_dump())
    return out


def built(folder: Path, state: Path) -> bool:
    """Whether `compile` left an engine of this release."""
    return (folder / signature.SUMS).is_file() and (place(folder, state) / RECORD).is_file()


def open_engine(
    folder: Path, state: Path, run: Callable[[Path, tensorrt.Builder, Precision], TensorRt] = TensorRt
) -> TensorRt:
    """The engine that `compile` left for this release, loaded.

    Args:
        folder: the release, which `require_trusted` has seen.
        state: the box's folder.
        run: loads it.

    Raises:
        EngineError: there is none, or it is of another release, machine, driver or TensorRT, or was changed.
    """
    kept = _read(place(folder, state) / RECORD)
    path = place(folder, state) / Path(kept.engine.file).name
    promised = {
        "release": (kept.release_sha256, release_sha256(folder)),
        "status": (kept.engine.status, PASSED),
        "engine": (kept.engine.sha256, sha256_file(path) if path.is_file() else "no file"),
    }
    differs = [f"{name} {was[:12]}, not {wanted[:12]}" for name, (was, wanted) in promised.items() if was != wanted]
    if differs:
        raise EngineError(f"the engine of this release in {path}", "; ".join(differs), REBUILD)
    builder = tensorrt.find()
    machine: Here = engines.here(builder)
    manifest = contract.load(folder)
    model = of_release(folder, manifest, kept.engine.fingerprint.precision)
    require_match(kept.engine, machine, model.identity)
    return run(path, builder, model.precision)


def of_release(folder: Path, manifest: contract.Manifest, precision: Precision) -> Model:
    """What a release's engine is built from.

    Raises:
        ContractError: it has no graph in this precision, or a file is not the contract's.
    """
    files = manifest.graph.files
    if precision not in files:
        raise ContractError(
            f"a graph in {precision} in the release", f"{', '.join(files)}", "Choose another `--precision`."
        )
    name, digest = files[precision]
    graph = folder / Path(name).name
    for path, promised in ((graph, digest), (folder / manifest.cases.file, manifest.cases.sha256)):
        if not path.is_file() or sha256_file(path) != promised:
            raise ContractError(
                f"the manifest's {path.name}, {promised[:12]}", "another one", "Copy the release again, whole."
            )
    return Model(
        graph=graph,
        precision=precision,
        transform_sha256=sha256_of(manifest.transform),
        provenance=manifest.made_from,
        cases=cases.read(folder / manifest.cases.file),
        limits=manifest.cases,
        threshold=manifest.calibration.threshold,
    )


def place(folder: Path, state: Path) -> Path:
    """Where the engine of a release lies."""
    return state / "engines" / release_sha256(folder)


def release_sha256(folder: Path) -> str:
    """A release's hash: that of SHA256SUMS, which covers every file of it."""
    return sha256_file(folder / signature.SUMS)


def _usual(manifest: contract.Manifest) -> Precision:
    return manifest.engines[0].fingerprint.precision if manifest.engines else "fp32"


def _read(path: Path) -> Kept:
    if not path.is_file():
        raise EngineError("an engine that was built on this machine for this release", "none", REBUILD)
    try:
        return Kept.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise EngineError(f"the record of an engine in {path}", "something else", REBUILD) from error
