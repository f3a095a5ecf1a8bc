"""params.yaml: what is refused, and how the message helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import config
from pipeline.contract import Selection
from pipeline.errors import ConfigError


@pytest.fixture
def raw(root: Path) -> dict[str, Any]:
    """The shipped params.yaml as plain values."""
    return dict(yaml.safe_load((root / "params.yaml").read_text()))


def _load(raw: Any, folder: Path) -> config.Params:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(raw))
    return config.load(path)


def test_shipped_file_is_valid(root: Path) -> None:
    loaded = config.load(root / "params.yaml")
    assert loaded.split.train + loaded.split.val + loaded.split.test == pytest.approx(1)
    assert loaded.validate_.confidence == 0.95


def test_rules_of_ingest_are_those_of_a_release(raw: dict[str, Any], tmp_path: Path) -> None:
    del raw["ingest"]["planes"], raw["ingest"]["acquisition_types"], raw["ingest"]["best_of_study"]
    shipped = _load(raw, tmp_path).ingest.selection
    assert shipped == Selection(contrasts=["FLAIR"], min_slices=8)
    raw["ingest"].update(planes=["axial"], acquisition_types=["3D"], best_of_study=["latest"])
    rules = {"planes": ["axial"], "acquisition_types": ["3D"], "best_of_study": ["latest"]}
    assert _load(raw, tmp_path).ingest.selection == shipped.model_copy(update=rules)


@pytest.mark.parametrize(
    ("place", "wrong", "right"),
    [
        ([], "bakcbone", "backbone"),
        (["backbone"], "fil", "file"),
        (["ingest"], "plane", "planes"),
        (["finetune"], "pacience", "patience"),
        (["finetune", "augment"], "gibs", "gibbs"),
        (["finetune", "augment", "motion"], "shifts", "shift"),
        (["finetune", "phases", 0], "learningrate", "learning_rate"),
        (["calibrate", "threshold"], "targets", "target"),
        (["accept", 0], "minimum", "min"),
        ([], "validate_", "validate"),
    ],
)
def test_unknown_key_is_named_with_the_nearest(
    raw: dict[str, Any], tmp_path: Path, place: list[Any], wrong: str, right: str
) -> None:
    section: Any = raw
    for part in place:
        section = section[part]
    section[wrong] = 1
    with pytest.raises(ConfigError) as caught:
        _load(raw, tmp_path)
    assert f"unknown key '{'.'.join(map(str, [*place, wrong]))}'. Did you mean '{right}'?" in str(caught.value)


def test_mistyped_key_that_must_be_there_is_named_before_the_gap_that_it_leaves(
    raw: dict[str, Any], tmp_path: Path
) -> None:
    raw["ingest"]["min_slice"] = raw["ingest"].pop("min_slices")
    with pytest.raises(ConfigError, match=r"unknown key 'ingest.min_slice'\. Did you mean 'min_slices'\?"):
        _load(raw, tmp_path)


def test_a_control_with_fewer_epochs_is_no_control(raw: dict[str, Any], tmp_path: Path) -> None:
    allowed = sum(phase["epochs"] for phase in raw["finetune"]["phases"] if phase["trunk"] != 0)
    raw["scratch"]["epochs"] = allowed
    assert _load(raw, tmp_path).scratch.epochs == allowed
    raw["scratch"]["epochs"] = allowed - 1
    with pytest.raises(ConfigError, match=f"scratch.epochs: at least {allowed}.*not {allowed - 1}"):
        _load(raw, tmp_path)
    # Where the trunk is frozen throughout, the control may learn as long as the head did.
    raw["finetune"]["phases"] = raw["finetune"]["phases"][:1]
    raw["scratch"]["epochs"] = None
    assert _load(raw, tmp_path).finetune.control_epochs == raw["finetune"]["phases"][0]["epochs"]


def test_missing_key_is_named(raw: dict[str, Any], tmp_path: Path) -> None:
    del raw["split"]["val"]
    with pytest.raises(ConfigError, match="expected key 'split.val' in .*; found none. Add it"):
        _load(raw, tmp_path)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("data", "dicom_dir", "../scans", "data.dicom_dir.*: a path outside the project must be absolute"),
        ("data", "labels", "../labels.csv", "data.labels.*: a path outside the project must be absolute"),
        ("data", "label_level", "image", "a usable value for data.label_level .*found 'image'"),
        (
            "ingest",
            "planes",
            ["transverse"],
            "ingest.planes.0 .*found 'transverse': Input should be 'axial', 'coronal'",
        ),
        ("ingest", "planes", [], r"ingest.planes .*found \[\]: List should have at least 1 item"),
        ("ingest", "contrasts", [], r"ingest.contrasts .*found \[\]: List should have at least 1 item"),
        (
            "ingest",
            "acquisition_types",
            ["4D"],
            "ingest.acquisition_types.0 .*found '4D': Input should be '2D' or '3D'",
        ),
        ("ingest", "scheduler", "host:8786", "ingest.scheduler .*should match pattern .*tcp.tls"),
        ("ingest", "best_of_study", True, "ingest.best_of_study .*found True: Input should be a valid list"),
        (
            "ingest",
            "best_of_study",
            ["best"],
            "ingest.best_of_study.0 .*should be 'most_slices', 'thinnest' or 'latest'",
        ),
        ("backbone", "file", "../net.safetensors", "backbone.file.*: a path outside the project must be absolute"),
        ("split", "test", 0.4, r"split: train \+ val \+ test must be 1, not 1.1"),
        ("finetune", "augment", True, "finetune.augment .*found True: Input should be a valid dictionary"),
        ("finetune", "augment", {"rotation_deg": -3}, "finetune.augment.rotation_deg .*found -3: .*greater than or eq"),
        (
            "finetune",
            "augment",
            {"flip_chance": 2},
            "finetune.augment.flip_chance .*found 2: .*less than or equal to 1",
        ),
        (
            "finetune",
            "augment",
            {"rician": {"chance": 0.1, "sigma": 3}},
            "finetune.augment.rician.sigma .*found 3: .*less than or equal to 0.5",
        ),
        ("calibrate", "threshold", {"rule": "sensitivity"}, "rule `sensitivity` needs a target"),
        ("compile", "compute_capabilities", ["86"], "compile.compute_capabilities.0"),
        ("release", "version", "1.0", "a usable value for release.version"),
        ("prepare", "window_percentiles", [99, 1], "must rise within 0 to 100, not 99, 1"),
    ],
)
def test_unusable_value_is_named(
    raw: dict[str, Any], tmp_path: Path, section: str, key: str, value: Any, message: str
) -> None:
    raw[section][key] = value
    with pytest.raises(ConfigError, match=message):
        _load(raw, tmp_path)


@pytest.mark.parametrize("times", [1, 2])
def test_learning_rate_must_fall_from_the_head_up(raw: dict[str, Any], tmp_path: Path, times: int) -> None:
    phases = raw["finetune"]["phases"]
    phases[1]["learning_rate"] = times * phases[0]["learning_rate"]
    with pytest.raises(ConfigError, match=f"{phases[1]['name']!r} has learning_rate .* rates must fall from the head"):
        _load(raw, tmp_path)


@pytest.mark.parametrize("name", ["head", "start"])
def test_each_phase_has_a_name_of_its_own(raw: dict[str, Any], tmp_path: Path, name: str) -> None:
    """The history knows a phase by it, and its first row is `start`."""
    raw["finetune"]["phases"][1]["name"] = name
    with pytest.raises(ConfigError, match=f"head, {name}: each needs a name of its own, other than `start`"):
        _load(raw, tmp_path)


def test_later_phase_must_not_unfreeze_less(raw: dict[str, Any], tmp_path: Path) -> None:
    raw["finetune"]["phases"][0]["trunk"] = 0.5
    raw["finetune"]["phases"][-1]["trunk"] = 0.2
    with pytest.raises(ConfigError, match="unfreezes less of the trunk than"):
        _load(raw, tmp_path)


@pytest.mark.parametrize("bounds", [{}, {"min": 0.5, "max": 0.9}])
def test_criterion_has_exactly_one_bound(raw: dict[str, Any], tmp_path: Path, bounds: dict[str, float]) -> None:
    raw["accept"] = [{"metric": "calibration.brier", **bounds}]
    with pytest.raises(ConfigError, match="calibration.brier needs exactly one of min, max and not_equal"):
        _load(raw, tmp_path)


@pytest.mark.parametrize(
    ("waiver", "named"),
    [
        ({"by": "Dr. Ada Example"}, "accept.0.waiver.reason"),
        ({"by": " ", "reason": "for a test"}, "accept.0.waiver.by"),
        ({"by": "Dr. Ada Example", "reason": ""}, "accept.0.waiver.reason"),
        ("yes", "accept.0.waiver"),
    ],
)
def test_waiver_names_who_and_why(raw: dict[str, Any], tmp_path: Path, waiver: Any, named: str) -> None:
    raw["accept"] = [{"metric": "transfer.verdict", "not_equal": "negative", "waiver": waiver}]
    with pytest.raises(ConfigError, match=named):
        _load(raw, tmp_path)


def test_file_that_is_no_yaml_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("seed: 1\ndata: {source\n")
    with pytest.raises(ConfigError, match="expected YAML in .*line 3"):
        config.load(tmp_path / "params.yaml")


@pytest.mark.parametrize("content", ["", "- seed\n"])
def test_file_without_sections_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(ConfigError, match="a usable value for the file"):
        config.load(tmp_path / "params.yaml")


def test_folder_without_params_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file. Run the command in the project's folder"):
        config.load(tmp_path / "params.yaml")


def test_cache_is_below_cache_dir_and_that_is_absolute(raw: dict[str, Any], tmp_path: Path) -> None:
    raw["cache_dir"] = str(tmp_path / "cache")
    assert _load(raw, tmp_path).cache("ingest") == tmp_path / "cache" / "ingest"
    raw["cache_dir"] = "cache"
    with pytest.raises(ConfigError, match="cache_dir.*'cache': it must be an absolute path"):
        _load(raw, tmp_path).cache("ingest")


def test_cache_defaults_to_the_users(raw: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert _load(raw, tmp_path).cache("ingest") == tmp_path / "mri-transfer" / "ingest"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"task": "multiclass"}, "a multiclass task needs the names of them"),
        ({"task": "multilabel"}, "a multilabel task needs the names of them"),
        ({"classes": ["a", "b"]}, "a binary task has none; data.positive names the positive class"),
        ({"task": "multiclass", "classes": ["a", "b"], "positive": "a"}, "data.positive: a multiclass task has none"),
        ({"task": "multiclass", "classes": ["a"]}, "data.classes.*at least 2"),
        ({"task": "multiclass", "classes": ["a", "b", "a"]}, "a name stands there twice"),
        ({"task": "multilabel", "classes": ["a", "b;c"]}, "'b;c' is no name"),
        ({"task": "multilabel", "classes": ["a", " b"]}, "' b' is no name"),
        ({"task": "multiclass", "classes": ["a", ""]}, "'' is no name"),
        ({"task": "multiclass", "classes": [1, 2]}, "data.classes.0 .*found 1: Input should be a valid string"),
        ({"task": "regression"}, "data.task .*'binary', 'multiclass' or 'multilabel'"),
    ],
)
def test_classes_that_do_not_fit_their_task_are_said(
    raw: dict[str, Any], tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    raw["data"].update(changed)
    with pytest.raises(ConfigError, match=message):
        _load(raw, tmp_path)


def test_several_classes(raw: dict[str, Any], tmp_path: Path) -> None:
    raw["data"].update(task="multilabel", classes=["a", "b"])
    targets = _load(raw, tmp_path).data.targets
    assert (targets.kind, targets.classes, targets.outputs) == ("multilabel", ("a", "b"), 2)


def test_a_tag_older_than_the_section_promote_can_be_read_and_its_paths_are_absolute(
    raw: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert _load(raw, tmp_path).promote.folder == tmp_path / "mri-transfer/releases"
    without = {key: value for key, value in raw.items() if key != "promote"}
    assert _load(without, tmp_path).promote == _load(raw, tmp_path).promote
    raw["promote"]["store"] = "releases"
    with pytest.raises(ConfigError, match=r"promote\.store.*'releases': it must be an absolute path"):
        _load(raw, tmp_path)
