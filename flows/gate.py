"""What a release must show before it goes into production, check by check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flows import labels
from flows.snapshot import Data, Snapshot
from pipeline.clinical.comparison import Compared, ask, compared
from pipeline.clinical.resampling import Estimate
from pipeline.config import Promote
from pipeline.contract import Manifest
from pipeline.errors import ContractError, DataError, PromotionError
from pipeline.inference.release import Release, open_release
from pipeline.inference.signature import UNSIGNED, verify
from pipeline.validation_config import Waiver

INDEX, SPLIT, ACCEPTANCE = "data/ingested/index.csv", "data/split.csv", "reports/acceptance.json"


@dataclass(frozen=True)
class Check:
    """One thing that is asked of a release: what it is called, the bound, what came, and the verdict."""

    check: str
    asked: str
    found: str
    passed: bool
    waived: bool = False

    def row(self) -> dict[str, str]:
        """As a table shows it."""
        verdict = "pass" if self.passed else "waived" if self.waived else "FAIL"
        return {"check": self.check, "asked": self.asked, "found": self.found, "verdict": verdict}


@dataclass(frozen=True)
class Tagged:
    """A version of a model: the project at its commit, and the folder of its release."""

    tag: str
    project: Snapshot
    folder: Path


def accepted(candidate: Tagged) -> Check:
    """Its own run accepted it: reports/acceptance.json at its commit."""
    record = candidate.project.json(ACCEPTANCE)
    criteria = record["criteria"]
    missed = [each["metric"] for each in criteria if not each["passed"] and not each.get("waived")]
    waived = [each["metric"] for each in criteria if not each["passed"] and each.get("waived")]
    found = f"missed: {', '.join(missed)}" if missed else f"{len(criteria)} criteria met"
    if waived:
        found += f", of which waived: {', '.join(waived)}"
    return Check("acceptance", "every criterion met or waived", found, bool(record["accepted"]) and not missed)


def signed(folder: Path, policy: Promote) -> Check:
    """The owner of the public key signed it, or nobody has to."""
    asked = "nobody's signature" if policy.allow_unsigned else "signed by the owner of promote.public_key"
    if policy.public_key is None:
        found = "promote.public_key names no key to check by"
        return Check("signature", asked, found, policy.allow_unsigned)
    try:
        verify(folder, policy.public_key)
    except ContractError as error:
        unsigned = (
            policy.allow_unsigned
            and Manifest.model_validate_json((folder / "manifest.json").read_bytes()).signature == UNSIGNED
        )
        return Check("signature", asked, error.found, unsigned)
    return Check("signature", asked, "it holds", passed=True)


def against(candidate: Tagged, production: Tagged, data: Data, policy: Promote, confidence: float) -> list[Check]:
    """The same labelled patients answered by both, none of whom is in a training or validation set of either.

    Args:
        candidate: whole and signed.
        production: what is there now.
        data: whose data/ingested counts.
        policy: section `promote` of params.yaml.
        confidence: of the interval.

    Raises:
        DataError: the data is not there.
    """
    whole = labels_kept(production, data)
    releases = [open_release(each.folder) for each in (candidate, production)]
    question = _same_question(releases)
    if not question.passed:
        return [whole, question]
    answered = ask(
        releases, data.rows(INDEX), data.rows(labels.LABELS), taught(candidate) | taught(production), data.borrow
    )
    count = len(set(answered.units.patients))
    enough = Check(
        "patients", f"at least {policy.patients} that neither learnt from", str(count), count >= policy.patients
    )
    return [whole, question, enough, _not_worse(compared(answered, releases[0].targets, confidence), policy.margin)]


def taught(made: Tagged) -> frozenset[str]:
    """The patients that a version was trained on or chosen by."""
    return frozenset(row["patient"] for row in made.project.rows(SPLIT) if row["split"] != "test")


def labels_kept(made: Tagged, data: Data) -> Check:
    """Nobody whom a version knew with a label is without one now, but for withdrawn patients."""
    known = labels.labelled(made.project) - labels.withdrawn(data)
    lost = len(known - labels.labelled(data))
    found = f"the labels shrank: {lost} have none in {data.name}" if lost else "all have one"
    return Check("labels", f"of the {len(known)} patients that {made.tag} had", found, passed=not lost)


def require_labels(made: Tagged, data: Data) -> None:
    """Stop where labels shrank.

    Raises:
        DataError: they did.
    """
    check = labels_kept(made, data)
    if not check.passed:
        raise DataError(f"labels {check.asked}", check.found, labels.REMEDY)


def require(checks: Sequence[Check], tag: str) -> None:
    """Stop unless every check passed or is waived.

    Raises:
        PromotionError: the message names those that failed, with what came.
    """
    failed = [check for check in checks if not check.passed and not check.waived]
    if failed:
        raise PromotionError(
            f"{tag} to be fit for production ({'; '.join(f'{each.check}: {each.asked}' for each in failed)})",
            "; ".join(f"{each.check}: {each.found}" for each in failed),
            "Production stays as it is. Mend the cause and release again.",
        )


def waive(checks: Sequence[Check], waiver: Waiver | None) -> list[Check]:
    """The checks, of which those that failed are let through where somebody answers for it."""
    return [Check(**{**vars(check), "waived": not check.passed and waiver is not None}) for check in checks]


def _same_question(releases: Sequence[Release]) -> Check:
    """Both answer the same thing about the same kind of series; else their figures are of different things."""
    asked = "the task and selection of series of production"
    one, other = (
        {"task": each.task.model_dump(exclude={"source", "source_domain"}), **each.selection.model_dump()}
        for each in (release.manifest for release in releases)
    )
    differs = [name for name in one if one[name] != other[name]]
    return Check("question", asked, f"differs: {', '.join(differs)}" if differs else "the same", not differs)


def _not_worse(found: Compared, margin: float) -> Check:
    difference = found.difference
    asked = f"AUROC minus that of production above {-margin:g} at the lower end"
    if np.isnan(difference.low):
        return Check("not worse", asked, f"undefined: {difference.reason}", passed=False)
    said = f"{shown(difference, sign='+')} of {shown(found.first)} and {shown(found.second)}"
    return Check("not worse", asked, said, difference.low > -margin)


def shown(estimate: Estimate, sign: str = "") -> str:
    """A figure with its interval, such as `0.912 (0.842 to 0.961)`, or with the end that is known."""
    if np.isnan(estimate.value):
        return f"undefined: {estimate.reason}"
    value, low, high = (format(each, f"{sign}.3f") for each in (estimate.value, estimate.low, estimate.high))
    if np.isnan(estimate.high):
        return f"{value} (no interval: {estimate.reason})" if np.isnan(estimate.low) else f"{value} (from {low})"
    return f"{value} ({low} to {high})"
