"""Workers of other machines: a Dask cluster as an executor.

Who can reach the scheduler or a worker can run what they like on it, and read what passes: a private network, or tls://.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.code import code_version
from pipeline.errors import ConfigError, WorkerError

#: Seconds that are waited for the scheduler to answer, and for a first worker.
ANSWER_S = 30

_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Task:
    """A call, whose arguments are not shown: Dask writes them into its log when it fails."""

    function: Callable[[Any], Any] = field(repr=False)
    item: Any = field(repr=False)


def run(task: Task) -> Any:
    """Do it on a worker: one at a time, as what is done there relies on having its process to itself."""
    with _one_at_a_time:
        return task.function(task.item)


@contextmanager
def connected(address: str, folder: Path | None = None) -> Iterator[tuple[Executor, int]]:
    """The cluster at `address` (tcp:// or tls://), and how many workers it has at the start.

    Dask does again what a worker had that is lost. TLS is set up in Dask's own configuration.

    Raises:
        ConfigError: Dask is not installed, no scheduler answers, or workers have another version, or no `folder`.
        WorkerError: there is no worker, or worker after worker is lost over the same work, or the scheduler is.
    """
    try:
        from distributed import Client
        from distributed.scheduler import KilledWorker, NoWorkerError
    except ImportError as error:
        remedy = "pip install 'mri-transfer[cluster]', or set ingest.scheduler to null."
        raise ConfigError("the package distributed, for ingest.scheduler", "none installed", remedy) from error
    try:
        client = Client(address, timeout=ANSWER_S, set_as_default=False)
    except (OSError, TypeError, ValueError) as error:  # TypeError: tls:// without a certificate
        remedy = "Start `dask scheduler` there, with TLS set up for tls://, or set ingest.scheduler to null."
        raise ConfigError(f"a Dask scheduler at {address}", "none that answers", remedy) from error
    with client:
        executor = client.get_executor(pure=False)
        try:
            size = _size(client, address)
            _check_versions(client)
            _check_folder(client, folder)
            yield executor, size
        except KilledWorker as error:
            found = f"{error.allowed_failures + 1} that were lost over the same work, as a rule for want of memory"
            raise WorkerError("Dask workers that live", found, "Give each more memory.") from error
        except NoWorkerError as error:
            raise _no_worker(address) from error
        except CancelledError as error:
            remedy = "See its log, and start the stage again."
            raise WorkerError(f"a Dask scheduler at {address} that goes on", "one that was lost", remedy) from error
        finally:
            executor.shutdown(wait=False)


def _size(client: Any, address: str) -> int:
    """How many workers there are, once there is one."""
    try:
        client.wait_for_workers(1, timeout=ANSWER_S)
    except TimeoutError as error:
        raise _no_worker(address) from error
    return len(client.scheduler_info(n_workers=-1)["workers"])


def _check_versions(client: Any) -> None:
    """That the workers that are there read scans as this process would."""
    # Where there is no such function, an error stands in place of its result.
    versions = client.run(code_version, on_error="return").values()
    own = code_version()
    others = sum(version != own for version in versions)
    if others:
        raise ConfigError(
            "Dask workers with this version of mri-transfer, and of what it reads scans with",
            f"another one, or none, on {others} of {len(versions)}",
            "Install the same versions on all machines (constraints.txt), and start the workers again.",
        )


def _check_folder(client: Any, folder: Path | None) -> None:
    """That the workers that are there find the folder."""
    without = sum(found is not True for found in client.run(os.path.isdir, str(folder)).values()) if folder else 0
    if without:
        remedy = "Mount data.dicom_dir at the same path on all machines."
        raise ConfigError("Dask workers that find the folder of scans", f"{without} that do not", remedy)


def _no_worker(address: str) -> WorkerError:
    return WorkerError(f"a Dask worker at {address}", "none", "Start `dask worker` there.")
