"""Files that mean harm, through the box's door and on to the process that answers: neither ends of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.box.worker import Limits, Worker
from pipeline.errors import PipelineError, WorkerError
from tests.benchmarks.hostile_files import costly, damaged, whole
from tests.deploy.box.web.conftest import Site
from tests.deploy.box.web.test_stow import body, reasons, stow

pytestmark = pytest.mark.acceptance
CASES = 60
#: Whole files are among them only where the damage hit what nobody reads.
SOUND = {"gzip", "zip"}


@pytest.fixture
def worker(release: Path) -> Iterator[Worker]:
    made = Worker(release, None, Limits(8 * 2**30, 240.0))
    yield made
    made.close()


def cases() -> Iterator[tuple[str, bytes]]:
    files = {name: content for name, content in whole().items() if name not in SOUND}
    yield from (damaged(number, files) for number in range(CASES))
    yield from ((name, made()) for name, made in costly())


def newest(box: Site) -> str:
    """The last that went to the quarantine, where the oldest makes room."""
    return max((path.name for path in (box.settings.state / "quarantine").glob("*.json")), default="")


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::DeprecationWarning:pydicom")
def test_each_has_a_status_and_a_reason_and_nothing_ends(site: Callable[..., Site], worker: Worker) -> None:
    box, taken, refused, known = site(), 0, 0, set[str]()
    for name, content in cases():
        before = newest(box)
        found = stow(box, body(content))
        before_it, known = known, {row.file for row in box.journal.instances()}
        if found.status_code == 200:
            taken += 1
            assert known, name
        else:
            refused += 1
            assert found.status_code == 409, (name, found.status_code, found.text)
            sequence = next(key for key in ("00081198", "0008119A") if key in found.json())
            assert reasons(found, sequence)[0] > 0, name
            assert newest(box) > before, name
        if came := known - before_it:
            answered(worker, box, came, name)
    answered(worker, box, known, "all of them")
    assert taken + refused >= 60
    assert min(taken, refused) > 5
    assert json.loads(box.ask("GET", "/health/live").text)["ok"]


def answered(worker: Worker, box: Site, files: set[str], name: str) -> None:
    """The worker lives on: it answers, or says of the study why not, which is then `failed`."""
    try:
        worker.answer([box.settings.state / "incoming" / file for file in sorted(files)])
    except WorkerError as error:
        pytest.fail(f"{name}: {error}")
    except PipelineError:
        pass
