"""Results and their deliveries: entered with the study's answer or not at all, and moved on one step at a time."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from deploy.box.__main__ import main
from deploy.box.destinations import Destination
from deploy.box.journal import Instance, Journal, Study, now
from deploy.box.outbox import Outbox
from deploy.box.schema import MIGRATIONS
from deploy.box.worklist import again
from pipeline.errors import ConfigError
from tests.deploy.box.results import destination, result

LATER = "9999"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


def outbox(journal: Journal, tmp_path: Path, *destinations: Destination) -> Outbox:
    return Outbox(journal, tmp_path / "results", destinations or (destination(),))


def complete(journal: Journal, number: int = 1, study: int = 1, calling: str = "SCANNER") -> Study:
    """A study that something came of, ready to be answered."""
    sop = f"{study}.{number}"
    journal.add(Instance(sop, f"{study}", f"{study}.0", "c", "ab", 1, f"{sop}.dcm", calling, "2026"))
    journal.complete("2027", "2027")
    return next(each for each in journal.studies("complete") if each.study_instance_uid == f"{study}")


def both(number: int = 1) -> dict[str, bytes]:
    return {"sr": result(number, "sr"), "sc": result(number, "sc")}


def test_an_answer_and_its_deliveries_are_there_for_whoever_opens_it_next(journal: Journal, tmp_path: Path) -> None:
    assert outbox(journal, tmp_path).enter(complete(journal), both(), True, predictions="[]")
    journal.close()
    again = outbox(Journal(tmp_path / "journal.sqlite"), tmp_path)
    assert [(each.kind, each.state, each.tries) for each in again.deliveries()] == [
        ("sr", "queued", 0),
        ("sc", "queued", 0),
    ]
    assert [each.kind for each in again.results(1)] == ["sr", "sc"]
    for each in again.due("pacs", now()):
        assert (again.folder / each.file).read_bytes() == result(1, each.kind)
    assert again.counts()["queued"] == 2
    assert again.due("pacs", "2020") == []
    assert again.due("other", LATER) == []


def test_nothing_is_entered_of_a_study_of_which_more_came(journal: Journal, tmp_path: Path) -> None:
    out, read = outbox(journal, tmp_path), complete(journal)
    complete(journal, 2)
    assert not out.enter(read, both(), True)
    assert out.deliveries() == []
    assert list(out.folder.iterdir()) == []


def test_a_repeat_is_the_same_object_and_not_sent_again(journal: Journal, tmp_path: Path) -> None:
    out = outbox(journal, tmp_path)
    out.enter(complete(journal), {"sc": result(1)}, True)
    (first,) = out.deliveries()
    out.move(first, "sent", tries=1)
    out.enter(complete(journal, 2), {"sc": result(1, size=9)}, True)
    (second,) = out.deliveries()
    assert (second.state, second.file, second.revision) == ("sent", first.file, 2)
    (out.folder / first.file).write_bytes(b"torn")
    out.enter(complete(journal, 3), {"sc": result(1, size=9)}, True)
    assert (out.folder / out.results(1)[0].file).read_bytes() == result(1, size=9)


def test_what_was_not_sent_of_an_earlier_answer_is_superseded(journal: Journal, tmp_path: Path) -> None:
    out = outbox(journal, tmp_path)
    out.enter(complete(journal), both(1), True)
    out.move(out.deliveries()[0], "sent")
    out.enter(complete(journal, 2), both(2), True)
    assert [(each.revision, each.state) for each in out.deliveries()] == [
        (1, "sent"),
        (1, "superseded"),
        (2, "queued"),
        (2, "queued"),
    ]


def test_nothing_goes_out_of_a_study_that_changed(journal: Journal, tmp_path: Path) -> None:
    out = outbox(journal, tmp_path)
    out.enter(complete(journal), both(1), True)
    first, second = out.due("pacs", LATER)
    out.move(second, "dead")
    changed = complete(journal, 2)
    assert out.due("pacs", LATER) == []
    assert not out.is_due(first)
    assert out.replay() == 0
    assert out.fail(changed, "the worker was lost")
    assert [each.state for each in out.deliveries()] == ["superseded", "superseded"]
    assert [(each.state, each.reason) for each in journal.studies()] == [("failed", "the worker was lost")]
    with pytest.raises(ConfigError, match="last answer"):
        out.replay(first.delivery)


def test_what_waits_goes_out_where_the_new_answer_is_the_same(journal: Journal, tmp_path: Path) -> None:
    out = outbox(journal, tmp_path)
    out.enter(complete(journal), both(1), True)
    out.enter(complete(journal, 2), both(1), True)
    assert [(each.revision, each.state) for each in out.due("pacs", LATER)] == [(2, "queued"), (2, "queued")]


def test_of_two_answers_of_one_revision_the_last_counts(journal: Journal, tmp_path: Path) -> None:
    out = outbox(journal, tmp_path)
    out.enter(complete(journal), {"sr": result(1, "sr")}, True)
    (first,) = out.deliveries()
    out.move(first, "sent", transaction_uid="1.9", next_try="2020")
    again(journal, 1)
    (study,) = journal.studies("complete")
    out.enter(study, {"sr": result(2, "sr")}, True)
    assert out.uncommitted("pacs", LATER) == []
    with pytest.raises(ConfigError, match="last answer"):
        out.replay(first.delivery)
    # As where its commitment was refused at that moment.
    assert out.move(out.deliveries()[0], "queued", transaction_uid="")
    assert [each.state for each in out.deliveries()] == ["superseded", "queued"]


def test_the_last_answer_counts_though_the_clock_was_set_back(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = outbox(journal, tmp_path)
    out.enter(complete(journal), both(1), True)
    monkeypatch.setattr("deploy.box.outbox.now", lambda: "2026-01-01T00:00:00.000+00:00")
    out.enter(complete(journal, 2), both(2), True)
    assert [each.revision for each in out.due("pacs", "2026-01-01T00:00:00.000+00:00")] == [2, 2]
    assert [each.revision for each in out.deliveries() if each.state == "superseded"] == [1, 1]


def test_a_study_of_which_more_came_does_not_fail(journal: Journal, tmp_path: Path) -> None:
    out, read = outbox(journal, tmp_path), complete(journal)
    complete(journal, 2)
    assert not out.fail(read, "the worker was lost")
    assert journal.studies()[0].state == "complete"


def test_destinations_take_what_they_asked_for(journal: Journal, tmp_path: Path) -> None:
    out = outbox(
        journal,
        tmp_path,
        destination("all"),
        destination("reports", what=["sr"]),
        destination("positive", only="positive", what=["sc"]),
        destination("from-there", calling_ae_titles=["THERE"], what=["sc"]),
    )
    out.enter(complete(journal), both(1), False)
    assert [each.destination for each in out.deliveries()] == ["all", "reports", "all"]
    out.enter(complete(journal, study=2, calling="THERE"), both(2), True)
    assert [each.destination for each in out.deliveries()[3:]] == ["all", "reports", "all", "positive", "from-there"]


def test_the_dead_are_replayed_and_others_by_their_number(journal: Journal, tmp_path: Path) -> None:
    out = outbox(journal, tmp_path)
    out.enter(complete(journal), both(), True)
    for each, state in zip(out.deliveries(), ("dead", "sent"), strict=True):
        out.move(each, state, tries=3, reason="refused")
    assert out.replay() == 1
    (first,) = out.deliveries("queued")
    assert (first.kind, first.tries, first.reason) == ("sr", 0, "")
    assert out.replay(2) == 1
    assert out.counts()["queued"] == 2
    with pytest.raises(ConfigError, match="found 7"):
        out.replay(7)


def test_a_delivery_moves_from_where_it_was_read(journal: Journal, tmp_path: Path) -> None:
    out = outbox(journal, tmp_path)
    out.enter(complete(journal), {"sc": result(1)}, True)
    (read,) = out.deliveries()
    assert out.move(read, "sent")
    assert not out.move(read, "dead")
    assert out.deliveries()[0].state == "sent"


def test_files_without_a_row_are_swept(journal: Journal, tmp_path: Path) -> None:
    out = outbox(journal, tmp_path)
    out.enter(complete(journal), both(), True)
    (out.folder / "000001-1-sr-0.dcm").touch()
    assert out.sweep() == 1
    assert len(list(out.folder.iterdir())) == 2


def test_a_journal_of_the_first_version_becomes_one_of_this(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as database:
        database.executescript(MIGRATIONS[0] + "; PRAGMA user_version = 1")
        database.execute("INSERT INTO studies VALUES (7, '1', 1, '2026', '2026', 'complete', '', '', '')")
    database.close()
    journal = Journal(path)
    out = outbox(journal, tmp_path)
    out.enter(journal.studies()[0], both(), True)
    assert [each.study for each in out.deliveries()] == [7, 7]


def test_what_waited_of_an_earlier_answer_in_an_older_journal_is_superseded(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as database:
        database.executescript(";".join(MIGRATIONS[:4]) + "; PRAGMA user_version = 4")
        for number, (state, revision) in enumerate([("answered", 1), ("answered", 2), ("failed", 2)], start=1):
            values = (number, f"{number}", revision, state)
            database.execute("INSERT INTO studies VALUES (?, ?, ?, '2026', '2026', ?, '', '', '')", values)
            row = (f"1.{number}", f"{number}-sr.dcm", number)
            database.execute("INSERT INTO results VALUES (?, 'sr', '1.0', '1.1', '', ?, ?, 1, '2026')", row)
            for place, waits in enumerate(("queued", "dead", "sent")):
                values = (f"1.{number}", f"PACS{place}", waits)
                database.execute("INSERT INTO deliveries VALUES (NULL, ?, ?, ?, 0, '', '', NULL, '', '')", values)
    database.close()
    states = [each.state for each in outbox(Journal(path), tmp_path).deliveries()]
    assert states == ["queued", "dead", "sent", *2 * ["superseded", "superseded", "sent"]]


def test_the_command_lists_and_replays(journal: Journal, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tmp_path / "box.toml"
    settings.write_text(
        f"""
        state = "{tmp_path}"
        release = "/release"
        [receive]
        ae_title = "MRIBOX"
        senders = [{{ ae_title = "SCANNER", networks = ["127.0.0.1/32"] }}]
        [[send]]
        name = "pacs"
        [send.dicom]
        ae_title = "PACS"
        address = "pacs.example.org"
        port = 104
        """
    )
    out = outbox(journal, tmp_path)
    out.enter(complete(journal), both(), True)
    out.move(out.deliveries()[1], "dead", tries=3, reason="no connection")
    assert main(["outbox", str(settings)]) == 0
    shown = capsys.readouterr().err.splitlines()
    assert shown[-1].split() == ["2", "1", "sc", "pacs", "dead", "3", "no", "connection"]
    assert main(["outbox", str(settings), "--replay", "all"]) == 0
    assert "1 queued again" in capsys.readouterr().err
    assert out.counts()["queued"] == 2
    assert main(["outbox", str(settings), "--replay", "9"]) == 1
    assert "1.2.4" not in capsys.readouterr().err
