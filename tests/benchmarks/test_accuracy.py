"""Results that may stand in one table: measured with the same settings, on the same folds and units."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import Params
from pipeline.errors import ConfigError, DataError
from pipeline.files import read_csv, read_json, write_csv, write_json
from tests.benchmarks import accuracy, accuracy_table, settings

#: Of two series of one patient each, which are positive from their fourth slice on, what is wrong about one slice each.
NOISY = [-1.0, -1.0, 0.9, -1.2, 1.0, 1.0]


def measure(monkeypatch: pytest.MonkeyPatch, workspace: Path, out: Path, *more: str) -> None:
    command = ["accuracy", str(workspace), "--out", str(out), "--sizes", "12", "--seeds", "1", "--folds", "3"]
    monkeypatch.setattr(sys, "argv", [*command, *more])
    accuracy.main()


def write(out: Path, way: str, fold: int, *, seed: int = 1, sign: float = 1.0, change: str = "") -> None:
    """A way's result of a fold with two patients of its own; `change` is appended to the names of its units."""
    series = [f"S{seed}-{fold}-{number}" for number in range(2)]
    rows = [
        {"side": side, "unit": f"{name}{change}/{k}", "patient": f"P{name}", "label": k // 3, "logit": sign * logit}
        for name in series
        for side in ("val", "test")
        for k, logit in enumerate(NOISY if side == "test" else [0.0] * 6)
    ]
    write_csv(out / way / f"size8-seed{seed}-fold{fold}.csv", rows[0], rows)


def test_a_probe_is_measured_once_and_other_settings_are_refused(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    measure(monkeypatch, workspace, out, "--only", "probe")
    assert "12 training patients, seeds 1 (folds 0, 1, 2)" in capsys.readouterr().out
    results = sorted((out / "probe").iterdir())
    assert [path.stem for path in results] == [f"size12-seed1-fold{fold}" for fold in range(3)]
    assert {row["side"] for row in read_csv(results[0])} == {"val", "test"}
    before = [path.stat().st_mtime_ns for path in results]
    measure(monkeypatch, workspace, out, "--only", "probe")
    assert [path.stat().st_mtime_ns for path in results] == before
    for changed, named in (
        (["--set", "finetune.warmup=0.3"], r"params\.finetune\.warmup: 0\.3 and not 0\.1"),
        (["--set", "features.probe_c=[0.5]"], r"params\.features\.probe_c: \[0\.5\] and not \[0\.1\]"),
        (["--plain-rate", "0.1"], r"command_line\.plain_rate: 0\.1 and not 0\.0003"),
    ):
        with pytest.raises(ConfigError, match=named):
            measure(monkeypatch, workspace, out, "--only", "probe", *changed)
    measure(monkeypatch, workspace, out, "--only", "probe", "--table", "--plain-rate", "0.1")  # measures nothing


def test_a_store_carries_results_to_another_folder_without_names_or_labels(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, store = tmp_path / "out", tmp_path / "store.npz"
    kept = ["--only", "probe", "--store", str(store)]
    measure(monkeypatch, workspace, out, *kept)
    table = capsys.readouterr().out.partition("12 training patients")[2]
    with np.load(store) as found:
        assert set(found.files) == {"settings", *(f"probe/size12-seed1-fold{fold}" for fold in range(3))}
        assert all(found[key].dtype == np.float32 and found[key].ndim == 1 for key in set(found.files) - {"settings"})
        patients = {row["patient"] for path in (out / "probe").iterdir() for row in read_csv(path)}
        assert not any(name in str(found["settings"]) for name in patients)
    before = store.read_bytes()
    measure(monkeypatch, workspace, tmp_path / "table", *kept, "--table")
    assert capsys.readouterr().out.partition("12 training patients")[2] == table != ""
    measure(monkeypatch, workspace, tmp_path / "fewer", *kept, "--folds", "3", "--seeds", "2")
    with np.load(store) as found:
        assert len(found.files) == 7, "what is not asked for stays"
    assert store.read_bytes() != before
    with pytest.raises(ConfigError, match=r"finetune\.warmup"):
        measure(monkeypatch, workspace, tmp_path / "other", *kept, "--set", "finetune.warmup=0.3")
    path = workspace / "data/prepared/slices.csv"
    before = path.read_bytes()
    path.write_bytes(before[: before.rindex(b"1,")] + b"0," + before[before.rindex(b"1,") + 2 :])
    with pytest.raises(ConfigError, match=r"sha256\.units"):
        measure(monkeypatch, workspace, tmp_path / "relabelled", *kept, "--table")


@pytest.mark.parametrize("name", ["slices.npy", "slices.csv", "backbone.safetensors"])
def test_other_slices_labels_or_weights_are_refused(workspace: Path, params: Params, tmp_path: Path, name: str) -> None:
    settings.require_same(tmp_path / "out", settings.of(params))
    settings.require_same(tmp_path / "out", settings.of(params))
    (path,) = workspace.rglob(name)
    content = path.read_bytes()
    last = content.rindex(b"1,") if name == "slices.csv" else len(content) - 1  # a label, or the last value
    path.write_bytes(content[:last] + bytes([content[last] ^ 1]) + content[last + 1 :])
    with pytest.raises(ConfigError, match=rf"sha256\.{'units' if name == 'slices.csv' else name}: .*--out"):
        settings.require_same(tmp_path / "out", settings.of(params))


def test_results_that_say_nothing_of_their_settings_are_taken_for_the_present_ones(
    params: Params, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.require_same(tmp_path / "new", settings.of(params))
    assert capsys.readouterr().out == ""
    write(tmp_path / "old", "plain", 0)
    settings.require_same(tmp_path / "old", settings.of(params))
    assert "are taken for those of the present settings" in capsys.readouterr().out
    assert read_json(tmp_path / "old/settings.json") == read_json(tmp_path / "new/settings.json")
    write_json(tmp_path / "old/settings.json", {})
    with pytest.raises(ConfigError, match=r"params\.seed: \d+ and not None"):
        settings.require_same(tmp_path / "old", settings.of(params))


def test_of_a_run_that_is_not_whole_the_same_folds_are_compared(
    params: Params, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for way, folds in {"plain": (0, 1, 2), "finetuned": (2, 3, 4)}.items():
        for fold in folds:
            write(tmp_path, way, fold, sign=1.0 if way == "plain" else 2.0)
    accuracy_table.show(tmp_path, [8], ["plain", "finetuned"], params)
    assert "8 training patients, seeds 1 (folds 2)" in capsys.readouterr().out
    accuracy_table.show(tmp_path, [8], ["plain", "probe"], params)
    assert "no fold with all of plain, probe yet" in capsys.readouterr().out
    accuracy_table.show(tmp_path, [8], ["plain"], params)
    assert "seeds 1 (folds 0, 1, 2)" in capsys.readouterr().out


def test_a_seed_of_fewer_folds_waits(tmp_path: Path, params: Params, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, fold in ((1, 0), (1, 1), (2, 0), (10, 3), (10, 4)):
        write(tmp_path, "plain", fold, seed=seed)
    accuracy_table.show(tmp_path, [8], ["plain"], params)
    assert "seeds 1 (folds 0, 1), 10 (folds 3, 4)" in capsys.readouterr().out


def test_folds_of_different_units_are_an_error(tmp_path: Path, params: Params) -> None:
    write(tmp_path, "plain", 0)
    write(tmp_path, "finetuned", 0, change="-v2")
    with pytest.raises(DataError, match="fold 0 of seed 1; found others of finetuned"):
        accuracy_table.show(tmp_path, [8], ["plain", "finetuned"], params)


def test_the_plain_loop_is_compared_with_neighbours_and_without(
    tmp_path: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    """The two models are one and the same: what differs is how a slice is answered."""
    for way in ("plain", "finetuned"):
        for fold in range(2):
            write(tmp_path, way, fold)
    accuracy_table.show(tmp_path, [8], ["plain", "finetuned"], params)
    said = capsys.readouterr().out
    answered, alone = said.split("every slice by itself, of all ways; the aims are judged on these differences")
    assert "as answered: a slice with its neighbours (neighbours_sd 1), of the plain loop by itself" in answered
    assert "plain      AUROC 0.667" in answered
    assert "finetuned  AUROC 1.000" in answered
    assert alone.count("AUROC 0.667") == 2
    assert "finetuned - plain: it does not vary between the patients" in alone
    series = params.model_copy(update={"data": params.data.model_copy(update={"label_level": "series"})})
    accuracy_table.show(tmp_path, [8], ["plain", "finetuned"], series)
    assert capsys.readouterr().out.count("AUROC 0.667") == 2
