"""A box that receives until it is killed: `python -m tests.deploy.box.receiving STATE`; prints its port."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from deploy.box import scp
from deploy.box.incoming import Incoming
from deploy.box.journal import Journal
from deploy.box.quarantine import Quarantine
from tests.deploy.box.conftest import settings


def main(state: Path) -> None:
    """Sweep as a start does, then listen."""
    incoming = Incoming(state / "incoming", Journal(state / "journal.sqlite"), 2**20)
    print(incoming.sweep(), flush=True)
    with scp.listening(settings(), incoming, Quarantine(state / "quarantine", 2**20)) as port:
        print(port, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
