"""Slices a second that training takes, and on a GPU the share of the time in which a kernel runs.

    python -m tests.benchmarks.throughput [--networks resnet18 resnet50] [--size 224] [--batch 128] [--steps 40]
        [--rounds 3] [--set finetune.compile=true ...]

Ours and the plain loop of `tests.benchmarks.loops` take turns, an epoch of `--steps` batches each, with random slices
and weights and everything else as params.yaml says: augmentation, precision, layout; all of the trunk learns. The first
epoch of each is not counted. Prints medians of the rounds, the ratio of the same round, and of one more epoch of ours
the share of its time in which at least one kernel ran on the GPU (`torch.profiler`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from pipeline.config import Params
from pipeline.training_config import Phase
from pipeline.transfer import stem
from pipeline.transfer.backbone import feature_count, source, trunk
from pipeline.transfer.batches import Bags, Loader
from pipeline.transfer.checkpoint import Progress
from pipeline.transfer.feed import Feed
from pipeline.transfer.learner import Learner
from pipeline.transfer.model import TransferModel
from pipeline.transfer.networks import create
from pipeline.transfer.objective import Objective
from pipeline.transfer.predict import device
from pipeline.transfer.steps import Steps, Task
from tests.benchmarks import loops
from tests.benchmarks.accuracy import parameters

_PHASE = Phase(name="all", trunk=1.0, epochs=1_000, learning_rate=1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="parameters, as for pipeline.params")
    args = parser.parse_args()
    params = parameters([*args.set, f"finetune.batch_slices={args.batch}"])
    name = torch.cuda.get_device_name() if device().type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{name}; {args.size}², batch {args.batch}, {params.finetune.precision}")
    print(f"{'':12} {'ours, slices/s':>15} {'plain':>10} {'ratio':>7} {'kernels':>8}")
    for network in args.networks:
        units = drawn(args.batch * args.steps, args.size)
        ours, plain = our_epochs(network, units, params), plain_epochs(network, units, params)
        next(ours), next(plain)
        seconds = np.array([(next(ours), next(plain)) for _ in range(args.rounds)])
        rates = len(units.rows) / np.median(seconds, axis=0)
        ratio = np.median(seconds[:, 1] / seconds[:, 0])
        print(f"{network:12} {rates[0]:15.0f} {rates[1]:10.0f} {ratio:6.2f}x {busy(ours):>8}", flush=True)


def drawn(count: int, size: int) -> Bags:
    """Random slices, each a unit of its own."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (count, size, size), np.uint8)
    return Bags(values, [np.array([row]) for row in range(count)], rng.integers(0, 2, (count, 1)).astype(np.float32))


def model_of(network: str, size: int) -> TransferModel:
    """With random weights and one channel."""
    torch.manual_seed(0)
    whole = create(network, {})
    stated = source(network, whole)
    adapted = trunk(stem.adapt(whole, network, stated.mean, stated.std))
    return TransferModel(adapted, feature_count(adapted, size))


def our_epochs(network: str, units: Bags, params: Params) -> Iterator[float]:
    """Seconds of one epoch after the other, by the steps of `pipeline.transfer`."""
    settings = params.finetune
    model = model_of(network, units.values.shape[-1])
    model.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    train = Loader(units, settings.batch_slices, (params.seed, 0), 1)
    feed = Feed(Learner(model.trunk, model.head), train, units, True, 0.0, 3.0, 0, "")
    task = Task(model, Objective("binary", None, settings.label_smoothing), settings, params.seed, device())
    steps = Steps(task, _PHASE, feed, model.freeze(1.0), Progress())
    for number in range(1, _PHASE.epochs + 1):
        begin = time.perf_counter()
        # Its mean loss is read, for which all kernels have to be waited.
        steps.epoch(number)
        yield time.perf_counter() - begin


def plain_epochs(network: str, units: Bags, params: Params) -> Iterator[float]:
    """The same of the plain loop, without its validation."""
    few = Bags(units.values, units.rows[:4], np.array([[0], [1], [0], [1]], np.float32))
    given = loops.Setting(units, few, params.finetune, _PHASE.epochs, 1e-3, params.seed)
    before = 0.0
    for epoch in loops.plain(model_of(network, units.values.shape[-1]), given):
        yield epoch.seconds - before
        before = epoch.seconds


def busy(epochs: Iterator[float]) -> str:
    """The share of the next epoch in which the GPU ran a kernel, as a text."""
    if device().type != "cuda":
        return "no GPU"
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        seconds = next(epochs)
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in seen.events() or []
        if event.device_type == DeviceType.CUDA
    )
    ran, until = 0.0, 0.0
    for begin, end in spans:
        ran += max(0.0, end - max(begin, until))
        until = max(until, end)
    return f"{ran * 1e-6 / seconds:.0%}"


if __name__ == "__main__":
    main()
