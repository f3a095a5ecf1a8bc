"""The release folder: contract, graph, engines, model card, checksums, signature; refused where the chain is broken."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipeline.config import Params
from pipeline.contract import Calibration, Engine, Graph, Manifest, Runs, StudiesFile, Task, Trunk, Variant
from pipeline.engine import model_card, trunk
from pipeline.errors import ContractError
from pipeline.files import sha256_file, write_atomic
from pipeline.fingerprint import ParityCases, Provenance
from pipeline.inference import signature
from pipeline.inference.answers import INPUTS
from pipeline.monitoring import reference as references
from pipeline.origins import Pretrained

GRAPH = "model.onnx"


@dataclass(frozen=True)
class Evidence:
    """What the stages before left about one model.

    Attributes:
        backbone: models/backbone/card.json.
        calibration: models/calibration.json.
        metrics: reports/metrics.json.
        acceptance: reports/acceptance.json.
        parity: models/export/parity.json.
        ladder: models/export/ladder.json.
        compiled: models/engine/compile.json.
    """

    backbone: Mapping[str, Any]
    calibration: Calibration
    metrics: Mapping[str, Any]
    acceptance: Mapping[str, Any]
    parity: Mapping[str, Any]
    ladder: Mapping[str, Any]
    compiled: Mapping[str, Any]


@dataclass(frozen=True)
class Parts:
    """The files that a release is made of: the weights that were exported, their ONNX in fp32 with its variants beside
    it, the folder of engines and parity cases, and the studies that a box's are compared with.
    """

    model: Path
    graph: Path
    engines: Path
    reference: Path


def write(params: Params, evidence: Evidence, parts: Parts, out: Path) -> Manifest:
    """Write the release to `out`, all or nothing; equal inputs give equal bytes. What was in `out` before is gone.

    Raises:
        ContractError: not accepted, no licence, or the parts do not belong to one model; `out` is then untouched.
        EngineError: the model has no trunk; likewise.
    """
    _require_permission(params, evidence)
    _require_acceptance(evidence.acceptance)
    _require_one_model(evidence, parts)
    key = None if params.release.key_file is None else signature.private_key(params.release.key_file)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _copy(parts.graph, part / GRAPH)
        _copy(parts.reference, part / references.FILE)
        trunk.write(parts.model, part / trunk.FILE)
        manifest = _manifest(params, evidence, part, key)
        for path in _beside(manifest, parts):
            _copy(path, part / path.name)
        manifest.save(part / "manifest.json")
        model_card.write(manifest, evidence.compiled, part)
        signature.write_sums(part)
        if key is not None:
            signature.sign(part, key)
        signature.check_sums(part)
        if out.exists():
            shutil.rmtree(out)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def _beside(manifest: Manifest, parts: Parts) -> list[Path]:
    """The graph in other precisions, the engines, each of a graph that comes with it, and parity cases."""
    known = {manifest.graph.sha256, *(variant.sha256 for variant in manifest.graph.variants)}
    for engine in manifest.engines:
        found = engine.fingerprint.onnx_sha256
        if found not in known:
            raise ContractError(
                f"{engine.file} of a graph of this release",
                f"one of {found[:12]}",
                "Run `dvc repro`: a part is from another model.",
            )
    variants = [parts.graph.with_name(variant.file) for variant in manifest.graph.variants]
    names = [manifest.cases.file, *(engine.file for engine in manifest.engines)]
    if manifest.answers is not None:
        names.append(manifest.answers.file)
    return [*variants, *(parts.engines / name for name in names)]


def _copy(source: Path, target: Path) -> None:
    with open(source, "rb") as handle:
        write_atomic(target, lambda out: shutil.copyfileobj(handle, out))


def _require_permission(params: Params, evidence: Evidence) -> None:
    """Data and weights are used by a stated right, or not released."""
    unstated = {f"data.{key}": why for key, why in params.data.unstated.items()}
    if not str(evidence.backbone.get("licence") or "").strip():
        unstated["the backbone's licence"] = "empty"
    for name, why in unstated.items():
        raise ContractError(
            f"{name} stated for a release", why, "Write in params.yaml where it is from and its licence."
        )


def _source_domain(backbone: Mapping[str, Any]) -> str:
    """The images that the pre-trained weights have seen, as far as their card tells."""
    if backbone["trained"]:
        return f"natural photographs ({backbone['trained']['data']})"
    if backbone["weights"] == "release":
        return f"MRI ({backbone['origins'][0]['data']})"
    known = {"hub": "natural photographs (those that the network's library trains with)"}
    return known.get(backbone["weights"], "not stated by the weights' file")


def _require_acceptance(acceptance: Mapping[str, Any]) -> None:
    """Every criterion met, or waived by somebody for a reason."""
    criteria = acceptance.get("criteria") or []
    failed = [str(entry.get("metric")) for entry in criteria if entry.get("passed") is not True and not _waived(entry)]
    if failed or not criteria or any(value is False for value in acceptance.values()):
        raise ContractError(
            "a model that met every acceptance criterion, but for those waived in writing",
            f"{', '.join(failed) or 'none'} of {len(criteria)} failed" if criteria else "no criteria judged",
            "Run `dvc repro accept` and read reports/report.html.",
        )


def _waived(entry: Mapping[str, Any]) -> bool:
    waiver = entry.get("waiver") or {}
    return entry.get("waived") is True and all(str(waiver.get(key) or "").strip() for key in ("by", "reason"))


def _require_one_model(evidence: Evidence, parts: Parts) -> None:
    """Calibration, trunk, graph, engines and reference all come from the same weights."""
    of_graph, of_engines = evidence.parity["onnx_sha256"], evidence.compiled["onnx_sha256"]
    of_model = evidence.parity["model_sha256"]
    same = [
        ("calibration of the exported model", evidence.calibration.model_sha256, evidence.parity["model_sha256"]),
        (f"{parts.model.name} as it was exported", sha256_file(parts.model), evidence.parity["model_sha256"]),
        (f"{parts.graph.name} as its parity was tested", sha256_file(parts.graph), of_graph),
        ("engines of the exported graph", of_engines, of_graph),
        ("engines of the exported model", evidence.compiled["provenance"]["weights_sha256"], of_model),
        ("a reference by the exported graph", references.read(parts.reference).onnx_sha256, of_graph),
    ]
    made = [(parts.graph.with_name(entry["file"]), entry) for entry in evidence.ladder["graphs"].values()]
    compiled = [evidence.compiled["cases"], evidence.compiled["answers"], *evidence.compiled["engines"]]
    built = [(parts.engines / entry["file"], entry) for entry in compiled if entry]
    same += [(f"{path.name} as it was made", _hash(path), entry["sha256"]) for path, entry in [*made, *built]]
    for what, found, promised in same:
        if found != promised:
            raise ContractError(
                f"{what}, {promised[:12]}", found[:12], "Run `dvc repro`: a part is from another model."
            )


def _hash(path: Path) -> str:
    return sha256_file(path) if path.is_file() else "no file"


def _graph(evidence: Evidence) -> Graph:
    """The graph, with its variants in those precisions that validation patients allowed."""
    parity, ladder = evidence.parity, evidence.ladder
    return Graph(
        file=GRAPH,
        sha256=parity["onnx_sha256"],
        opset=parity["opset"],
        inputs=list(INPUTS),
        outputs=parity["outputs"],
        pooling=parity["pooling"],
        usual_slices=evidence.compiled["slices"]["usual"],
        most_slices=evidence.compiled["slices"]["most"],
        variants=[Variant(precision=name, **ladder["graphs"][name]) for name in ladder["released"]],
    )


def _learnt_before(backbone: Pretrained) -> str:
    """The task that the backbone's weights come from, in words."""
    return f"{backbone.task} by {backbone.name} ({backbone.origin})"


def _task(params: Params, evidence: Evidence) -> Task:
    data = params.data
    return Task(
        source=_learnt_before(Pretrained.model_validate(evidence.backbone)),
        target=f"MRI classification, one label a {data.label_level}",
        source_domain=_source_domain(evidence.backbone),
        target_domain=params.ingest.selection.domain,
        label_level=data.label_level,
        kind=data.task,
        classes=list(data.targets.classes),
    )


def _manifest(params: Params, evidence: Evidence, folder: Path, key: Ed25519PrivateKey | None) -> Manifest:
    """The contract of a release whose trunk and reference lie in its folder."""
    data, parity = params.data, evidence.parity
    return Manifest(
        name=params.release.name,
        version=params.release.version,
        task=_task(params, evidence),
        selection=params.ingest.selection,
        transform=params.prepare,
        graph=_graph(evidence),
        runs=Runs.model_validate(evidence.ladder["runs"]),
        trunk=Trunk(file=trunk.FILE, sha256=sha256_file(folder / trunk.FILE)),
        reference=StudiesFile(file=references.FILE, sha256=sha256_file(folder / references.FILE)),
        calibration=evidence.calibration,
        backbone=Pretrained.model_validate(evidence.backbone),
        data={"source": data.source, "licence": data.licence},
        validation={
            "metrics": dict(evidence.metrics),
            "acceptance": list(evidence.acceptance["criteria"]),
            "precision": {name: evidence.ladder[name] for name in ("asked", "validation", "rungs")},
            "onnx_parity": {name: parity[name] for name in ("max_abs_logit_difference", "tolerance", "slices")},
        },
        made_from=Provenance.model_validate(evidence.compiled["provenance"]),
        cases=ParityCases.model_validate(evidence.compiled["cases"]),
        answers=evidence.compiled["answers"],
        engines=[Engine.model_validate(engine) for engine in evidence.compiled["engines"]],
        signature=signature.UNSIGNED if key is None else signature.describe(key),
    )
