"""A project whose runs are quick and whose releases are real: graphs that tell volumes from others, more or less well.

What a run makes lies beside the project, in `material/<seed>/`, and is copied by its stage; params.yaml names the seed.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import torch

from pipeline import config
from pipeline.calibrator import Calibration
from pipeline.contract import Transform
from pipeline.engine import export, release
from pipeline.files import sha256_file, write_csv, write_json
from pipeline.imaging import nifti
from pipeline.imaging.prepare import prepare
from pipeline.imaging.volume import Volume
from pipeline.inference.backends import OnnxRuntime
from pipeline.transfer.model import TransferModel, save_model
from tests import compiled, observed, small_network
from tests.flows import versioned
from tests.flows.versioned import Project
from tests.pretrained import card

SIZE, SLICES = 32, 6
#: The first ones are of training and validation, the others of test.
PATIENTS, TAUGHT = 64, 16
NAME = "mri-transfer-demo"
TRANSFORM = Transform(size=SIZE, window_percentiles=(0.5, 99.5), head_margin_mm=6.0)
#: How much noise there is in the direction that a model looks in.
QUALITIES = {"better": 0.0, "good": 8.0}

STEP = """
import shutil, sys
from pathlib import Path
import yaml

made = Path("MATERIAL") / str(yaml.safe_load(Path("params.yaml").read_text())["seed"])
if sys.argv[1] == "ingest":
    shutil.copytree(made / "ingested", "data/ingested")
else:
    shutil.copytree(made / "release", "models/release")
    shutil.copy(made / "split.csv", "data/split.csv")
    shutil.copy(made / "acceptance.json", "reports/acceptance.json")
"""
DAG = """
stages:
  ingest:
    cmd: exec python step.py ingest
    params: [seed]
    outs: [data/ingested]
  release:
    cmd: exec python step.py release
    deps: [data/ingested]
    params: [seed]
    outs: [data/split.csv, models/release, reports/acceptance.json: {cache: false}]
"""


def _volume(number: int) -> Volume:
    """A head of noise; of an odd number with something round in it, now more and now less."""
    rng = np.random.default_rng(number)
    voxels = np.zeros((SLICES, 40, 36), np.float32)
    voxels[:, 6:34, 6:30] = rng.integers(300, 500, (SLICES, 28, 24))
    rows, columns = np.mgrid[:40, :36]
    disc = (rows - 20) ** 2 + (columns - 18) ** 2 < 36
    voxels[:, disc] += (300 if number % 2 else 0) + rng.normal(scale=100)
    return Volume(np.clip(voxels, 0, None).astype(np.float32), np.diag([4.0, 4.0, 6.0, 1.0]))


def patient(number: int) -> str:
    return f"P-{number:012x}"


def ingested(folder: Path, patients: int = PATIENTS) -> None:
    """data/ingested of so many patients, each with one labelled series."""
    index, labels = [], []
    for number in range(patients):
        series = f"S-{number:012x}"
        path = folder / "volumes" / f"{series}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(nifti.packed(_volume(number)))
        own = {"series": series, "patient": patient(number)}
        place = f"data/ingested/volumes/{series}.nii.gz"
        index.append({**own, "study": f"E-{number:012x}", "path": place, "n_slices": SLICES})
        labels.append({**own, "slice_index": "", "label": number % 2, "site": ""})
    write_csv(folder / "index.csv", index[0], index)
    write_csv(folder / "labels.csv", labels[0], labels)


def split(path: Path, patients: int = PATIENTS, first: int = 0) -> None:
    """data/split.csv: from the patient `first` on so many are of training and validation."""
    taught = range(first, first + TAUGHT)
    rows = [
        {"patient": patient(number), "split": ("train", "val")[number % 4 == 0] if number in taught else "test"}
        for number in range(patients)
    ]
    write_csv(path, rows[0], rows)


@cache
def _model(quality: str) -> TransferModel:
    """A random network whose head looks where the two kinds of volumes differ, and elsewhere, too."""
    made = small_network.model(size=SIZE)
    slices = np.stack([prepare(_volume(number), TRANSFORM) for number in range(1000, 1040)])
    with torch.no_grad():
        features = made.trunk(torch.from_numpy(slices.reshape(-1, 1, SIZE, SIZE)) / 255)
        units = features.reshape(40, SLICES, -1).mean(dim=1)
        towards = units[1::2].mean(dim=0) - units[::2].mean(dim=0)
        noise = torch.randn(towards.shape, generator=torch.Generator().manual_seed(3))
        direction = towards / towards.norm() + QUALITIES[quality] * noise / noise.norm()
        logits = units @ direction
        made.head.logits.weight.copy_((4 * direction / logits.std())[None])
        made.head.logits.bias.copy_(-4 * logits.mean() / logits.std())
    return made


def write(root: Path, graphs: Path, folder: Path, quality: str, version: str, key_file: Path | None = None) -> None:
    """A release by the real function, of a graph of this quality, which is made once."""
    shipped = config.load(root / "params.yaml")
    params = shipped.model_copy(
        update={
            "prepare": TRANSFORM,
            "release": shipped.release.model_copy(update={"version": version, "key_file": key_file}),
        }
    )
    made = _graph(graphs, quality)
    hashes = {"onnx_sha256": sha256_file(made / "model.onnx"), "model_sha256": sha256_file(made / "model.safetensors")}
    studies = observed.write(made / "reference.npz", hashes["onnx_sha256"])
    parts = release.Parts(made / "model.safetensors", made / "model.onnx", made, studies)
    release.write(params, _evidence(made, hashes), parts, folder)


def _graph(graphs: Path, quality: str) -> Path:
    """The folder with weights, graph and parity cases of this quality."""
    made = graphs / quality
    if not made.is_dir():
        backbone = made / "backbone"
        write_json(backbone / "card.json", card("test_efficientnet"))
        save_model(_model(quality), made, backbone, {})
        export.export(small_network.network(_model(quality), size=SIZE), SIZE, 20, made / "model.onnx")
        compiled.write_cases(made / "parity.npz", made / "model.onnx")
    return made


def write_parts(graphs: Path, material: Path, quality: str) -> None:
    """What the stages of a training and its export would have left in `material`, in place of what is there."""
    made = _graph(graphs, quality)
    for folder, name in (("finetuned", "model.safetensors"), ("export", "model.onnx")):
        (material / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(made / name, material / folder / name)
    write_json(material / "calibration.json", _calibration(sha256_file(made / "model.safetensors")).record())


def _calibration(model_sha256: str) -> Calibration:
    return Calibration(temperature=1.0, threshold=0.5, rule="youden", model_sha256=model_sha256, split_sha256="ef" * 32)


def _evidence(made: Path, hashes: dict[str, str]) -> release.Evidence:
    """What the stages before would have left."""
    parity = {"opset": 20, "outputs": list(OnnxRuntime(made / "model.onnx").outputs)}
    graphs = {"fp32": {"file": "model.onnx", "sha256": hashes["onnx_sha256"]}}
    ladder = {"asked": {}, "validation": {}, "rungs": [], "graphs": graphs, "released": []}
    return release.Evidence(
        backbone=card("test_efficientnet"),
        calibration=_calibration(hashes["model_sha256"]),
        metrics={"finetuned": {"auroc": {"value": 0.9, "low": 0.8, "high": 0.95}}},
        acceptance={"criteria": [{"metric": "m", "bound": "at least 0", "value": 1.0, "passed": True}]},
        parity={
            **hashes,
            **parity,
            "pooling": "mean",
            "max_abs_logit_difference": 0.0,
            "tolerance": 1e-4,
            "slices": 1,
        },
        ladder={**ladder, "runs": {"runtime": "onnxruntime", "precision": "fp32"}},
        compiled=compiled.record(made, **hashes),
    )


class Released(Project):
    """The project, and runs of it that are tagged."""

    def __init__(self, folder: Path, root: Path, graphs: Path) -> None:
        super().__init__(folder)
        self.root, self.graphs = root, graphs
        self.material = folder.parent / "material"
        self.store = folder.parent / "store"

    def release(
        self, version: str, quality: str, key_file: Path | None = None, accepted: bool = True, first: int = 0
    ) -> None:
        """A run that made this version, committed and tagged; `first` is the first patient it learnt from."""
        seed = int(version.replace(".", "")) + 1000
        made = self.material / str(seed)
        ingested(made / "ingested")
        split(made / "split.csv", first=first)
        write(self.root, self.graphs, made / "release", quality, version, key_file)
        criterion = {"metric": "finetuned.auroc.low", "bound": "at least 0.55", "passed": accepted, "waived": False}
        write_json(made / "acceptance.json", {"accepted": accepted, "criteria": [criterion]})
        self.run(seed, f"{NAME} {version}")
        tag = f"{NAME}@v{version}"
        self("git", "tag", "--annotate", "--message", version, tag)

    def run(self, seed: int, message: str) -> None:
        """`dvc repro` with what lies in material/<seed>, committed."""
        text = (self.folder / "params.yaml").read_text()
        old = next(line for line in text.splitlines() if line.startswith("seed: "))
        self.change(old, f"seed: {seed}")
        self("dvc", "repro", "--quiet")
        self.commit(message)

    @property
    def production(self) -> str:
        """The hash that tells the release that boxes find."""
        return sha256_file(self.store / NAME / "production/SHA256SUMS")

    def copy(self, folder: Path) -> Released:
        """The same elsewhere, with a store of its own."""
        shutil.copytree(self.folder, folder / "project", symlinks=True)
        made = Released(folder / "project", self.root, self.graphs)
        made.material = self.material
        made.change(str(self.store), str(made.store))
        made.commit("Elsewhere")
        return made


def make(root: Path, folder: Path, graphs: Path) -> Released:
    """The project without a release; nobody need sign, and its store lies beside it.

    `graphs` is where those of the qualities are, or are made when they are first asked for.
    """
    material = folder / "material"
    versioned.make(root, folder / "project", STEP.replace("MATERIAL", str(material)), DAG)
    project = Released(folder / "project", root, graphs)
    project.write(".gitignore", versioned.IGNORED + "/data/ingested\n/data/split.csv\n")
    project.change("store: null ", f"store: {project.store} ")
    project.change("allow_unsigned: false", "allow_unsigned: true")
    project.commit("Where releases go")
    return project
