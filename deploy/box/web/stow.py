"""STOW-RS (PS3.18, section 10.5): instances over HTTP into the same `Incoming` as those of C-STORE.

An instance is in the ReferencedSOPSequence only after `Incoming.keep` has returned. What was kept before a request went
wrong stays; nobody was told of it, and the same instance again changes nothing.
"""

from __future__ import annotations

import logging

from pydicom.config import IGNORE
from pydicom.uid import UID
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from deploy.box.audit_messages import Actor
from deploy.box.incoming import Incoming, identity
from deploy.box.quarantine import Quarantine
from deploy.box.scp import CLASSES, NO_RESOURCES, NOT_UNDERSTOOD, SUCCESS, SYNTAXES
from deploy.box.watch import Watch
from deploy.box.web.multipart import Limits, Part, Parts, RefusedError
from deploy.box.web.store_response import Outcome, Outcomes
from pipeline.errors import DicomError, StorageError

#: In place of the calling AE title, in the journal and in rules of sending.
CALLING = "STOW-RS"
#: At one time; each may hold one instance in memory.
_REQUESTS = 4
# Failure reasons, PS3.18 table I.2-2, and PS3.7, annex C.
CLASS_NOT_SUPPORTED, SYNTAX_NOT_SUPPORTED, OTHER_STUDY = 0x0122, 0xC122, 0xA900
_JSON = "application/dicom+json"
_LOG = logging.getLogger(__name__)


class Stow:
    """The two resources, `studies` and `studies/{study}`."""

    def __init__(self, incoming: Incoming, quarantine: Quarantine, watch: Watch, limits: Limits) -> None:
        """Nothing is taken yet.

        Args:
            incoming: where instances go.
            quarantine: where that goes which cannot be understood.
            watch: is told what comes.
            limits: of one request.
        """
        self._incoming, self._quarantine, self._watch, self._limits = incoming, quarantine, watch, limits
        self._under_way = 0

    async def store(self, request: Request) -> Response:
        """Keep what a request brings; the answer is a Store Instances Response."""
        if self._under_way >= _REQUESTS:
            return PlainTextResponse("As much as the box takes at one time is under way.", 503, {"retry-after": "10"})
        self._under_way += 1
        try:
            found = await self._stored(request)
        except RefusedError as error:
            _LOG.warning("a request of STOW-RS was refused: %d, %s", error.status, error.reason)
            return PlainTextResponse(f"{error.reason[:1].upper()}{error.reason[1:]}.", error.status)
        except ClientDisconnect:
            _LOG.warning("a request of STOW-RS broke off")
            return PlainTextResponse("", 400)
        finally:
            self._under_way -= 1
        headers = {"retry-after": "60"} if found.status == 503 else None
        return JSONResponse(found.body(), found.status, headers, media_type=_JSON)

    async def _stored(self, request: Request) -> Outcomes:
        study = request.path_params.get("study")
        if study is not None and not UID(study, IGNORE).is_valid:
            raise RefusedError(400, "the study in the address is no UID")
        _require_json(request)
        parts = Parts(_boundary(request), self._limits)
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._limits.whole:
            raise RefusedError(413, f"more than {self._limits.whole} bytes in one request")
        outcomes, sender = Outcomes(), request.scope["state"]["actor"]
        try:
            async for chunk in request.stream():
                for part in parts.feed(chunk):
                    outcomes.add(await run_in_threadpool(self._kept, part, study, parts, sender))
        finally:
            await run_in_threadpool(self._watch.trail.ended, parts)
        parts.end()
        if not outcomes:
            raise RefusedError(400, "there is no part")
        return outcomes

    def _kept(self, part: Part, study: str | None, transfer: Parts, sender: Actor) -> Outcome:
        """What becomes of one part."""
        found = self._refusal(part, study)
        if found.reason == SUCCESS:
            try:
                instance = self._incoming.keep(part.content, CALLING)
            except StorageError as error:
                _LOG.error("an instance of STOW-RS was refused: %s", error)
                found = found.failed(NO_RESOURCES)
            else:
                self._watch.received("stow", transfer, sender, instance, part.content)
                return found
        self._watch.refused("stow", found.reason)
        return found

    def _refusal(self, part: Part, study: str | None) -> Outcome:
        """0 for what may be kept, else why not."""
        if part.media_type != "application/dicom":
            return Outcome(NOT_UNDERSTOOD)
        try:
            known = identity(part.content)
        except DicomError as error:
            _LOG.warning("an instance of STOW-RS was refused: %s", error)
            self._quarantined(part.content, error)
            return Outcome(NOT_UNDERSTOOD)
        outcome = Outcome(SUCCESS, known.sop_class_uid, known.sop_instance_uid)
        if known.sop_class_uid not in CLASSES:
            return outcome.failed(CLASS_NOT_SUPPORTED)
        if known.transfer_syntax_uid not in SYNTAXES:
            return outcome.failed(SYNTAX_NOT_SUPPORTED)
        return outcome if study in (None, known.study_instance_uid) else outcome.failed(OTHER_STUDY)

    def _quarantined(self, content: bytes, error: DicomError) -> None:
        try:
            self._quarantine.add(content, str(error))
        except (OSError, StorageError) as full:
            _LOG.error("what was refused could not be kept for a look at it: %s", full)


def _require_json(request: Request) -> None:
    """The one form of answers (PS3.18, annex F).

    Raises:
        RefusedError: 406, the client takes none of it.
    """
    accepted = [each.partition(";")[0].strip() for each in request.headers.get("accept", "*/*").split(",")]
    if not {"*/*", "application/*", _JSON, "application/json"} & set(accepted):
        raise RefusedError(406, f"answers are {_JSON}")


def _boundary(request: Request) -> bytes:
    """Of the request's parts.

    Raises:
        RefusedError: 415, it is none of DICOM; 400, there is no boundary.
    """
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    related = (media_type.lower(), options.get(b"type", b"").lower())
    if related != (b"multipart/related", b"application/dicom"):
        raise RefusedError(415, 'requests are multipart/related; type="application/dicom"')
    if not options.get(b"boundary"):
        raise RefusedError(400, "the content type names no boundary")
    return options[b"boundary"]
