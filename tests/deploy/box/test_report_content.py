"""What a report says, item by item: what the release computed, no more and no less, and of which images and frames."""

from __future__ import annotations

import subprocess
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from highdicom.sr import Comprehensive3DSR
from pydicom.dataset import Dataset

from deploy.box.answer import Opened, answer
from pipeline.dicom.load import load
from pipeline.inference.answers import Answers, Floats, Slices
from pipeline.inference.predict import Prediction, predict
from pipeline.inference.release import open_release
from pipeline.targets import Targets, decided
from tests.dicom import series_builder
from tests.inference.conftest import Maker

pytestmark = pytest.mark.acceptance
#: Of each kind of task the classes and thresholds; one of these has more digits than a decimal string.
KINDS: dict[Any, tuple[list[str], Any]] = {
    "binary": (["healthy", "tumour"], 1 / 3),
    "multiclass": (["low", "mid", "high"], None),
    "multilabel": (["mass", "bleed", "shift"], [0.2, 1 / 3, 0.9]),
}
#: Of each series with an answer.
SLICES = 4
ONE = ("1", "UCUM", "no units")
TRACKING = ("112039", "DCM", "Tracking Identifier")
UNIQUE = ("112040", "DCM", "Tracking Unique Identifier")
SOURCE = ("121112", "DCM", "Source of Measurement")
GROUP = ("125007", "DCM", "Measurement Group")
PRESENT, ABSENT = ("52101004", "SCT", "Present"), ("272519000", "SCT", "Absent")


@pytest.fixture
def ready(make_release: Maker, tmp_path: Path) -> Callable[[Any, str], Opened]:
    """Opens a release of a kind, for a level of labels, whose graph says of each slice numbers of chance."""

    def ready(kind: Any, level: str) -> Opened:
        release = open_release(make_release(tmp_path / "release", level, drawn=True))
        (classes, threshold), manifest = KINDS[kind], release.manifest
        task = manifest.task.model_copy(update={"kind": kind, "classes": classes})
        calibration = manifest.calibration.model_copy(update={"threshold": threshold})
        manifest = manifest.model_copy(update={"task": task, "calibration": calibration})
        targets = Targets(kind, tuple(classes))

        def run(slices: Slices, membership: Floats) -> Answers:
            each = [np.random.default_rng(zlib.crc32(one.tobytes())).random(targets.outputs) for one in slices]
            scores = np.array(each, np.float32)
            of_units = membership @ scores / membership.sum(1, keepdims=True)
            return Answers(of_units, of_units, scores, of_units)

        backend: Any = SimpleNamespace(run=run, name="a graph of the test")
        return Opened(replace(release, manifest=manifest, targets=targets, backend=backend), "ab" * 32, None)

    return ready


@pytest.fixture
def images(tmp_path: Path) -> list[Dataset]:
    """A study in `study`: one image a file, many, and tiles; two series that are refused; a file that is damaged.

    In the order of the files.
    """
    made = [
        *series_builder.classic("classic", SLICES),
        series_builder.enhanced("enhanced", SLICES),
        series_builder.mosaic("mosaic", SLICES),
        *series_builder.classic("short", slices=2),
        *series_builder.classic("colour", SLICES, PhotometricInterpretation="PALETTE COLOR"),
        *series_builder.classic("damaged", slices=1, Rows=[32, 32]),
    ]
    for image in made:
        image.StudyInstanceUID = series_builder.uid("study")
    return [pydicom.dcmread(path) for path in sorted(series_builder.save(made, tmp_path / "study").iterdir())]


def items(container: Dataset) -> list[tuple[Any, Any]]:
    """The name and the value of every item; those of a container are its items, and UIDs have no value here."""
    return [(_code(item.ConceptNameCodeSequence[0]), _value(item)) for item in container.ContentSequence]


def _code(item: Dataset) -> tuple[str, str, str]:
    return item.get("CodeValue") or item.LongCodeValue, item.CodingSchemeDesignator, item.CodeMeaning


def _value(item: Dataset) -> Any:
    if item.ValueType == "NUM":
        (measured,) = item.MeasuredValueSequence
        return measured.FloatingPointValue, _code(measured.MeasurementUnitsCodeSequence[0])
    if item.ValueType == "IMAGE":
        (image,) = item.ReferencedSOPSequence
        return image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID, image.get("ReferencedFrameNumber")
    read: dict[str, Callable[[], Any]] = {
        "CONTAINER": lambda: items(item),
        "CODE": lambda: _code(item.ConceptCodeSequence[0]),
        "TEXT": lambda: item.TextValue,
        "UIDREF": lambda: None,
    }
    return read[item.ValueType]()


def computed(by: Opened, folder: Path) -> list[Prediction]:
    """What the release says of the files, outside a box."""
    return list(predict(by.release, load(folder, by.release.manifest.selection, workers=1)))


def context(by: Opened) -> list[tuple[Any, Any]]:
    """What a report says before its groups."""
    name, version = by.release.manifest.name, by.release.manifest.version
    return [
        (
            ("121049", "DCM", "Language of Content Item and Descendants"),
            ("en-US", "RFC5646", "English (United States)"),
        ),
        (("121005", "DCM", "Observer Type"), ("121007", "DCM", "Device")),
        (("121012", "DCM", "Device Observer UID"), None),
        (("121013", "DCM", "Device Observer Name"), f"{name} {version}"),
        (("121014", "DCM", "Device Observer Manufacturer"), "mri-transfer"),
        (("121015", "DCM", "Device Observer Model Name"), name),
        (("121058", "DCM", "Procedure reported"), ("113091000", "SCT", "Magnetic resonance imaging")),
    ]


def groups(by: Opened, said: Sequence[Prediction], images: Sequence[Dataset]) -> Iterator[list[tuple[Any, Any]]]:
    """What a report says of these answers, group by group."""
    manifest, parameter = by.release.manifest, ("111002", "DCM", "Algorithm Parameters")
    algorithm = [
        (("111001", "DCM", "Algorithm Name"), manifest.name),
        (("111003", "DCM", "Algorithm Version"), manifest.version),
        (parameter, "Research use only - not for diagnostic use"),
        (parameter, f"release SHA-256 {by.sha256}"),
        (parameter, f"graph SHA-256 {manifest.graph.sha256}"),
        (parameter, "run by a graph of the test"),
    ]
    for number, each in enumerate(said, 1):
        sources = [(SOURCE, reference) for reference in references(each, images)]
        if each.status != "ok":
            told = (each.status, "99MRITRANSFER", each.status.replace("_", " "))
            reason = (("no-answer", "99MRITRANSFER", "Reason for no answer"), told)
            yield [(TRACKING, f"{number}"), (UNIQUE, None), *algorithm, reason, *sources]
        for place, measured in enumerate(measurements(by, each)):
            name = by.release.targets.named[place]
            finding = (("121071", "DCM", "Finding"), (f"class-{place}", "99MRITRANSFER", name))
            yield [(TRACKING, f"{number} {name}"), (UNIQUE, None), finding, *algorithm, *measured, *sources]


def measurements(by: Opened, said: Prediction) -> Iterator[list[tuple[Any, Any]]]:
    """Of each class its probability, threshold and presence; of no answer nothing."""
    threshold = by.release.manifest.calibration.threshold
    for place, probability in enumerate(said.probabilities):
        there = decided(np.array([said.probabilities], np.float32), threshold)[0, place]
        own = threshold[place] if isinstance(threshold, list) else threshold
        found = [(("122157", "DCM", "Probability"), (probability, ONE))]
        found += [] if own is None else [(("122411", "DCM", "Threshold Value"), (own, ONE))]
        yield [*found, (("121052", "DCM", "Presence of property"), PRESENT if there else ABSENT)]


def references(said: Prediction, images: Sequence[Dataset]) -> Iterator[tuple[str, str, int | None]]:
    """The images, and the frame where one has several, that an answer is about."""
    for image in images:
        damaged = said.status == "not_dicom" and isinstance(image.Rows, Sequence)
        if damaged or image.SeriesInstanceUID == said.SeriesInstanceUID:
            frame = said.FrameNumber or None if "NumberOfFrames" in image else None
            if said.SOPInstanceUID in ("", image.SOPInstanceUID):
                yield image.SOPClassUID, image.SOPInstanceUID, frame


@pytest.mark.parametrize("level", ["series", "slice"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_item_is_what_was_computed(
    kind: Any,
    level: str,
    ready: Callable[[Any, str], Opened],
    images: list[Dataset],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    by = ready(kind, level)
    said = computed(by, tmp_path / "study")
    read = pydicom.dcmread(BytesIO(answer(by, sorted((tmp_path / "study").iterdir())).contents["sr"]))
    assert _code(read.ConceptNameCodeSequence[0]) == ("126000", "DCM", "Imaging Measurement Report")
    *before, (name, found) = items(read)
    assert before == context(by)
    assert name == ("126010", "DCM", "Imaging Measurements")
    assert found == [(GROUP, group) for group in groups(by, said, images)]
    require_read_by_highdicom(by, read, said, images, caplog)
    reasons = sorted(each.status for each in said if each.status != "ok")
    assert reasons == ["not_dicom", "too_few_slices", "unsupported_photometric"]
    answers = {"series": 3, "slice": 3 * SLICES}[level]
    assert len(found) == answers * by.release.targets.outputs + len(reasons)
    frames = {value[2] for _, group in found for what, value in group if what == SOURCE and value[2]}
    assert frames == ({*range(1, SLICES + 1)} if level == "slice" else set())


def require_read_by_highdicom(
    by: Opened, read: Dataset, said: Sequence[Prediction], images: Sequence[Dataset], log: pytest.LogCaptureFixture
) -> None:
    """A reader that others use finds the same, and nothing twice."""
    made = Comprehensive3DSR.from_dataset(read)
    found = made.content.get_image_measurement_groups()
    assert (read.CompletionFlag, read.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert {sop for _, _, sop, _ in made.get_evidence()} == {image.SOPInstanceUID for image in images}
    assert len({group.tracking_uid for group in found}) == len(found)
    assert [len(group.get_qualitative_evaluations()) for group in found] == [1] * len(found)
    answered = [group for group in found if group.finding_type is not None]
    values = [group.get_measurements()[0].value for group in answered]
    assert values == [value for each in said for value in each.probabilities]
    named = by.release.targets.named
    assert [group.finding_type.meaning for group in answered] == [*named] * (len(answered) // len(named))
    assert not log.records, "found more than one"


def test_other_programs_read_it(
    ready: Callable[[Any, str], Opened], images: list[Dataset], tmp_path: Path, program: Callable[[str], str]
) -> None:
    files = sorted((tmp_path / "study").iterdir())
    for kind, content in answer(ready("multilabel", "slice"), files).contents.items():
        tmp_path.joinpath(f"{kind}.dcm").write_bytes(content)
    made = [tmp_path / "sr.dcm", tmp_path / "sc.dcm"]

    def told(name: str, *given: Path) -> str:
        done = subprocess.run([program(name), *map(str, given)], capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).splitlines()
        assert not [line for line in lines if line.startswith(("Error", "E:"))]
        return done.stdout

    told("dciodvfy", made[0])
    told("dcentvfy", *made, *files)
    shown = told("dsrdump", made[0])
    assert shown.count("Presence of property") == 3 * SLICES * 3
    assert [shown.count(f"(MRe image,,{frame})") for frame in range(SLICES + 1)] == [0] + [3] * SLICES
