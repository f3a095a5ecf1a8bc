"""What a release said of a study, line by line, for a reader who looks at it once."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deploy.box.answered import Answered
from deploy.box.report import present
from pipeline.inference.predict import Prediction
from pipeline.targets import Targets


@dataclass(frozen=True)
class Line:
    """One answer, or why there is none.

    Attributes:
        about: what it is about.
        probability: 0 to 1; None: no answer.
        threshold: at and above which the answer is yes; None: there is none.
        told: the decision or the reason, in words.
        positive: whether the decision is yes.
    """

    about: str
    probability: float | None
    threshold: float | None
    told: str
    positive: bool = False


def lines(answered: Answered) -> list[Line]:
    """Of every answer one for each class; slices of a series together, by the highest of them."""
    groups: dict[tuple[str, str, bool], list[Prediction]] = {}
    for number, each in enumerate(answered.predictions):
        together = each.status == "ok" and bool(each.SOPInstanceUID)
        key = (each.StudyInstanceUID, each.SeriesInstanceUID, True) if together else (f"{number}", "", False)
        groups.setdefault(key, []).append(each)
    return [line for group in groups.values() for line in _of(answered, group)]


def plain(text: str) -> str:
    """In the characters that the page's font has: ASCII; letters without their accents, and `?` for others."""
    bare = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return bare.encode("ascii", "replace").decode()


def place(answered: Answered, series_instance_uid: str) -> str:
    """A series by its number, as a viewer lists it."""
    of_it = [image for image in answered.images if image.SeriesInstanceUID == series_instance_uid]
    number = of_it[0].get("SeriesNumber") if of_it else None
    return "Series without a number" if number is None else f"Series {number}"


def _of(answered: Answered, group: Sequence[Prediction]) -> Iterator[Line]:
    first = group[0]
    about = _about(answered, first)
    if first.status != "ok":
        yield Line(about, None, None, f"{first.status.replace('_', ' ')}: {plain(first.message)}")
        return
    targets = Targets(answered.manifest.task.kind, tuple(answered.manifest.task.classes))
    threshold = answered.manifest.calibration.threshold
    for number, name in enumerate(targets.named):
        probability = max(each.probabilities[number] for each in group)
        own = threshold[number] if isinstance(threshold, list) else threshold
        there = [present(each, targets, name) for each in group]
        told = _told(there, own, bool(first.SOPInstanceUID))
        yield Line(f"{about}: probability of {plain(name)}", probability, own, told, any(there))


def _about(answered: Answered, first: Prediction) -> str:
    if not first.SeriesInstanceUID:
        return "Study" if first.StudyInstanceUID else "A file of the study"
    # Slices with an answer stand together.
    alone = first.status != "ok" and first.SOPInstanceUID
    return place(answered, first.SeriesInstanceUID) + (", one image" if alone else "")


def _told(there: Sequence[bool], threshold: float | None, slices: bool) -> str:
    if slices:
        what = "the most probable" if threshold is None else "at or above the threshold"
        return f"the highest of {len(there)} slices; {sum(there)} of them {what}"
    if threshold is None:
        return "the most probable" if there[0] else "not the most probable"
    return "at or above the threshold" if there[0] else "below the threshold"
