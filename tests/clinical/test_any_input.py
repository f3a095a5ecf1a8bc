"""Few units, ties, separated classes, patients with one or all of them: no figure breaks, lies, or is silent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pipeline.clinical.evaluation import Beside, evaluate
from pipeline.clinical.units import Units
from pipeline.contract import Calibration
from pipeline.targets import BINARY, Targets
from pipeline.validation_config import Validate

SETTINGS = Validate(bootstrap=100, confidence=0.95)
TASKS: dict[str, tuple[Targets, Any, Any]] = {
    "binary": (BINARY, 1.0, 0.5),
    "multilabel": (Targets("multilabel", ("a", "b", "c")), [1.0] * 3, [0.5] * 3),
    "multiclass": (Targets("multiclass", ("a", "b", "c")), 1.0, None),
}


def leaves(figures: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(figures, dict):
        for key, value in figures.items():
            yield from leaves(value, f"{path}.{key}")
    else:
        yield path, figures


def drawn(seed: int, kind: str, spoilt: bool = False) -> dict[str, Any]:
    """The figures of a small test side of any shape; `spoilt`: one logit of the fine-tuned model is no number."""
    rng = np.random.default_rng([seed, len(kind)])
    targets, temperature, threshold = TASKS[kind]
    n, k = int(rng.integers(1, 30)), targets.outputs
    labels = np.eye(k, dtype=np.int64)[rng.integers(0, k, n)] if kind == "multiclass" else rng.integers(0, 2, (n, k))
    spread, edge, digits = rng.choice([0, 1, 8]), rng.choice([0, 1, 20]), int(rng.integers(0, 3))
    logits = {
        name: (spread * rng.normal(size=(n, k)) + edge * labels).round(digits)
        for name in ("finetuned", "probe", "scratch")
    }
    if spoilt:
        logits["finetuned"][rng.integers(n), rng.integers(k)] = np.nan
    patients = [f"p{place}" for place in rng.integers(0, rng.integers(1, n + 1), n)]
    units = Units([str(place) for place in range(n)], patients, labels, np.arange(n), [])
    fixed = Calibration(temperature=temperature, threshold=threshold, rule="", model_sha256="", split_sha256="")
    beside = Beside(called={"scratch": logits["scratch"] > 0}, parts={"patient": patients})
    return dict(leaves(evaluate(units, logits, fixed, SETTINGS, 1, targets, beside).figures))


@pytest.mark.parametrize("kind", TASKS)
def test_every_nan_has_a_reason_and_every_interval_holds_its_figure(kind: str) -> None:
    for seed in range(60):
        figures = drawn(seed, kind)
        for name, value in figures.items():
            if not isinstance(value, float):
                continue
            own = name.rpartition(".")[0]
            around = own.rpartition(".")[0]
            assert not np.isinf(value), (seed, name)
            if np.isnan(value):
                assert f"{own}.reason" in figures or f"{around}.reason" in figures, (seed, name)
            low, high = figures.get(f"{own}.low", np.nan), figures.get(f"{own}.high", np.nan)
            if name.endswith(".value") and np.isfinite([low, high]).any():
                assert low - 2e-6 <= value <= high + 2e-6, (seed, name)


@pytest.mark.parametrize("kind", TASKS)
def test_a_logit_that_is_no_number_leaves_no_figure_of_its_model(kind: str) -> None:
    for seed in range(20):
        figures = drawn(seed, kind, spoilt=True)
        own = [name for name in figures if name.startswith((".operating_point.", ".finetuned.auroc", ".levels."))]
        values = {name: figures[name] for name in own if name.endswith((".value", ".low", ".high"))}
        assert values
        assert all(np.isnan(value) for value in values.values()), (seed, values)
        of_classes = [figures[name] for name in figures if name.startswith(".finetuned.classes.")]
        assert any(isinstance(value, float) and np.isnan(value) for value in of_classes) or kind == "binary"
