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

from pipeline.clinical import (
    baselines,
    calibration,
    flow,
    leakage,
    ledger,
    levels,
    localisation,
    predictions,
    reachable,
    split,
    subgroups,
    tables,
)
from pipeline.clinical.evaluation import Beside, Evaluation, evaluate
from pipeline.clinical.indicators import Indicators, measure
from pipeline.clinical.learning import Curve, curve
from pipeline.clinical.pooling import unit_logits
from pipeline.clinical.proportions import Calls
from pipeline.clinical.report import examples, page
from pipeline.clinical.report.charts import MODELS
from pipeline.clinical.report.gather import gather
from pipeline.clinical.resampling import draw
from pipeline.clinical.units import Units, units_of
from pipeline.config import Params
from pipeline.contract import Calibration, Pooling
from pipeline.engine.confirm import confirm
from pipeline.errors import ContractError
from pipeline.files import read_csv, read_json, write_csv, write_json, write_text
from pipeline.inference.neighbours import smoothed
from pipeline.progress import say
from pipeline.stages import runner
from pipeline.targets import Targets
from pipeline.transfer import advisor, probe
from pipeline.transfer.model import TransferModel, load
from pipeline.transfer.predict import rows as rows_of
from pipeline.transfer.saliency import METHOD, saliency

INGESTED, PREPARED = Path("data/ingested"), Path("data/prepared")
SPLIT, FEATURES = Path("data/split.csv"), Path("data/features/features.npy")
MODELS_DIR, CALIBRATION = Path("models"), Path("models/calibration.json")
EXPORT = MODELS_DIR / "export"
REPORTS = Path("reports")
ADVICE, LEDGER = REPORTS / "transferability.json", REPORTS / "ledger.csv"

Floats32 = npt.NDArray[np.float32]
Rows = Sequence[Mapping[str, str]]


def validate(params: Params) -> None:
    """Measure the fine-tuned model, the probe and the scratch model on the test patients, and report.

    Raises:
        ContractError: calibration or graphs belong to another model or another split than those there now, the curve
            of a training to other validation units, or predictions to compare with to other test units.
        EngineError: this machine cannot run the rung of the precision ladder that was chosen.
        LeakageError: a patient or a picture on two sides of the split.
        LedgerError: the ledger of the test set is damaged.
    """
    fixed = calibration.read(CALIBRATION, MODELS_DIR / "finetuned/model.safetensors", SPLIT)
    rows, parted, index = (read_csv(path) for path in (PREPARED / "slices.csv", SPLIT, INGESTED / "index.csv"))
    split.check([*parted, *rows])
    targets = params.data.targets
    units = units_of(rows, "test", targets)
    opened = _opened(fixed, parted, rows, units)
    slices = np.load(PREPARED / "slices.npy", mmap_mode="r")[units.rows]
    opened["precision"] = confirm(EXPORT, units, slices, fixed, targets, params.validate_.confidence)
    models = {name: load(MODELS_DIR / name) for name in ("finetuned", "scratch")}
    by_slice = {name: rows_of(model, slices) for name, model in models.items()}
    pooling = models["finetuned"].head.pooling
    validation = units_of(rows, "val", targets)
    near = fixed.neighbours_sd
    learned, logits = _learned(params, validation, near), _pooled(units, by_slice, pooling, near)
    beside = Beside(
        called=_baselines(params, validation, learned, logits, near),
        others={other.name: predictions.read(other, units.ids, targets) for other in params.validate_.compare},
        parts=levels.coarser(rows, index, units, params.data.label_level),
    )
    found = evaluate(units, logits, fixed, params.validate_, params.seed, targets, beside)
    card = read_json(MODELS_DIR / "backbone/card.json")
    transfer = {**found.figures["transfer"], **learned.figures()}
    figures = {**found.figures, "transfer": transfer, "backbone": _origin(card), **opened}
    figures |= _around(params, found, parted, index, rows)
    figures |= _explanation(params, models["finetuned"], index, [rows[row] for row in units.rows], slices)
    _write(found, figures)
    shown = _examples(found, models["finetuned"], slices, by_slice["finetuned"])
    advice = advisor.sentences(advisor.read(REPORTS)) if ADVICE.is_file() else []
    write_text(REPORTS / "report.html", page.render(gather(params, found, learned, figures, shown, advice)))
    _say(figures)


def _say(figures: Mapping[str, Any]) -> None:
    auroc, precision = figures["finetuned"]["auroc"], figures["precision"]
    went = "confirmed" if precision["confirmed"] else f"NOT confirmed: {precision['refused']}"
    say(f"{precision['backend']}: {went}")
    say(f"test AUROC {auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f}); {REPORTS / 'report.html'}")


def _opened(fixed: Calibration, parted: Rows, rows: Rows, units: Units) -> dict[str, Any]:
    """See that the sides are apart, and write down that the test set is opened: before any answer for it is there."""
    leaks = leakage.find(np.load(PREPARED / "slices.npy", mmap_mode="r"), rows)
    if leaks.near:
        say(f"{leaks.near} pairs of near-duplicate slices on two sides of the split: see `leakage` in the metrics")
    key = ledger.Key(split.content_sha256(parted), fixed.model_sha256, fixed.content_sha256)
    count = ledger.record(ledger.place(Path(), LEDGER), key, len(units.ids))
    say(f"{LEDGER}: test set opened {count.opened} times, for {count.models} models")
    return {"leakage": leaks.figures(), "test_set": count.figures()}


def _write(found: Evaluation, figures: Mapping[str, Any]) -> None:
    """The figures, and the tables that `dvc plots` and others read."""
    write_json(REPORTS / "metrics.json", figures)
    tables.write_predictions(found, REPORTS)
    tables.write_plots(found, REPORTS / "plots")
    write_csv(REPORTS / "plots/subgroups.csv", subgroups.COLUMNS, subgroups.table(figures["subgroups"]))


def _around(params: Params, found: Evaluation, parted: Rows, index: Rows, rows: Rows) -> dict[str, Any]:
    """What the figures are of: groups of the test patients, what these could show at best, and who was left out."""
    units, settings = found.units, params.validate_
    labels = read_csv(INGESTED / "labels.csv")
    scores = found.targets.scores(found.logits["finetuned"])
    groups = subgroups.attributes(units, rows, index, labels)
    answers = subgroups.Answers(units, scores, found.called, groups)
    return {
        "subgroups": subgroups.measure(answers, settings, params.accept),
        "reachable": reachable.best(found.targets, units.labels, settings.confidence),
        "flow": flow.count(read_csv(INGESTED / "rejected.csv"), index, labels, parted, rows),
    }


def _origin(card: Mapping[str, Any]) -> dict[str, Any]:
    """Of models/backbone/card.json what says which weights the training began with."""
    known = {key: card[key] for key in ("name", "weights", "origin", "sha256", "verified", "licence")}
    trained = card["trained"] or {}
    return known | {key: trained[key] for key in ("data", "top1", "top1_images") if key in trained}


def _pooled(units: Units, by_slice: Mapping[str, Floats32], pooling: Pooling, near: float) -> dict[str, Floats32]:
    """Unit logits (U, K) of the three models: the networks' slices pooled, and the probe on pooled features."""
    logits = {name: unit_logits(values, units, pooling, near) for name, values in by_slice.items()}
    logits["probe"] = _probed(units, near)
    return {name: logits[name].reshape(units.labels.shape) for name in MODELS}


def _probed(units: Units, near: float) -> Floats32:
    """What the probe says of units: it is linear, so the mean of logits is the logit of the mean of features."""
    features = np.load(FEATURES, mmap_mode="r")[units.rows]
    return unit_logits(probe.load(MODELS_DIR / "probe").logits(features), units, "mean", near)


def _baselines(
    params: Params, units: Units, learned: Indicators, logits: Mapping[str, Floats32], near: float
) -> dict[str, Calls]:
    """What scratch model and probe call positive on the test side, at thresholds of the validation units."""
    targets, scratch = params.data.targets, learned.curves["scratch"]
    scores = {
        "scratch": scratch.scores[scratch.kept],
        "probe": targets.scores(_probed(units, near).reshape(units.labels.shape)),
    }
    found = {
        name: baselines.called(units.labels, own, targets.scores(logits[name]), params.calibrate.threshold, targets)
        for name, own in scores.items()
    }
    return {name: called for name, called in found.items() if called is not None}


def _learned(params: Params, units: Units, near: float) -> Indicators:
    """What the courses of both trainings say of the validation units."""
    phases, settings = params.finetune.phases, params.validate_
    allowed = sum(phase.epochs for phase in phases if phase.trunk != 0)
    frozen = {phase.name for phase in phases if phase.trunk == 0}
    targets = params.data.targets
    curves = {
        "finetuned": _curve("finetuned", units, targets, near, frozen, allowed),
        "scratch": _curve("scratch", units, targets, near, set(), params.control_epochs),
    }
    drawn = draw(units.patients, settings.bootstrap, settings.confidence, params.seed)
    return measure(units.labels, curves, drawn)


def _curve(name: str, units: Units, targets: Targets, near: float, frozen: set[str], allowed: int) -> Curve:
    """The course of one training, by what its validation units are ranked by."""
    folder = MODELS_DIR / name
    if not (folder / "curve.npz").is_file():
        raise ContractError(f"{folder / 'curve.npz'}", "no such file", "Run `dvc repro`: the training is older.")
    with np.load(folder / "curve.npz") as stored:
        logits = stored["logits"]
    found = curve(name, read_csv(folder / "history.csv"), logits, units.labels.shape, frozen, allowed)
    scores = [targets.scores(smoothed(row, units.places, near)) for row in logits]
    return replace(found, scores=np.stack(scores))


def _examples(
    found: Evaluation, model: TransferModel, slices: npt.NDArray[np.uint8], by_slice: Floats32
) -> list[examples.Example]:
    """Of each chosen unit the slice with the highest score of the class in question, with its saliency for it."""
    units = found.units
    chosen = examples.choose(found.targets, units.labels, found.probabilities, found.called, found.fixed.threshold)
    scores = found.targets.scores(by_slice[:, : found.targets.outputs])
    of_unit = np.array(units.slice_units)
    best = []
    for outcome, unit in chosen:
        own = np.flatnonzero(of_unit == units.ids[unit])
        best.append(own[scores[own, outcome.place].argmax()])
    maps = saliency(model, slices[best], np.array([outcome.place for outcome, _ in chosen], dtype=np.int64))
    return [
        examples.example(found, outcome, unit, slices[place], heat)
        for (outcome, unit), place, heat in zip(chosen, best, maps, strict=True)
    ]


def _explanation(
    params: Params, model: TransferModel, index: Rows, rows: Rows, slices: npt.NDArray[np.uint8]
) -> dict[str, Any]:
    """Whether the saliency points at the lesions that are drawn on test slices, or why that is not known."""
    settings, folder, reason = params.validate_, params.validate_.masks, None
    if folder is None or not folder.is_dir():
        reason = "there is no folder of masks where validate.masks says" if folder else "validate.masks names no folder"
    elif params.data.task != "binary":
        reason = "the masks do not say of which class a lesion is"
    else:
        paths = {row["series"]: row["path"] for row in index}
        lesions = localisation.read(folder, rows, paths, params.prepare)
        if len(lesions.places):
            places = np.zeros(len(lesions.places), dtype=np.int64)
            heats = saliency(model, slices[lesions.places], places)
            found = localisation.figures(heats, lesions, settings.bootstrap, settings.confidence, params.seed)
            return {"explanation": {"method": METHOD, **found}}
        reason = "validate.masks holds no lesion on a test slice"
    return {"explanation": {"method": METHOD, "reason": reason}}


if __name__ == "__main__":
    runner.run("validate", validate)
