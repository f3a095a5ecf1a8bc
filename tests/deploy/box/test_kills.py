"""`kill -9` while instances arrive: what was acknowledged is there, whole, at the next start.

Whole: `python -m pytest tests/deploy/box/test_kills.py` with MRI_BOX_KILLS=200; the suite has a short form.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from deploy.box.journal import Journal
from tests.deploy.box.conftest import associate, instance

pytestmark = pytest.mark.acceptance
KILLS = int(os.environ.get("MRI_BOX_KILLS", "4"))


class Sender(threading.Thread):
    """Sends one instance after the other until there is no answer."""

    def __init__(self, port: int, first: int) -> None:
        super().__init__()
        self.port, self.number, self.acknowledged = port, first, list[str]()

    def run(self) -> None:
        association = associate(self.port)
        while association.is_established:
            sent = instance(self.number, study=1 + self.number // 7)
            self.number += 1
            if association.send_c_store(sent).get("Status") != 0:
                break
            self.acknowledged.append(str(sent.SOPInstanceUID))
        association.abort()


def test_nothing_acknowledged_is_lost(root: Path, tmp_path: Path) -> None:
    chance, acknowledged, number, swept = random.Random(4), list[str](), 1, 0
    for _ in range(KILLS):
        box = subprocess.Popen(
            [sys.executable, "-m", "tests.deploy.box.receiving", str(tmp_path)],
            cwd=root,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert box.stdout is not None
        swept += int(box.stdout.readline())
        sender = Sender(int(box.stdout.readline()), number)
        sender.start()
        time.sleep(chance.uniform(0.2, 1.5))
        box.kill()
        box.wait()
        box.stdout.close()
        sender.join(60)
        assert not sender.is_alive()
        acknowledged += sender.acknowledged
        number = sender.number
    assert acknowledged
    assert len(set(acknowledged)) == len(acknowledged)
    journal = Journal(tmp_path / "journal.sqlite")
    rows = {row.sop_instance_uid: row for row in journal.instances()}
    journal.close()
    assert set(acknowledged) <= set(rows)
    for row in rows.values():
        content = (tmp_path / "incoming" / row.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row.sha256
    print(f"{KILLS} kills, {len(acknowledged)} acknowledged, {swept} files without a row swept")
