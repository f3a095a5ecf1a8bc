"""`/metrics`: what `Watch` counted, and how things stand at the moment; no label names a study or a patient."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from deploy.box.health import Health
from deploy.box.memory import resident_bytes
from deploy.box.overview import Overview
from deploy.box.releases import Releases
from deploy.box.web.release import running
from pipeline import __version__


class Standing(Collector):
    """Read when they are asked for."""

    def __init__(self, overview: Overview, health: Health, releases: Releases) -> None:
        self._overview, self._health, self._releases = overview, health, releases

    def collect(self) -> Iterator[Metric]:
        """Every gauge."""
        yield _labelled("box_studies", "Studies in the journal, by state", "state", self._overview.states())
        deliveries = GaugeMetricFamily("box_deliveries", "Deliveries, by state", labels=["destination", "state"])
        for (destination, state), count in self._overview.deliveries().items():
            deliveries.add_metric([destination, state], count)
        yield deliveries
        yield _labelled("box_memory_bytes", "Resident memory", "process", resident_bytes())
        checks = {check.name: int(check.passed) for check in self._health.ready()}
        yield _labelled("box_ready", "What /health/ready says, by check", "check", checks)
        yield GaugeMetricFamily("box_disk_free_bytes", "Of the disk of the state", self._health.free_bytes())
        yield GaugeMetricFamily("box_journal_bytes", "Of the journal", self._overview.bytes())
        info = GaugeMetricFamily(
            "box_info", "What runs", labels=["version", "release", "release_version", "release_sha256", "signed"]
        )
        found = running(self._releases)
        signed = "yes" if found.signed else "no"
        info.add_metric([__version__, found.manifest.name, found.manifest.version, found.sha256, signed], 1)
        yield info

    def describe(self) -> list[Metric]:
        """Nothing is read to be registered."""
        return []


def _labelled(name: str, words: str, label: str, values: dict[str, int]) -> Metric:
    made = GaugeMetricFamily(name, words, labels=[label])
    for value, count in values.items():
        made.add_metric([value], count)
    return made


def metrics(request: Request) -> Response:
    """Prometheus's text format."""
    return Response(generate_latest(request.app.state.box.watch.registry), media_type=CONTENT_TYPE_LATEST)
