"""The worker of whichever release is wanted: one at a time, replaced when another is."""

from __future__ import annotations

from deploy.box.releases import Releases
from deploy.box.worker import Limits, Worker


class Workers:
    """For one thread."""

    def __init__(self, releases: Releases, limits: Limits) -> None:
        """Nothing starts before the first call.

        Args:
            releases: of the box.
            limits: of the process.
        """
        self.releases, self._limits = releases, limits
        self._sha256 = ""
        self._worker: Worker | None = None

    def of(self, sha256: str) -> Worker:
        """That of a release; the one of another ends."""
        if self._worker is None or sha256 != self._sha256:
            self.close()
            self._worker = Worker(self.releases.path(sha256), self.releases.public_key, self._limits)
            self._sha256 = sha256
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
