"""`python -m pipeline.params`: values set from a command line, comments kept, nothing written on an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from dvc.utils import hydra

from pipeline import config, data_config, params
from pipeline.errors import ConfigError


@pytest.fixture
def file(root: Path, tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_bytes((root / "params.yaml").read_bytes())
    return path


def test_shipped_file_comes_back_byte_for_byte(file: Path) -> None:
    before = file.read_bytes()
    params.update(file, ["seed=20260901"])
    assert file.read_bytes() == before


def test_only_the_line_that_is_set_changes(file: Path) -> None:
    before = file.read_text().splitlines()
    params.update(file, ["backbone.file='/scans and weights/net.safetensors'"])
    changed = [line for line in file.read_text().splitlines() if line not in before]
    assert len(changed) == 1
    assert changed[0].split("#")[0].strip() == "file: /scans and weights/net.safetensors"
    assert "with `file`: a .safetensors" in changed[0]


def test_places_in_lists_and_whole_lists_can_be_set(file: Path) -> None:
    params.update(file, ["finetune.phases.0.epochs=3", "accept=[{metric: calibration.brier, max: 0.5}]"])
    loaded = config.load(file)
    assert loaded.finetune.phases[0].epochs == 3
    assert [criterion.metric for criterion in loaded.accept] == ["calibration.brier"]


def test_an_experiment_of_dvc_sets_a_value_of_a_phase_in_the_same_form(file: Path) -> None:
    """What `dvc exp run -S finetune.phases.1.trunk=layer3` does to the file."""
    before = config.load(file)
    hydra.apply_overrides(file, ["finetune.phases.1.trunk=layer3"])
    head, top = before.finetune.phases
    phases = [head, top.model_copy(update={"trunk": "layer3"})]
    assert config.load(file) == before.model_copy(
        update={"finetune": before.finetune.model_copy(update={"phases": phases})}
    )


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("backbone.fil=/x", r"unknown key 'backbone.fil'. Did you mean 'file'\?"),
        ("bakbone.file=/x", r"unknown key 'bakbone'. Did you mean 'backbone'\?"),
        ("validate.bootstrap=few", r"a usable value for validate.bootstrap in .*params.yaml; found 'few'"),
        ("finetune.phases.9.epochs=3", r"found finetune.phases.9. .* lists count from 0"),
        ("seed.x=3", "found seed, which holds a value"),
        ("backbone.file", "found 'backbone.file'. Write the key, an equals sign and the value"),
        ("accept=[{", "expected YAML as the value of accept"),
    ],
)
def test_what_cannot_be_used_is_named_and_nothing_is_written(file: Path, assignment: str, message: str) -> None:
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=message):
        params.update(file, ["seed=1", assignment])
    assert file.read_bytes() == before


def test_on_the_command_line_an_error_is_one_line_and_exit_status_1(file: Path) -> None:
    command = [sys.executable, "-m", "pipeline.params", "backbone.nam=x"]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("ConfigError: expected a known key in params.yaml; found unknown key 'backbone.nam'.")
    assert done.stderr.count("\n") == 1


def test_without_an_assignment_the_file_and_the_data_are_checked(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(file.parent)
    before = file.read_bytes()
    assert params.main([]) == 0
    assert "params.yaml: usable" in capsys.readouterr().err
    assert file.read_bytes() == before
    params.update(file, [f"data.labels={tmp_path / 'labels.csv'}"])
    assert params.main([]) == 1
    assert "expected data.labels in params.yaml to exist; found no" in capsys.readouterr().err


def test_no_labels_are_a_choice_but_not_for_dvc(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(file.parent)
    assert params.main(["data.labels=null"]) == 0
    assert config.load(file).data.labels is None
    assert params.main([]) == 1
    said = capsys.readouterr().err
    assert "expected data.labels in params.yaml, which `dvc repro` needs; found null. Set it to a CSV file" in said


def test_only_the_demos_own_data_may_be_missing(file: Path) -> None:
    params.update(file, ["data.dicom_dir=/nowhere/data/demo/dicom"])
    with pytest.raises(ConfigError, match="no /nowhere/data/demo/dicom"):
        params.check(config.load(file))


def test_own_data_state_who_gave_them_before_anything_is_trained(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(file.parent)
    (tmp_path / "mine.csv").touch()
    assert params.main([f"data.dicom_dir={tmp_path}", f"data.labels={tmp_path / 'mine.csv'}"]) == 0
    assert params.main([]) == 1
    said = capsys.readouterr().err
    assert "expected data.source of your own data in params.yaml; found empty. Write who gave the data." in said
    assert params.main(["data.source=Hospital B", f"data.licence={data_config.DEMO_STATED['licence']}"]) == 0
    with pytest.raises(ConfigError, match=r"data\.licence of your own data.*found that of the embedded demo"):
        params.check(config.load(file))
    assert params.main(["data.licence=Ethics vote 12/2026"]) == 0
    assert params.main([]) == 0


def test_own_scans_need_an_absolute_path_for_dvc(file: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    params.update(file, ["data.dicom_dir=mine"])
    with pytest.raises(ConfigError, match=r"an absolute data\.dicom_dir in params\.yaml; found mine\. Write"):
        params.check(config.load(file), tmp_path)
