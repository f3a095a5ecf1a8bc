"""The benchmark of inference on a network that takes no time: its figures can be trusted to be of what they name."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.inference import card, networks, study
from tests.benchmarks.inference.__main__ import Found, fastest, measure, table
from tests.benchmarks.inference.ways import Turn

WAYS = ("PyTorch eager", "ONNX Runtime fp32", "OpenVINO int8", "torch.compile, GPU")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return networks.write(tmp_path_factory.mktemp("network") / "graphs", "test_efficientnet", {}, 64, 1)


def test_every_way_answers_the_same_question_or_says_why_not(files, tmp_path) -> None:
    found = measure(files, WAYS, [1, 3], rounds=2, calls=2)
    eager, plain, int8, gpu = (found[way] for way in WAYS)
    for place, batch in enumerate((1, 3)):
        answers = [way[place].turns[0].probabilities for way in (eager, plain, int8)]
        assert {answer.shape for answer in answers} == {(batch, 1)}
        assert np.allclose(answers[0], answers[1], rtol=0, atol=1e-5)
        assert 0 < np.abs(answers[0] - answers[2]).max() < 0.5
        assert [len(way[place].seconds) for way in (eager, plain, int8)] == [4] * 3
    assert plain[0].turns[0].peak < eager[0].turns[0].peak, "a process without PyTorch holds less"
    text = table("small", found)
    assert text.count("### small, ") == 2
    if gpu[0].refused is not None:
        assert text.count("| torch.compile, GPU | not run: RuntimeError: no NVIDIA GPU |") == 2
    assert fastest(found, 24) in ("ONNX Runtime fp32", "OpenVINO int8")
    parts = study.measure("small", "ONNX Runtime fp32", files, tmp_path / "study", 1)
    assert [line.split(":")[0] for line in parts.splitlines()[2:6]] == [f"- {part}" for part in study.PARTS]


def test_times_are_the_medians_of_ratios_of_rounds() -> None:
    def turns(*seconds: list[float]) -> Found:
        return Found(1, [Turn(each, np.zeros((1, 1), np.float32), 0) for each in seconds])

    slow, fast = turns([4.0, 4.0, 9.0], [40.0], [8.0]), turns([2.0], [10.0], [1.0])
    assert fast.times(slow) == pytest.approx(4.0)
    assert fast.median == pytest.approx(2.0)


def test_the_work_of_a_network_is_counted(files) -> None:
    work, weights = card.demand(files)
    assert work > 1e5
    assert 0 < weights < files.graphs["fp32"].stat().st_size
