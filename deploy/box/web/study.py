"""One study: whose it is, what was said of it, its picture, and where the results went.

The patient's name and ID are read from the received files at each look, for who must find the study in the PACS; they
are on this page alone, and each look at it is in the audit trail.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pydicom
from PIL import Image
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from deploy.box.journal import Instance, Study
from deploy.box.web import page
from deploy.box.web.answers import answers
from deploy.box.web.studies import row
from pipeline.dicom.values import UNREADABLE

_IDENTITY = {
    "Patient": "PatientName",
    "Patient ID": "PatientID",
    "Accession number": "AccessionNumber",
    "Study date": "StudyDate",
    "Description": "StudyDescription",
}
_STATES = {
    "queued": "wait",
    "sent": "good",
    "warned": "wait",
    "committed": "good",
    "superseded": "idle",
    "dead": "bad",
}
#: What is said of a study as it is now beside an answer that it had before.
_STANDS = {
    "receiving": "is still being received",
    "complete": "waits for its answer",
    "answered": "has an answer of its own",
    "failed": "could not be answered",
}


def shown(request: Request) -> Response:
    """The page."""
    box = request.app.state.box
    listed = box.overview.study(request.path_params["study"])
    if listed is None:
        return page.render(request, "missing.html.j2", 404, title="No such study")
    study = listed.study
    file = box.overview.file(study.study)
    path = box.incoming.folder / file if file else None
    numbers = series_numbers(box.journal.instances(study.study_instance_uid), box.incoming.folder)
    box.watch.trail.looked_at(request.scope["state"]["actor"], study.study_instance_uid, path)
    manifest, revision = box.manifest(study.release_sha256), box.overview.answered_revision(study.study)
    return page.render(
        request,
        "study.html.j2",
        title=f"Study {study.study}",
        row=row(listed, manifest),
        study=study,
        of_running=study.release_sha256 == box.running.sha256,
        release_known=manifest is not None,
        identity=identity(path) if path else {},
        answers=answers(study, manifest, numbers),
        answers_before="" if study.state == "answered" else before(study, revision),
        picture=any(each.kind == "sc" for each in box.outbox.results(study.study)),
        picture_before=before(study, revision),
        deliveries=box.overview.deliveries_of(study.study),
        states=_STATES,
    )


def before(study: Study, revision: int | None) -> str:
    """What must be said of results that are not those of the study as it is now; nothing where they are.

    Args:
        study: as it is now.
        revision: of which the results are; None: that is not known any more.
    """
    if study.state == "answered" and revision == study.revision:
        return ""
    whose = "" if revision in (None, study.revision) else f", of revision {revision}"
    return f"An earlier answer{whose}. Revision {study.revision} of the study {_STANDS[study.state]}."


def summary(request: Request) -> Response:
    """The study's Secondary Capture, as PNG."""
    box = request.app.state.box
    for result in box.outbox.results(request.path_params["study"]):
        path = box.outbox.folder / result.file
        if result.kind == "sc" and path.is_file():
            return Response(png(path), media_type="image/png")
    return PlainTextResponse("There is no picture.", 404)


def png(path: Path) -> bytes:
    """The first frame of an uncompressed picture in RGB."""
    read = pydicom.dcmread(path)
    frame = read.pixel_array if int(read.get("NumberOfFrames", 1)) == 1 else read.pixel_array[0]
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG")
    return file.getvalue()


def series_numbers(instances: Sequence[Instance], folder: Path) -> dict[str, str]:
    """SeriesNumber of the series that have one, as the first file of each says."""
    first = {each.series_instance_uid: folder / each.file for each in reversed(instances)}
    found: dict[str, str] = {}
    for series, file in first.items():
        with suppress(*UNREADABLE):
            read = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SeriesNumber"])
            if read.get("SeriesNumber") is not None:
                found[series] = str(read.SeriesNumber)
    return found


def identity(path: Path) -> dict[str, str]:
    """Who and what a file is of, in words; nothing of what cannot be read."""
    try:
        read = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_IDENTITY.values()))
        return {words: str(read[name].value) for words, name in _IDENTITY.items() if read.get(name)}
    except UNREADABLE:
        return {}
