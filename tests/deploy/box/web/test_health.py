"""What health and metrics say, and when they say no."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.box import health
from deploy.box.audit_messages import Actor
from deploy.box.journal import Instance
from tests.deploy.box.web.conftest import Site

Start = Callable[..., Site]


@pytest.fixture(autouse=True)
def asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_HOLDS_S", -1.0)


def not_ready(box: Site) -> dict[str, str]:
    found = box.ask("GET", "/health/ready")
    assert found.status_code == 503
    checks: dict[str, str] = found.json()["checks"]
    return {name: reason for name, reason in checks.items() if reason != "ok"}


def test_a_box_at_work_is_live_and_ready(site: Start) -> None:
    box = site()
    assert box.ask("GET", "/health/live").json() == {"ok": True, "checks": {"web": "ok", "MainThread": "ok"}}
    assert box.ask("GET", "/health/ready").json()["ok"] is True


def test_a_thread_that_ended_is_said(site: Start) -> None:
    box = site()
    box.health._threads = ("web", "answer")
    found = box.ask("GET", "/health/live")
    assert (found.status_code, found.json()["checks"]["answer"]) == (503, "the thread has ended")


def test_each_reason_not_to_be_ready_is_said(site: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    box = site()
    box.watch.worker("expected a graph; found none. Copy it again.")
    assert not_ready(box) == {"worker": "expected a graph; found none. Copy it again."}
    box.watch.worker(None)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 0))  # type: ignore[attr-defined]
        assert "0 MiB free" in not_ready(box)["disk"]
    sums = box.releases.path(box.releases.chosen().answering) / "SHA256SUMS"
    before = sums.read_bytes()
    sums.write_bytes(before + b"\n")
    assert "not the one that was verified" in not_ready(box)["release"]
    sums.write_bytes(before)
    box.journal._database.execute("PRAGMA query_only = ON")
    assert not_ready(box) == {"journal": "it cannot be written: OperationalError"}
    box.journal._database.execute("PRAGMA query_only = OFF")
    assert box.ask("GET", "/health/ready").status_code == 200


def test_to_be_ready_is_to_have_written(site: Start) -> None:
    box = site()
    box.journal._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    box.health.ready()
    assert (box.settings.state / "journal.sqlite-wal").stat().st_size > 0


def test_metrics_count_what_happened(site: Start) -> None:
    box = site()
    now = datetime.now(UTC)
    last = (now - timedelta(seconds=70)).isoformat(timespec="milliseconds")
    row = Instance("1.2.1.1", "1.2", "1.2.1", "c", "ab", 1, "f", "A", last)
    box.journal.add(row)
    box.watch.received("dimse", 1, Actor("association", "SCANNER"), row, b"")
    box.watch.refused("stow", 0xA700)
    box.watch.association("accepted")
    box.watch.settled(last, True, now)
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(box.get("/metrics").text)
        for sample in family.samples
    }
    expected = {
        ("box_instances_received_total", "dimse"): 1,
        ("box_instances_refused_total", "stow", "A700"): 1,
        ("box_associations_total", "accepted"): 1,
        ("box_studies", "receiving"): 1,
        ("box_answer_seconds_count",): 1,
        ("box_answer_seconds_bucket", "75.0"): 1,
        ("box_answer_seconds_bucket", "60.0"): 0,
        ("box_ready", "worker"): 1,
    }
    assert expected.items() <= found.items()
    assert found["box_disk_free_bytes",] > 2**20
    assert found["box_journal_bytes",] > 4096
    assert found["box_memory_bytes", "box"] > 10 * 2**20
    with sqlite3.connect(box.settings.state / "journal.sqlite") as database:
        assert database.execute("SELECT count(*) FROM studies").fetchone() == (1,)
