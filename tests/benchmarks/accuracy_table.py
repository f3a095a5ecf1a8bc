"""The table of `tests.benchmarks.accuracy`, from its result files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from pipeline.clinical import resampling
from pipeline.clinical.ranking import ranked
from pipeline.config import Params
from pipeline.files import read_csv
from pipeline.inference.neighbours import smoothed

#: What is subtracted from what.
PAIRS = (("finetuned", "plain"), ("finetuned", "scratch"), ("finetuned", "probe"), ("probe", "scratch"))

Rows = list[dict[str, str]]


def show(out: Path, sizes: Sequence[int], ways: Sequence[str], params: Params) -> None:
    """Print what is there; only seeds of which every fold and way is there are compared."""
    for size in sizes:
        name = f"size{size or 'all'}"
        near = params.calibrate.neighbours_sd if params.data.label_level == "slice" else 0.0
        found = {way: _by_seed(out / way, name, 0.0 if way == "plain" else near) for way in ways}
        seeds = sorted(set.intersection(*(set(each) for each in found.values()))) if found else []
        if not seeds:
            print(f"{size or 'all'} training patients: no seed with all of {', '.join(ways)} yet")
            continue
        print(f"{size or 'all'} training patients, seeds {', '.join(seeds)}")
        for way in ways:
            each = [_auroc(found[way][seed]) for seed in seeds]
            print(f"  {way:10} AUROC {np.mean(each):.3f}, of seeds {min(each):.3f} to {max(each):.3f}")
        for first, second in PAIRS:
            if first in ways and second in ways:
                print(f"  {first} - {second}: {_difference(found[first], found[second], seeds, params)}")


def _by_seed(folder: Path, name: str, near: float) -> dict[str, list[Rows]]:
    """The folds of each seed, in order; a seed counts when it has as many as any. Slices with their neighbours."""
    folds: dict[str, list[Rows]] = {}
    for path in sorted(folder.glob(f"{name}-seed*-fold*.csv")):
        tested = [row for row in read_csv(path) if row["side"] == "test"]
        folds.setdefault(path.stem.split("-")[1].removeprefix("seed"), []).append(_smoothed(tested, near))
    most = max(map(len, folds.values()), default=0)
    return {seed: rows for seed, rows in folds.items() if len(rows) == most}


def _smoothed(rows: Rows, near: float) -> Rows:
    """The rows with the logits of slices as `calibrate.neighbours_sd` makes them."""
    places = [(row["unit"].rpartition("/")[0], int(row["unit"].rpartition("/")[2])) for row in rows] if near else []
    logits = smoothed(np.array([[float(row["logit"])] for row in rows], np.float32), places, near)[:, 0]
    return [row | {"logit": str(logit)} for row, logit in zip(rows, logits, strict=True)]


def _auroc(folds: list[Rows]) -> float:
    """Mean of the folds' AUROCs: each fold's model has a scale of its own."""
    return float(np.mean([roc_auc_score([int(r["label"]) for r in f], [float(r["logit"]) for r in f]) for f in folds]))


def _ranked(folds: list[Rows]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Patients, labels and logits of all folds, each fold's logits as ranks from 0 to 1."""
    patients, labels, scores = [], [], []
    for rows in folds:
        values = np.array([float(row["logit"]) for row in rows])
        patients += [row["patient"] for row in rows]
        labels += [int(row["label"]) for row in rows]
        scores.append((np.searchsorted(np.sort(values), values, side="left") + 0.5) / len(values))
    return patients, np.array(labels), np.concatenate(scores)


def _difference(
    first: dict[str, list[Rows]], second: dict[str, list[Rows]], seeds: Sequence[str], params: Params
) -> str:
    """Mean over the seeds of the paired difference, and its interval: a patient is drawn with all its seeds."""
    drawn, values = [], []
    for seed in seeds:
        patients, labels, ours = _ranked(first[seed])
        theirs = _ranked(second[seed])[2]
        order = np.argsort(patients, kind="stable")  # the same patients in the same places for every seed
        names = [patients[place] for place in order]
        resamples = resampling.draw(names, params.validate_.bootstrap, params.validate_.confidence, params.seed)
        one, two = (ranked(labels[order], scores[order], resamples) for scores in (ours, theirs))
        values.append(one.areas[0] - two.areas[0])
        drawn.append(one.drawn[0] - two.drawn[0])
    low, high, reason = resamples.interval(np.mean(drawn, axis=0))
    return f"{np.mean(values):+.3f} ({low:+.3f} to {high:+.3f})" if reason is None else reason
