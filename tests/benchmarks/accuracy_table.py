"""The tables of `tests.benchmarks.accuracy`, from its result files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from pipeline.clinical import resampling
from pipeline.clinical.ranking import ranked
from pipeline.config import Params
from pipeline.errors import DataError
from pipeline.files import read_csv
from pipeline.inference.neighbours import smoothed

#: What is subtracted from what.
PAIRS = (("finetuned", "plain"), ("finetuned", "scratch"), ("finetuned", "probe"), ("probe", "scratch"))

Rows = list[dict[str, str]]
#: Of a way, by seed, the tested units by fold.
Results = dict[str, dict[int, Rows]]


def show(out: Path, sizes: Sequence[int], ways: Sequence[str], params: Params) -> None:
    """Print what is there; of each seed those folds are compared of which every way is there."""
    near = params.calibrate.neighbours_sd if params.data.label_level == "slice" else 0.0
    for size in sizes:
        name = f"size{size or 'all'}"
        found = compared({way: _tested(out / way, name) for way in ways})
        if not any(found.values()):
            print(f"{size or 'all'} training patients: no fold with all of {', '.join(ways)} yet")
            continue
        folds = [f"{seed} (folds {', '.join(map(str, each))})" for seed, each in found[ways[0]].items()]
        print(f"{size or 'all'} training patients, seeds {', '.join(folds)}")
        if near:
            print(f"  as answered: a slice with its neighbours (neighbours_sd {near:g}), of the plain loop by itself")
            _block({way: found[way] if way == "plain" else _with_neighbours(found[way], near) for way in ways}, params)
            print("  every slice by itself, of all ways; the aims are judged on these differences")
        _block(found, params)


def compared(found: Mapping[str, Results]) -> dict[str, Results]:
    """Of each seed the folds that all ways have, and the seeds that have most of them.

    Raises:
        DataError: the ways were tested on different units of a fold, or of different labels.
    """
    first, *others = found.values()
    folds = {seed: sorted(set(first[seed]).intersection(*(each.get(seed, {}) for each in others))) for seed in first}
    most = max(map(len, folds.values()), default=0)
    seeds = [seed for seed in sorted(folds, key=int) if most and len(folds[seed]) == most]
    kept = {
        way: {seed: {fold: each[seed][fold] for fold in folds[seed]} for seed in seeds} for way, each in found.items()
    }
    for seed in seeds:
        for fold in folds[seed]:
            _require_same_units({way: kept[way][seed][fold] for way in kept}, f"fold {fold} of seed {seed}")
    return kept


def _require_same_units(tested: Mapping[str, Rows], where: str) -> None:
    units = {way: [(row["unit"], row["patient"], row["label"]) for row in rows] for way, rows in tested.items()}
    differing = [way for way, own in units.items() if own != next(iter(units.values()))]
    if differing:
        raise DataError(
            f"the same tested units and labels of {', '.join(units)} in {where}",
            f"others of {', '.join(differing)}",
            "They were measured on other slices or folds: measure them again into a folder of their own.",
        )


def _tested(folder: Path, name: str) -> Results:
    """What a way has of a number of training patients."""
    found: Results = {}
    for path in folder.glob(f"{name}-seed*-fold*.csv"):
        _, seed, fold = path.stem.split("-")
        rows = [row for row in read_csv(path) if row["side"] == "test"]
        found.setdefault(seed.removeprefix("seed"), {})[int(fold.removeprefix("fold"))] = rows
    return found


def _with_neighbours(results: Results, near: float) -> Results:
    """The same with the logits of slices as `calibrate.neighbours_sd` makes them."""
    return {seed: {fold: _smoothed(rows, near) for fold, rows in folds.items()} for seed, folds in results.items()}


def _smoothed(rows: Rows, near: float) -> Rows:
    places = [(row["unit"].rpartition("/")[0], int(row["unit"].rpartition("/")[2])) for row in rows]
    logits = smoothed(np.array([[float(row["logit"])] for row in rows], np.float32), places, near)[:, 0]
    return [row | {"logit": str(logit)} for row, logit in zip(rows, logits, strict=True)]


def _block(found: Mapping[str, Results], params: Params) -> None:
    """A line a way, and a line a difference."""
    for way, results in found.items():
        each = [_auroc(list(folds.values())) for folds in results.values()]
        print(f"    {way:10} AUROC {np.mean(each):.3f}, of seeds {min(each):.3f} to {max(each):.3f}")
    for first, second in PAIRS:
        if first in found and second in found:
            print(f"    {first} - {second}: {difference(found[first], found[second], params)}")


def _auroc(folds: list[Rows]) -> float:
    """Mean of the folds' AUROCs: each fold's model has a scale of its own."""
    return float(np.mean([roc_auc_score([int(r["label"]) for r in f], [float(r["logit"]) for r in f]) for f in folds]))


def _ranks(folds: Mapping[int, Rows]) -> np.ndarray:
    """The logits of all folds, each fold's as ranks from 0 to 1."""
    scores = []
    for rows in folds.values():
        values = np.array([float(row["logit"]) for row in rows])
        scores.append((np.searchsorted(np.sort(values), values, side="left") + 0.5) / len(values))
    return np.concatenate(scores)


def difference(first: Results, second: Results, params: Params) -> str:
    """Mean over the seeds of the paired difference, and its interval: a patient is drawn with all its seeds.

    Args:
        first, second: of the same seeds, folds and units (`compared`).
        params: how many resamples, how wide the interval, the seed of the draws.
    """
    units = {seed: [row for rows in folds.values() for row in rows] for seed, folds in first.items()}
    names = sorted({row["patient"] for rows in units.values() for row in rows})
    resamples = resampling.draw(names, params.validate_.bootstrap, params.validate_.confidence, params.seed)
    drawn, values = [], []
    for seed, rows in units.items():
        own = replace(resamples, patient=np.array([names.index(row["patient"]) for row in rows]))
        labels = np.array([int(row["label"]) for row in rows])
        one, two = (ranked(labels, _ranks(results[seed]), own) for results in (first, second))
        values.append(one.areas[0] - two.areas[0])
        drawn.append(one.drawn[0] - two.drawn[0])
    low, high, reason = resamples.interval(np.mean(drawn, axis=0))
    return f"{np.mean(values):+.3f} ({low:+.3f} to {high:+.3f})" if reason is None else reason
