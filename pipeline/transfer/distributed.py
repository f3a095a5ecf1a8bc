"""Several processes that train one model: on the GPUs of this machine, or of several, by ignite's launcher."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from torch.multiprocessing.spawn import ProcessException

from pipeline import errors
from pipeline.errors import PipelineError


def launch(work: Callable[..., None], processes: int, *args: Any) -> None:
    """Call `work(*args)` in `processes` processes of this machine, or in those that torchrun has started.

    Args:
        work: a function of a module.
        processes: one each GPU; 1 and no torchrun: here.

    Raises:
        PipelineError: as the first process that failed raised it.
    """
    started = "TORCHELASTIC_RUN_ID" in os.environ
    if processes == 1 and not started:
        work(*args)
        return
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    with tempfile.TemporaryDirectory() as folder:
        error = Path(folder) / "error.json"
        try:
            with idist.Parallel(backend=backend, **({} if started else {"nproc_per_node": processes})) as parallel:
                parallel.run(_one, work, error, *args)
        except ProcessException:
            if error.exists():
                kind, *words = json.loads(error.read_text(encoding="utf-8"))
                raise getattr(errors, kind)(*words) from None
            raise


def _one(_local_rank: int, work: Callable[..., None], error: Path, *args: Any) -> None:
    """One process; its error crosses to the parent as words."""
    try:
        work(*args)
    except PipelineError as failed:
        words = json.dumps([type(failed).__name__, failed.expected, failed.found, failed.remedy])
        if not error.exists():
            error.write_text(words, encoding="utf-8")
        raise


def first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return bool(idist.get_rank() == 0)
