"""A scanner that sends study after study, and who sees the results come back."""

from __future__ import annotations

import threading
import time
from collections import Counter
from itertools import cycle
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE

from deploy.box.scp import CLASSES
from tests.deploy.box.orthanc import Orthanc

#: Of each study, by modality.
RESULTS = {"SR": 1, "OT": 1}


class Scanner:
    """Sends studies of a folder over and over, each under UIDs of its own."""

    def __init__(self, port: int, scans: Path) -> None:
        self._studies = cycle(studies(scans))
        self.sent: dict[str, float] = {}
        self.stored, self.stored_s = 0, 0.0
        self._port, self._entity = port, AE("SCANNER")
        for each in CLASSES:
            self._entity.add_requested_context(each)

    def send(self) -> None:
        """The next study in an association; when its last instance was acknowledged is in `sent`."""
        association = self._entity.associate("127.0.0.1", self._port, ae_title="MRIBOX")
        assert association.is_established
        images, study, series = next(self._studies), str(generate_uid(None)), dict[str, str]()
        for image in images:
            known = series.setdefault(str(image.SeriesInstanceUID), str(generate_uid(None)))
            image.StudyInstanceUID, image.SeriesInstanceUID = study, known
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid(None)
            began = time.monotonic()
            assert association.send_c_store(image).Status == 0
            self.stored, self.stored_s = self.stored + 1, self.stored_s + time.monotonic() - began
        self.sent[study] = time.monotonic()
        association.release()


class Returns(threading.Thread):
    """Looks at what Orthanc has: `whole` says when a study had both results, `came` what came of each.

    What was seen is removed from Orthanc: hours of studies need no room, and what comes once more is new there.
    """

    def __init__(self, pacs: Orthanc, every_s: float = 0.2) -> None:
        super().__init__(daemon=True)
        self._pacs, self._every_s, self._since = pacs, every_s, 0
        self.came: dict[str, Counter[str]] = {}
        self.whole: dict[str, float] = {}
        self.stop = threading.Event()

    def run(self) -> None:
        """Until `stop` is set, and then once more: what was there by then counts."""
        while not self.stop.wait(self._every_s):
            self._look()
        self._look()

    def _look(self) -> None:
        done = False
        while not done:
            changes = self._pacs.get(f"/changes?since={self._since}&limit=1000")
            for change in changes["Changes"]:
                if change["ChangeType"] == "NewInstance":
                    self._enter(change["ID"])
            self._since, done = changes["Last"], changes["Done"]

    def _enter(self, instance: str) -> None:
        study = self._pacs.get(f"/instances/{instance}/study")["MainDicomTags"]["StudyInstanceUID"]
        series = self._pacs.get(f"/instances/{instance}/series")["MainDicomTags"]["Modality"]
        came = self.came.setdefault(study, Counter())
        came[series] += 1
        if came == RESULTS:
            self.whole[study] = time.monotonic()
        self._pacs.delete(f"/instances/{instance}")


def studies(scans: Path) -> list[list[Dataset]]:
    """The studies of a folder, of what a box receives."""
    found: dict[str, list[Dataset]] = {}
    for path in sorted(each for each in scans.rglob("*") if each.is_file()):
        read = pydicom.dcmread(path)
        if read.SOPClassUID in CLASSES:
            found.setdefault(str(read.StudyInstanceUID), []).append(read)
    return list(found.values())
