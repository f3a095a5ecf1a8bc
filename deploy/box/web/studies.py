"""The worklist: every study, its state and what was said of it; no names and no UIDs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from starlette.requests import Request
from starlette.responses import Response

from deploy.box.journal import State
from deploy.box.overview import Listed
from deploy.box.web import page
from deploy.box.web.answers import summary
from pipeline.contract import Manifest

ROWS = 100
KINDS = {"receiving": "idle", "complete": "wait", "answered": "good", "failed": "bad"}
_MEANING = {"complete": "waiting for an answer"}
_NOTHING = {
    None: "No study has come yet. A sender that the settings name may send to this box.",
    "receiving": "No study is being received.",
    "complete": "No study waits for an answer.",
    "answered": "No study was answered yet.",
    "failed": "No study failed.",
}


@dataclass(frozen=True)
class Row:
    """A line of the list."""

    number: int
    received: str
    instances: int
    state: str
    kind: str
    answer: str
    reason: str


def listed(request: Request) -> Response:
    """The page; `state` and `skip` of the query choose what is on it."""
    box = request.app.state.box
    asked, skipped = request.query_params.get("state"), request.query_params.get("skip", "0")
    state: State | None = next((each for each in get_args(State) if each == asked), None)
    skip = int(skipped) if skipped.isdecimal() and len(skipped) < 9 else 0
    counts = box.overview.states()
    found = box.overview.latest(state, ROWS + 1, skip)
    return page.render(
        request,
        "studies.html.j2",
        title="Studies",
        tiles=_tiles(counts, state),
        rows=[row(each, box.manifest(each.study.release_sha256)) for each in found[:ROWS]],
        nothing=_NOTHING[state],
        newer=_address(state, max(0, skip - ROWS)) if skip else None,
        older=_address(state, skip + ROWS) if len(found) > ROWS else None,
    )


def row(listed: Listed, manifest: Manifest | None) -> Row:
    """A study as a line; `manifest`: of the release that answered, None where that is gone."""
    study = listed.study
    said = summary(study, manifest)
    return Row(
        number=study.study,
        received=study.last_received,
        instances=listed.instances,
        state=_MEANING.get(study.state, study.state),
        kind=KINDS[study.state],
        answer=said,
        reason=study.reason,
    )


def _tiles(counts: dict[str, int], chosen: State | None) -> list[dict[str, object]]:
    all_ = {"address": "/", "count": sum(counts.values()), "words": "all", "chosen": chosen is None}
    return [
        all_,
        *(
            {
                "address": _address(state, 0),
                "count": counts.get(state, 0),
                "words": _MEANING.get(state, state),
                "chosen": state == chosen,
            }
            for state in get_args(State)
        ),
    ]


def _address(state: State | None, skip: int) -> str:
    query = [f"state={state}"] * (state is not None) + [f"skip={skip}"] * (skip > 0)
    return "/" + ("?" + "&".join(query) if query else "")
