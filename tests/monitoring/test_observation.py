"""What is observed of a study: through the graph of a release, from scans as a box reads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.dicom.load import load
from pipeline.dicom.scan import Scan
from pipeline.imaging.volume import Volume
from pipeline.inference.predict import predict
from pipeline.inference.release import Release, open_release
from pipeline.monitoring.observation import Model, observe


@pytest.fixture(scope="session")
def opened(make_release: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Release]:
    folder = tmp_path_factory.mktemp("observation")
    return {level: open_release(make_release(folder / level, level)) for level in ("series", "slice")}


@pytest.fixture
def scan(opened: dict[str, Release], write_series: Any, tmp_path: Path) -> Scan:
    write_series(tmp_path / "scans", 3, MagneticFieldStrength=2.89)
    (found,) = load(tmp_path / "scans", opened["series"].manifest.selection, workers=1)
    assert isinstance(found, Scan)
    return found


def _observed(release: Release, scan: Scan) -> Any:
    return observe(Model.of(release), scan.manufacturer, scan.field_strength_t, [scan.volume])


def test_it_is_what_the_box_answers(opened: dict[str, Release], scan: Scan) -> None:
    found = _observed(opened["series"], scan)
    (answer,) = predict(opened["series"], [scan])
    assert found.probabilities == pytest.approx(answer.probabilities)
    assert found.decisions == (answer.decision == "1",)
    assert (found.manufacturer, found.field_strength_t) == ("Siemens", 3.0)
    assert (found.series, found.slices) == (1, 8)


def test_of_slices_the_highest_counts(opened: dict[str, Release], scan: Scan) -> None:
    found = _observed(opened["slice"], scan)
    answers = list(predict(opened["slice"], [scan]))
    assert found.probabilities[0] == pytest.approx(max(answer.probabilities[0] for answer in answers))
    assert found.embedding == pytest.approx(_observed(opened["series"], scan).embedding, abs=1e-4)


def test_intensity_is_of_the_head_as_displayed_and_what_is_seen_is_normalised(
    opened: dict[str, Release], scan: Scan
) -> None:
    found = _observed(opened["series"], scan)
    # The head is written as 400 and more, the air as 5.
    assert 300 < found.intensity[1] < found.intensity[2] < found.intensity[4] < 900
    brighter = replace(scan, volume=Volume(scan.volume.voxels * np.float32(2), scan.volume.affine_lps))
    again = _observed(opened["series"], brighter)
    assert again.intensity == pytest.approx([2 * value for value in found.intensity], rel=1e-5)
    assert again.seen == pytest.approx(found.seen, abs=1e-3)
    assert again.probabilities == pytest.approx(found.probabilities, abs=1e-3)


def test_an_unknown_scanner_has_no_words_of_its_own(opened: dict[str, Release], scan: Scan) -> None:
    for manufacturer, expected in (("", "unknown"), ("other", "other")):
        found = _observed(opened["series"], replace(scan, manufacturer=manufacturer, field_strength_t=None))
        assert (found.manufacturer, found.field_strength_t) == (expected, None)
