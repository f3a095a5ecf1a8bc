"""What is asked of the journal for each study or once a second finds its rows by an index, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deploy.box.journal import Journal
from deploy.box.outbox import Outbox
from deploy.box.overview import Overview
from tests.deploy.box.results import destination
from tests.deploy.box.test_outbox import both, complete


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


def slow(journal: Journal, statement: str, values: Sequence[Any] = ()) -> list[str]:
    """Steps of its plan that look at every row of a table, or sort studies."""
    plan = [str(step) for *_, step in journal._database.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    sorts = "FROM studies" in statement
    return [step for step in plan if (step.startswith("SCAN") and "INDEX" not in step) or (sorts and "TEMP" in step)]


def asked(journal: Journal, tmp_path: Path) -> list[str]:
    """Every statement of the common questions."""
    outbox, found = Outbox(journal, tmp_path / "results", [destination()]), list[str]()
    study = complete(journal)
    journal._database.set_trace_callback(found.append)
    journal.instances("1")
    journal.instance("1.1")
    journal.studies("complete")
    journal.complete("2020", "2020")
    outbox.enter(study, both(), True)
    outbox.deliveries("queued")
    outbox.due("pacs", "2020")
    outbox.uncommitted("pacs", "2020")
    outbox.move(outbox.deliveries("queued")[0], "sent", transaction_uid="1.2")
    outbox.commit("1.2", ["1.2.4.1.2"], {"1.2.4.1.3": 1})
    outbox.results(1)
    journal._database.set_trace_callback(None)
    return [each for each in found if each.startswith(("SELECT", "UPDATE", "INSERT"))]


def test_common_questions_take_an_index(journal: Journal, tmp_path: Path) -> None:
    statements = asked(journal, tmp_path)
    assert len(statements) > 15
    assert {each: found for each in statements if (found := slow(journal, each))} == {}


def test_what_waits_for_commitment_is_found_without_what_does_not(journal: Journal, tmp_path: Path) -> None:
    (statement,) = (each for each in asked(journal, tmp_path) if "!= '' AND next_try" in each)
    (plan, *_) = journal._database.execute(f"EXPLAIN QUERY PLAN {statement}")
    assert "deliveries_to_be_committed (destination=? AND state=? AND next_try<?)" in plan[-1]


def test_what_an_answer_supersedes_is_found_by_its_study(journal: Journal, tmp_path: Path) -> None:
    (statement,) = (each for each in asked(journal, tmp_path) if "'superseded', reason" in each)
    (plan, *_) = journal._database.execute(f"EXPLAIN QUERY PLAN {statement}")
    assert "(sop_instance_uid=?)" in plan[-1]


@pytest.mark.parametrize("state", [None, "answered"])
def test_a_page_of_studies_takes_an_index(journal: Journal, tmp_path: Path, state: Any) -> None:
    class Explained(Overview):
        def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
            assert slow(journal, query, values) == []
            return super()._rows(query, values)

    complete(journal)
    overview = Explained(tmp_path)
    overview.latest(state, 50)
    overview.study(1)
    overview.file(1)
