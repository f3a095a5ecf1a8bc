"""The flow `training`: the DAG of dvc.yaml stage by stage, each stage a task with its lines live in the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from flows import repro
from pipeline import config, params, summary

#: A stage that called its error retryable (a full disk) is tried again after these many seconds.
RETRY_DELAYS_S = [60.0, 600.0]


def _retryable(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether the stage said that trying again may help."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, repro.StageError) and error.retryable


@task(  # DVC knows what is done already
    cache_policy=NO_CACHE,
    retries=len(RETRY_DELAYS_S),
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=_retryable,
)
def run_stage(workspace: Path, stage: str, force: bool) -> None:
    """Run one stage under DVC; the run is named after the stage."""
    repro.reproduce(workspace, stage, get_run_logger().info, force)


@flow(name="training", description="From DICOM and labels to a validated release: `dvc repro`, stage by stage.")
def training(workspace: Path | None = None, stages: list[str] | None = None, force: bool = False) -> None:
    """Run the stages in the DAG's order; the first that fails ends the flow, and none after it runs.

    Args:
        workspace: the project's folder; None for the current one.
        stages: only these stages, by their names in DVC; None for all that `dvc repro` would look at.
        force: run them even where nothing changed.

    Raises:
        StageError: a stage failed.
        ConfigError: no DVC project there, an unknown stage in `stages`, a params.yaml that cannot be used, or no scans
            or labels where it says; nothing ran then.
    """
    folder = (workspace or Path()).resolve()
    params.check(config.load(folder / "params.yaml"), folder)
    measured = False
    try:
        for stage in repro.order(folder, stages):
            name = stage.rpartition(":")[2]
            run_stage.with_options(name=name, task_run_name=name)(folder, stage, force)
            measured = measured or stage == "validate"
    finally:
        # Also for a model that was not accepted: its figures are what one wants to see then.
        if measured:
            create_markdown_artifact(key="training", markdown=summary.markdown(folder), description="Headline figures")
