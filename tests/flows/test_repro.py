"""The DAG's order, and one stage under DVC as a child process."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zc.lockfile

from flows import programs, repro
from pipeline.errors import ConfigError, StorageError

pytestmark = pytest.mark.acceptance


def test_order_takes_what_dvc_repro_would_take_and_nothing_else(toy: Path) -> None:
    assert repro.order(toy) == ["data/demo/dvc.yaml:demo", "split", "finetune", "validate"]


def test_chosen_stages_keep_the_order_of_the_dag(toy: Path) -> None:
    assert repro.order(toy, ["validate", "split"]) == ["split", "validate"]


def test_stages_up_to_one_of_them(toy: Path) -> None:
    assert repro.order(toy, last="split") == ["data/demo/dvc.yaml:demo", "split"]


def test_unknown_stage_is_named_with_the_choices(toy: Path) -> None:
    with pytest.raises(ConfigError, match=r"found spilt\. Choose among: .*split, finetune, validate"):
        repro.order(toy, ["spilt"])


def test_folder_without_dvc_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a DVC project in"):
        repro.order(tmp_path)


def test_lines_come_while_the_stage_runs(toy: Path) -> None:
    (toy / "demo.trouble").write_text("sleep")
    seen: list[str] = []

    def stop_at_the_stages_own_line(line: str) -> None:
        seen.append(line)
        if line == "demo counts patients":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repro.reproduce(toy, "data/demo/dvc.yaml:demo", stop_at_the_stages_own_line)
    assert seen[0] == "Running stage 'data/demo/dvc.yaml:demo':"


def test_nothing_survives_an_interruption(toy: Path) -> None:
    (toy / "demo.trouble").write_text("sleep")
    pids: list[int] = []

    def interrupt(line: str) -> None:
        if line == "demo counts patients":
            pids.append(int(_content(toy / "sleeping")))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repro.reproduce(toy, "data/demo/dvc.yaml:demo", interrupt)
    assert _gone(pids[0])


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_nothing_survives_a_kill_of_the_flow(toy: Path, shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", shell)
    (toy / "demo.trouble").write_text("sleep")
    code = f"""
        from pathlib import Path
        from flows import repro
        repro.reproduce(Path({str(toy)!r}), "data/demo/dvc.yaml:demo", print)
    """
    flow = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.DEVNULL)
    stage = int(_content(toy / "sleeping"))
    flow.kill()
    flow.wait()
    assert _gone(stage)


def test_stage_waits_for_a_dvc_that_is_at_work_in_the_folder(toy: Path) -> None:
    """For as long as it takes: a command that does not wait has given up meanwhile, twice."""
    (toy / ".dvc/tmp").mkdir(exist_ok=True)
    held = zc.lockfile.LockFile(str(toy / ".dvc/tmp/lock"))
    with ThreadPoolExecutor(1) as pool:
        try:
            waiting = pool.submit(repro.reproduce, toy, "data/demo/dvc.yaml:demo", print)
            for _ in range(2):
                with pytest.raises(StorageError, match="Unable to acquire lock"):
                    programs.dvc(toy, "repro", "split")
            assert not waiting.done()
        finally:
            held.close()
        assert waiting.result() is repro.Outcome.RAN


def test_failed_stage_speaks_through_its_error_file(toy: Path) -> None:
    (toy / "demo.trouble").write_text("fail")
    with pytest.raises(repro.StageError) as caught:
        repro.reproduce(toy, "data/demo/dvc.yaml:demo", print)
    assert "found SplitError: expected two sites; found one. Give another. Mend that" in str(caught.value)
    assert not caught.value.retryable


def test_full_disk_is_retryable(toy: Path) -> None:
    (toy / "demo.trouble").write_text("full")
    with pytest.raises(repro.StageError) as caught:
        repro.reproduce(toy, "data/demo/dvc.yaml:demo", print)
    assert caught.value.retryable


def test_crash_shows_the_last_lines_and_no_older_error(toy: Path) -> None:
    (toy / "demo.trouble").write_text("fail")
    with pytest.raises(repro.StageError):
        repro.reproduce(toy, "data/demo/dvc.yaml:demo", print)
    (toy / "demo.trouble").write_text("crash")
    with pytest.raises(repro.StageError, match=r"exit status 255 after: .*segments of bone") as caught:
        repro.reproduce(toy, "data/demo/dvc.yaml:demo", print)
    assert "SplitError" not in str(caught.value)


def test_stage_that_takes_too_long_is_ended(toy: Path) -> None:
    (toy / "demo.trouble").write_text("sleep")
    with pytest.raises(
        repro.StageError, match=r"found it still running after 0\.3 minutes, and ended it\. Allow it more"
    ):
        repro.reproduce(toy, "data/demo/dvc.yaml:demo", print, minutes=0.3)
    assert _gone(int((toy / "sleeping").read_text()))


def test_unchanged_stage_is_skipped_unless_forced(toy: Path) -> None:
    outcomes = [repro.reproduce(toy, "data/demo/dvc.yaml:demo", print, force) for force in (False, False, True)]
    assert outcomes == [repro.Outcome.RAN, repro.Outcome.UNCHANGED, repro.Outcome.RAN]
    assert (toy / "runs.txt").read_text().split() == ["demo", "demo"]


def test_output_that_is_gone_is_restored_from_the_cache(toy: Path) -> None:
    for stage in ("data/demo/dvc.yaml:demo", "split"):
        assert repro.reproduce(toy, stage, print) is repro.Outcome.RAN
    (toy / "split.txt").unlink()
    assert repro.reproduce(toy, "split", print) is repro.Outcome.RESTORED
    assert (toy / "runs.txt").read_text().split() == ["demo", "split"]


def _content(path: Path) -> str:
    """The text of a file that another process is about to write."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.05)
    pytest.fail(f"{path.name} was not written")


def _gone(pid: int) -> bool:
    """Whether the process ends within some seconds (a zombie has ended)."""
    status = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        try:
            if status.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False
