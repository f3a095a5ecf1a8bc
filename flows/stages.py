"""The stages of dvc.yaml as tasks of a flow, one after the other, each with its lines live in the log."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any, cast
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.sync import concurrency
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.tasks import Task
from pydantic import Field

from flows import repro
from pipeline.errors import ConfigError
from pipeline.parent import die_with_parent

#: A stage that called its error retryable (a full disk) is tried again after these many seconds.
RETRY_DELAYS_S = [60.0, 600.0]

#: The stages that run a network on a GPU where there is one; each holds the global concurrency limit `gpu` meanwhile.
ON_GPU = {"features", "finetune", "scratch", "calibrate", "validate"}
GPU = "gpu"

#: Seconds after which the place of a process that vanished is free again; its holder renews it meanwhile.
LEASE_S = 60.0

#: Minutes that a stage may take where the caller names none.
DEFAULT_MINUTES = 24 * 60.0

Minutes = Annotated[float, Field(gt=0)]


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
def run_stage(workspace: Path, stage: str, force: bool, minutes: float) -> repro.Outcome:
    """Run one stage under DVC; the run is named after the stage.

    Raises:
        StageError: the stage failed or took longer than `minutes`.
    """
    with _gpu(stage):
        return repro.reproduce(workspace, stage, get_run_logger().info, force, minutes)


def run_stages(
    workspace: Path, stages: Sequence[str], force: bool = False, minutes: Mapping[str, float] | None = None
) -> Iterator[str]:
    """Run stages in this order, with a bar of progress and a table of what each took; yields each that ended well.

    Args:
        workspace: the folder with `dvc.yaml`.
        stages: their names in DVC; they are yielded without the file's.
        force: run them even where nothing changed.
        minutes: that a stage may take, by its name; `DEFAULT_MINUTES` for the others.

    Raises:
        StageError: a stage failed; none after it runs.
        ConfigError: `minutes` names a stage that is not among them; nothing ran then.
    """
    minutes, names = minutes or {}, {stage: stage.rpartition(":")[2] for stage in stages}
    if unknown := sorted(set(minutes) - set(names.values())):
        known = ", ".join(names.values())
        raise ConfigError("stages in `timeout_minutes`", ", ".join(unknown), f"Choose among: {known}.")
    bar = cast("UUID", create_progress_artifact(0.0, description=f"0 of {len(names)} stages"))
    rows: list[dict[str, Any]] = []
    try:
        for count, (stage, name) in enumerate(names.items(), start=1):
            rows.append({"stage": name, "outcome": "did not end well", "seconds": ""})
            begin = time.monotonic()
            named = run_stage.with_options(name=name, task_run_name=name)
            outcome = named(workspace, stage, force, minutes.get(name, DEFAULT_MINUTES))
            rows[-1] |= {"outcome": outcome.words, "seconds": f"{time.monotonic() - begin:.1f}"}
            yield name  # before the bar, which needs the server: what the stage did counts also without it
            update_progress_artifact(bar, 100 * count / len(names), f"{count} of {len(names)} stages: {name} is done")
    finally:
        create_table_artifact(rows, key="stages", description="What DVC did for each stage")


def die_with_worker() -> None:
    """End this flow's process, and with it the stage, when the worker that started it is gone, even by `kill -9`.

    A flow that was called by a program of one's own ends with that.
    """
    if "PREFECT__FLOW_RUN_ID" in os.environ:
        _print_also_to_nobody()
        die_with_parent()


def _print_also_to_nobody() -> None:
    """Go on where the worker, which reads what this process prints, is gone: rich exits, even amid Prefect's report."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.console.on_broken_pipe = lambda: None  # type: ignore[method-assign]


def _gpu(stage: str) -> AbstractContextManager[None]:
    """A place at the GPU for the stages that need one; on a server without the limit `gpu` there is always one."""
    if stage.rpartition(":")[2] not in ON_GPU:
        return nullcontext()
    # A server that is away for a while must not cost hours of training.
    return concurrency(GPU, lease_duration=LEASE_S, raise_on_lease_renewal_failure=False)
