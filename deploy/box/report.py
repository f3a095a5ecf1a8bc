"""A study's answers as DICOM SR: Comprehensive 3D, of TID 1500 (PS3.16), one measurement group an answer and class."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from deploy.box.answered import Answered, character_set, complete, uid
from pipeline import __version__
from pipeline.dicom.header import ENHANCED
from pipeline.inference.predict import Prediction
from pipeline.targets import Targets

NOTICE = "Research use only - not for diagnostic use"
MANUFACTURER = "mri-transfer"
#: Of the codes that no standard has: classes of a task, reasons for no answer.
_SCHEME = "99MRITRANSFER"
#: Far from those of scanners.
SERIES_NUMBER = 9_900
_MRI = CodedConcept("113091000", "SCT", "Magnetic resonance imaging")
_NO_ANSWER = CodedConcept("no-answer", _SCHEME, "Reason for no answer")


def structured_report(answered: Answered) -> Comprehensive3DSR:
    """The report; complete and unverified, as nobody has looked at it."""
    made = Comprehensive3DSR(
        evidence=[complete(image) for image in answered.images],
        content=_content(answered),
        series_instance_uid=uid(answered, "SR series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=uid(answered, "SR"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_verified=False,
        manufacturer_model_name=answered.manifest.name[:64],
        software_versions=f"{answered.manifest.version} ({__version__})",
        device_serial_number=answered.release_sha256[:16],
        series_description=NOTICE,
    )
    made.SpecificCharacterSet = character_set(answered)
    return made


def encoded(answered: Answered) -> bytes:
    """The report as a file (PS3.10)."""
    file = io.BytesIO()
    structured_report(answered).save_as(file, enforce_file_format=True)
    return file.getvalue()


def _content(answered: Answered) -> Dataset:
    observer = DeviceObserverIdentifyingAttributes(
        uid=uid(answered, "observer"),
        name=f"{answered.manifest.name} {answered.manifest.version}",
        manufacturer_name=MANUFACTURER,
        model_name=answered.manifest.name,
    )
    report = MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(codes.DCM.Device, observer),
        ),
        procedure_reported=_MRI,
        imaging_measurements=list(_groups(answered)),
        title=codes.DCM.ImagingMeasurementReport,
    )
    return report[0]


def _groups(answered: Answered) -> Iterable[MeasurementsAndQualitativeEvaluations]:
    """Of each answer one for each class; of what has no answer, the reason."""
    targets = Targets(answered.manifest.task.kind, tuple(answered.manifest.task.classes))
    for number, each in enumerate(answered.predictions):
        images = [_source(image, each) for image in _images(answered, each)]
        if each.status != "ok":
            reason = CodedConcept(each.status, _SCHEME, each.status.replace("_", " "))
            said = [QualitativeEvaluation(_NO_ANSWER, reason)]
            yield _group(answered, f"{number + 1}", images, evaluations=said)
            continue
        for place, (name, probability) in enumerate(zip(targets.named, each.probabilities, strict=True)):
            yield _group(
                answered,
                f"{number + 1} {name}",
                images,
                finding=CodedConcept(f"class-{place}", _SCHEME, name[:64]),
                measurements=_measured(answered, place, probability),
                evaluations=[QualitativeEvaluation(codes.DCM.PresenceOfProperty, _presence(each, targets, name))],
            )


def _group(
    answered: Answered,
    name: str,
    images: Sequence[SourceImageForMeasurementGroup],
    finding: CodedConcept | None = None,
    measurements: Sequence[Measurement] = (),
    evaluations: Sequence[QualitativeEvaluation] = (),
) -> MeasurementsAndQualitativeEvaluations:
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid(answered, "group", name), name),
        finding_type=finding,
        algorithm_id=AlgorithmIdentification(
            name=answered.manifest.name,
            version=answered.manifest.version,
            parameters=[
                NOTICE,
                f"release SHA-256 {answered.release_sha256}",
                f"graph SHA-256 {answered.manifest.graph.sha256}",
                f"run by {answered.backend}",
            ],
        ),
        measurements=list(measurements) or None,
        qualitative_evaluations=list(evaluations),
        source_images=images,
    )


def _measured(answered: Answered, place: int, probability: float) -> list[Measurement]:
    threshold = answered.manifest.calibration.threshold
    found = [Measurement(codes.DCM.Probability, probability, codes.UCUM.NoUnits)]
    if threshold is not None:
        own = threshold[place] if isinstance(threshold, list) else threshold
        found.append(Measurement(codes.DCM.ThresholdValue, own, codes.UCUM.NoUnits))
    return found


def _presence(prediction: Prediction, targets: Targets, name: str) -> CodedConcept:
    """Present or absent, as the decision says."""
    return CodedConcept.from_code(codes.SCT.Present if present(prediction, targets, name) else codes.SCT.Absent)


def present(prediction: Prediction, targets: Targets, name: str) -> bool:
    """Whether the decision says that a class is there."""
    return prediction.decision == "1" if targets.kind == "binary" else name in prediction.decision.split(";")


def _images(answered: Answered, prediction: Prediction) -> list[Dataset]:
    """What an answer is about: the image, the series, or all of the study; no image where it names none of these."""
    if prediction.SOPInstanceUID:
        return [image for image in answered.images if image.SOPInstanceUID == prediction.SOPInstanceUID]
    if prediction.SeriesInstanceUID:
        return [image for image in answered.images if image.SeriesInstanceUID == prediction.SeriesInstanceUID]
    return list(answered.images) if prediction.StudyInstanceUID else []


def _source(image: Dataset, prediction: Prediction) -> SourceImageForMeasurementGroup:
    """A reference to an image, or to one frame of it; the tile of a mosaic is no frame."""
    of_frame = bool(prediction.FrameNumber) and image.SOPClassUID in ENHANCED
    frames = [int(prediction.FrameNumber)] if of_frame else None
    return SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID, frames)
