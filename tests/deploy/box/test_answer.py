"""What a box says of a study by the release's own reference, and what monitoring then reads."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest

from deploy.box.answer import OUT_OF_DISTRIBUTION, Answer, Opened, answer, opened
from deploy.box.journal import Journal
from deploy.box.outbox import Outbox
from pipeline.errors import ContractError
from pipeline.inference import signature
from pipeline.monitoring import reference, reports
from tests import observed
from tests.deploy.box.results import destination
from tests.deploy.box.test_outbox import complete
from tests.inference.conftest import Maker, SeriesWriter

pytestmark = pytest.mark.acceptance
NOW = datetime(2026, 3, 1, 14, 35, tzinfo=UTC)


@pytest.fixture
def ready(make_release: Maker, tmp_path: Path) -> Opened:
    return opened(make_release(tmp_path / "release"), None)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def of_another_kind(folder: Path) -> None:
    """A picture of noise in place of the head's."""
    for path in files(folder):
        read = pydicom.dcmread(path)
        read.PixelData = np.random.default_rng(0).permutation(read.pixel_array.ravel()).tobytes()
        read.save_as(path)


def test_a_study_like_the_others_has_its_number(ready: Opened, write_series: SeriesWriter, tmp_path: Path) -> None:
    write_series(tmp_path / "study", 24)
    found = answer(ready, files(tmp_path / "study"))
    assert [each.status for each in found.predictions] == ["ok"]
    assert found.quality == "passed"


def test_a_study_like_no_other_has_words_and_no_number(
    ready: Opened, write_series: SeriesWriter, tmp_path: Path
) -> None:
    write_series(tmp_path / "study", 24)
    of_another_kind(tmp_path / "study")
    found = answer(ready, files(tmp_path / "study"))
    (said,) = found.predictions
    assert (said.status, said.probabilities, said.decision) == (OUT_OF_DISTRIBUTION, (), "")
    assert "36 studies" in said.message
    assert found.quality == "flagged"
    text = str(pydicom.dcmread(BytesIO(found.contents["sr"])))
    assert "out of distribution" in text
    assert "Probability" not in text


def test_monitoring_is_told_of_what_was_answered_and_of_nobody(
    ready: Opened, write_series: SeriesWriter, tmp_path: Path
) -> None:
    write_series(tmp_path / "study", 1)
    found = answer(ready, files(tmp_path / "study"))
    found.tell(tmp_path / "reports", ready.sha256, NOW)
    (told,) = reports.read(tmp_path / "reports")
    assert (told.hour, told.release_sha256) == (NOW.replace(minute=0), ready.sha256)
    assert (told.series, told.refused, told.quality) == (1, 0, "passed")
    assert told.probabilities == pytest.approx(found.predictions[0].probabilities)
    Answer([], {}, None, "not_assessed").tell(tmp_path / "reports", ready.sha256, NOW)
    assert len(reports.read(tmp_path / "reports")) == 1


def test_a_full_disk_of_reports_is_no_matter_of_the_answer(
    ready: Opened, write_series: SeriesWriter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_series(tmp_path / "study", 1)
    tmp_path.joinpath("reports").write_text("in the way")
    answer(ready, files(tmp_path / "study")).tell(tmp_path / "reports", ready.sha256, NOW)
    assert "monitoring is not told" in caplog.text


def test_a_reference_of_another_network_is_refused(make_release: Maker, tmp_path: Path) -> None:
    folder = make_release(tmp_path / "release")
    observed.write(folder / reference.FILE, "ab" * 32)
    signature.write_sums(folder)
    with pytest.raises(ContractError, match="embeddings of 256 values"):
        opened(folder, None)


def test_a_corrected_patient_has_results_of_their_own_which_are_sent(
    ready: Opened, write_series: SeriesWriter, tmp_path: Path
) -> None:
    write_series(tmp_path / "study", 1)
    first = answer(ready, files(tmp_path / "study"))
    for path in files(tmp_path / "study"):
        read = pydicom.dcmread(path)
        read.PatientID, read.PatientName = "P2", "Roe^Richard"
        read.save_as(path)
    second = answer(ready, files(tmp_path / "study"))
    assert second.predictions == first.predictions
    journal = Journal(tmp_path / "journal.sqlite")
    outbox = Outbox(journal, tmp_path / "results", [destination()])
    assert outbox.enter(complete(journal), first.contents, True)
    for each in outbox.deliveries():
        outbox.move(each, "sent")
    assert outbox.enter(complete(journal, 2), second.contents, True)
    assert [each.state for each in outbox.deliveries()] == ["sent", "sent", "queued", "queued"]
    for each in outbox.deliveries("queued"):
        read = pydicom.dcmread(outbox.folder / each.file)
        assert (read.PatientID, read.PatientName) == ("P2", "Roe^Richard")
