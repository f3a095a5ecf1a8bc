"""Several processes that train one model: on the GPUs of this machine, or of several, by ignite's launcher."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from torch import nn
from torch.multiprocessing.spawn import ProcessException

from pipeline import errors
from pipeline.errors import PipelineError, StorageError
from pipeline.files import write_atomic


def launch(work: Callable[..., None], processes: int, *args: Any) -> None:
    """Call `work(*args)` in `processes` processes of this machine, or in those that torchrun has started.

    Args:
        work: a function of a module.
        processes: one each GPU; 1 and no torchrun: here.

    Raises:
        PipelineError: as a process that failed raised it.
    """
    started = "TORCHELASTIC_RUN_ID" in os.environ
    if processes == 1 and not started:
        work(*args)
        return
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    with tempfile.TemporaryDirectory() as folder:
        try:
            # By a file: ignite's own choice, a port of the machine, is one for all trainings on it.
            own = {"nproc_per_node": processes, "init_method": f"file://{folder}/rendezvous"}
            with idist.Parallel(backend=backend, **({} if started else own)) as parallel:
                parallel.run(_one, work, Path(folder), 1 if started else processes, *args)
        except ProcessException:
            for said in sorted(Path(folder).glob("*.json")):
                kind, *words = json.loads(said.read_text(encoding="utf-8"))
                raise getattr(errors, kind)(*words) from None
            raise


def _one(_local_rank: int, work: Callable[..., None], folder: Path, processes: int, *args: Any) -> None:
    """One process, with its share of the cores; its error crosses to the parent as words."""
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    try:
        work(*args)
    except PipelineError as failed:
        words = json.dumps([type(failed).__name__, failed.expected, failed.found, failed.remedy]).encode()
        # The first that fails has the others ended, whatever they are at; and the disk may be full.
        with suppress(OSError, StorageError):
            write_atomic(folder / f"{idist.get_rank()}.json", lambda handle: handle.write(words))
        raise


def same_buffers(module: nn.Module) -> None:
    """BatchNorm's statistics of the first process in all: each has seen units of its own, and the first's are kept."""
    if idist.get_world_size() > 1:
        for buffer in module.buffers():
            buffer.copy_(idist.broadcast(buffer, src=0))


def others_rank() -> tuple[int, ...]:
    """What a seed has more in every process but the first, so that no two draw the same."""
    rank = int(idist.get_rank())
    return (rank,) if rank else ()


def first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return bool(idist.get_rank() == 0)
