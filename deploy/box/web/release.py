"""The running release: what it is, how it runs, and what it was accepted for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from deploy.box.releases import Releases
from deploy.box.web import page
from pipeline import contract
from pipeline.contract import Manifest
from pipeline.errors import ContractError

#: Where the headline figures stand in the metrics of a manifest, and their words.
_FIGURES = {
    "AUROC": ("finetuned", "auroc"),
    "sensitivity": ("operating_point", "sensitivity"),
    "specificity": ("operating_point", "specificity"),
    "Brier score": ("calibration", "brier"),
}


@dataclass(frozen=True)
class Running:
    """The release that answers.

    Attributes:
        manifest: its contract.
        sha256: of its SHA256SUMS.
        signed: whether the box's public key vouches for it.
    """

    manifest: Manifest
    sha256: str
    signed: bool


def running(releases: Releases) -> Running:
    """The one that answers now.

    Raises:
        ContractError: it cannot be known.
    """
    sha256 = releases.chosen().answering
    return Running(_manifest(releases.path(sha256)), sha256, releases.public_key is not None)


def manifest_of(releases: Releases, sha256: str) -> Manifest | None:
    """That of a release which is kept here; None: it is not, or cannot be read any more."""
    try:
        return _manifest(releases.path(sha256))
    except (ContractError, OSError):
        return None


@lru_cache(maxsize=8)
def _manifest(release: Path) -> Manifest:
    """Folders of releases are named by what they hold."""
    return contract.load(release)


def shown(request: Request) -> Response:
    """The page."""
    running = request.app.state.box.running
    return page.render(
        request,
        "release.html.j2",
        title=f"{running.manifest.name} {running.manifest.version}",
        facts=facts(running),
        signed=running.signed,
        figures=figures(running.manifest.validation.get("metrics", {})),
        acceptance=[_criterion(each) for each in running.manifest.validation.get("acceptance", [])],
    )


def facts(running: Running) -> dict[str, str]:
    """What the release is, in words."""
    manifest = running.manifest
    fixed = manifest.calibration.threshold
    thresholds = fixed if isinstance(fixed, list) else [] if fixed is None else [fixed]
    return {
        "SHA-256": running.sha256,
        "Answers for": f"each {manifest.task.label_level}: {', '.join(manifest.task.classes)} ({manifest.task.kind})",
        "Threshold": ", ".join(f"{each:.3g}" for each in thresholds) or "the likeliest class",
        "Takes": "; ".join(manifest.selection.rules),
        "Runs in": f"{manifest.runs.runtime}, {manifest.runs.precision}; a machine that cannot answers nothing",
        "Backbone": f"{manifest.backbone.name} ({manifest.backbone.origin})",
    }


def figures(metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, value and interval of each headline figure that the release has."""
    found = []
    for words, (section, name) in _FIGURES.items():
        figure = metrics.get(section, {}).get(name)
        if isinstance(figure, Mapping) and isinstance(figure.get("value"), (int, float)):
            low, high = figure.get("low"), figure.get("high")
            interval = "" if low is None or high is None else f"{low:.2f} to {high:.2f}"
            found.append((words, f"{figure['value']:.2f}", interval))
    return found


def _criterion(row: Mapping[str, Any]) -> dict[str, str]:
    waiver = row.get("waiver") or {}
    met = "waived" if row.get("waived") else "met" if row["passed"] else "missed"
    value = row.get("value")
    return {
        "metric": str(row["metric"]),
        "bound": str(row["bound"]),
        "value": f"{value:.3g}" if isinstance(value, float) else str(value),
        "met": met,
        "kind": {"met": "good", "waived": "wait", "missed": "bad"}[met],
        "waiver": f"by {waiver['by']}: {waiver['reason']}" if waiver else "",
    }
