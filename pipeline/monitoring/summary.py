"""A box's reports against its release's reference, as JSON and as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import contract
from pipeline.contract import Manifest
from pipeline.errors import ContractError, DataError
from pipeline.files import sha256_file
from pipeline.inference import signature
from pipeline.monitoring import drift, reports
from pipeline.monitoring.drift import STUDIES_PER_FALSE_ALARM, Watched
from pipeline.monitoring.quantities import MONITORS, Monitor
from pipeline.monitoring.reference import FILE, Floats, Reference, read
from pipeline.monitoring.schema import StudyReport
from pipeline.targets import Targets

#: What the columns `lately` are of.
LATEST = 100

#: What an alarm of each monitor asks for.
ADVICE: Mapping[Monitor, str] = {
    "vendor": "Ask which scanners send to the box; validate on their studies before trusting answers for them.",
    "field strength": "Ask which scanners send to the box; validate on their studies before trusting answers for them.",
    "intensity": "Look at some recent series: protocol, coil, reconstruction or export may have changed.",
    "embedding": "Look at some recent series: to the network they are of another kind; compare answers with readers.",
    "output": "Compare recent answers with readers: the patients sent have changed, or the answers are off.",
}


def against_release(folder: Path, reports_folder: Path) -> dict[str, Any]:
    """The reports of one box against the release that it runs.

    Args:
        folder: the release.
        reports_folder: JSON lines, see `reports`.

    Returns:
        `alarm` (whether there is any), `monitors`, each with `alarms` and `quantities`, and what it was about:
        `release`, `reports`, `reference`, `studies_per_false_alarm`.

    Raises:
        ContractError: the release is not whole, or has no reference.
        DataError: a line that is no report, reports of another network, or none of this release.
    """
    signature.check_sums(folder)
    manifest, sha256 = contract.load(folder), sha256_file(folder / signature.SUMS)
    reference = _reference(folder, manifest)
    every = reports.read(reports_folder)
    own = [report for report in every if report.release_sha256 == sha256]
    if not own:
        raise DataError(
            f"a report of {manifest.name} {manifest.version} in {reports_folder}",
            f"{len(every)} of other releases" if every else "no report at all",
            "Name the release that the box runs (of one that follows promotions: `<store>/<name>/production`) and the "
            "folder that it reports to; or wait for the first study that the release answers.",
        )
    named = Targets(manifest.task.kind, tuple(manifest.task.classes)).named
    watched = drift.watch(reference, own, named, sha256)
    monitors = [_monitor(name, [one for one in watched if one.quantity.monitor == name], own) for name in MONITORS]
    return {
        "alarm": any(monitor["alarms"] for monitor in monitors),
        "monitors": monitors,
        "release": {"name": manifest.name, "version": manifest.version, "sha256": sha256},
        "reports": _counts(own) | {"of_other_releases": len(every) - len(own)},
        "reference": {"studies": len(reference.studies), "backend": reference.backend},
        "studies_per_false_alarm": STUDIES_PER_FALSE_ALARM,
    }


def _reference(folder: Path, manifest: Manifest) -> Reference:
    """That of the release.

    Raises:
        ContractError: there is none, or it is of another graph.
    """
    found = read(folder / FILE)
    if found.onnx_sha256 != manifest.graph.sha256:
        raise ContractError(
            f"a reference by the graph {manifest.graph.sha256[:12]}",
            f"one by {found.onnx_sha256[:12]}",
            "The release was put together wrongly; ask its maker.",
        )
    return found


def _counts(own: Sequence[StudyReport]) -> dict[str, Any]:
    return {
        "studies": len(own),
        "first_hour": own[0].hour.isoformat(),
        "last_hour": own[-1].hour.isoformat(),
        "refused_series": sum(report.refused for report in own),
        "flagged_studies": sum(report.quality == "flagged" for report in own),
    }


def _monitor(name: Monitor, watched: Sequence[Watched], own: Sequence[StudyReport]) -> dict[str, Any]:
    """One monitor: its alarms in their order, and each quantity."""
    crossed = sorted(
        (crossing.study, one.quantity.name, crossing.since) for one in watched for crossing in one.course.crossings
    )
    alarms = [
        {"quantity": quantity, "study": study, "hour": own[study - 1].hour.isoformat()}
        | {"since_study": since, "since_hour": own[since - 1].hour.isoformat()}
        for study, quantity, since in crossed
    ]
    return {"monitor": name, "alarms": alarms, "quantities": [_quantity(one) for one in watched]}


def _quantity(one: Watched) -> dict[str, Any]:
    """Evidence and limit; the share of a category, or median and quartiles, in the reference and lately."""
    quantity, evidence = one.quantity, one.course.evidence
    lately = quantity.stream[-LATEST:]
    return {
        "name": quantity.name,
        "evidence": float(evidence[-1]) if len(evidence) else 0.0,
        "limit": one.limit,
        "reference": _described(quantity.reference, quantity.usual is not None),
        "lately": _described(lately, quantity.usual is not None) if len(lately) else None,
    }


def _described(values: Floats, category: bool) -> dict[str, float]:
    if category:
        return {"share": float(values.mean())}
    low, middle, high = np.percentile(values, [25, 50, 75]).tolist()
    return {"low": low, "median": middle, "high": high}


def markdown(found: Mapping[str, Any]) -> str:
    """The same for people; it holds nothing of a single study."""
    release, counted, compared = found["release"], found["reports"], found["reference"]
    lines = [
        f"# {'Drift' if found['alarm'] else 'No drift'}: {release['name']} {release['version']}",
        "",
        f"- {counted['studies']} studies, {counted['first_hour']} to {counted['last_hour']}",
        f"- {counted['of_other_releases']} reports of other releases, left out",
        f"- compared with {compared['studies']} studies of validation and test patients ({compared['backend']})",
        f"- {counted['refused_series']} series refused; quality control flagged {counted['flagged_studies']} studies",
        f"- at most one false alarm in {found['studies_per_false_alarm']:,} studies is expected",
        "",
        *_alarms(found["monitors"]),
        f"| monitor | quantity | evidence | limit | reference | last {LATEST} |",
        "|---|---|---|---|---|---|",
    ]
    for monitor in found["monitors"]:
        for one in monitor["quantities"]:
            evidence = f"{one['evidence']:.2g} | {one['limit']:,.0f}"
            figures = f"{in_words(one['reference'])} | {in_words(one['lately'])}"
            lines.append(f"| {monitor['monitor']} | {one['name']} | {evidence} | {figures} |")
    return "\n".join(lines) + "\n"


def _alarms(monitors: Sequence[Mapping[str, Any]]) -> list[str]:
    """The first alarm of each quantity, and how many followed: a change makes alarms until it is the usual."""
    lines: list[str] = []
    for monitor in monitors:
        for first, *more in by_quantity(monitor["alarms"]):
            followed = f"; {len(more)} more, the last at study {more[-1]['study']}" if more else ""
            lines.append(
                f"- **{monitor['monitor']}**, {first['quantity']}: alarm at study {first['study']} ({first['hour']}), "
                f"probably since study {first['since_study']} ({first['since_hour']}){followed}"
            )
        if monitor["alarms"]:
            lines.append(f"  What to do: {ADVICE[monitor['monitor']]}")
    return [*lines, ""] if lines else lines


def by_quantity(alarms: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """A monitor's alarms, those of each quantity together in their order."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for alarm in alarms:
        found.setdefault(alarm["quantity"], []).append(alarm)
    return list(found.values())


def in_words(figures: Mapping[str, float] | None) -> str:
    """The share of a category, or median and quartiles; a dash for none."""
    if figures is None:
        return "-"
    if "share" in figures:
        return f"{100 * figures['share']:.0f} %"
    return f"{figures['median']:.3g} ({figures['low']:.3g} to {figures['high']:.3g})"
