"""The advisor's regret from outcomes of the same patients, those that nobody used."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from pipeline.config import Params
from pipeline.errors import ConfigError, DataError
from pipeline.files import read_csv, write_csv, write_json
from tests.benchmarks import accuracy, advisor


def test_a_subset_is_measured_and_other_settings_are_refused(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["advisor", str(workspace), "--draws", "setting", "--out", str(tmp_path / "out"), "--repeats", "1"]
    monkeypatch.setattr(sys, "argv", [*command, "--sizes", "16"])
    advisor.main()
    assert "advised: resnet10t fine-tune  regret not measured" in capsys.readouterr().out
    subset = tmp_path / "out/setting-016-0"
    sides = {row["patient"]: row["split"] for row in read_csv(subset / "split.csv")}
    outcome = read_csv(subset / "resnet10t/probe.csv")
    assert {row["patient"] for row in outcome} == {patient for patient, side in sides.items() if side == "test"}
    monkeypatch.setattr(sys, "argv", [*command, "--sizes", "16", "--sites", "DU"])
    with pytest.raises(ConfigError, match=r"command_line\.sites: \['DU'\] and not None"):
        advisor.main()


def test_of_another_benchmarks_outcome_the_patients_not_used_are_taken(
    workspace: Path, params: Params, tmp_path: Path
) -> None:
    """One fold of five is there; the others are still being measured."""
    (case,) = [
        case
        for case in accuracy.cases(params, argparse.Namespace(sizes=[8], seeds=[1], folds=5))
        if case.name == "size8-seed1-fold0"
    ]
    rows = [
        {"side": row["split"], **{key: row[key] for key in ("unit", "patient", "label")}, "logit": 0.5, "seconds": 1.0}
        for side in ("val", "test")
        for row in case.index
        if row["split"] == side
    ]
    measured = tmp_path / "measured"
    write_csv(measured / "finetuned" / f"{case.name}.csv", rows[0], rows)
    write_json(measured / "settings.json", {"command_line": {"folds": 5}})
    advisor.take_cases({"torchvision/net": measured}, params, tmp_path / "out")
    (subset,) = (tmp_path / "out").iterdir()
    taken = read_csv(subset / "torchvision-net/finetuned.csv")
    unused = [row for row in case.index if row["split"] == "test"]
    assert [row["unit"] for row in taken] == [row["unit"] for row in unused]
    assert list(taken[0]) == ["unit", "patient", "label", "logit"]
    sides = {row["patient"]: row["split"] for row in read_csv(subset / "split.csv")}
    assert {patient for patient, side in sides.items() if side == "test"} == {row["patient"] for row in unused}


@pytest.mark.parametrize(("unit", "label"), [("S9", "1"), ("S1", "0")])
def test_outcomes_of_different_units_or_labels_are_an_error(tmp_path: Path, unit: str, label: str) -> None:
    def write(way: str, unit: str, label: str) -> None:
        rows = [("S0", "0", -1.0), (unit, label, 1.0), ("S2", "1", 2.0)]
        found = [{"unit": name, "patient": name, "label": own, "logit": logit} for name, own, logit in rows]
        write_csv(tmp_path / "net" / f"{way}.csv", advisor.OUTCOME, found)

    write("probe", "S1", "1")
    write("finetuned", "S1", "1")
    assert advisor.aurocs(tmp_path, ["net", "other"]) == {("net", "freeze"): 1.0, ("net", "fine-tune"): 1.0}
    write("finetuned", unit, label)
    with pytest.raises(DataError, match="others of net fine-tune"):
        advisor.aurocs(tmp_path, ["net", "other"])
