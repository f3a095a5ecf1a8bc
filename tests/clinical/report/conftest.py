"""A report's content from synthetic figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.clinical import calibration, evaluation
from pipeline.clinical.acceptance import evaluate
from pipeline.clinical.indicators import Indicators, measure
from pipeline.clinical.learning import curve
from pipeline.clinical.report.charts import Epoch
from pipeline.clinical.report.content import Content
from pipeline.clinical.report.examples import choose, example
from pipeline.clinical.report.table_one import Group
from pipeline.clinical.resampling import draw
from pipeline.clinical.units import Units
from pipeline.config import Params, load
from pipeline.contract import Calibration, TaskKind
from pipeline.targets import Targets
from tests.clinical.report import full_metrics
from tests.pretrained import card
from tests.training_curves import history as rows
from tests.training_curves import judged, logits


def make_content(params_file: Path, seed: int = 5, positives: bool = True) -> Content:
    params = load(params_file)
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 60) if positives else np.zeros(60, dtype=np.int64)
    labels = labels[:, None]
    units = Units([f"s{i:03}" for i in range(60)], [f"p{i // 2:03}" for i in range(60)], labels, np.arange(60), [])
    logits = {
        m: a * labels + rng.normal(size=(60, 1)) for m, a in (("finetuned", 2.2), ("probe", 1.6), ("scratch", 1.0))
    }
    fixed = Calibration(
        temperature=1.2, threshold=0.52, rule="sensitivity at least 0.9", model_sha256="0" * 64, split_sha256="1" * 64
    )
    return _content(
        rng,
        params,
        evaluation.evaluate(units, logits, fixed, params.validate_, params.seed),
        make_indicators(0 if positives else None),
    )


def make_several(params_file: Path, kind: TaskKind) -> Content:
    """Three classes, one of them with a name that must be escaped."""
    params = load(params_file)
    targets = Targets(kind, ("low", "mid & <high>", "none"))
    params = params.model_copy(
        update={"data": params.data.model_copy(update={"task": kind, "classes": list(targets.classes)})}
    )
    rng = np.random.default_rng(3)
    labels = np.eye(3, dtype=np.int64)[rng.integers(0, 3, 60)]
    if kind == "multilabel":
        labels = rng.integers(0, 2, (60, 3))
    units = Units([f"s{i:03}" for i in range(60)], [f"p{i // 2:03}" for i in range(60)], labels, np.arange(60), [])
    logits = {m: a * labels + rng.normal(size=(60, 3)) for m, a in (("finetuned", 2), ("probe", 1), ("scratch", 1))}
    fitted = calibration.fit(labels, logits["finetuned"], params.calibrate, targets)
    fixed = Calibration(**vars(fitted), rule="by rule", model_sha256="0" * 64, split_sha256="1" * 64)
    found = evaluation.evaluate(units, logits, fixed, params.validate_, params.seed, targets)
    groups = [Group("All", "patients", (84, 34, 50), ()), Group("Class", "low", (40, 16, 24), ())]
    return replace(_content(rng, params, found, make_indicators(0)), groups=groups)


def _content(rng: np.random.Generator, params: Params, found: evaluation.Evaluation, learned: Indicators) -> Content:
    return Content(
        params=params,
        found=found,
        learned=learned,
        figures=found.figures,
        tables={},
        results=evaluate(params.accept, found.figures),
        advice=[],
        backbone=card(),
        ladder=full_metrics.LADDER,
        histories={
            "finetuned": history(rng, [("head", 30), ("top", 4), ("most", 4)]),
            "scratch": history(rng, [("all", 8)]),
        },
        examples=[
            example(found, outcome, u, head(u), blob(u))
            for outcome, u in choose(
                found.targets, found.units.labels, found.probabilities, found.called, found.fixed.threshold
            )
        ],
        groups=[
            Group("All", "patients", (84, 34, 50), (42, 17, 25)),
            Group("Age", "18-39", (30, 12, 20), (15, 6, 10)),
            Group("Age", "40-59", (54, 22, 30), (27, 11, 15)),
            Group("Sex", "F", (44, 18, 26), (22, 9, 13)),
            Group("Field strength", "1.5 T", (44, 18, 26), (22, 9, 13)),
            Group("Field strength", "3 T", (40, 16, 24), (20, 8, 12)),
            Group("Vendor", "SIEMENS & <Co>", (84, 34, 50), (42, 17, 25)),
            Group("Site", "north", (40, 16, 24), (20, 8, 12)),
            Group("Site", "south", (44, 18, 26), (22, 9, 13)),
        ],
        ages=["44 (36 to 52)", "45 (37 to 51)", "43 (35 to 53)"],
        rejected=[
            ("missing_slice", "a slice is missing: a gap in the positions along the normal", 3),
            ("not_mr", "the series is another modality", 1),
        ],
        series=168,
        software=[("Python", "3.11.4"), ("torch", "2.15.0")],
        machine="Linux on x86_64; no GPU",
        trainings={"finetuned": "12 min on Linux on x86_64; GPU Example", "scratch": "not recorded for this model"},
    )


def make_indicators(seed: int | None) -> Indicators:
    """Of courses in which transfer starts higher, is sooner and ends higher; None: of one class only."""
    labels = (np.arange(60) % 2).astype(np.float32)[:, None] * (seed is not None)
    plans = {
        "finetuned": ([("head", 3, 0.0), ("all", 4, 0.5)], [0, 0.4, 0.7, 0.6, 0.9, 2.6, 3.0, 2.8], {"head"}),
        "scratch": ([("all", 6, 1.0)], [0, 0.3, 0.7, 1.1, 1.6, 1.9, 1.8], set()),
    }
    curves = {
        name: curve(name, judged(rows(phases), labels, given), given, labels.shape, frozen, 6)
        for name, (phases, separations, frozen) in plans.items()
        for given in [logits(labels, separations, len(name))]
    }
    return measure(labels, curves, draw([f"p{i // 2}" for i in range(60)], 200, 0.95, 1))


def history(rng: np.random.Generator, phases: list[tuple[str, int]]) -> list[Epoch]:
    names = [name for name, count in phases for _ in range(count)]
    rise = 1 - np.exp(-np.arange(len(names)) / 6)
    noise = rng.normal(scale=0.015, size=(2, len(names)))
    return [Epoch(n, 0.7 - 0.4 * r + a, 0.6 + 0.3 * r + b) for n, r, a, b in zip(names, rise, *noise, strict=True)]


def head(seed: int) -> np.ndarray:
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    rng = np.random.default_rng(seed)
    inside = (x / 0.72) ** 2 + (y / 0.9) ** 2 < 1
    ventricle = (np.abs(x) - 0.12) ** 2 / 0.006 + y**2 / 0.08 < 1
    image = 90 * inside - 60 * ventricle + 90 * ((x - 0.3) ** 2 + (y + 0.2) ** 2 < 0.012)
    return np.clip(image + rng.normal(scale=6, size=image.shape), 0, 255).astype(np.uint8)


def blob(seed: int) -> np.ndarray:
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    return np.exp(-((x - 0.3) ** 2 + (y + 0.2) ** 2) / 0.05).astype(np.float32)


@pytest.fixture(scope="session")
def content(root: Path) -> Content:
    return make_content(root / "params.yaml")


@pytest.fixture(scope="session")
def full(content: Content) -> Content:
    """The same with every figure and table that the report can show."""
    figures = full_metrics.merged(content.figures)
    results = evaluate(content.params.accept, figures)
    return replace(content, figures=figures, tables=full_metrics.tables(), results=results)


@pytest.fixture(scope="session")
def one_class(root: Path) -> Content:
    return make_content(root / "params.yaml", positives=False)


@pytest.fixture(scope="session", params=["multiclass", "multilabel"])
def several(root: Path, request: pytest.FixtureRequest) -> Content:
    return make_several(root / "params.yaml", request.param)
