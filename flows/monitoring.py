"""The flow `monitor`: a box's reports against its release, as an artifact, and new alarms as an event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event

from flows.stages import die_with_worker
from pipeline.errors import ConfigError
from pipeline.files import read_json, write_json, write_text
from pipeline.monitoring.summary import against_release, markdown

#: An automation can answer it with a run of a deployment; its resource is `mri-transfer.release.<first of its hash>`.
EVENT = "mri-transfer.drift"


@flow(name="monitor", description="Whether the studies of a box are still like those that its release was tried on.")
def monitor(release: Path, reports: Path, out: Path = Path("reports/drift")) -> bool:
    """Write `drift.json` and `drift.md`, show the table, and emit `mri-transfer.drift` if there are new alarms.

    Args:
        release: the release folder that the box runs; of one that follows promotions `<store>/<name>/production`.
        reports: the folder of the box's reports.
        out: where the result goes, and that of the run before lies: an alarm makes one event, however often one looks.
            Each box has one of its own.

    Returns:
        Whether there is any alarm, new or not.

    Raises:
        ContractError: the release is not whole, or has no reference.
        DataError: a line that is no report, reports of another network, or none of this release.
        ConfigError: `out` holds what was found of another box.
    """
    die_with_worker()
    before = _before(out / "drift.json", reports)
    found = against_release(release, reports)
    create_markdown_artifact(key="drift", markdown=markdown(found), description="Reports of a box against its release")
    new = _new_alarms(found, before)
    for alarm in new:
        get_run_logger().warning("%(monitor)s, %(quantity)s: alarm at study %(study)d", alarm)
    if new:
        _emit(found, new)
    # Last, so that a run that fails before leaves its alarms to the next.
    write_text(out / "drift.md", markdown(found))
    write_json(out / "drift.json", {**found, "folder": str(reports.resolve())})
    return bool(found["alarm"])


def _alarms(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"monitor": one["monitor"], **alarm} for one in found["monitors"] for alarm in one["alarms"]]


def _before(place: Path, reports: Path) -> dict[str, Any] | None:
    """What the run before found of the same box; None where there was none."""
    if not place.is_file():
        return None
    earlier, folder = read_json(place), str(reports.resolve())
    if (theirs := earlier.get("folder", folder)) != folder:
        remedy = "Give each box an `out` of its own, or remove that file if it is the same box."
        raise ConfigError(f"what was found of {folder} before in {place}", f"that of {theirs}", remedy)
    return dict(earlier)


def _new_alarms(found: dict[str, Any], before: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Those that the run before, if it was of the same release, did not have."""
    same = before and before["release"]["sha256"] == found["release"]["sha256"]
    known = _alarms(before) if before and same else []
    return [alarm for alarm in _alarms(found) if alarm not in known]


def _emit(found: dict[str, Any], new: list[dict[str, Any]]) -> None:
    told = found["release"]
    emit_event(
        EVENT,
        resource={
            "prefect.resource.id": f"mri-transfer.release.{told['sha256'][:12]}",
            "prefect.resource.name": f"{told['name']} {told['version']}",
        },
        payload={
            "monitors": sorted({alarm["monitor"] for alarm in new}),
            "alarms": new,
            "studies": found["reports"]["studies"],
        },
    )
