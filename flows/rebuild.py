"""Build a version again from its tag, and compare: `python -m flows.rebuild model@v1.2.0`.

Its data comes from DVC as it was; whatever learns from it runs anew, without DVC's run cache and without checkpoints.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml
from dvc.config import Config

from flows.programs import dvc
from flows.repro import order, reproduce
from flows.snapshot import Snapshot
from flows.store import RELEASE
from flows.versions import Version, find
from flows.workspace import clone, root
from pipeline import contract
from pipeline.errors import DataError, PipelineError
from pipeline.files import read_csv, read_json, sha256_file
from pipeline.inference import cases
from pipeline.inference.backends import OnnxRuntime
from pipeline.progress import say
from pipeline.targets import decided

#: What is taken as it was: the patients, and the weights that training began with.
TAKEN = ("data/ingested", "models/backbone")
#: What runs again: all that stands between them and the graph.
STAGES = ("split", "prepare", "finetune", "calibrate", "export")
WITHDRAWN = Path("models/releases/withdrawn.csv")


def rebuild(repository: Path, tag: str, tell: Callable[[str], None] = say) -> list[tuple[str, str, str]]:
    """Build the graph of a version again, in a clone at its tag.

    Args:
        repository: the project.
        tag: such as `model@v1.2.0`.
        tell: is given each line that the stages print.

    Returns:
        Rows of what is compared, the release's, and the rebuilt one's.

    Raises:
        ConfigError: no such tag.
        DataError: a patient of it was withdrawn, or its release is in nobody's reach.
        StorageError: its data is.
        StageError: a stage failed.
    """
    project = root(repository)
    version = find(project, tag.partition("@")[0], tag)
    made = Snapshot(project, version.commit)
    _refuse_withdrawn(project, version, made)
    with tempfile.TemporaryDirectory() as empty, clone(project, version.commit) as workspace:
        release = Path(empty) / "release"
        made.fetch(RELEASE, release)
        _set_cache(workspace, Path(empty) / "cache")
        remote = Config(str(workspace / ".dvc"))["core"].get("remote")
        dvc(workspace, "pull" if remote else "checkout", "--quiet", *TAKEN)
        for stage in order(workspace, list(STAGES)):
            reproduce(workspace, stage, tell, force=True)
        return _compared(release, workspace)


def _refuse_withdrawn(project: Path, version: Version, made: Snapshot) -> None:
    rows = read_csv(project / WITHDRAWN) if (project / WITHDRAWN).is_file() else []
    stages = yaml.safe_load(made.text("dvc.lock"))["stages"]
    hashes = {out["md5"] for stage in stages.values() for out in stage.get("outs", []) if out["path"] == RELEASE}
    own = {(version.name, version.version)}
    gone = {row["patient"] for row in rows if row["dvc_md5"] in hashes or (row["name"], row["version"]) in own}
    if gone:
        raise DataError(
            f"the patients that {version.tag} was made from",
            f"{len(gone)} of them withdrawn since",
            f"It cannot be rebuilt, and must not be: {WITHDRAWN}. Train anew without them.",
        )


def _set_cache(workspace: Path, folder: Path) -> None:
    """Have the stages find no checkpoint; by the code of the tag, which alone knows its params.yaml."""
    command = [sys.executable, "-m", "pipeline.params", f"cache_dir={folder}"]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DataError("params.yaml of the tag to take cache_dir", " ".join(done.stderr.split()), "See that message.")


def _compared(release: Path, workspace: Path) -> list[tuple[str, str, str]]:
    manifest = contract.load(release)
    fixed = manifest.calibration
    graph = workspace / "models/export/model.onnx"
    rebuilt = read_json(workspace / "models/calibration.json")
    rows = [
        ("split", fixed.split_sha256, rebuilt["split_sha256"]),
        ("weights", fixed.model_sha256, rebuilt["model_sha256"]),
        ("calibration and threshold", fixed.content_sha256, rebuilt["calibration_sha256"]),
        ("graph", manifest.graph.sha256, sha256_file(graph)),
    ]
    found = [(what, before[:12], after[:12]) for what, before, after in rows]
    if rows[-1][1] != rows[-1][2]:
        found.append(("answers to the parity cases", "none off", _answers(release / manifest.cases.file, graph, fixed)))
    return found


def _answers(path: Path, graph: Path, fixed: contract.Calibration) -> str:
    """How far the rebuilt graph is from the release's answers for its simulated slices."""
    backend = OnnxRuntime(graph)
    largest, flips = 0.0, 0
    for case in cases.read(path):
        said, before = backend.run(case.slices, case.membership).probabilities, case.expected.probabilities
        largest = max(largest, float(np.abs(said - before).max()))
        flips += int((decided(said, fixed.threshold) != decided(before, fixed.threshold)).any(axis=1).sum())
    return f"{largest:.2g} off at most, {flips} other decisions"


def main() -> int:
    """Rebuild what the command line names: exit 0 if it is the same, 1 if it is not, 2 if it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m flows.rebuild", description=__doc__)
    parser.add_argument("tag", help="of a version, such as model@v1.2.0")
    parser.add_argument("--repository", type=Path, default=Path(), help="the project (here)")
    given = parser.parse_args()
    try:
        rows = rebuild(given.repository, given.tag)
    except PipelineError as error:
        say(f"rebuild: {type(error).__name__}: {error}")
        return 2
    for what, before, after in rows:
        say(f"{what}: {'the same' if before == after else f'released {before}, rebuilt {after}'}")
    same = all(before == after for _, before, after in rows)
    say(f"rebuild: {given.tag} {'is the same again' if same else 'came out otherwise'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
