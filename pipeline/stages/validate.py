"""Stage `validate`: test patients -> reports/metrics.json, predictions.csv, plots and report.html.

It records a poor model like a good one; the stage `accept` judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.clinical import acceptance, split
from pipeline.clinical.evaluation import Evaluation, evaluate
from pipeline.clinical.indicators import Indicators, measure
from pipeline.clinical.learning import Curve, curve
from pipeline.clinical.report import content, examples, page
from pipeline.clinical.report.charts import MODELS
from pipeline.clinical.resampling import draw
from pipeline.clinical.units import Units, units_of
from pipeline.config import Params
from pipeline.contract import Calibration, Pooling
from pipeline.errors import ContractError
from pipeline.files import read_csv, read_json, sha256_file, write_csv, write_json, write_text
from pipeline.inference.pooling import pool, pool_mean
from pipeline.progress import say
from pipeline.stages import runner
from pipeline.transfer import probe
from pipeline.transfer.model import load
from pipeline.transfer.predict import rows as rows_of
from pipeline.transfer.saliency import saliency

INGESTED, PREPARED = Path("data/ingested"), Path("data/prepared")
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
    units = units_of(rows, "test")
    slices = np.load(PREPARED / "slices.npy", mmap_mode="r")[units.rows]
    models = {name: load(MODELS_DIR / name) for name in ("finetuned", "scratch")}
    by_slice = {name: rows_of(model, slices) for name, model in models.items()}
    pooling = models["finetuned"].head.pooling
    found = evaluate(units, _pooled(units, by_slice, pooling), fixed, params.validate_, params.seed)
    learned = _learned(params, rows)
    card = read_json(MODELS_DIR / "backbone/card.json")
    transfer = {**found.figures["transfer"], **learned.figures()}
    figures = {**found.figures, "transfer": transfer, "backbone": _origin(card)}
    write_json(REPORTS / "metrics.json", figures)
    _write_predictions(found)
    _write_plots(found)
    shown = _examples(found, slices, by_slice["finetuned"][:, 0])
    waived = [result for result in acceptance.evaluate(params.accept, figures) if result.waived]
    write_text(REPORTS / "report.html", page.render(_content(params, found, learned, waived, card, shown)))
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
    """Unit logits (U,) of the three models: the networks' slices pooled, and the probe on pooled features."""
    features = np.load(FEATURES, mmap_mode="r")[units.rows]
    logits = {name: pool(values, units.slice_units, pooling)[1][:, 0] for name, values in by_slice.items()}
    logits["probe"] = probe.load(MODELS_DIR / "probe").logits(pool_mean(features, units.slice_units)[1])[:, 0]
    return {name: logits[name] for name in MODELS}


def _learned(params: Params, rows: Sequence[Mapping[str, str]]) -> Indicators:
    """What the courses of both trainings say of the validation units."""
    units: dict[str, Mapping[str, str]] = {}
    for row in rows:
        if row["split"] == "val":
            units.setdefault(row["unit"], row)
    labels = params.data.targets.encode([row["label"] for row in units.values()])
    drawn = draw(
        [row["patient"] for row in units.values()],
        params.validate_.bootstrap,
        params.validate_.confidence,
        params.seed,
    )
    return measure(labels, _curves(params, labels.shape), drawn)


def _curves(params: Params, shape: tuple[int, ...]) -> dict[str, Curve]:
    """The courses of both trainings, for (U, K) labels."""
    phases = params.finetune.phases
    trunk = [phase for phase in phases if phase.trunk != 0]
    allowed = sum(phase.epochs for phase in trunk)
    frozen = {phase.name for phase in phases} - {phase.name for phase in trunk}
    plans = {"finetuned": (frozen, allowed), "scratch": (set[str](), params.scratch.epochs or allowed or 1)}
    return {name: _curve(name, (shape[0], shape[1]), *plan) for name, plan in plans.items()}


def _curve(name: str, shape: tuple[int, int], frozen: set[str], allowed: int) -> Curve:
    folder = MODELS_DIR / name
    if not (folder / "curve.npz").is_file():
        raise ContractError(f"{folder / 'curve.npz'}", "no such file", "Run `dvc repro`: the training is older.")
    with np.load(folder / "curve.npz") as stored:
        logits = stored["logits"]
    return curve(name, read_csv(folder / "history.csv"), logits, shape, frozen, allowed)


def _write_predictions(found: Evaluation) -> None:
    rows = [
        {
            "unit": unit,
            "patient": found.units.patients[i],
            "split": "test",
            "label": int(found.units.labels[i]),
            "probability": round(float(found.probabilities[i]), 6),
            **{f"logit_{name}": round(float(values[i]), 6) for name, values in found.logits.items()},
        }
        for i, unit in enumerate(found.units.ids)
    ]
    columns = ["unit", "patient", "split", "label", "probability", *(f"logit_{name}" for name in found.logits)]
    write_csv(REPORTS / "predictions.csv", columns, rows)


def _write_plots(found: Evaluation) -> None:
    """The tables that `dvc plots` draws."""
    plots, grid = REPORTS / "plots", np.linspace(0, 1, 101)
    rates = {name: curve.at(grid) for name, curve in found.curves.items()}
    roc = [
        {"false_positive_rate": round(float(x), 2), **{name: round(float(y[i]), 6) for name, y in rates.items()}}
        for i, x in enumerate(grid)
    ]
    write_csv(plots / "roc.csv", ["false_positive_rate", *rates], roc)
    bins = [{"predicted": round(b.predicted, 6), "observed": round(b.observed, 6), "units": b.n} for b in found.bins]
    write_csv(plots / "calibration.csv", ["predicted", "observed", "units"], bins)
    words = ("negative", "positive")
    confusion = [
        {"actual": words[label], "predicted": words[int(called)]}
        for label, called in zip(found.units.labels, found.positive, strict=True)
    ]
    write_csv(plots / "confusion.csv", ["actual", "predicted"], confusion)


def _examples(found: Evaluation, slices: npt.NDArray[np.uint8], by_slice: Floats32) -> list[examples.Example]:
    """Of each chosen unit the slice with the highest logit, with its saliency."""
    units = found.units
    chosen = examples.choose(units.labels, found.probabilities, found.fixed.threshold)
    of_unit = np.array(units.slice_units)
    best = [max(np.flatnonzero(of_unit == units.ids[unit]), key=lambda i: by_slice[i]) for _, unit in chosen]
    maps = saliency(load(MODELS_DIR / "finetuned"), slices[best])
    return [
        examples.Example(outcome, units.ids[unit], float(found.probabilities[unit]), slices[place], heat)
        for (outcome, unit), place, heat in zip(chosen, best, maps, strict=True)
    ]


def _content(
    params: Params,
    found: Evaluation,
    learned: Indicators,
    waived: Sequence[acceptance.Result],
    card: Mapping[str, Any],
    shown: Sequence[examples.Example],
) -> content.Content:
    index = read_csv(INGESTED / "index.csv")
    histories = {name: content.epochs(read_csv(MODELS_DIR / name / "history.csv")) for name in ("finetuned", "scratch")}
    return content.Content(
        params=params,
        found=found,
        learned=learned,
        waived=waived,
        advice=read_json(ADVICE)["advice"]["sentences"] if ADVICE.is_file() else [],
        backbone=card,
        histories=histories,
        examples=shown,
        groups=content.groups(read_csv(SPLIT), index),
        rejected=content.rejections(read_csv(INGESTED / "rejected.csv")),
        series=len(index),
    )


if __name__ == "__main__":
    runner.run("validate", validate)
