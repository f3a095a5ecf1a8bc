from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from pickle import PicklingError

import pytest

from pipeline.errors import DicomError, WorkerError
from pipeline.parallel import ordered_map


def late_when_even(number: int) -> int:
    time.sleep(0.05 if number % 2 == 0 else 0)
    return number


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_amid_a_result(job: tuple[int, Path]) -> Half | int:
    number, seen = job
    if number == 3 and not seen.exists():
        seen.touch()
        return Half()
    return number


class Half:
    """A result whose sender dies when half of it is sent."""

    def __reduce__(self):
        parent = os.getpid()
        threading.Timer(0.3, os.kill, (parent, signal.SIGKILL)).start()
        return bytes, (bytes(1 << 28),)


def fail(number: int) -> int:
    raise DicomError("a", "b", f"c{number}")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_keep_the_order_of_the_items(workers):
    with ordered_map(workers) as run:
        assert list(run(late_when_even, range(8))) == list(range(8))


def test_few_results_are_ahead_of_the_reader():
    taken = []

    def items():
        for number in range(50):
            taken.append(number)
            yield number

    with ordered_map(2) as run:
        results = run(late_when_even, items())
        assert [next(results), next(results)] == [0, 1]
        assert len(taken) < 10


def test_work_that_kills_every_worker_is_an_error():
    found = "3 one after the other that were killed over the same work, as a rule for want of memory"
    with pytest.raises(WorkerError, match=found), ordered_map(2) as run:
        list(run(die, range(8)))


def test_work_of_a_worker_that_is_killed_amid_its_result_is_done_again(tmp_path):
    with ordered_map(2) as run:
        assert list(run(die_amid_a_result, [(number, tmp_path / "seen") for number in range(8)])) == [*range(8)]
    assert (tmp_path / "seen").exists()


def test_an_error_arrives_whole_and_the_worker_goes_on():
    with ordered_map(2) as run:
        with pytest.raises(DicomError, match="expected a; found b. c7"):
            list(run(fail, [7]))
        assert list(run(late_when_even, [1])) == [1]


def test_what_cannot_be_sent_is_an_error_of_its_own():
    with ordered_map(2) as run, pytest.raises((AttributeError, PicklingError)):
        list(run(lambda number: number, [1]))


def test_workers_die_with_their_parent(tmp_path):
    """Else each `kill -9` of a stage would leave processes that wait for ever."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, time\n"
        "from pipeline.parallel import ordered_map\n"
        "def work(number):\n"
        "    os.write(1, b'%d\\n' % os.getpid())\n"
        "    return number\n"
        "if __name__ == '__main__':\n"
        "    with ordered_map(2) as run:\n"
        "        list(run(work, range(4)))\n"
        "        time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = {int(parent.stdout.readline()) for _ in range(4)}
        parent.kill()
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "workers still live"
        time.sleep(0.05)


def test_a_script_that_workers_cannot_import_ends_with_an_error(tmp_path):
    """Each worker would run it again, as it does not ask whether it is the main module."""
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from pipeline.parallel import ordered_map\nwith ordered_map(2) as run:\n    print(list(run(abs, [1, 2])))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "WorkerError: expected worker processes that live" in done.stderr


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
