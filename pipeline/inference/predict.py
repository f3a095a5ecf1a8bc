"""From scans to predictions: the contract's preprocessing, graph and threshold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
import numpy.typing as npt

from pipeline.contract import LabelLevel
from pipeline.dicom.reasons import OF_FILES, Rejection
from pipeline.dicom.scan import Scan
from pipeline.errors import PipelineError
from pipeline.imaging.prepare import prepare
from pipeline.inference.answers import Answers, Slices
from pipeline.inference.release import Release
from pipeline.inference.slices import of_slices
from pipeline.targets import Targets, decided

#: A DICOM UID, PS3.5 chapter 9.
_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True)
class Prediction:
    """One answer, or the reason why there is none.

    Attributes:
        StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, FrameNumber: what is answered for; as deep as the model's
            label level (a patient's answer stands at each study of that patient), the rest is empty.
        probabilities: calibrated, of the positive class, or of each of several; empty where there is no answer.
        decision: 1 at the threshold and above, else 0; of several classes the names, joined by `;`.
        status: `ok`, or a stable reason code.
        message: the reason in words; free of patient names, IDs and paths.
    """

    StudyInstanceUID: str = ""
    SeriesInstanceUID: str = ""
    SOPInstanceUID: str = ""
    FrameNumber: int | str = ""
    probabilities: tuple[float, ...] = ()
    decision: str = ""
    status: str = "ok"
    message: str = ""


def columns(targets: Targets) -> list[str]:
    """The columns of the CSV: `probability`, or of several classes `probability_<class>` for each."""
    probabilities = ["probability"] if targets.kind == "binary" else [f"probability_{name}" for name in targets.named]
    names: list[str] = []
    for column in fields(Prediction):
        names += probabilities if column.name == "probabilities" else [column.name]
    return names


def cells(prediction: Prediction, targets: Targets) -> list[str | int | float]:
    """A row of the CSV."""
    answers = prediction.probabilities or ("",) * targets.outputs
    row: list[str | int | float] = []
    for column in fields(Prediction):
        row += answers if column.name == "probabilities" else [getattr(prediction, column.name)]
    return row


@dataclass(frozen=True)
class Examined:
    """What was answered together: the slices of one scan, each by itself, or of all scans of one unit; or a refusal.

    Attributes:
        scans: with their prepared slices; none where nothing could be answered.
        answers: of the graph, for all slices in their order; None without scans.
        predictions: what is said of them.
        source: of what `load` refused, as its `Rejection` has it; empty for the rest.
    """

    scans: Sequence[tuple[Scan, Slices]]
    answers: Answers | None
    predictions: Sequence[Prediction]
    source: str = field(default="", repr=False)


def predict(release: Release, scans: Iterable[Scan | Rejection]) -> Iterator[Prediction]:
    """Answer for each scan, in their order; what cannot be answered is said and does not stop the next.

    Models of a study or patient answer at the end, over all slices of all their series that could be read; models of
    a series over all its volumes that were taken, and are silent about the others.
    """
    for examined in examine(release, scans):
        yield from examined.predictions


def examine(release: Release, scans: Iterable[Scan | Rejection]) -> Iterator[Examined]:
    """The same with what the graph was given and said."""
    level = release.manifest.task.label_level
    kept: list[tuple[Scan, Slices]] = []
    for scan in scans:
        if isinstance(scan, Rejection):
            if not scan.part:
                yield Examined((), None, [_refused(scan)], scan.source)
            continue
        if level == "series" and kept and kept[0][0].series_uid != scan.series_uid:
            yield from _of_units(release, kept)
            kept.clear()
        try:
            slices = prepare(scan.volume, release.manifest.transform)
        except PipelineError as error:
            said = Prediction(scan.study_uid, scan.series_uid, status="not_prepared", message=str(error))
            yield Examined((), None, [said])
            continue
        if level == "slice":
            yield _of_slices(release, scan, slices)
        else:
            kept.append((scan, slices))
    yield from _of_units(release, kept)


def _refused(rejection: Rejection) -> Prediction:
    """The row of a refused series or file."""
    is_series = rejection.reason not in OF_FILES and _UID.fullmatch(rejection.source)
    series_uid = rejection.source if is_series else ""
    return Prediction(SeriesInstanceUID=series_uid, status=rejection.reason, message=rejection.message)


def _of_slices(release: Release, scan: Scan, slices: Slices) -> Examined:
    """One answer for each slice, or for the series the reason why there is none."""
    answers = of_slices(release.backend, slices, release.manifest.calibration.neighbours_sd)
    if not np.isfinite(answers.probabilities).all():
        return Examined((), None, [_not_finite(Prediction(scan.study_uid, scan.series_uid))])
    places = [
        Prediction(scan.study_uid, scan.series_uid, sop_uid, "" if frame is None else frame)
        for sop_uid, frame in scan.slice_keys
    ]
    said = [_answered(*pair, release) for pair in zip(places, answers.probabilities, strict=True)]
    return Examined([(scan, slices)], answers, said)


def _of_units(release: Release, kept: Sequence[tuple[Scan, Slices]]) -> Iterator[Examined]:
    """One answer for each series or study, by the slices of it or of its patient."""
    level = release.manifest.task.label_level
    units: dict[str, list[tuple[Scan, Slices]]] = {}
    for scan, slices in kept:
        units.setdefault(_unit(scan, level), []).append((scan, slices))
    for scans in units.values():
        places = dict.fromkeys(_place(scan, level) for scan, _ in scans)
        answers, said = _of_unit(release, np.concatenate([slices for _, slices in scans]))
        placed = [
            replace(said, StudyInstanceUID=at.StudyInstanceUID, SeriesInstanceUID=at.SeriesInstanceUID) for at in places
        ]
        yield Examined(scans if answers else (), answers, placed)


def _of_unit(release: Release, slices: Slices) -> tuple[Answers | None, Prediction]:
    """The answer for one unit, without its place."""
    most = release.manifest.graph.most_slices
    if len(slices) > most:
        message = f"{len(slices)} slices, and the release was made for {most} at most (compile.slices)"
        return None, Prediction(status="too_many_slices", message=message)
    answers = release.backend.run(slices, np.ones((1, len(slices)), np.float32))
    if not np.isfinite(answers.probabilities).all():
        return None, _not_finite(Prediction())
    return answers, _answered(Prediction(), answers.probabilities[0], release)


def _not_finite(place: Prediction) -> Prediction:
    return replace(place, status="not_finite", message="the network gave a value that is no number")


def _place(scan: Scan, level: LabelLevel) -> Prediction:
    return Prediction(scan.study_uid, scan.series_uid if level == "series" else "")


def _unit(scan: Scan, level: LabelLevel) -> str:
    return {"series": scan.series_uid, "study": scan.study_uid}.get(level, scan.patient_id)


def _answered(place: Prediction, probabilities: npt.NDArray[np.float32], release: Release) -> Prediction:
    """The (K,) calibrated probabilities of one unit, and the decision."""
    threshold = release.manifest.calibration.threshold
    called = decided(probabilities[np.newaxis], threshold)
    return replace(place, probabilities=tuple(probabilities.tolist()), decision=release.targets.words(called[0]))
