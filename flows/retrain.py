"""The flow `retrain`: the DAG of dvc.yaml stage by stage, in a clone of the repository, to a version that is tagged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from prefect import flow, get_run_logger
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run

from flows import artifacts, labels, numbering, programs, repro, versions, workspace
from flows.stages import Minutes, die_with_worker, run_stages
from pipeline import config, params
from pipeline.errors import ConfigError, PipelineError


@flow(name="retrain", description="From DICOM and labels to a validated release: `dvc repro`, stage by stage.")
def retrain(
    repository: Path | None = None,
    revision: str | None = None,
    branch: str | None = None,
    in_place: bool = False,
    stages: list[str] | None = None,
    force: bool = False,
    promote: bool = False,
    timeout_minutes: dict[str, Minutes] | None = None,
) -> None:
    """Run the stages in the DAG's order; the first that fails ends the flow, and none after it runs.

    Args:
        repository: the project's folder; None for the current one.
        revision: the commit, tag or branch that runs, in a clone; None for what is checked out.
        branch: takes the commit of a run that opened the test set; None for the one that is checked out.
        in_place: run in the repository itself, as `dvc repro` there does; nothing is committed or tagged.
        stages: only these, by their names in DVC, of a run in place; None for all that `dvc repro` would look at.
        force: run them even where nothing changed.
        promote: then put the new version into production, if it may go there.
        timeout_minutes: that a stage may take, by its name; a day for those not named.

    Raises:
        StageError: a stage failed.
        LedgerError: the ledger of the test set is damaged; nothing ran then.
        StorageError: the remote of DVC is away: commit and tag are there, the data is in DVC's cache.
        ConfigError: no repository there, one with changes that are not committed, an unknown revision or stage, a
            params.yaml that cannot be used, or no scans or labels where it says; nothing ran then.
    """
    die_with_worker()
    _require_possible(in_place, bool(revision or branch or promote), stages)
    folder = (repository or Path()).resolve()
    if in_place:
        _run(folder, folder, None, stages, force, timeout_minutes)
        return
    version = _in_clone(folder, revision, branch, force, timeout_minutes)
    if promote and version is not None:
        from flows import promotion  # what it compares with takes 2 s to import, which other runs need not pay

        promotion.promote(folder, version)


def _require_possible(in_place: bool, of_a_clone: bool, stages: list[str] | None) -> None:
    """What a run in place and one in a clone cannot be asked for."""
    if in_place and of_a_clone:
        remedy = "Leave them out, or run in a clone."
        raise ConfigError("no revision, branch or promotion of a run in place", "one", remedy)
    if stages and not in_place:
        remedy = "Leave `stages` out, what is done is not done again; or run `in_place`, where the other stages ended."
        raise ConfigError("every stage of a run in a clone, which begins empty", ", ".join(stages), remedy)


def _in_clone(
    repository: Path, revision: str | None, branch: str | None, force: bool, minutes: dict[str, Minutes] | None
) -> str | None:
    """Run every stage in a clone; the version's tag. Of what is checked out, it also commits looks that others took."""
    folder = workspace.root(repository)
    branch = branch or _branch(folder)
    with workspace.clone(folder, revision) as here:
        if revision is None:
            _recover_looks(here)
        return _run(folder, here, branch, None, force, minutes)


def _run(
    folder: Path,
    here: Path,
    branch: str | None,
    stages: list[str] | None,
    force: bool,
    minutes: dict[str, Minutes] | None,
) -> str | None:
    """Run the stages `here`; commit to the `branch` of the repository in `folder`, if any; the version's tag."""
    settings = config.load(here / "params.yaml")
    params.check(settings, here)
    ended: list[str] = []
    tags: list[str] = []
    chosen = repro.order(here, stages)

    def show() -> None:
        if "validate" in ended:
            artifacts.publish(here, _production(folder, settings.release.name), settings.cache("reports"))

    def keep() -> None:
        if branch:
            tags.extend(_keep(folder, here, branch, ended))

    # Both also for a model that was not accepted: one wants to see its figures then, and it opened the test set.
    with _then(show), _then(keep):
        for position, stage in enumerate(run_stages(here, chosen, force, minutes), start=1):
            ended.append(stage)
            if branch and stage == "ingest":
                labels.changed(here)
            if branch and chosen[position : position + 1] == [numbering.FIRST]:
                numbering.number(here, chosen[position:], force)
    return tags[0] if tags else None


@contextmanager
def _then(step: Callable[[], None]) -> Iterator[None]:
    """Take a step after what is done within, however that ends; beside an error of that, the step's goes to the log."""
    try:
        yield
    except BaseException:  # also of a run that is cancelled
        try:
            step()
        except (PipelineError, PrefectException, httpx.HTTPError, OSError) as error:
            get_run_logger().error("After that: %s", error)
        raise
    step()


def _keep(folder: Path, here: Path, branch: str, ended: list[str]) -> list[str]:
    """Commit what a run in a clone did, tag the release that is new, push the data; the tag, if there is one."""
    if "validate" not in ended:
        if workspace.looked(here):
            versions.keep(here, branch, f"Looks at the test set, kept by the run {_name()}", workspace.LEDGER)
        return []
    commit = versions.keep(here, branch, f"Retrained by the run {_name()}")
    tag = numbering.tag(folder, here, commit) if numbering.LAST in ended else None
    get_run_logger().info(f"tagged {tag}" if tag else "nothing is tagged")
    versions.push_data(here, commit, branch)
    return [tag] if tag else []


def _recover_looks(here: Path) -> None:
    """Take over what runs that could not commit it looked at, and say what cannot be taken over."""
    for damaged in workspace.recover_looks(here):
        said = "The ledger of a killed run is damaged: add its whole lines to %s, commit, and remove %s"
        get_run_logger().warning(said, workspace.LEDGER, damaged)


def _branch(folder: Path) -> str:
    """The branch that is checked out."""
    branch = programs.asked(folder, "symbolic-ref", "--short", "--quiet", "HEAD")
    if branch is None:
        raise ConfigError(f"a branch checked out in {folder}", "a single commit", "Check one out, or name `branch`.")
    return branch


def _production(folder: Path, name: str) -> dict[str, Any] | None:
    """The figures of the version in production; None where there is none, or it left none in git."""
    current = versions.production(folder, name)
    shown = current and programs.asked(folder, "show", f"{current.commit}:reports/metrics.json")
    return dict(json.loads(shown)) if shown else None


def _name() -> str:
    return str(flow_run.name)
