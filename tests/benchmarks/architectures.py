"""Which architectures of timm and torchvision go to one channel as backbones, and why the others do not.

    python -m tests.benchmarks.architectures [--like PATTERN] [--every] [--limit SECONDS] [--out CSV]

With random weights, of every module of timm the architecture with the smallest name, and every classifier of
torchvision; `--every` takes all of timm. Each is made one channel with the proof, relieved of its head, tried in
training, divided into blocks, cut at the middle one and rebuilt from its name, in a process of its own. It is `ok`,
`refused` with the reason that a user would read, or a `crash`, of which there must be none.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import multiprocessing
import re
import sys
import time
import warnings
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import timm
import torch
import torchvision
from torch import nn

from pipeline.errors import PipelineError, StemError
from pipeline.training_config import Backbone
from pipeline.transfer import backbone, heads, layers, networks, stem
from pipeline.transfer.boundary import split
from pipeline.transfer.resolution import sized

#: Pixels of a side that most networks take; those that do not are shown pictures of their own size.
SMALL = 64
#: Words for the smaller architectures of a module, the smallest first.
_SMALL = (
    "atto",
    "femto",
    "pico",
    "nano",
    "micro",
    "xxs",
    "tiny",
    "xs",
    "mini",
    "small",
    "_s",
    "b0",
    "18",
    "m0",
    "base",
)


class Outcome(NamedTuple):
    """One architecture's."""

    name: str
    verdict: str
    size: int
    seconds: float
    reason: str


def main() -> int:
    """Print a line for each architecture and how many there were of each kind; 1 where one crashed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--like", default="", help="a regular expression that the name must match")
    parser.add_argument("--every", action="store_true", help="all of timm")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for each size")
    parser.add_argument("--out", type=Path, help="a CSV to write")
    arguments = parser.parse_args()
    outcomes = []
    for name in names(every=arguments.every):
        if re.search(arguments.like, name):
            outcomes.append(attempt(name, arguments.limit))
            print(
                f"{name:45} {outcomes[-1].verdict:8} {outcomes[-1].seconds:6.1f} s  {outcomes[-1].reason}", flush=True
            )
    if arguments.out is not None:
        with open(arguments.out, "w", newline="", encoding="utf-8") as handle:
            csv.writer(handle).writerows([Outcome._fields, *outcomes])
    counts = Counter(outcome.verdict for outcome in outcomes)
    print(", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
    return 1 if counts["crash"] else 0


def names(*, every: bool) -> list[str]:
    """The architectures to try."""
    vision = [f"torchvision/{name}" for name in torchvision.models.list_models(module=torchvision.models)]
    if every:
        return [*timm.list_models(), *vision]
    return [*(_smallest(timm.list_models(module=module)) for module in sorted(_modules())), *vision]


def _modules() -> set[str]:
    """The modules of timm that hold architectures."""
    return {timm.model_entrypoint(name).__module__.rpartition(".")[2] for name in timm.list_models()}


def _smallest(found: list[str]) -> str:
    """By the words in their names, for to build them all would take minutes."""
    ordinary = [name for name in found if not name.startswith("test_")] or found
    rank = {name: next((row for row, word in enumerate(_SMALL) if word in name), len(_SMALL)) for name in ordinary}
    return min(ordinary, key=lambda name: (rank[name], len(name), name))


def attempt(name: str, limit: float) -> Outcome:
    """What becomes of `name`, small or else at its own size, within `limit` seconds each."""
    begin, size = time.monotonic(), SMALL
    verdict, reason = _in_a_process(name, size, limit)
    if verdict == "refused":
        size = 224 if "/" in name else timm.models.get_pretrained_cfg(name).input_size[-1]
        verdict, reason = _in_a_process(name, size, limit)
    return Outcome(name, verdict, size, round(time.monotonic() - begin, 1), reason)


def _in_a_process(name: str, size: int, limit: float) -> tuple[str, str]:
    """Verdict and reason."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_report, args=(theirs, name, size))
    process.start()
    theirs.close()
    try:
        verdict, reason = ours.recv() if ours.poll(limit) else ("too slow", f"more than {limit:g} s")
    except EOFError:
        verdict, reason = "crash", "the process ended without a word"
    process.kill()
    process.join()
    return verdict, reason


def _report(out: Connection, name: str, size: int) -> None:
    """Send the verdict on `name`; anything but the pipeline's own errors is a crash."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    try:
        out.send(("ok", _tried(name, size)))
    except PipelineError as error:
        out.send(("refused", str(error)))
    except Exception as error:  # noqa: BLE001  a crash is a finding here
        out.send(("crash", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"))


def _tried(name: str, size: int) -> str:
    """What a backbone goes through; returns figures about it."""
    torch.manual_seed(0)
    chosen = sized(Backbone(name=name, weights="hub", file=Path("none")), size)
    network = networks.create(name, chosen.options)
    settle(network, size)
    stated = backbone.source(name, network)
    adapted = stem.adapt(network, name, stated.mean, stated.std)
    try:
        worst = stem.prove(network, adapted, name, stated.mean, stated.std, size)
    except StemError:  # random weights may blow rounding up, but not that of double precision
        worst = stem.prove(network.double(), adapted.double(), name, stated.mean, stated.std, size)
        adapted.float()
    trunk = backbone.trunk(adapted)
    backbone.require_trainable(trunk, name, size)
    rebuilt = backbone.empty_trunk(name, chosen.options)
    rebuilt.load_state_dict(trunk.state_dict())
    slices = torch.rand(2, 1, size, size)
    found = layers.blocks(trunk)
    with torch.no_grad():
        if not torch.equal(rebuilt.eval()(slices), trunk(slices)):
            raise ArithmeticError("the rebuilt trunk gives something else")
        features = trunk(slices).shape[1]
    halves = split(trunk, len(found) // 2, slices)
    between = "not cut" if halves is None else f"cut at {tuple(halves[0](slices).shape[1:])}"
    return f"{size} px, difference {worst:.0e}, {features} features, {len(found)} blocks, {between}"


@torch.no_grad()
def settle(network: nn.Module, size: int) -> None:
    """Give BatchNorm statistics of pictures and the head weights by which logits differ by about 1 between pictures.

    The statistics keep a hundredth of what they were: a channel that hardly varies would else be mostly rounding.
    """
    heads.drop_auxiliary(network)
    rgb = 4 * stem.pictures(size).expand(-1, 3, -1, -1) - 2
    scores = [network.get_submodule(path) for path in heads.paths(network)]
    for layer in scores:
        nn.init.normal_(layer.weight)  # type: ignore[arg-type]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.99
    with contextlib.suppress(*stem.REFUSALS):  # whatever it is, the proof will meet it too
        network.train()(rgb)
        logits = network.eval()(rgb)
        spread = float((logits.amax(0) - logits.amin(0)).max())
        for layer in scores:
            layer.weight.div_(max(spread, 1e-6))  # type: ignore[operator]
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


if __name__ == "__main__":
    sys.exit(main())
