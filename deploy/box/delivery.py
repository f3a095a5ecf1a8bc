"""A result, its way to one destination, and what becomes of a try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deploy.box.destinations import Kind

State = Literal["queued", "sent", "warned", "committed", "superseded", "dead"]


@dataclass(frozen=True)
class Result:
    """One object that answers a study.

    Attributes:
        sop_instance_uid, series_instance_uid, sop_class_uid: of the object.
        kind: `sr` or `sc`.
        sha256: of the file.
        file: below the folder of results.
    """

    sop_instance_uid: str
    kind: Kind
    series_instance_uid: str
    sop_class_uid: str
    sha256: str
    file: str


@dataclass(frozen=True)
class Delivery:
    """One result on its way to one destination.

    Attributes:
        delivery: its number, by which it is replayed.
        study, revision, kind: which result that is; `file`, `sha256`, `sop_instance_uid`, `sop_class_uid`: its object.
        destination: by its name in the settings.
        state: `queued`: to be tried at `next_try`. `sent`: the destination answered 0x0000; with commitment asked for
            (`transaction_uid`), until `next_try`. `warned`: it keeps the object, and answered with a warning.
            `committed`: it has committed itself to keep it. `superseded`: not sent any more, as the study was answered
            anew. `dead`: given up.
        tries, queued: since it was last queued, and when that was; UTC, ISO 8601.
        last_status: of C-STORE, or the failure reason of STOW-RS, which has the same values; None: no answer came.
        reason: why it is not sent yet, or what it was warned of.
    """

    delivery: int
    study: int
    revision: int
    kind: Kind
    destination: str
    state: State
    tries: int
    queued: str
    next_try: str
    last_status: int | None
    reason: str
    transaction_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    sha256: str
    file: str


@dataclass(frozen=True)
class Outcome:
    """What became of one try.

    Attributes:
        status: as the destination answered; None: it did not.
        reason: in words, where it is not 0x0000; none of the destination's own, which may name a patient.
    """

    status: int | None
    reason: str = ""
