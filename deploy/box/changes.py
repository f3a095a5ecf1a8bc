"""What is said of a box's releases: which answers, which did, which is in the shadow, and how far the two agree."""

from __future__ import annotations

from deploy.box.journal import Journal
from deploy.box.releases import Releases
from deploy.box.shadow import Compared, compared
from pipeline import contract


def said(releases: Releases, journal: Journal) -> str:
    """A line a release; hashes are of SHA256SUMS.

    Raises:
        ContractError: none was chosen yet.
    """
    chosen = releases.chosen()
    lines = [f"answers   {_named(releases, chosen.answering)}"]
    lines += [f"before    {_named(releases, each)}" for each in reversed(chosen.before)]
    if chosen.shadow is not None:
        lines += [f"shadow    {_named(releases, chosen.shadow)}"]
        lines += [f"          {_agreement(compared(journal, chosen.shadow, chosen.answering))}"]
    return "\n".join(lines)


def _named(releases: Releases, sha256: str) -> str:
    manifest = contract.load(releases.path(sha256))
    return f"{sha256[:12]}  {manifest.name} {manifest.version}, {manifest.runs.precision} in {manifest.runs.runtime}"


def _agreement(found: Compared) -> str:
    if not found.studies:
        return "no study was answered by both yet"
    apart = f", largest difference of a probability {found.largest:.4f}, mean {found.mean:.4f}" if found.answers else ""
    return (
        f"{found.studies} studies ({found.failed} failed in the shadow): {found.answers} answers by both, "
        f"{found.decisions} decided otherwise, {found.otherwise} by one alone{apart}"
    )
