"""Worker processes of this machine, as an executor that outlives them.

Each worker has a pipe of its own, and a thread here that waits at it: so the death of a worker is noticed at once, even
amid a result, and costs the one item that it had. (The library's pool breaks as a whole, and may then wait for ever for
the rest of a result, as all its workers share one pipe.)
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

from pipeline.errors import WorkerError

P = ParamSpec("P")
T = TypeVar("T")

#: Workers that may be lost over one item before it is given up.
MOST_LOST = 3


class Processes(Executor):
    """Up to `workers` processes, each started for its first call and replaced when it dies; all must be picklable.

    Processes are spawned, not forked: a fork beside the threads of a progress bar or an inference runtime can hang.
    """

    def __init__(self, workers: int) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._ended = False
        self._threads = [threading.Thread(target=self._drive, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a call done by the next worker that is free.

        The future raises what the call raises, or `WorkerError` where it cost `MOST_LOST` workers.
        """
        if self._ended:
            raise RuntimeError("the executor was shut down")
        future: Future[T] = Future()
        self._jobs.put((future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers once nothing is left to do, or only what is under way."""
        self._ended = True
        with suppress(queue.Empty):
            while cancel_futures:
                if job := self._jobs.get_nowait():
                    job[0].cancel()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _drive(self) -> None:
        """The thread of one worker."""
        worker: Connection | None = None
        while job := self._jobs.get():
            future, call = job
            if future.set_running_or_notify_cancel():
                worker = _do(future, call, worker)
            del job, future, call  # a result may be large, and the next job far
        if worker:
            worker.close()


def _do(future: Future[Any], call: Callable[[], Any], worker: Connection | None) -> Connection | None:
    """Have a worker do a call, or others where it dies; give back the one that lives, if one does."""
    for _ in range(MOST_LOST):
        try:
            worker = worker or _start()
        except (OSError, RuntimeError) as error:  # no process can be had, or not from here
            future.set_exception(error)
            return None
        try:
            worker.send(call)
            done, result = worker.recv()
        except (EOFError, OSError):  # its end of the pipe is closed: it is gone
            worker.close()
            worker = None
            continue
        except Exception as error:  # noqa: BLE001 - cannot be pickled, for a reason that is the caller's
            future.set_exception(error)
            return worker
        if done:
            future.set_result(result)
        else:
            future.set_exception(result)
        return worker
    future.set_exception(
        WorkerError(
            "worker processes that live",
            f"{MOST_LOST} one after the other that were killed over the same work, as a rule for want of memory",
            "Use fewer workers (ingest.workers in params.yaml), or a machine with more memory.",
        )
    )
    return worker


def _start() -> Connection:
    """Start a worker and give the pipe to it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=_work, args=(theirs,), daemon=True).start()
    theirs.close()
    return ours


def _work(pipe: Connection) -> None:
    """What a worker does until the other end of its pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with its parent, without a traceback of its own
    threading.Thread(target=_die_with_parent, daemon=True).start()
    while True:
        try:
            answer = True, pipe.recv()()
        except EOFError:
            return
        except Exception as error:  # noqa: BLE001 - raised again where the result is asked for
            error.add_note(f"In a worker process:\n{traceback.format_exc()}")
            answer = False, error
        pipe.send(answer)
        del answer


def _die_with_parent() -> None:
    """End this worker when the process that started it is gone, also amid a call."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
