"""What a run leaves in git and in DVC's remote, and tags in GTO's form, which GTO itself reads."""

from __future__ import annotations

from pathlib import Path

import gto.api
import pytest

from flows import versions
from flows.workspace import clone
from pipeline.clinical import ledger
from pipeline.errors import ConfigError, StorageError
from tests.flows import versioned
from tests.flows.versioned import Project

pytestmark = pytest.mark.acceptance

NAME = "mri-transfer-demo"


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Project:
    made = versioned.make(root, tmp_path / "project")
    made("dvc", "remote", "add", "--local", "--default", "store", str(tmp_path / "store"))
    return made


def _run(project: Project, branch: str, meanwhile: str | None = None) -> str:
    """A run of the project that looks at its test set; `meanwhile` somebody commits a file of that name."""
    with clone(project.folder) as workspace:
        Project(workspace)("dvc", "repro", "--quiet")
        ledger.record(workspace / "reports/ledger.csv", ledger.Key("split", workspace.name, "calibration"), 20)
        if meanwhile:
            project.write(meanwhile, "new")
            project.commit()
        commit = versions.keep(workspace, branch, "A run")
        versions.push_data(workspace, commit, branch)
        return commit


def _openings(text: str) -> int:
    return len(text.splitlines()) - 1


def test_run_is_kept_on_the_branch_that_is_checked_out(project: Project, tmp_path: Path) -> None:
    commit = _run(project, "main")
    assert project("git", "rev-parse", "main") == commit
    assert project("git", "status", "--porcelain") == ""
    assert set(project("git", "show", "--name-only", "--format=", "HEAD").split()) == {
        "dvc.lock",
        "reports/ledger.csv",
        "reports/metrics.json",
    }
    assert _openings((project.folder / "reports/ledger.csv").read_text()) == 1
    # Another machine has it all by git and the remote.
    project("git", "clone", "--quiet", str(project.folder), str(tmp_path / "other"))
    other = Project(tmp_path / "other")
    other("dvc", "remote", "add", "--local", "--default", "store", str(tmp_path / "store"))
    other("dvc", "pull", "--quiet")
    assert (other.folder / "models/release/model.onnx").read_text() == "weights 20260901"


def test_two_runs_and_what_was_committed_meanwhile_all_stay(project: Project) -> None:
    first = _run(project, "runs")
    assert project("git", "rev-parse", "runs") == first
    project("git", "checkout", "--quiet", "runs")
    second = _run(project, "runs", meanwhile="notes.txt")
    assert project("git", "merge-base", "--is-ancestor", second, "runs") == ""
    assert project("git", "show", "runs:notes.txt") == "new"
    assert _openings(project("git", "show", "runs:reports/ledger.csv")) == 2
    assert (project.folder / "notes.txt").exists()


def test_keeping_twice_changes_nothing_more(project: Project) -> None:
    with clone(project.folder) as workspace:
        Project(workspace)("dvc", "repro", "--quiet")
        first = versions.keep(workspace, "main", "A run")
        assert versions.keep(workspace, "main", "A run") == first
    assert project("git", "rev-list", "--count", "main") == "2"


def test_run_that_others_contradict_is_kept_apart(project: Project) -> None:
    with clone(project.folder) as workspace:
        Project(workspace)("dvc", "repro", "--quiet")
        project.write("reports/metrics.json", '{"seed": 1}')
        project.commit()
        with pytest.raises(ConfigError, match=r"other changes of the same files\. The run is kept on the branch main-"):
            versions.keep(workspace, "main", "A run")
    [apart] = project("git", "branch", "--list", "--format=%(refname:short)", "main-*").split()
    assert "weights" not in project("git", "show", f"{apart}:dvc.lock")
    assert project("git", "show", f"{apart}:reports/metrics.json") == '{"seed": 20260901}'


def test_branch_whose_files_were_changed_by_hand_is_left_alone(project: Project) -> None:
    with clone(project.folder) as workspace:
        Project(workspace)("dvc", "repro", "--quiet")
        project.write("step.py", "changed by hand")
        with pytest.raises(ConfigError, match="The run is kept on the branch main-"):
            versions.keep(workspace, "main", "A run")
    assert (project.folder / "step.py").read_text() == "changed by hand"


def test_remote_that_is_away_loses_nothing(project: Project, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where a folder should be")
    with clone(project.folder) as workspace:
        Project(workspace)("dvc", "repro", "--quiet")
        commit = versions.keep(workspace, "main", "A run")
        with pytest.raises(StorageError, match=r"remote 'store' to take the data of .*Nothing is lost"):
            versions.push_data(workspace, commit, "main")
        assert commit == project("git", "rev-parse", "main")
        (tmp_path / "store").unlink()
    project("dvc", "push", "--quiet")  # as the message says
    assert list((tmp_path / "store").rglob("*.dir"))


def test_only_the_ledger_of_a_run_that_did_not_come_far_is_kept(project: Project) -> None:
    with clone(project.folder) as workspace:
        Project(workspace)("dvc", "repro", "--quiet")
        ledger.record(workspace / "reports/ledger.csv", ledger.Key("split", "model", "calibration"), 20)
        Project(workspace).change("seed: 20260901", "seed: 7")
        project.change(
            "version: 0.1.0", "version: 2.0.0"
        )  # meanwhile somebody commits, also a file that the run changed
        project.commit()
        commit = versions.keep(workspace, "main", "A run", Path("reports/ledger.csv"))
    assert project("git", "show", "--name-only", "--format=", commit) == "reports/ledger.csv"
    assert _openings(project("git", "show", "main:reports/ledger.csv")) == 1
    assert "seed: 20260901" in project("git", "show", "main:params.yaml")


def test_bad_name_of_a_branch_is_refused(project: Project) -> None:
    with clone(project.folder) as workspace, pytest.raises(ConfigError, match="expected the name of a branch"):
        versions.keep(workspace, "a..b", "A run")


def _three(project: Project) -> list[versions.Version]:
    for number, version in enumerate(("0.1.0", "0.2.0", "0.10.0")):
        project.write("number", str(number))
        versions.tag(project.folder, project.commit(), NAME, version)
    return versions.versions(project.folder, NAME)


def test_versions_count_on_and_params_may_take_a_larger_step(project: Project) -> None:
    assert versions.next_version(project.folder, NAME) == "0.1.0"
    assert [each.tag for each in _three(project)] == [f"{NAME}@v{number}" for number in ("0.1.0", "0.2.0", "0.10.0")]
    assert versions.next_version(project.folder, NAME) == "0.11.0"
    assert versions.next_version(project.folder, "another") == "0.1.0"
    project.change("version: 0.1.0", "version: 2.0.0")
    assert versions.next_version(project.folder, NAME) == "2.0.0"


def test_version_stands_at_one_commit_for_ever(project: Project) -> None:
    first = _three(project)[0]
    with pytest.raises(ConfigError, match=r"@v0\.1\.0 at .* to be new"):
        versions.tag(project.folder, project("git", "rev-parse", "HEAD~3"), NAME, "0.1.0")
    with pytest.raises(ConfigError, match=r"@v9\.0\.0 at .* to be new; found .*@v0\.1\.0"):
        versions.tag(project.folder, first.commit, NAME, "9.0.0")
    with pytest.raises(ConfigError, match="a name of a model that can stand in a tag"):
        versions.tag(project.folder, first.commit, "a.model", "1.0.0")


def test_version_is_found_by_number_or_tag(project: Project) -> None:
    known = _three(project)
    for asked in ("0.2.0", "v0.2.0", f"{NAME}@v0.2.0"):
        assert versions.find(project.folder, NAME, asked) == known[1]
    with pytest.raises(ConfigError, match=r"found '0\.3\.0'\. The last ones there: .*@v0\.10\.0"):
        versions.find(project.folder, NAME, "0.3.0")


def test_gto_reads_the_same_versions_and_production(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, _ = _three(project)
    assert versions.production(project.folder, NAME) is None
    # GTO goes by the time of a tag, in whole seconds; its number is what counts here.
    for hour, (version, number) in enumerate([(first, 1), (second, 2), (first, 4)]):
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"2026-01-01T{hour:02}:00:00")
        assert versions.assign(project.folder, version, "why") == f"{NAME}#production#{number}"
        assert versions.production(project.folder, NAME) == version
        [in_production] = gto.api.find_versions_in_stage(str(project.folder), NAME, "production")
        assert in_production.version == f"v{version.version}"
    assert versions.history(project.folder, NAME) == [first, second, first]
    assert gto.api.find_latest_version(str(project.folder), NAME).version == "v0.10.0"
