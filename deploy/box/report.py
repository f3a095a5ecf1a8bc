"""A study's answers as DICOM SR: Comprehensive 3D, of TID 1500 (PS3.16), one measurement group an answer and class.

Equal answers of equal images by one release have equal UIDs: a report that is sent twice is one object in an archive.
"""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID
from pydicom.valuerep import DA, TM

from pipeline import __version__
from pipeline.contract import Manifest
from pipeline.inference.predict import Prediction
from pipeline.targets import Targets

NOTICE = "Research use only - not for diagnostic use"
MANUFACTURER = "mri-transfer"
#: Of the codes that no standard has: classes of a task, reasons for no answer.
_SCHEME = "99MRITRANSFER"
#: Of type 2 in the modules of patient and study.
_EMPTY_OR_NOT = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
#: Values that highdicom reads.
_TIMES = {"DA": DA, "TM": TM}
#: Far from those of scanners.
SERIES_NUMBER = 9_900
_MRI = CodedConcept("113091000", "SCT", "Magnetic resonance imaging")
_NO_ANSWER = CodedConcept("no-answer", _SCHEME, "Reason for no answer")


@dataclass(frozen=True)
class Answered:
    """One answered study.

    Attributes:
        images: data sets of what it was answered from, with or without pixels; all of one study.
        predictions: the answers.
        manifest: of the release.
        release_sha256: of its SHA256SUMS.
        backend: what ran, in words.
    """

    images: Sequence[Dataset]
    predictions: Sequence[Prediction]
    manifest: Manifest
    release_sha256: str
    backend: str


def uid(answered: Answered, *parts: str) -> UID:
    """Under 2.25 (PS3.5, annex B.2): of the release, the images and their content, and the parts."""
    known = hashlib.sha256(answered.release_sha256.encode())
    for image in sorted(str(each.SOPInstanceUID) for each in answered.images):
        known.update(image.encode())
    for each in answered.predictions:
        known.update(repr(each).encode())
    for part in parts:
        known.update(part.encode())
    return UID(f"2.25.{uuid.UUID(bytes=known.digest()[:16], version=5).int}")


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


def character_set(answered: Answered) -> str | Sequence[str]:
    """Of the images, so that names keep their bytes; UTF-8 where they say none."""
    found: str | Sequence[str] = answered.images[0].get("SpecificCharacterSet", "ISO_IR 192")
    return found


def complete(image: Dataset) -> Dataset:
    """With every attribute of patient and study that may be empty but not missing (PS3.3, tables C.7-1 and C.7-3).

    Without its character set, of which highdicom takes none whose first value is empty, as Japanese ones are.
    """
    made = Dataset()
    made.update({element.tag: element for element in image if element.tag.group in (0x0008, 0x0010, 0x0020)})
    made.pop("SpecificCharacterSet", None)
    for keyword in _EMPTY_OR_NOT:
        if keyword not in made or not _valid(made[keyword]):
            setattr(made, keyword, None)
    return made


def _valid(element: DataElement) -> bool:
    """Whether highdicom takes it: of a birth date that is none, nothing is said."""
    try:
        return element.VR not in _TIMES or not element.value or bool(_TIMES[element.VR](str(element.value)))
    except ValueError:
        return False


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
        images = _images(answered, each)
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
                evaluations=[QualitativeEvaluation(codes.DCM.Finding, _presence(each, targets, name))],
            )


def _group(
    answered: Answered,
    name: str,
    images: Sequence[Dataset],
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
        source_images=[SourceImageForMeasurementGroup.from_source_image(image) for image in images],
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
    """What an answer is about: the image, the series, or all of the study."""
    if prediction.SOPInstanceUID:
        return [image for image in answered.images if image.SOPInstanceUID == prediction.SOPInstanceUID]
    if prediction.SeriesInstanceUID:
        return [image for image in answered.images if image.SeriesInstanceUID == prediction.SeriesInstanceUID]
    return list(answered.images)
