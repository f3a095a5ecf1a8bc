"""Stage `release`: everything before it -> models/release/, what a hospital gets."""

from __future__ import annotations

from pathlib import Path

from pipeline.clinical import calibration
from pipeline.config import Params
from pipeline.engine import release as releasing
from pipeline.files import read_json
from pipeline.inference.signature import UNSIGNED
from pipeline.progress import say
from pipeline.stages import runner

BACKBONE = Path("models/backbone/card.json")
CALIBRATION = Path("models/calibration.json")
METRICS = Path("reports/metrics.json")
ACCEPTANCE = Path("reports/acceptance.json")
MODEL = Path("models/finetuned/model.safetensors")
EXPORT = Path("models/export")
ENGINES = Path("models/engine")
REFERENCE = Path("data/reference.npz")
OUT = Path("models/release")


def release(params: Params) -> None:
    """Write the release folder.

    Raises:
        ContractError: not accepted, no licence stated, the calibration was changed, or the parts do not belong to one
            model.
        EngineError: the fine-tuned model has no trunk.
    """
    evidence = releasing.Evidence(
        backbone=read_json(BACKBONE),
        calibration=calibration.unchanged(CALIBRATION),
        metrics=read_json(METRICS),
        acceptance=read_json(ACCEPTANCE),
        parity=read_json(EXPORT / "parity.json"),
        ladder=read_json(EXPORT / "ladder.json"),
        compiled=read_json(ENGINES / "compile.json"),
    )
    parts = releasing.Parts(MODEL, EXPORT / releasing.GRAPH, ENGINES, REFERENCE)
    manifest = releasing.write(params, evidence, parts, OUT)
    built = [f"{engine.built_for} in {engine.fingerprint.precision} ({engine.status})" for engine in manifest.engines]
    say(f"release: {OUT}: {manifest.name} {manifest.version}; engines: {', '.join(built) or 'none'}")
    if manifest.signature == UNSIGNED:
        say(f"release: {UNSIGNED}: set release.key_file in params.yaml to sign it")


if __name__ == "__main__":
    runner.run("release", release)
