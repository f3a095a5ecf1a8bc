"""Stage `validate`: test patients -> reports/metrics.json, predictions.csv, plots and report.html.

It records a poor model like a good one; the stage `accept` judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.clinical import localisation, split, tables
from pipeline.clinical.evaluation import Evaluation, evaluate
from pipeline.clinical.indicators import Indicators, measure
from pipeline.clinical.learning import Curve, curve
from pipeline.clinical.report import examples, page
from pipeline.clinical.report.charts import MODELS
from pipeline.clinical.report.gather import gather
from pipeline.clinical.resampling import draw
from pipeline.clinical.units import Units, units_of
from pipeline.config import Params
from pipeline.contract import Calibration, Pooling
from pipeline.errors import ContractError
from pipeline.files import read_csv, read_json, sha256_file, write_json, write_text
from pipeline.inference.pooling import pool, pool_mean
from pipeline.progress import say
from pipeline.stages import runner
from pipeline.targets import Targets
from pipeline.transfer import advisor, probe
from pipeline.transfer.model import load
from pipeline.transfer.predict import rows as rows_of
from pipeline.transfer.saliency import METHOD, saliency

PREPARED, INDEX = Path("data/prepared"), Path("data/ingested/index.csv")
SPLIT, FEATURES = Path("data/split.csv"), Path("data/features/features.npy")
MODELS_DIR, CALIBRATION = Path("models"), Path("models/calibration.json")
REPORTS = Path("reports")
ADVICE = REPORTS / "transferability.json"

Floats32 = npt.NDArray[np.float32]


def validate(params: Params) -> None:
    """Measure the fine-tuned model, the probe and the scratch model on the test patients, and report.

    Raises:
        ContractError: the calibration belongs to another model or another split than those there now, or the curve of a
            training to other validation units.
        LeakageError: a patient on two sides of the split.
    """
    fixed = _fixed()
    rows = read_csv(PREPARED / "slices.csv")
    split.check([*read_csv(SPLIT), *rows])
    targets = params.data.targets
    units = units_of(rows, "test", targets)
    slices = np.load(PREPARED / "slices.npy", mmap_mode="r")[units.rows]
    models = {name: load(MODELS_DIR / name) for name in ("finetuned", "scratch")}
    by_slice = {name: rows_of(model, slices) for name, model in models.items()}
    pooling = models["finetuned"].head.pooling
    found = evaluate(units, _pooled(units, by_slice, pooling), fixed, params.validate_, params.seed, targets)
    learned = _learned(params, units_of(rows, "val", targets))
    card = read_json(MODELS_DIR / "backbone/card.json")
    transfer = {**found.figures["transfer"], **learned.figures()}
    figures = {**found.figures, "transfer": transfer, "backbone": _origin(card)}
    figures["explanation"] = _explanation(params, [rows[row] for row in units.rows], slices)
    write_json(REPORTS / "metrics.json", figures)
    tables.write_predictions(found, REPORTS)
    tables.write_plots(found, REPORTS / "plots")
    shown = _examples(found, slices, by_slice["finetuned"])
    advice = advisor.sentences(advisor.read(REPORTS)) if ADVICE.is_file() else []
    write_text(REPORTS / "report.html", page.render(gather(params, found, learned, figures, shown, advice)))
    auroc = figures["finetuned"]["auroc"]
    say(f"test AUROC {auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f}); {REPORTS / 'report.html'}")


def _origin(card: Mapping[str, Any]) -> dict[str, Any]:
    """Of models/backbone/card.json what says which weights the training began with."""
    known = {key: card[key] for key in ("name", "weights", "origin", "sha256", "verified", "licence")}
    trained = card["trained"] or {}
    return known | {key: trained[key] for key in ("data", "top1", "top1_images") if key in trained}


def _fixed() -> Calibration:
    """The calibration, if it was made for the model and split that are there."""
    fixed = Calibration.model_validate(read_json(CALIBRATION))
    for name, recorded, path in (
        ("model", fixed.model_sha256, MODELS_DIR / "finetuned/model.safetensors"),
        ("split", fixed.split_sha256, SPLIT),
    ):
        there = sha256_file(path)
        if there != recorded:
            raise ContractError(
                f"the {name} that {CALIBRATION} was made for (SHA-256 {recorded[:12]}...)",
                f"{path} with {there[:12]}...",
                "Run `dvc repro calibrate`: a threshold holds only for its own model and validation patients.",
            )
    return fixed


def _pooled(units: Units, by_slice: Mapping[str, Floats32], pooling: Pooling) -> dict[str, Floats32]:
    """Unit logits (U, K) of the three models: the networks' slices pooled, and the probe on pooled features."""
    features = np.load(FEATURES, mmap_mode="r")[units.rows]
    logits = {name: pool(values, units.slice_units, pooling)[1] for name, values in by_slice.items()}
    logits["probe"] = probe.load(MODELS_DIR / "probe").logits(pool_mean(features, units.slice_units)[1])
    return {name: logits[name].reshape(units.labels.shape) for name in MODELS}


def _learned(params: Params, units: Units) -> Indicators:
    """What the courses of both trainings say of the validation units."""
    phases, settings = params.finetune.phases, params.validate_
    trunk = [phase for phase in phases if phase.trunk != 0]
    allowed = sum(phase.epochs for phase in trunk)
    frozen = {phase.name for phase in phases} - {phase.name for phase in trunk}
    curves = {
        "finetuned": _curve("finetuned", units, params.data.targets, frozen, allowed),
        "scratch": _curve("scratch", units, params.data.targets, set(), params.scratch.epochs or allowed or 1),
    }
    drawn = draw(units.patients, settings.bootstrap, settings.confidence, params.seed)
    return measure(units.labels, curves, drawn)


def _curve(name: str, units: Units, targets: Targets, frozen: set[str], allowed: int) -> Curve:
    """The course of one training, by what its validation units are ranked by."""
    folder = MODELS_DIR / name
    if not (folder / "curve.npz").is_file():
        raise ContractError(f"{folder / 'curve.npz'}", "no such file", "Run `dvc repro`: the training is older.")
    with np.load(folder / "curve.npz") as stored:
        logits = stored["logits"]
    found = curve(name, read_csv(folder / "history.csv"), logits, units.labels.shape, frozen, allowed)
    return replace(found, scores=np.stack([targets.scores(row) for row in logits]))


def _examples(found: Evaluation, slices: npt.NDArray[np.uint8], by_slice: Floats32) -> list[examples.Example]:
    """Of each chosen unit the slice with the highest score of the class in question, with its saliency for it."""
    units, probabilities = found.units, found.probabilities
    chosen = examples.choose(found.targets, units.labels, probabilities, found.called, found.fixed.threshold)
    scores = found.targets.scores(by_slice[:, : found.targets.outputs])
    of_unit = np.array(units.slice_units)
    best = []
    for outcome, unit in chosen:
        own = np.flatnonzero(of_unit == units.ids[unit])
        best.append(own[scores[own, outcome.place].argmax()])
    maps = saliency(
        load(MODELS_DIR / "finetuned"), slices[best], np.array([outcome.place for outcome, _ in chosen], dtype=np.int64)
    )
    return [
        examples.Example(
            outcome=outcome,
            unit=units.ids[unit],
            actual=bool(units.labels[unit, outcome.place] == 1),
            probability=float(probabilities[unit, outcome.place]),
            image=slices[place],
            saliency=heat,
        )
        for (outcome, unit), place, heat in zip(chosen, best, maps, strict=True)
    ]


def _explanation(params: Params, rows: Sequence[Mapping[str, str]], slices: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Whether the saliency points at the lesions that are drawn on test slices, or why that is not known."""
    folder = params.validate_.masks
    if folder is None:
        return {"method": METHOD, "reason": "validate.masks names no folder of masks"}
    if params.data.task != "binary":
        return {"method": METHOD, "reason": "the masks do not say of which class a lesion is"}
    if not folder.is_dir():
        return {"method": METHOD, "reason": "there is no folder of masks where validate.masks says"}
    paths = {row["series"]: row["path"] for row in read_csv(INDEX)}
    lesions = localisation.read(folder, rows, paths, params.prepare)
    if not len(lesions.places):
        return {"method": METHOD, "reason": "validate.masks holds no lesion on a test slice"}
    model, settings = load(MODELS_DIR / "finetuned"), params.validate_
    heats = saliency(model, slices[lesions.places], np.zeros(len(lesions.places), dtype=np.int64))
    measured = localisation.figures(heats, lesions, settings.bootstrap, settings.confidence, params.seed)
    return {"method": METHOD, **measured}


if __name__ == "__main__":
    runner.run("validate", validate)
