"""From the files of a study to what a box says of it: predictions, a report, and what monitoring reads."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from deploy.box import engines, report, summary
from deploy.box.answered import Answered
from deploy.box.destinations import Kind
from deploy.box.summary import Picture
from pipeline.dicom.load import load
from pipeline.dicom.values import UNREADABLE
from pipeline.errors import ContractError, DicomError, StorageError
from pipeline.files import sha256_file
from pipeline.inference import signature
from pipeline.inference.predict import Examined, Prediction, examine
from pipeline.inference.release import Release, open_release
from pipeline.monitoring import observation, reference
from pipeline.monitoring.novelty import novelty
from pipeline.monitoring.reference import Reference
from pipeline.monitoring.reports import append
from pipeline.monitoring.schema import Observed, Quality, StudyReport

OUT_OF_DISTRIBUTION = "out_of_distribution"
#: Shown in a study's summary.
KEY_SLICES = 4
#: What the n-th file of a study is called where it is read; no UID looks like it.
_FILE = "file-{:06}"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What a release says of a study.

    Attributes:
        predictions: the answers, and why there are none.
        contents: the same as files of DICOM.
        observed: what monitoring reads; None where nothing was answered.
        quality: whether the study is like those that the release knows.
    """

    predictions: list[Prediction]
    contents: dict[Kind, bytes]
    observed: Observed | None
    quality: Quality

    @property
    def said(self) -> str:
        """The predictions as the journal has them: JSON."""
        return json.dumps([asdict(each) for each in self.predictions])

    def tell(self, folder: Path, release_sha256: str, now: datetime) -> None:
        """Add what monitoring reads to its folder; where that cannot be written, the answer stands all the same.

        Args:
            folder: of reports.
            release_sha256: that answered.
            now: the time, in UTC.
        """
        if self.observed is None:
            return
        report = StudyReport(
            **self.observed.model_dump(),
            hour=now.replace(minute=0, second=0, microsecond=0),
            release_sha256=release_sha256,
            refused=sum(each.status not in ("ok", OUT_OF_DISTRIBUTION) for each in self.predictions),
            quality=self.quality,
        )
        try:
            append(folder, report)
        except (OSError, StorageError) as error:
            _LOG.error("monitoring is not told of a study: %s", error)


@dataclass(frozen=True)
class Opened:
    """A release, ready to answer.

    Attributes:
        release: its contract and graph.
        sha256: of its SHA256SUMS.
        reference: what studies are compared with; None in releases that were made before there was one.
    """

    release: Release
    sha256: str
    reference: Reference | None


def opened(folder: Path, public_key: Path | None, state: Path | None = None) -> Opened:
    """Verify and load a release.

    Args:
        folder: of it.
        public_key: its maker's; None: nobody vouches for it.
        state: the box's folder; where `compile` left an engine of this release in it, that answers.

    Raises:
        ContractError: it is not whole, or not by the owner of the key.
        EngineError: this machine cannot run it, or its engine was built for another.
    """
    # What runs on CPUs need not run here, nor answer as it did elsewhere, where an engine answers.
    compiled = state if state is not None and engines.built(folder, state) else None
    release = open_release(folder, public_key, plain=compiled is not None)
    if compiled is not None:
        release = replace(release, backend=engines.open_engine(folder, compiled))
    studies = release.manifest.reference
    known = None if studies is None else reference.read(folder / studies.file)
    features = release.backend.outputs["embedding"]
    if known is not None and len(known.shape.centre) != features:
        raise ContractError(
            f"a reference of studies with embeddings of {features} values, as the graph gives them",
            f"one of {len(known.shape.centre)}",
            "The release was put together wrongly; ask its maker.",
        )
    return Opened(release, sha256_file(folder / signature.SUMS), known)


def answer(by: Opened, files: Sequence[Path]) -> Answer:
    """What a release says of the series of a study in these files, and why of others nothing; of no file nothing.

    Raises:
        DicomError: no report can be made of these headers.
    """
    if not files:
        return Answer([], {}, None, "not_assessed")
    examined = _examined(by.release, files)
    observed = _observed(by.release, examined)
    images = _headers(files)
    named = {_FILE.format(number): image for number, image in enumerate(images)}
    predictions = [each for found in examined for each in _placed(found, named)]
    quality: Quality = "not_assessed"
    if observed is not None and by.reference is not None:
        predictions = _of_the_known(predictions, observed, by.reference)
        novel = any(each.status == OUT_OF_DISTRIBUTION for each in predictions)
        quality = "flagged" if novel else "passed"
    if not predictions:
        message = "no series of this study is one that the release answers for"
        study = str(images[0].get("StudyInstanceUID", ""))
        predictions = [Prediction(study, status="nothing_to_answer", message=message)]
    answered = Answered(images, predictions, by.release.manifest, by.sha256, by.release.backend.name)
    return Answer(predictions, _contents(answered, _pictures(examined)), observed, quality)


def _headers(files: Sequence[Path]) -> list[Dataset]:
    try:
        return [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
    except UNREADABLE as error:
        raise _no_report(error) from error


def _contents(answered: Answered, pictures: Sequence[Picture]) -> dict[Kind, bytes]:
    try:
        return {"sr": report.encoded(answered), "sc": summary.encoded(answered, pictures)}
    except UNREADABLE as error:
        raise _no_report(error) from error


def _no_report(error: Exception) -> DicomError:
    return DicomError("headers of which a report can be made", type(error).__name__, "See the study.")


def _pictures(examined: Sequence[Examined]) -> list[Picture]:
    """The slices with the highest scores, the highest first, as the network saw them and where it looked."""
    found: list[Picture] = []
    for each in examined:
        if each.answers is None:
            continue
        keys = [key for scan, _ in each.scans for key in scan.slice_keys]
        pixels = np.concatenate([slices for _, slices in each.scans])
        scores, maps = each.answers.slice_scores, each.answers.saliency
        for place in np.argsort(-scores.max(axis=1), kind="stable")[:KEY_SLICES].tolist():
            (uid, frame), saliency = keys[place], None if maps is None else maps[place]
            found.append(Picture(uid, frame, pixels[place], tuple(scores[place].tolist()), saliency))
    return sorted(found, key=lambda picture: -max(picture.scores))[:KEY_SLICES]


def _examined(release: Release, files: Sequence[Path]) -> list[Examined]:
    # A folder of links: exactly what the journal names, whatever else lies where those files are.
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(files):
            (Path(folder) / _FILE.format(number)).symlink_to(path)
        found: list[Examined] = []
        with suppress(DicomError):
            # It says that nothing could be used, after every reason was given.
            found.extend(examine(release, load(Path(folder), release.manifest.selection, workers=1)))
    return found


def _placed(found: Examined, named: Mapping[str, Dataset]) -> Sequence[Prediction]:
    """What is said; where that is of a file which belongs to no series, with the UIDs of its instance."""
    image = named.get(found.source)
    if image is None:
        return found.predictions
    study, series, sop = (str(image.get(f"{level}InstanceUID", "")) for level in ("Study", "Series", "SOP"))
    return [
        replace(each, StudyInstanceUID=study, SeriesInstanceUID=series, SOPInstanceUID=sop)
        for each in found.predictions
    ]


def _observed(release: Release, examined: Sequence[Examined]) -> Observed | None:
    """What monitoring is told of a study, by what was examined already."""
    answers = [found.answers for found in examined if found.answers is not None]
    if not answers:
        return None
    told = observation.together(answers)
    if not np.isfinite(told.embedding).all():
        return None
    scans = [scan for found in examined for scan, _ in found.scans]
    return observation.described(
        scans[0].manufacturer,
        scans[0].field_strength_t,
        [scan.volume for scan in scans],
        [slices for found in examined for _, slices in found.scans],
        told,
        release.manifest.calibration,
    )


def _of_the_known(predictions: Sequence[Prediction], observed: Observed, known: Reference) -> list[Prediction]:
    """The predictions, none of which has a number where the study is like none of those that the release knows."""
    found = novelty(known, observed)
    if not found.novel:
        return list(predictions)
    message = (
        f"unlike each of the {len(known.studies)} studies that the release was compared with: "
        f"{found.name}, {found.ratio:.1f} times as far out as the farthest of them"
    )
    refused = {"probabilities": (), "decision": "", "status": OUT_OF_DISTRIBUTION, "message": message}
    return [replace(each, **refused) if each.status == "ok" else each for each in predictions]  # type: ignore[arg-type]
