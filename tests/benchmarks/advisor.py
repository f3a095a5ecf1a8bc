"""The advisor's regret: what its recommendation costs against the measured best, on patients that nobody used.

    python -m tests.benchmarks.advisor WORKSPACE --draws setting --out FOLDER [--file NAME=PATH ...]
        [--sizes 4 8 16 all] [--repeats 2] [--sites DU] [--finetune] [--only 0 2 ...]
    python -m tests.benchmarks.advisor WORKSPACE --accuracy LABEL=FOLDER ... --out FOLDER [--file NAME=PATH ...]

WORKSPACE is a checkout in which `dvc repro features` has run. A subset is a draw of patients: a third are not used, a
fifth of the others validate, and 4, 8, 16 or all of the rest train. `--draws setting` are those by which the rule was
set, `--draws confirming` are other ones. Of each subset the output folder keeps

    SUBSET/split.csv                    patient, split (train, val; test: not used)
    SUBSET/figures.json                 what `features` measures on its training and validation patients
    SUBSET/BACKBONE/probe.csv           unit, patient, label, logit of the patients not used; from the chosen layer
    SUBSET/BACKBONE/finetuned.csv       the same of a fine-tuned model; written with --finetune, or by another benchmark

so that a run that was stopped goes on where it was, and outcomes measured elsewhere can be laid beside them; and
`settings.json`, what they were measured with: other settings are refused.
`--accuracy` takes subsets and fine-tuned outcomes from the output folders of `tests.benchmarks.accuracy`, one a
backbone (LABEL as the table has it), all made with the same seeds, sizes and folds. Prints for each subset the AUROC of
every measured choice, the recommendation and its regret; and the mean regret over the subsets of which every choice was
measured.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score

from pipeline import config
from pipeline.clinical.pooling import pool
from pipeline.config import Params
from pipeline.errors import DataError
from pipeline.files import read_csv, read_json, sha256_file, write_csv, write_json
from pipeline.training_config import Candidate
from pipeline.transfer import advisor, candidates, model, predict
from pipeline.transfer.transferability import side_of
from tests.benchmarks import accuracy, settings

OUTCOME = ("unit", "patient", "label", "logit")
WAYS = {"freeze": "probe", "fine-tune": "finetuned"}
STREAMS = {"setting": 101, "confirming": 202}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--draws", choices=sorted(STREAMS), default="accuracy")
    parser.add_argument("--accuracy", nargs="*", default=[], metavar="LABEL=FOLDER")
    parser.add_argument("--out", type=Path, default=Path("advisor"))
    parser.add_argument("--file", nargs="*", default=[], metavar="NAME=PATH", help="weights of other backbones")
    parser.add_argument("--sizes", nargs="*", default=["4", "8", "16", "all"])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--sites", nargs="*")
    parser.add_argument("--finetune", action="store_true", help="also measure fine-tuning where it is not there yet")
    parser.add_argument("--only", type=int, nargs="*", help="measure these subsets: to share the work out")
    args = parser.parse_args()
    out = args.out.resolve()
    measured = {label: Path(path).resolve() for label, path in (spec.split("=", 1) for spec in args.accuracy)}
    others = [of_file(*spec.split("=", 1)) for spec in args.file]
    os.chdir(args.workspace)
    params = config.load()
    rows = read_csv(Path("data/prepared/slices.csv"))
    settings.require_same(out, settings.of(params, sites=args.sites, files={own.name: own.sha256 for own in others}))
    take_cases(measured, params, out)
    if args.draws in STREAMS:
        write_draws(args, params, rows, out)
    folders = sorted(path.parent for path in out.glob("*/split.csv") if path.parent.name.startswith(args.draws))
    networks = [candidates.of_stage(Path("models/backbone"))]
    for other in others:
        networks.append(candidates.of_candidate(other, params.prepare.size, [network.label for network in networks]))
    for number, folder in enumerate(folders):
        if args.only is None or number in args.only:
            measure(folder, networks, params, rows, finetune=args.finetune)
    table([folder for folder in folders if (folder / "figures.json").exists()])


def of_file(name: str, path: str) -> Candidate:
    """A candidate with what its file's release does otherwise than the library: `NAME=PATH`."""
    known: dict[str, dict[str, Any]] = {
        "mobilenetv2_100": {"options": {"pad_type": "same"}, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    }
    file = Path(path).resolve()
    return Candidate(name=name, weights="file", file=file, sha256=sha256_file(file), **known.get(name, {}))


def write_draws(args: argparse.Namespace, params: Params, rows: list[dict[str, str]], out: Path) -> None:
    """`split.csv` of each subset; its patients depend on the seed, the kind of draw, its size and number only."""
    site = {row["patient"]: row["site"] for row in read_csv(Path("data/ingested/labels.csv"))} if args.sites else {}
    patients = sorted({row["patient"] for row in rows if not args.sites or site[row["patient"]] in args.sites})
    for size in args.sizes:
        for repeat in range(args.repeats):
            count = len(patients) if size == "all" else int(size)
            rng = np.random.default_rng([params.seed, STREAMS[args.draws], count, repeat])
            drawn = [patients[place] for place in rng.permutation(len(patients))]
            unused = len(drawn) // 3
            val = unused + (len(drawn) - unused) // 5
            sides = dict.fromkeys(drawn[:unused], "test") | dict.fromkeys(drawn[unused:val], "val")
            sides |= dict.fromkeys(drawn[val : val + count], "train")
            path = out / f"{args.draws}-{size.rjust(3, '0')}-{repeat}" / "split.csv"
            if not path.exists():
                write_csv(path, ["patient", "split"], [{"patient": p, "split": s} for p, s in sides.items()])


def measure(
    folder: Path, networks: list[candidates.Network], params: Params, rows: list[dict[str, str]], *, finetune: bool
) -> None:
    """The figures of a subset and the outcomes of its choices, those that are not there yet."""
    sides = {row["patient"]: row["split"] for row in read_csv(folder / "split.csv")}
    divided = [row | {"split": sides.get(row["patient"], "")} for row in rows]
    probes = [folder / name_of(network) / "probe.csv" for network in networks]
    if not (folder / "figures.json").exists() or not all(path.exists() for path in probes):
        slices = np.load("data/prepared/slices.npy", mmap_mode="r")
        encode = params.data.targets.encode
        key = sha256_file(Path("data/prepared/slices.npy"))
        train, val, test = (side_of(divided, side, encode) for side in ("train", "val", "test"))
        material = candidates.Material(slices, key, train, val, params.data.task)
        cache = params.cache("features")
        found = [candidates.examine(each, material, params.features, cache, params.seed, None) for each in networks]
        for path, each in zip(probes, found, strict=True):
            write_outcome(path, divided, each.best.probe.logits(test.means(each.features))[:, 0])
        write_json(folder / "figures.json", advisor.facts(found, material))
    for network in networks if finetune else []:
        path = folder / name_of(network) / "finetuned.csv"
        if not path.exists():
            write_outcome(path, divided, fine_tuned(folder / name_of(network), network, divided))


def take_cases(measured: dict[str, Path], params: Params, out: Path) -> None:
    """Subsets and fine-tuned outcomes of another benchmark's output folders, a folder a backbone."""
    found = {path.stem for folder in measured.values() for path in (folder / "finetuned").glob("size*-seed*-fold*.csv")}
    parts = [name.split("-") for name in found]
    asked = argparse.Namespace(
        sizes=sorted({int(part[0].removeprefix("size").replace("all", "0")) for part in parts}),
        seeds=sorted({int(part[1].removeprefix("seed")) for part in parts}),
        folds=folds_of(measured, [int(part[2].removeprefix("fold")) for part in parts]),
    )
    for case in (case for case in accuracy.cases(params, asked) if case.name in found):
        sides = {row["patient"]: row["split"] for row in case.index if row["split"] != "unused"}
        here = out / f"accuracy-{case.name}"
        write_csv(here / "split.csv", ["patient", "split"], [{"patient": p, "split": s} for p, s in sides.items()])
        for label, folder in measured.items():
            outcome = folder / "finetuned" / f"{case.name}.csv"
            if outcome.exists():  # with the validation units, by which the model was chosen
                tested = [{key: row[key] for key in OUTCOME} for row in read_csv(outcome) if row["side"] == "test"]
                write_csv(here / label.replace("/", "-") / "finetuned.csv", OUTCOME, tested)


def folds_of(measured: dict[str, Path], numbers: list[int]) -> int:
    """Into how many folds the patients were dealt; of older folders, which do not say it, by the numbers of folds."""
    noted = [folder / settings.FILE for folder in measured.values() if (folder / settings.FILE).exists()]
    said = [int(read_json(path)["command_line"]["folds"]) for path in noted]
    return max(said, default=1 + max(numbers, default=0))


def name_of(network: candidates.Network) -> str:
    """A candidate's label as the name of a folder."""
    return network.label.replace("/", "-")


def write_outcome(path: Path, divided: list[dict[str, str]], logits: np.ndarray) -> None:
    """Logits of the patients not used, in the order of their units' first appearance."""
    first = {row["unit"]: row for row in reversed(divided) if row["split"] == "test"}
    units = dict.fromkeys(row["unit"] for row in divided if row["split"] == "test")
    found = [
        {"unit": unit, "patient": first[unit]["patient"], "label": first[unit]["label"], "logit": round(float(x), 6)}
        for unit, x in zip(units, logits, strict=True)
    ]
    write_csv(path, OUTCOME, found)


def fine_tuned(folder: Path, network: candidates.Network, divided: list[dict[str, str]]) -> np.ndarray:
    """Run the stage `finetune` in a project of this subset; the logits of the patients not used."""
    project = folder / "project"
    (project / "data/prepared").mkdir(parents=True, exist_ok=True)
    kept = [row for row in divided if row["split"]]
    places = np.array([place for place, row in enumerate(divided) if row["split"]])
    slices = np.load("data/prepared/slices.npy", mmap_mode="r")[places]
    np.save(project / "data/prepared/slices.npy", slices)
    write_csv(project / "data/prepared/slices.csv", kept[0], kept)
    backbone = project / "models/backbone"
    backbone.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in network.trunk.state_dict().items()}, backbone / "backbone.safetensors")
    write_json(backbone / "card.json", network.facts)
    settings = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    (project / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-m", "pipeline.stages.finetune"], cwd=project, env=environment, check=True)
    test = np.array([row["split"] == "test" for row in kept])
    units = [row["unit"] for row in kept if row["split"] == "test"]
    found = predict.rows(model.load(project / "models/finetuned"), slices[test])
    logits = pool(found, units, settings["finetune"]["pooling"])[1][:, 0]
    shutil.rmtree(project)
    return logits


def table(folders: list[Path]) -> None:
    """Two lines a subset; the mean regret, and the worst, over those of which every choice was measured."""
    regrets = []
    for folder in folders:
        figures = read_json(folder / "figures.json")
        measured = aurocs(folder, figures["candidates"])
        whole = len(measured) == len(WAYS) * len(figures["candidates"])
        advice = advisor.decide(figures)
        chosen = (advice["backbone"]["choice"], advice["training"]["choice"])
        said = "not measured"
        if chosen in measured:
            regret = max(measured.values()) - measured[chosen]
            said = f"{regret:.3f}" + ("" if whole else ", not all choices measured: not counted")
            regrets += [regret] if whole else []
        shown = "  ".join(f"{label} {way} {value:.3f}" for (label, way), value in sorted(measured.items()))
        print(f"{folder.name:18} {shown}\n{'':18} advised: {chosen[0]} {chosen[1]}  regret {said}")
    if regrets:
        print(f"mean regret {np.mean(regrets):.3f}, worst {max(regrets):.3f}, of {len(regrets)} subsets")


def aurocs(folder: Path, labels: Iterable[str]) -> dict[tuple[str, str], float]:
    """Of a subset the AUROC of each choice, backbone and way, that was measured.

    Raises:
        DataError: their outcomes are of different units, or of different labels.
    """
    paths = {(label, way): folder / label.replace("/", "-") / f"{WAYS[way]}.csv" for label in labels for way in WAYS}
    outcomes = {choice: read_csv(path) for choice, path in paths.items() if path.exists()}
    units = {choice: {row["unit"]: row["label"] for row in rows} for choice, rows in outcomes.items()}
    differing = [" ".join(choice) for choice, own in units.items() if own != next(iter(units.values()))]
    if differing:
        raise DataError(
            f"outcomes of the same units and labels in {folder}",
            f"others of {', '.join(differing)}",
            "Remove the outcome that is of other patients or slices, and measure it again.",
        )
    return {
        choice: float(roc_auc_score([int(row["label"]) for row in rows], [float(row["logit"]) for row in rows]))
        for choice, rows in outcomes.items()
    }


if __name__ == "__main__":
    main()
