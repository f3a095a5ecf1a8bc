"""The networks that the benchmark of inference runs, in PyTorch and as the graphs of a release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from pipeline import config
from pipeline.calibrator import Calibration
from pipeline.engine.export import export
from pipeline.engine.graph import ReleaseGraph
from pipeline.engine.half import half
from pipeline.engine.quantise import quantise
from pipeline.targets import BINARY
from pipeline.transfer.backbone import empty_trunk, feature_count
from pipeline.transfer.model import TransferModel
from tests.benchmarks.inference.ways import Files

ROOT = Path(__file__).resolve().parents[3]
#: Slices by which int8 is calibrated.
CALIBRATION = 32


def known() -> dict[str, tuple[str, dict[str, Any], int]]:
    """Architecture, options and side of pictures, by the name in the table."""
    shipped = config.load(ROOT / "params.yaml")
    demo = (shipped.backbone.name, dict(shipped.backbone.options), shipped.prepare.size)
    assert demo[0] is not None
    return {
        "ResNet-18": ("resnet18", {}, 224),
        "ResNet-50": ("resnet50", {}, 224),
        "demo": (demo[0], demo[1], demo[2]),
    }


def network(name: str, options: dict[str, Any], size: int) -> ReleaseGraph:
    """With random weights, by which no time depends, and answers that differ from slice to slice."""
    torch.manual_seed(7)
    trunk = empty_trunk(name, options)
    model = TransferModel(trunk, feature_count(trunk, size), 1, "mean").eval()
    with torch.no_grad():
        settle(trunk, size)
        features = trunk(torch.from_numpy(slices(16, size))[:, None] / 255)
        model.head.logits.weight.normal_()
        logits = model.head.logits(features)
        model.head.logits.weight.div_(logits.std())
        model.head.logits.bias.copy_(-model.head.logits(features).mean(0) + model.head.logits.bias)
    fixed = Calibration(temperature=1.0, threshold=0.5, rule="youden", model_sha256="", split_sha256="")
    return ReleaseGraph(model, fixed, BINARY, size).eval()


def settle(trunk: nn.Module, size: int) -> None:
    """Give BatchNorm the statistics of pictures, so that activations neither vanish nor explode."""
    norms = [module for module in trunk.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
    trunk.train()(torch.from_numpy(slices(16, size))[:, None] / 255)
    trunk.eval()


def slices(count: int, size: int, seed: int = 0) -> np.ndarray:
    """uint8 (count, size, size): blots of many sizes, brighter and darker from slice to slice."""
    rng = np.random.default_rng([seed, count, size])
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    pictures = np.zeros((count, size, size))
    for picture in pictures:
        for _ in range(12):
            centre, width = rng.uniform(-0.7, 0.7, 2), rng.uniform(0.05, 0.5)
            picture += rng.uniform(20, 90) * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / width**2)
        picture += rng.normal(0, 4, picture.shape)
    return pictures.clip(0, 255).astype(np.uint8)


def write(folder: Path, name: str, options: dict[str, Any], size: int, threads: int) -> Files:
    """The graphs of a network, in every precision."""
    folder.mkdir(parents=True)
    graphs = {precision: folder / f"{precision}.onnx" for precision in ("fp32", "fp16", "bf16", "int8")}
    export(network(name, options, size), size, 20, graphs["fp32"])
    exported = onnx.load(graphs["fp32"])
    made = {
        "fp16": half(exported, "fp16"),
        "bf16": half(exported, "bf16"),
        "int8": quantise(exported, slices(CALIBRATION, size, seed=1)),
    }
    for precision, graph in made.items():
        graphs[precision].write_bytes(graph.SerializeToString(deterministic=True))
    return Files(graphs, (name, options, size), threads)
