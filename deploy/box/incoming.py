"""Instances on the disk: once `keep` has returned, neither a kill nor a power cut loses the instance.

A file is written under a name of chance, fsynced, renamed, its folder fsynced, and entered in the journal, in this
order; the folders above were fsynced before. What a stop in between leaves has no row, so nobody was told that it was
kept: `sweep` removes it at the next start. No name comes from the sender.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shutil
import sqlite3
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import pydicom
from pydicom.config import IGNORE
from pydicom.uid import UID

from deploy.box.journal import Instance, Journal, now
from pipeline.dicom import source
from pipeline.dicom.values import UNREADABLE
from pipeline.errors import DicomError, StorageError
from pipeline.files import sync_folder

_LOG = logging.getLogger(__name__)

_PARTS = "parts"
#: With what the meta information, which comes from the C-STORE command, calls the same.
_UIDS = {
    "SOPClassUID": "MediaStorageSOPClassUID",
    "SOPInstanceUID": "MediaStorageSOPInstanceUID",
    "StudyInstanceUID": None,
    "SeriesInstanceUID": None,
}


class Incoming:
    """The folder of what was received, and its journal."""

    def __init__(self, folder: Path, journal: Journal, keep_free_bytes: int) -> None:
        """Make the folder.

        Args:
            folder: of one file system; `file` of a row in the journal is below it.
            journal: of what lies in it.
            keep_free_bytes: of the disk, below which nothing more is taken.
        """
        self.folder, self._journal, self._keep_free = folder, journal, keep_free_bytes
        self._parts = folder / _PARTS
        self._parts.mkdir(parents=True, exist_ok=True)
        for parent in (folder.parent, folder):
            sync_folder(parent)

    def keep(self, content: bytes, calling_ae_title: str) -> Instance:
        """Keep one instance; the same one again changes nothing, another of the same UID takes its place.

        Args:
            content: as a file of PS3.10 has it.
            calling_ae_title: of the sender.

        Raises:
            DicomError: the data set cannot be read, lacks a UID, or is not what the file's meta information says.
            StorageError: it is not kept, for want of room or because the disk failed.
        """
        class_uid, sop, study, series, _ = identity(content)
        sha256 = hashlib.sha256(content).hexdigest()
        name = f"{name_of(study)}/{name_of(sop)}-{sha256[:16]}.dcm"
        instance = Instance(sop, study, series, class_uid, sha256, len(content), name, calling_ae_title, now())
        try:
            before = self._journal.instance(sop)
            if before is not None and before.sha256 == sha256 and (self.folder / before.file).is_file():
                return before
            self._require_room(len(content))
            if before is not None and before.study_instance_uid != study:
                _LOG.warning("an instance came again under the UID of another study, and is of that from now on")
            self._write(self.folder / name, content)
            with self._journal.transaction():
                # What is forgotten at this moment may be of the same name.
                if not (self.folder / name).is_file():
                    raise FileNotFoundError(name)
                self._journal.add(instance)
        except (OSError, sqlite3.Error) as error:
            raise StorageError("an instance kept", f"{type(error).__name__}: {error}", "See to the disk.") from error
        if before is not None and before.file != name:
            # The next sweep finds it where this fails.
            with suppress(OSError, sqlite3.Error), self._journal.transaction():
                # The first content may have come again since.
                if (known := self._journal.instance(sop)) is None or known.file != before.file:
                    (self.folder / before.file).unlink()
        return instance

    def sweep(self) -> int:
        """Remove what has no row in the journal; how many files that were. Only while nothing is received."""
        known = {instance.file for instance in self._journal.instances()}
        strays = [
            path
            for path in self.folder.rglob("*")
            if path.is_file() and str(path.relative_to(self.folder)) not in known
        ]
        for path in strays:
            path.unlink()
        for folder in self.folder.iterdir():
            # Of studies that were forgotten.
            if folder != self._parts and not any(folder.iterdir()):
                folder.rmdir()
        return len(strays)

    def _require_room(self, size: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < self._keep_free + size:
            raise StorageError(
                f"{(self._keep_free + size) // 2**20} MiB free for what is received",
                f"{free // 2**20} MiB",
                "Free some space; the sender may try again then.",
            )

    def _write(self, path: Path, content: bytes) -> None:
        part = self._parts / secrets.token_hex(16)
        try:
            with open(part, "wb") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
            path.parent.mkdir(exist_ok=True)
            # Also where another made it, who may not have come so far.
            sync_folder(self.folder)
            part.replace(path)
            sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)


class Identity(NamedTuple):
    """What an instance says that it is."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str


def identity(content: bytes) -> Identity:
    """Of a file, pixels unread.

    Raises:
        DicomError: it cannot be read, unpacks to more than `source.MAX_UNPACKED_BYTES`, or one of the UIDs is missing
            or no UID (PS3.5, chapter 9).
    """
    file = BytesIO(content)
    try:
        source.require_bounds(file)
        read = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_UIDS))
        found = [UID(str(read.get(name) or ""), IGNORE) for name in _UIDS]
    except source.UnpackError as error:
        raise DicomError("a data set within bounds", str(error), "Send it uncompressed.") from error
    except UNREADABLE as error:
        raise DicomError("a data set", f"{type(error).__name__} while it was read", "Send it again.") from error
    for (name, announced), uid in zip(_UIDS.items(), found, strict=True):
        if not uid.is_valid:
            raise DicomError(f"a data set with its {name}", "no UID there" if uid else "none", "Mend its source.")
        if announced is not None and read.file_meta.get(announced) != uid:
            raise DicomError(f"the {name} that was announced", "another in the data set", "Mend its source.")
    return Identity(found[0], found[1], found[2], found[3], str(read.file_meta.get("TransferSyntaxUID", "")))


def name_of(uid: str) -> str:
    """What a UID is called in names of files."""
    return hashlib.sha256(uid.encode()).hexdigest()[:32]
