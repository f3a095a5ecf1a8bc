"""How fast a release answers, and on what a study spends its time: `python -m tests.benchmarks.inference`.

    python -m tests.benchmarks.inference [--networks demo ResNet-18 ResNet-50] [--batches 1 24 64] [--ways WAY ...]
        [--rounds 5] [--calls 20] [--threads 1] [--studies 10] [--study WAY]
        [--out TABLE.md]

Eager PyTorch, torch.compile (needs a C++ compiler), ONNX Runtime and OpenVINO, in the precision that each really runs
in, and on an NVIDIA GPU PyTorch and TensorRT beside what the card can do at best. Each way has a process of its own,
loaded once; they take turns in every round, so that a busy machine is busy for all of them. Networks have random
weights and the whole graph of a release about them, from bytes to calibrated probabilities.

A line a way: median and 95th percentile of a call in ms, images a second, how many times eager PyTorch (median of the
ratios of each round), the most memory that its process held, the largest difference of a probability from eager
PyTorch. Then a study of 24 slices from DICOM files to probabilities, by its parts, in the fastest way
without PyTorch or in the one that `--study` names, such as that of the ladder's choice.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.files import write_text
from tests.benchmarks.inference import card, networks, study
from tests.benchmarks.inference.ways import WAYS, Files, Turn, Worker

#: Calls of a turn that only warm up; a turn ends early after so many seconds.
WARM, LIMIT_S = 2, 4.0
COLUMNS = ("way", "median ms", "p95 ms", "images/s", "x eager", "peak MB", "differs by")


@dataclass
class Found:
    """What came of the turns of one way with one number of slices; `refused` where there were none."""

    batch: int
    turns: list[Turn] = field(default_factory=list)
    refused: str | None = None

    @property
    def seconds(self) -> np.ndarray:
        """Of every call."""
        return np.concatenate([turn.seconds for turn in self.turns])

    @property
    def median(self) -> float:
        """Seconds of a call."""
        return float(np.median(self.seconds))

    def times(self, eager: Found) -> float:
        """How many times as fast, by the medians of the same round."""
        pairs = zip(self.turns, eager.turns, strict=True)
        return float(np.median([np.median(other.seconds) / np.median(own.seconds) for own, other in pairs]))

    def row(self, way: str, eager: Found) -> list[str]:
        """Its line of the table."""
        if self.refused is not None:
            return [way, f"not run: {self.refused}", *[""] * (len(COLUMNS) - 2)]
        off = np.abs(self.turns[0].probabilities - eager.turns[0].probabilities).max() if eager.turns else np.nan
        return [
            way,
            f"{1000 * self.median:.2f}",
            f"{1000 * np.percentile(self.seconds, 95):.2f}",
            f"{self.batch / self.median:.0f}",
            f"{self.times(eager):.1f}" if eager.turns else "",
            f"{max(turn.peak for turn in self.turns) / 1e6:.0f}",
            f"{off:.0e}",
        ]


def measure(
    files: Files, ways: Sequence[str], batches: Sequence[int], rounds: int, calls: int
) -> dict[str, list[Found]]:
    """Every way with every number of slices, in turn."""
    size = int(files.make[-1])
    pictures = {batch: networks.slices(batch, size, seed=2) for batch in batches}
    workers = {way: Worker(way, files) for way in ways}
    for worker in workers.values():
        worker.wait()
    found = {way: [Found(batch, refused=worker.refused) for batch in batches] for way, worker in workers.items()}
    try:
        for number in range(rounds):
            for place, batch in enumerate(batches):
                for way, worker in workers.items():
                    if found[way][place].refused is None:
                        _take(found[way][place], worker, pictures[batch], WARM if number else 2 * WARM, calls)
            print(f"round {number + 1} of {rounds}", flush=True)
    finally:
        for worker in workers.values():
            worker.close()
    return found


def _take(found: Found, worker: Worker, slices: np.ndarray, warm: int, calls: int) -> None:
    try:
        found.turns.append(worker.turn(slices, warm, calls, LIMIT_S))
    except RuntimeError as error:
        found.refused = str(error)


def table(name: str, found: Mapping[str, Sequence[Found]]) -> str:
    """A section of Markdown for each number of slices."""
    first = next(iter(found))
    sections = []
    for place, eager in enumerate(found[first]):
        rows = [list(COLUMNS), *(of_way[place].row(way, eager) for way, of_way in found.items())]
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        lines.insert(1, "|---|" + "---:|" * (len(COLUMNS) - 1))
        plural = "slice" if eager.batch == 1 else "slices"
        sections.append("\n".join([f"### {name}, {eager.batch} {plural} a call", "", *lines, ""]))
    return "\n".join(sections)


def fastest(found: Mapping[str, Sequence[Found]], batch: int) -> str:
    """The way without PyTorch that answers so many slices soonest; of the batches measured the nearest."""
    ways = {way: min(of_way, key=lambda each: abs(each.batch - batch)) for way, of_way in found.items()}
    ran = {way: each for way, each in ways.items() if each.refused is None and "orch" not in way.partition(" ")[0]}
    return min(ran or ways, key=lambda way: ways[way].median)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = networks.known()
    parser.add_argument("--networks", nargs="+", choices=[*known], default=[*known])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 24, 64])
    parser.add_argument("--ways", nargs="+", choices=[*WAYS], default=[*WAYS], metavar="WAY")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--studies", type=int, default=10)
    parser.add_argument("--study", choices=[*WAYS], metavar="WAY")
    parser.add_argument("--out", type=Path, help="a file of Markdown to write")
    asked = parser.parse_args()
    sections = [study.machine(asked.threads)]
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.networks:
            files = networks.write(Path(folder) / name, *known[name], asked.threads)
            found = measure(files, asked.ways, asked.batches, asked.rounds, asked.calls)
            sections.append(table(name, found) + "\n" + card.limits(files, asked.batches))
            way = asked.study or fastest(found, study.SLICES)
            sections.append(study.measure(name, way, files, Path(folder) / f"{name}-study", asked.studies))
            print("\n".join(sections[-2:]), flush=True)
    if asked.out is not None:
        write_text(asked.out, "\n".join(sections))


if __name__ == "__main__":
    main()
