"""How many studies were answered lately, and how soon."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import quantiles

from starlette.requests import Request
from starlette.responses import Response

from deploy.box.watch import Settled
from deploy.box.web import page

_HOURS, _WIDTH, _HEIGHT, _FLOOR, _TOP = 24, 960, 190, 168, 20
_WIDE = 28


def shown(request: Request) -> Response:
    """The page."""
    box = request.app.state.box
    now = datetime.now(UTC)
    settled = box.watch.lately()
    return page.render(
        request,
        "throughput.html.j2",
        title="Throughput",
        figures=figures(settled, now, box.overview.states()),
        chart=chart(settled, now),
        quiet=box.settings.studies.quiet_s,
        began=box.watch.began,
    )


def figures(settled: Sequence[Settled], now: datetime, states: dict[str, int]) -> dict[str, str]:
    """The tiles."""
    seconds = [one.seconds for one in settled if one.answered]
    # Of one value there are no quantiles.
    spread = quantiles(seconds * 2 if len(seconds) == 1 else seconds, n=20, method="inclusive") if seconds else None
    return {
        "answered in the last hour": str(sum(one.answered and one.time > now - timedelta(hours=1) for one in settled)),
        "answered in 24 hours": str(len(seconds)),
        "failed in 24 hours": str(len(settled) - len(seconds)),
        "waiting for an answer": str(states.get("complete", 0)),
        "half are answered within": page.span(spread[9]) if spread else "-",
        "19 of 20 within": page.span(spread[18]) if spread else "-",
    }


def chart(settled: Sequence[Settled], now: datetime) -> dict[str, object]:
    """Bars of the last 24 hours, the hour that runs last; places in the units of an SVG."""
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=_HOURS - 1)
    counts = [[0, 0] for _ in range(_HOURS)]
    for one in settled:
        place = int((one.time - first).total_seconds() // 3600)
        if 0 <= place < _HOURS:
            counts[place][not one.answered] += 1
    most = max(1, *(sum(each) for each in counts))
    step = (_FLOOR - _TOP) / most
    bars = []
    for place, (answered, lost) in enumerate(counts):
        hour = first + timedelta(hours=place)
        tall, tall_lost = round(answered * step, 1), round(lost * step, 1)
        bars.append(
            {
                "x": place * _WIDTH // _HOURS + 6,
                "y": round(_FLOOR - tall, 1),
                "y_lost": round(_FLOOR - tall - tall_lost, 1),
                "answered": tall,
                "lost": tall_lost,
                "count": answered + lost,
                "label": f"{hour:%H}:00" if hour.hour % 3 == 0 else "",
                "words": f"{hour:%Y-%m-%d %H}:00: {answered} answered, {lost} failed",
            }
        )
    return {"width": _WIDTH, "height": _HEIGHT, "floor": _FLOOR, "wide": _WIDE, "bars": bars}
