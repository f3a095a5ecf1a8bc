"""The pages, as Chromium shows them and as an administrator uses them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from deploy.box.audit import messages
from deploy.box.journal import Instance
from pipeline.monitoring import simulate
from tests.browser import Browser, browser
from tests.deploy.box.conftest import instance
from tests.deploy.box.results import destination, result
from tests.deploy.box.web.conftest import TOKEN, Site
from tests.deploy.box.web.test_stow import encoded
from tests.programs import program
from tests.waiting import within

Start = Callable[..., Site]
SERIES = {"StudyInstanceUID": "1.2.7", "SeriesInstanceUID": "1.2.7.1", "SOPInstanceUID": "", "FrameNumber": ""}
POSITIVE = {**SERIES, "probabilities": [0.93], "decision": "1", "status": "ok", "message": ""}
REFUSED = {**SERIES, "SeriesInstanceUID": "1.2.7.2", "probabilities": [], "decision": "", "status": "too_few_slices"}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(program("chromium", "google-chrome"), tmp_path_factory.mktemp("profile"), reach="127.0.0.1") as driven:
        yield driven


def fill(box: Site, number: int, state: str, **values: str) -> None:
    """A study of one instance, brought to a state."""
    row = Instance(
        f"1.2.{number}.1.1",
        f"1.2.{number}",
        f"1.2.{number}.1",
        "c",
        "ab",
        1,
        f"{number}",
        "A",
        datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
    box.journal.add(row)
    box.journal.complete("9999", "9999")
    (study,) = box.journal.studies("complete")
    assert box.journal.settle(study, state, **values)  # type: ignore[arg-type]


def log_in(box: Site, chromium: Browser) -> None:
    chromium.open(f"{box.address}/", 1200)
    assert chromium.evaluate("location.pathname") == "/login"
    chromium.evaluate(f"token.value = '{TOKEN}'; document.querySelector('form').requestSubmit(); 1")
    assert within(60, lambda: chromium.evaluate("location.pathname + document.readyState") == "/complete")


@pytest.mark.acceptance
def test_an_administrator_logs_in_sees_what_failed_and_has_it_answered_again(site: Start, chromium: Browser) -> None:
    box = site()
    fill(box, 1, "failed", reason="expected the process to survive the study; found it ended.")
    fill(box, 7, "answered", predictions=json.dumps([POSITIVE, {**REFUSED, "message": "3, and 8 are needed"}]))
    log_in(box, chromium)
    shown = chromium.evaluate("document.querySelector('table').innerText")
    assert "positive (0.93), 1 without answer" in shown
    assert "Expected the process to survive" in shown
    chromium.open(f"{box.address}/failures", 1200)
    assert chromium.evaluate("document.querySelector('nav b').innerText") == "1"
    chromium.evaluate("document.querySelector('main form').requestSubmit(); 1")
    assert within(60, lambda: [study.study for study in box.journal.studies("complete")] == [1])
    assert within(
        60, lambda: "every complete study was answered" in chromium.evaluate("document.body?.innerText ?? ''")
    )


@pytest.mark.acceptance
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_whole_without_another_host_or_an_error(site: Start, chromium: Browser, scheme: str) -> None:
    box = site()
    fill(box, 7, "answered", predictions=json.dumps([POSITIVE]))
    log_in(box, chromium)
    for path in ("/", "/?state=failed", "/failures", "/throughput", "/drift", "/release", "/studies/1"):
        for width in (1200, 390):
            chromium.open(box.address + path, width, scheme)
            assert chromium.errors == [], path
            assert all(each.startswith(box.address) for each in chromium.requests)
            assert chromium.evaluate("document.querySelectorAll('h1').length") == 1
            assert chromium.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)
            assert "1.2.7" not in chromium.evaluate("document.documentElement.outerHTML")


@pytest.mark.acceptance
def test_a_page_brings_itself_up_to_date_and_says_when_it_cannot(site: Start, chromium: Browser) -> None:
    box = site()
    log_in(box, chromium)
    assert "No study has come yet" in chromium.evaluate("document.body.innerText")
    chromium.evaluate("document.body.dataset.same = 'yes'")
    fill(box, 7, "answered", predictions=json.dumps([POSITIVE]))
    chromium.evaluate("refresh()")
    assert "positive (0.93)" in chromium.evaluate("document.body.innerText")
    assert chromium.evaluate("document.body.dataset.same") == "yes"
    chromium.evaluate("window.fetch = () => Promise.reject(new Error('gone')); refresh()")
    assert "The box has not answered since" in chromium.evaluate("document.body.innerText")


@pytest.mark.parametrize(
    ("shift", "said"), [([], "No drift in 60 studies"), (["--shift", "intensity"], "Drift.</strong>")]
)
def test_drift_is_what_monitoring_says(site: Start, shift: list[str], said: str) -> None:
    box = site()
    assert "nothing can be said of drift" in box.get("/drift").text
    reports = box.settings.state / "reports"
    assert simulate.main([str(box.settings.release), str(reports), *shift, "--after", "0", "--studies", "60"]) == 0
    assert "nothing can be said of drift" in box.get("/drift").text
    box.drift._until = 0.0
    assert said in box.get("/drift").text


def test_a_list_has_pages_and_nobody_breaks_it_by_its_address(site: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.box.web.studies.ROWS", 2)
    box = site()
    for number in range(1, 6):
        fill(box, number, "answered", predictions="[]")
    assert box.get("/?skip=2&state=answered").text.count('href="/studies/') == 2
    assert "/?state=answered&amp;skip=4" in box.get("/?skip=2&state=answered").text
    for query in ("skip=-1", "skip=%C2%B2", "skip=99999999999999999999", "state='--", "state=<script>"):
        found = box.get(f"/?{query}")
        assert found.status_code == 200
        assert "<script>" not in found.text.replace('<script src="/refresh.js" defer></script>', "")


def test_what_a_sender_wrote_is_text_and_never_markup(site: Start, tmp_path: Path) -> None:
    box = site()
    fill(box, 1, "failed", reason="<img src=x onerror=alert(1)>")
    for path in ("/", "/failures"):
        assert "&lt;img src=x" in box.get(path).text
        assert "<img src=x" not in box.get(path).text


def test_again_is_for_what_is_settled_alone(site: Start) -> None:
    box = site()
    head = {"authorization": f"Bearer {TOKEN}"}
    assert box.ask("POST", "/studies/1/again", headers=head).status_code == 409
    assert box.ask("GET", "/studies/1/again", headers=head).status_code == 405
    assert box.ask("POST", "/studies/1/again").status_code == 401


def test_whose_a_study_is_stands_on_its_page_alone_and_each_look_in_the_audit_trail(site: Start) -> None:
    box = site()
    content = encoded(instance())
    box.incoming.keep(content, "SCANNER")
    box.journal.complete("9999", "9999")
    (study,) = box.journal.studies("complete")
    box.outbox.enter(study, {"sc": result(1, size=16), "sr": result(1, "sr")}, True, predictions=json.dumps([POSITIVE]))
    shown = box.get("/studies/1").text
    assert all(words in shown for words in ("Doe^Jane", "P1", "0.930", "positive", "summary.png"))
    assert "1.2.3" not in shown
    for path in ("/", "/failures", "/throughput", "/metrics", "/health/ready"):
        assert "Doe" not in box.get(path).text, path
    (message,) = messages(box.settings.state / "audit")
    assert all(words in message for words in ("DICOM Instances Accessed", "Doe^Jane", "1.2.3.1", 'UserID="token"'))
    picture = box.get("/studies/1/summary.png")
    assert Image.open(BytesIO(picture.content)).size == (16, 16)
    assert box.get("/studies/2").status_code == box.get("/studies/2/summary.png").status_code == 404


def test_a_delivery_that_was_given_up_is_sent_again(site: Start) -> None:
    box = site(send=[destination()])
    box.incoming.keep(encoded(instance()), "SCANNER")
    box.journal.complete("9999", "9999")
    (study,) = box.journal.studies("complete")
    box.outbox.enter(study, {"sc": result(1)}, True, predictions="[]")
    (delivery,) = box.outbox.deliveries()
    box.outbox.move(delivery, "dead", reason="no connection", tries=3)
    assert "No connection" in box.get("/failures").text
    assert 'box_deliveries{destination="pacs",state="dead"} 1.0' in box.get("/metrics").text
    head = {"authorization": f"Bearer {TOKEN}", "referer": f"{box.address}/studies/1"}
    sent = box.ask("POST", "/deliveries/1/again", headers=head)
    assert (sent.status_code, sent.headers["location"]) == (303, "/studies/1")
    assert [each.state for each in box.outbox.deliveries()] == ["queued"]
    assert box.ask("POST", "/deliveries/2/again", headers=head).status_code == 409
