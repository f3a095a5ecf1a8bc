"""What a hospital may hand to the command by mistake: each has a clear reason, and none an answer without a meaning."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pydicom
import pytest

from pipeline.files import sha256_file
from pipeline.inference import signature
from pipeline.inference.__main__ import main
from tests.inference.conftest import MOST

Change = Callable[[Path], None]


@pytest.fixture
def release(make_release, tmp_path) -> Path:
    return make_release(tmp_path / "release")


@pytest.fixture
def scans(write_series, tmp_path) -> Path:
    write_series(tmp_path / "scans", 1)
    return tmp_path / "scans"


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a refusal, in the three parts that every error has; nothing on stdout."""
    written = capsys.readouterr()
    assert written.out == ""
    assert "Traceback" not in written.err
    assert re.search(r"(Contract|Engine)Error: expected .+; found .+\. [A-Z].+", written.err), written.err
    return written.err


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def renamed_output(path: Path) -> None:
    """As of somebody who exports the graph again with a tool of theirs."""
    graph = onnx.load(path)
    for node in graph.graph.node:
        node.output[:] = ["p" if name == "probabilities" else name for name in node.output]
    graph.graph.output[0].name = "p"
    onnx.save(graph, path)


def other_weights(path: Path) -> None:
    graph = onnx.load(path)
    weight = max(graph.graph.initializer, key=lambda value: len(value.raw_data))
    weight.raw_data = bytes(len(weight.raw_data))
    onnx.save(graph, path)


def manifest(**changes: Any) -> Change:
    """Change values of the contract; keys as `task__classes`."""

    def change(path: Path) -> None:
        content = json.loads(path.read_text())
        for key, value in changes.items():
            *parents, last = key.split("__")
            place = content
            for parent in parents:
                place = place[parent]
            place[last] = value
        path.write_text(json.dumps(content))

    return change


def with_its_graph(path: Path) -> None:
    """The contract names the graph that is there: what is left to find is that the graph is wrong."""
    manifest(graph__sha256=sha256_file(path.with_name("model.onnx")))(path)


CHANGED = {
    "a truncated graph": ("model.onnx", truncate),
    "an edited graph": ("model.onnx", other_weights),
    "a truncated contract": ("manifest.json", truncate),
    "an edited contract": ("manifest.json", manifest(calibration__threshold=0.01)),
    "a truncated model card": ("model_card.md", truncate),
}


@pytest.mark.parametrize("what", CHANGED)
def test_a_changed_file_is_named(what: str, release, scans, capsys) -> None:
    name, change = CHANGED[what]
    change(release / name)
    assert main([str(release), str(scans)]) == 1
    assert name in said(capsys)


#: Released anew by somebody without a key, so that checksums fit: what is inside must still be one thing.
INSIDE: dict[str, tuple[list[tuple[str, Change]], str]] = {
    "a truncated graph": (
        [("model.onnx", truncate), ("manifest.json", with_its_graph)],
        r"EngineError: expected an ONNX graph in .*model\.onnx",
    ),
    "an empty graph": (
        [("model.onnx", lambda path: path.write_bytes(b"")), ("manifest.json", with_its_graph)],
        r"EngineError: expected an ONNX graph in .*model\.onnx",
    ),
    "a graph with other outputs": (
        [("model.onnx", renamed_output), ("manifest.json", with_its_graph)],
        r"EngineError: expected a graph of a release .* gives p, logits",
    ),
    "another graph": ([("model.onnx", other_weights)], "ContractError: expected the manifest's graph, [0-9a-f]{12}"),
    "a truncated contract": ([("manifest.json", truncate)], "ContractError: expected a manifest of schema"),
    "an unknown key": ([("manifest.json", manifest(confidence=1))], "confidence: Extra inputs"),
    "an impossible threshold": ([("manifest.json", manifest(calibration__threshold="half"))], "calibration.threshold"),
    "labels of another task": (
        [("manifest.json", manifest(task__classes=["low", "mid", "high"]))],
        "a calibration that is none of a binary task of 3 classes",
    ),
    "labels that the graph does not answer for": (
        [
            (
                "manifest.json",
                manifest(task__kind="multiclass", task__classes=["low", "mid", "high"], calibration__threshold=None),
            )
        ],
        "ContractError: expected the manifest's graph, probabilities, .* of 3 values; found one with .* of 1",
    ),
    "another size of slices": ([("manifest.json", manifest(transform__size=96))], "a graph of 96 pixels"),
    "a contract of before": ([("manifest.json", manifest(schema_version=1))], "dvc repro release"),
}


@pytest.mark.parametrize("what", INSIDE)
def test_what_does_not_belong_together_is_refused_though_its_checksums_fit(what, release, scans, capsys) -> None:
    changes, reason = INSIDE[what]
    for name, change in changes:
        change(release / name)
    (release / signature.SUMS).unlink()
    signature.write_sums(release)
    assert main([str(release), str(scans)]) == 1
    assert re.search(reason, said(capsys))


def rows(out: Path) -> list[dict[str, str]]:
    with open(out, newline="") as handle:
        return list(csv.DictReader(handle))


def test_slices_beyond_what_the_release_was_made_for(release, write_series, tmp_path) -> None:
    series = write_series(tmp_path / "long", 1, slices=MOST + 1)
    good = write_series(tmp_path / "long", 2, slices=MOST)
    assert main([str(release), str(tmp_path / "long"), "--out", str(tmp_path / "out.csv")]) == 0
    found = {row["SeriesInstanceUID"]: row for row in rows(tmp_path / "out.csv")}
    assert (found[series]["status"], found[series]["probability"]) == ("too_many_slices", "")
    assert f"{MOST + 1} slices, and the release was made for {MOST} at most" in found[series]["message"]
    assert found[good]["status"] == "ok"


@pytest.mark.parametrize("level", ["series", "slice", "patient"])
@pytest.mark.parametrize(
    "changed",
    [
        {"PixelData": np.full((96, 80), 7, np.uint16).tobytes()},
        {"PixelData": bytes(2 * 96 * 80)},
        {"RescaleSlope": "1e39", "RescaleIntercept": "0"},
        {"RescaleSlope": "0", "RescaleIntercept": "0"},
        {"PixelData": b"\0\1" * 96},
    ],
    ids=["constant", "black", "beyond float32", "slope of 0", "half a picture"],
)
def test_pictures_without_a_number_or_a_head_get_a_reason(
    level: str, changed: dict[str, Any], make_release, write_series, tmp_path
) -> None:
    release = make_release(tmp_path / "release", level)
    write_series(tmp_path / "scans", 1, patient="P1", **changed)
    good = write_series(tmp_path / "scans", 2, patient="P2")
    assert main([str(release), str(tmp_path / "scans"), "--out", str(tmp_path / "out.csv")]) == 0
    found = rows(tmp_path / "out.csv")
    refused, answered = ([row for row in found if (row["status"] == "ok") is ok] for ok in (False, True))
    assert refused
    assert all(row["message"] and not row["probability"] for row in refused)
    assert len(answered) == (8 if level == "slice" else 1)
    assert all(0 <= float(row["probability"]) <= 1 for row in answered)
    assert {row["SeriesInstanceUID"] for row in answered} == ({good} if level != "patient" else {""})


def test_a_black_slice_among_others_is_a_picture(release, write_series, tmp_path) -> None:
    folder = tmp_path / "scans"
    series = write_series(folder, 1)
    path = sorted(folder.iterdir())[0]
    dataset = pydicom.dcmread(path)
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(path)
    assert main([str(release), str(folder), "--out", str(tmp_path / "out.csv")]) == 0
    assert [(row["SeriesInstanceUID"], row["status"]) for row in rows(tmp_path / "out.csv")] == [(series, "ok")]
