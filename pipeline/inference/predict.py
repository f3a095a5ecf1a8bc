"""From scans to predictions: the contract's preprocessing, graph and threshold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from pipeline.contract import LabelLevel
from pipeline.dicom.reasons import OF_FILES, Rejection
from pipeline.dicom.scan import Scan
from pipeline.errors import PipelineError
from pipeline.imaging.prepare import prepare
from pipeline.inference.answers import Slices
from pipeline.inference.neighbours import calls
from pipeline.inference.release import Release
from pipeline.targets import Targets, decided

#: A DICOM UID, PS3.5 chapter 9.
_UID = re.compile(r"[0-9.]{1,64}")

_Kept = list[tuple[Scan, Slices]]


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
    for field in fields(Prediction):
        names += probabilities if field.name == "probabilities" else [field.name]
    return names


def cells(prediction: Prediction, targets: Targets) -> list[str | int | float]:
    """A row of the CSV."""
    answers = prediction.probabilities or ("",) * targets.outputs
    row: list[str | int | float] = []
    for field in fields(Prediction):
        row += answers if field.name == "probabilities" else [getattr(prediction, field.name)]
    return row


def predict(release: Release, scans: Iterable[Scan | Rejection]) -> Iterator[Prediction]:
    """Answer for each scan, in their order; what cannot be answered is said and does not stop the next.

    Models of a study or patient answer at the end, over all slices of all their series that could be read; models of
    a series over all its volumes that were taken, and are silent about the others.
    """
    level = release.manifest.task.label_level
    kept: _Kept = []
    for scan in scans:
        if isinstance(scan, Rejection):
            if not scan.part:
                yield _refused(scan)
            continue
        if level == "series" and kept and kept[0][0].series_uid != scan.series_uid:
            yield from _of_units(release, kept)
            kept.clear()
        try:
            slices = prepare(scan.volume, release.manifest.transform)
        except PipelineError as error:
            yield Prediction(scan.study_uid, scan.series_uid, status="not_prepared", message=str(error))
            continue
        if level == "slice":
            yield from _of_slices(release, scan, slices)
        else:
            kept.append((scan, slices))
    yield from _of_units(release, kept)


def _refused(rejection: Rejection) -> Prediction:
    """The row of a refused series or file."""
    is_series = rejection.reason not in OF_FILES and _UID.fullmatch(rejection.source)
    series_uid = rejection.source if is_series else ""
    return Prediction(SeriesInstanceUID=series_uid, status=rejection.reason, message=rejection.message)


def _of_slices(release: Release, scan: Scan, slices: Slices) -> Iterator[Prediction]:
    """One answer for each slice, or for the series the reason why there is none."""
    places = [("", place) for place in range(len(slices))]
    asked = calls(places, release.manifest.calibration.neighbours_sd)
    probabilities = np.concatenate(
        [release.backend.run(slices[call.given], call.membership).probabilities for call in asked]
    )
    if not np.isfinite(probabilities).all():
        yield _not_finite(Prediction(scan.study_uid, scan.series_uid))
        return
    for row, (sop_uid, frame) in zip(probabilities, scan.slice_keys, strict=True):
        place = Prediction(scan.study_uid, scan.series_uid, sop_uid, "" if frame is None else frame)
        yield _answered(place, row, release)


def _of_units(release: Release, kept: _Kept) -> Iterator[Prediction]:
    """One answer for each series or study, by the slices of it or of its patient."""
    level = release.manifest.task.label_level
    unit_of = {_place(scan, level): _unit(scan, level) for scan, _ in kept}
    slices: dict[str, list[Slices]] = {}
    for scan, own in kept:
        slices.setdefault(_unit(scan, level), []).append(own)
    answers = {unit: _of_unit(release, np.concatenate(parts)) for unit, parts in slices.items()}
    for place, unit in unit_of.items():
        found = answers[unit]
        yield replace(found, StudyInstanceUID=place.StudyInstanceUID, SeriesInstanceUID=place.SeriesInstanceUID)


def _of_unit(release: Release, slices: Slices) -> Prediction:
    """The answer for one unit, without its place."""
    most = release.manifest.graph.most_slices
    if len(slices) > most:
        message = f"{len(slices)} slices, and the release was made for {most} at most (compile.slices)"
        return Prediction(status="too_many_slices", message=message)
    (probabilities,) = release.backend.run(slices, np.ones((1, len(slices)), np.float32)).probabilities
    if not np.isfinite(probabilities).all():
        return _not_finite(Prediction())
    return _answered(Prediction(), probabilities, release)


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
