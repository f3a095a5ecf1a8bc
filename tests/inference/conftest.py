"""A release made by the real release function, and scans as DICOM files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from safetensors.torch import save_file

from pipeline import config
from pipeline.contract import Calibration, Runs
from pipeline.dicom.load import load
from pipeline.dicom.scan import Scan
from pipeline.engine import export, release
from pipeline.engine.graph import ReleaseGraph
from pipeline.engine.quantise import quantise
from pipeline.files import sha256_file
from pipeline.inference.runtimes import start
from pipeline.monitoring import reference
from pipeline.monitoring.observation import Model, observe
from tests import compiled, observed, small_network
from tests.pretrained import card
from tests.small_network import SIZE

TEMPERATURE, THRESHOLD = 1.7, 0.5
#: Slices of a unit, by the contract.
MOST = compiled.MOST
PLAIN = {"runtime": "onnxruntime", "precision": "fp32"}


@pytest.fixture(scope="session")
def network() -> ReleaseGraph:
    """Some of the series below are positive by it."""
    made = small_network.model(spread=2.0)
    with torch.no_grad():
        made.head.logits.bias.sub_(3.2)
    return small_network.network(made, temperature=TEMPERATURE, threshold=THRESHOLD)


@pytest.fixture(scope="session")
def graph(network: ReleaseGraph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    export.export(network, SIZE, 20, path)
    return path


@dataclass
class Maker:
    """Makes a release for a label level, signed or not."""

    params: config.Params
    graph: Path

    def __call__(
        self,
        out: Path,
        level: str = "series",
        key_file: Path | None = None,
        runs: dict[str, str] = PLAIN,
        neighbours_sd: float = 0.0,
        drawn: bool = False,
    ) -> Path:
        """A release that runs so; of int8 with that of `int8`; its reference: series like those below, or drawn."""
        params = self.params.model_copy(
            update={
                "data": self.params.data.model_copy(update={"label_level": level}),
                "ingest": self.params.ingest.model_copy(update={"contrasts": None, "min_slices": 4}),
                "prepare": self.params.prepare.model_copy(update={"size": SIZE}),
                "release": self.params.release.model_copy(update={"key_file": key_file}),
            }
        )
        model = self.graph.with_name("model.safetensors")
        save_file({"trunk.weight": torch.zeros(1)}, model)
        compiled.write_cases(self.graph.with_name("parity.npz"), self.graph)
        hashes = {"onnx_sha256": sha256_file(self.graph), "model_sha256": sha256_file(model)}
        calibration = Calibration(
            temperature=TEMPERATURE,
            threshold=THRESHOLD,
            neighbours_sd=neighbours_sd,
            rule="youden",
            model_sha256=hashes["model_sha256"],
            split_sha256="ef" * 32,
        )
        evidence = release.Evidence(
            backbone=card("test_efficientnet"),
            calibration=calibration,
            metrics={},
            acceptance={"criteria": [{"metric": "m", "bound": "at least 0", "value": 1.0, "passed": True}]},
            parity={
                **hashes,
                "opset": 20,
                "outputs": ["probabilities", "logits", "slice_scores", "embedding", "saliency"],
                "pooling": "mean",
                "max_abs_logit_difference": 0.0,
                "tolerance": 1e-4,
                "slices": 1,
            },
            ladder=self.ladder(runs),
            compiled=compiled.record(self.graph.parent, **hashes),
        )
        drawn_from = self.graph.with_name("drawn.npz")
        studies = observed.write(drawn_from, hashes["onnx_sha256"]) if drawn else self.reference(params, calibration)
        release.write(params, evidence, release.Parts(model, self.graph, self.graph.parent, studies), out)
        return out

    def reference(self, params: config.Params, calibration: Calibration) -> Path:
        """What the graph sees of studies like those below; made once."""
        path = self.graph.with_name("reference.npz")
        if not path.is_file():
            model = Model(start({"fp32": self.graph}, Runs(**PLAIN)), params.prepare, calibration, "series")
            folder = self.graph.with_name("known")
            for seed in range(1000, 1060):
                _write_series(folder, seed)
            scans = [scan for scan in load(folder, params.ingest.selection, workers=1) if isinstance(scan, Scan)]
            seen = [observe(model, scan.manufacturer, scan.field_strength_t, [scan.volume]) for scan in scans]
            reference.make(sha256_file(self.graph), model.backend.name, seen[:24], seen[24:]).save(path)
        return path

    def ladder(self, runs: dict[str, str]) -> dict[str, Any]:
        """What the stage `export` would have found."""
        files = {"fp32": self.graph} | ({"int8": _int8(self.graph)} if runs["precision"] == "int8" else {})
        graphs = {name: {"file": path.name, "sha256": sha256_file(path)} for name, path in files.items()}
        found = {"asked": {"band": 0.02, "auroc_change": 0.01}, "validation": {"units": 1, "patients": 1}, "rungs": []}
        return {**found, "runs": runs, "graphs": graphs, "released": list(files)[1:]}


def _int8(graph: Path) -> Path:
    """The same graph in int8, beside it."""
    path = graph.with_name("model_int8.onnx")
    if not path.is_file():
        slices = np.random.default_rng(5).integers(0, 256, (16, SIZE, SIZE), dtype=np.uint8)
        path.write_bytes(quantise(onnx.load(graph), slices).SerializeToString(deterministic=True))
    return path


@pytest.fixture(scope="session")
def make_release(root: Path, graph: Path) -> Maker:
    return Maker(config.load(root / "params.yaml"), graph)


SeriesWriter = Callable[..., str]


@pytest.fixture
def write_series() -> SeriesWriter:
    return _write_series


def _write_series(
    folder: Path, seed: int, patient: str = "P1", study: str | None = None, slices: int = 8, **changed: Any
) -> str:
    """Classic MR files of a bright ellipse with texture, in shuffled InstanceNumber; returns the SeriesInstanceUID."""
    rng = np.random.default_rng(seed)
    series = generate_uid(entropy_srcs=["series", str(seed)])
    study = study or generate_uid(entropy_srcs=["study", str(seed)])
    frame_of_reference = generate_uid(entropy_srcs=["frame", str(seed)])
    rows, columns = np.mgrid[:96, :80]
    head = ((rows - 48) / 40) ** 2 + ((columns - 40) / 32) ** 2 < 1
    folder.mkdir(parents=True, exist_ok=True)
    for index, number in enumerate(rng.permutation(slices)):
        pixels = np.where(head, 400 + (50 + 100 * (seed % 4)) * rng.random(head.shape) + 30 * index, 5).astype(
            np.uint16
        )
        dataset = _mr(pixels)
        dataset.PatientID, dataset.PatientName = patient, "Doe^Jane"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.FrameOfReferenceUID = frame_of_reference
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[series, str(index)])
        dataset.InstanceNumber = int(number) + 1
        dataset.ImagePositionPatient = [-40.0, -48.0, 5.0 * index]
        for keyword, value in changed.items():
            setattr(dataset, keyword, value)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"{seed}-{number}", enforce_file_format=True)
    return series


def _mr(pixels: np.ndarray) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MRImageStorage
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.Modality, dataset.Manufacturer = "MR", "SIEMENS"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [1.0, 1.0], 5.0
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = pixels.tobytes()
    return dataset
