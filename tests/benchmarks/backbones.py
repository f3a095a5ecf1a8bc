"""Backbones compared by a linear probe of their frozen features on a workspace's prepared slices.

    python -m tests.benchmarks.backbones WORKSPACE --trained FOLDER ... [--file NAME=PATH ...] [--sites DU]
        [--test-sites CS EZ] [--untrained]

WORKSPACE is a checkout in which `dvc repro features` has run, for example on the reader's own data. FOLDER holds
backbone.safetensors and card.json, NAME is an architecture and PATH its weights file. Out-of-fold predictions of
patient-grouped 5-fold cross-validation over the patients of `--sites` (all by default); with `--test-sites`, one
division instead: fitted on the other sites, tested on these. `--untrained` adds each trained one's random twin.

Prints AUROC with its patient-clustered interval, size, milliseconds a slice (one thread, fp32, the least of several
interleaved runs), and every paired difference from the first backbone.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.model_selection import StratifiedGroupKFold
from torch import nn

from pipeline import config
from pipeline.clinical import metrics, resampling
from pipeline.files import read_csv, read_json
from pipeline.training_config import Backbone
from pipeline.transfer import backbone, probe, stem
from pipeline.transfer.predict import run, to_input

FOLDS = 5


@dataclass
class Candidate:
    """One backbone: its one-channel trunk and what it takes."""

    name: str
    trunk: nn.Module
    megabytes: float
    milliseconds: float = float("inf")
    logits: npt.NDArray[np.float64] | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--trained", type=Path, nargs="*", default=[])
    parser.add_argument("--file", nargs="*", default=[], metavar="NAME=PATH")
    parser.add_argument("--sites", nargs="*")
    parser.add_argument("--test-sites", nargs="*", default=[])
    parser.add_argument("--untrained", action="store_true")
    args = parser.parse_args()
    candidates = [c for folder in args.trained for c in of_folder(folder.resolve(), args.untrained)]
    candidates += [of_file(*spec.split("=", 1)) for spec in args.file]
    os.chdir(args.workspace)
    params = config.load()
    rows = read_csv(Path("data/prepared/slices.csv"))
    site = {row["patient"]: row["site"] for row in read_csv(Path("data/ingested/labels.csv"))}
    kept = np.array([not args.sites or site[row["patient"]] in args.sites for row in rows])
    rows = [row for row, chosen in zip(rows, kept, strict=True) if chosen]
    slices = np.load("data/prepared/slices.npy", mmap_mode="r")[kept]
    time_them(candidates, slices)
    labels = np.array([int(row["label"]) for row in rows])
    patients = np.array([row["patient"] for row in rows])
    splits = list(StratifiedGroupKFold(FOLDS, shuffle=True, random_state=params.seed).split(rows, labels, patients))
    if args.test_sites:
        tested = np.array([site[patient] in args.test_sites for patient in patients])
        splits = [(np.flatnonzero(~tested), np.flatnonzero(tested))]
    for candidate in candidates:
        features = run(candidate.trunk, slices, 64, candidate.name)
        logits = np.full(len(rows), np.nan)
        for train, test in splits:
            targets = labels[train][:, None].astype(np.float32)
            choices = params.features.probe_c
            fitted, _ = probe.fit(features[train], targets, "binary", patients[train], choices, params.seed)
            logits[test] = fitted.logits(features[test])[:, 0]
        candidate.logits = logits
    table(candidates, labels, patients, params)


def of_folder(folder: Path, untrained: bool) -> list[Candidate]:
    """The backbone that a recipe trained, and its random twin."""
    card = read_json(folder / "card.json")
    chosen = {key: card[key] for key in ("name", "options", "mean", "std")}
    found = Backbone(weights="file", file=folder / "backbone.safetensors", **chosen)
    candidates = [adapted(f"{folder.name} ({card['name']})", found, found.file)]
    if untrained:
        torch.manual_seed(0)
        twin = backbone.empty_trunk(card["name"], card["options"])
        candidates.append(Candidate(f"{folder.name} untrained", twin, candidates[0].megabytes))
    return candidates


def of_file(name: str, path: str) -> Candidate:
    """A network of timm or torchvision with the weights in a file."""
    return adapted(name, Backbone(name=name, weights="file", file=Path(path).resolve()), Path(path))


def adapted(name: str, chosen: Backbone, file: Path) -> Candidate:
    network, _, source = backbone.load(chosen)
    trunk = backbone.trunk(stem.adapt(network, chosen.name, source.mean, source.std))
    return Candidate(name, trunk, file.stat().st_size / 1e6)


@torch.no_grad()
def time_them(candidates: list[Candidate], slices: npt.NDArray[np.uint8], rounds: int = 5) -> None:
    """The least time of several rounds through all of them, one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    batch = to_input(slices[:32], torch.device("cpu"))
    for _ in range(rounds):
        for candidate in candidates:
            trunk = candidate.trunk.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            begin = time.perf_counter()
            trunk(batch)
            each = (time.perf_counter() - begin) / len(batch) * 1000
            candidate.milliseconds = min(candidate.milliseconds, each)
    torch.set_num_threads(threads)


def table(
    candidates: list[Candidate], labels: npt.NDArray[np.int64], patients: npt.NDArray[np.str_], params: config.Params
) -> None:
    """A line a backbone, over the units that were tested."""
    assert candidates[0].logits is not None
    tested = np.isfinite(candidates[0].logits)
    labels, groups = labels[tested], [str(patient) for patient in patients[tested]]
    draws = resampling.draw(groups, params.validate_.bootstrap, params.validate_.confidence, params.seed)
    print(f"{len(labels)} units, {int(labels.sum())} positive, {len(set(groups))} patients")
    first = candidates[0].logits[tested]
    for candidate in candidates:
        assert candidate.logits is not None
        scores = candidate.logits[tested]
        found = metrics.auroc(labels, scores, draws)
        gap = metrics.auroc_difference(labels, first, scores, draws)
        print(
            f"{candidate.name:40} AUROC {found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
            f"  {candidate.megabytes:5.2f} MB  {candidate.milliseconds:5.2f} ms"
            f"  first minus this {gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"
        )


if __name__ == "__main__":
    main()
