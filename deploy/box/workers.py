"""The worker of whichever release is wanted: one at a time, replaced when another is."""

from __future__ import annotations

import logging
from collections.abc import Callable

from deploy.box.releases import Releases
from deploy.box.worker import Limits, Worker
from pipeline import contract

_LOG = logging.getLogger(__name__)


class Workers:
    """For one thread."""

    def __init__(self, releases: Releases, limits: Limits, told: Callable[[str, str], None] | None = None) -> None:
        """Nothing starts before the first call.

        Args:
            releases: of the box.
            limits: of the process.
            told: is told of each release that is wanted from now on, by its name and hash; None: nobody is.
        """
        self.releases, self._limits, self._told = releases, limits, told
        self._sha256 = ""
        self._worker: Worker | None = None

    def of(self, sha256: str) -> Worker:
        """That of a release; the one of another ends."""
        if self._worker is None or sha256 != self._sha256:
            self.close()
            folder, releases = self.releases.path(sha256), self.releases
            self._worker = Worker(folder, releases.public_key, self._limits, releases.state)
            self._sha256 = sha256
            manifest = contract.load(self.releases.path(sha256))
            _LOG.info("release %s: %s %s", sha256[:12], manifest.name, manifest.version)
            if self._told is not None:
                self._told(f"{manifest.name} {manifest.version}", sha256)
        return self._worker

    def current(self) -> tuple[str, Worker]:
        """The release that answers now, and its worker.

        Raises:
            ContractError: it cannot be known.
        """
        sha256 = self.releases.chosen().answering
        return sha256, self.of(sha256)

    def close(self) -> None:
        """End its process."""
        if self._worker is not None:
            self._worker.close()
        self._sha256, self._worker = "", None
