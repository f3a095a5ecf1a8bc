"""The Store Instances Response (PS3.18, annex I) in DICOM's JSON (annex F), and the status that goes with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from deploy.box.scp import NO_RESOURCES, SUCCESS

_FAILED, _REFERENCED, _OTHER = "00081198", "00081199", "0008119A"
_CLASS, _INSTANCE, _REASON = "00081150", "00081155", "00081197"


@dataclass(frozen=True)
class Outcome:
    """Of one part: 0 or a failure reason, and which instance it was, where that could be read."""

    reason: int
    sop_class_uid: str = ""
    sop_instance_uid: str = ""

    def failed(self, reason: int) -> Outcome:
        """The same, not kept."""
        return replace(self, reason=reason)


class Outcomes:
    """Of all parts of a request."""

    def __init__(self) -> None:
        self._kept, self._failed, self._other = list[Outcome](), list[Outcome](), list[Outcome]()

    def __len__(self) -> int:
        return len(self._kept) + len(self._failed) + len(self._other)

    def add(self, outcome: Outcome) -> None:
        """One more."""
        if outcome.reason == SUCCESS:
            self._kept.append(outcome)
        elif outcome.sop_instance_uid:
            self._failed.append(outcome)
        else:
            self._other.append(outcome)

    @property
    def status(self) -> int:
        """200 all, 202 some, 409 none was kept; 503 none, for want of room."""
        failed = [*self._failed, *self._other]
        if not failed:
            return 200
        if self._kept:
            return 202
        return 503 if any(each.reason == NO_RESOURCES for each in failed) else 409

    def body(self) -> dict[str, Any]:
        """The data set; of retrieval, which the box does not offer, it says nothing."""
        sequences = {
            _REFERENCED: [_named(each) for each in self._kept],
            _FAILED: [{**_named(each), **_why(each)} for each in self._failed],
            _OTHER: [_why(each) for each in self._other],
        }
        return {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}


def _named(outcome: Outcome) -> dict[str, Any]:
    return {
        _CLASS: {"vr": "UI", "Value": [outcome.sop_class_uid]},
        _INSTANCE: {"vr": "UI", "Value": [outcome.sop_instance_uid]},
    }


def _why(outcome: Outcome) -> dict[str, Any]:
    return {_REASON: {"vr": "US", "Value": [outcome.reason]}}
