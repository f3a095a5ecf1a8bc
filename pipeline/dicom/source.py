"""The bytes of a DICOM file: plain, gzipped, or in a zip; unpacked in memory, within bounds, and never onto the disk.

A file in a zip has the path of the archive with its own name behind it, as if the archive were a folder.
"""

from __future__ import annotations

import functools
import gzip
import io
import os
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pydicom.filereader import _read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pipeline.dicom.values import DAMAGED

#: Largest file that is unpacked: an enhanced series of 1,000 slices of 512² in 16 bits.
MAX_UNPACKED_BYTES = 1 << 29
#: Most files in one archive, and the largest list of them, which is read whole.
MAX_MEMBERS = 100_000
MAX_DIRECTORY_BYTES = 1 << 24
#: An archive may unpack to this, or to so many times its own size: MR images shrink by 2 to 10.
MAX_ARCHIVE_BYTES = 1 << 31
MAX_RATIO = 100

#: Reads of more than this are checked against the size of the file.
_LONG_BYTES = 1 << 20

_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_LOCKED = 0x1
#: The end of an archive with its longest comment, where its list of files is announced (APPNOTE 4.3.16).
_TAIL_BYTES = 22 + 0xFFFF
#: Deflated Explicit VR Little Endian (PS3.5 A.5); the file meta group stands within the first bytes.
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_META_BYTES = 4096


class UnpackError(ValueError):
    """A packed file is damaged, locked, or beyond the bounds."""


class _File(io.BufferedReader):
    """A file that makes no room for bytes which a header claims and the file does not have."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _LONG_BYTES:
            size = min(size, max(0, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)


def is_zip(start: bytes) -> bool:
    """Whether a file that begins so is a zip; one with the mark of DICOM behind 128 bytes is not."""
    return start.startswith(_ZIP) and start[128:132] != b"DICM"


def opened(path: Path) -> BinaryIO:
    """The bytes of a file or of a member of a zip, without its gzip.

    Raises:
        UnpackError: it cannot be unpacked.
        OSError: it cannot be read.
    """
    try:
        handle: BinaryIO = _File(io.FileIO(path))
    except NotADirectoryError:
        handle = _member(path)
    try:
        start = handle.read(_META_BYTES)
        handle.seek(0)
        if start.startswith(_GZIP) and start[128:132] != b"DICM":
            with handle:
                return io.BytesIO(_gunzipped(handle))
        if _DEFLATED in start:
            require_bounds(handle)
    except BaseException:
        handle.close()
        raise
    return handle


def require_bounds(handle: BinaryIO) -> None:
    """That a data set which the parser unpacks whole, as it does a deflated one, is within bounds.

    Args:
        handle: of a file of PS3.10, at its start, where it is left.

    Raises:
        UnpackError: it is beyond the bounds, or cannot be unpacked.
    """
    if handle.read(132)[128:] == b"DICM":
        try:
            # The parser's own: what it takes for deflated, however the group is written.
            meta = _read_file_meta_info(handle)
            deflated = meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
        except DAMAGED as error:
            raise UnpackError("damaged meta information") from error
        if deflated:
            _inflate(handle)
    handle.seek(0)


def _inflate(handle: BinaryIO) -> None:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    left = MAX_UNPACKED_BYTES
    try:
        while (chunk := handle.read(1 << 16)) and not inflater.eof:
            while chunk and left >= 0:
                left -= len(inflater.decompress(chunk, 1 << 20))
                chunk = inflater.unconsumed_tail
            if left < 0:
                raise UnpackError("a deflated data set beyond the bounds")
    except zlib.error as error:
        raise UnpackError("a damaged deflated data set") from error


def members(archive: Path) -> list[Path]:
    """The files in a zip, in the order of their names.

    Raises:
        UnpackError: it is damaged or beyond the bounds.
    """
    return sorted(_open_zip(archive, _version(archive))[1])


def _member(path: Path) -> BinaryIO:
    archive = next((parent for parent in path.parents if parent.is_file()), None)
    if archive is None:
        raise FileNotFoundError(path)
    packed, infos = _open_zip(archive, _version(archive))
    try:
        with packed.open(infos[path]) as member:
            return io.BytesIO(member.read())
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, NotImplementedError) as error:
        raise UnpackError("a member that cannot be unpacked") from error


def _version(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=1)
def _open_zip(archive: Path, _version: tuple[int, int]) -> tuple[zipfile.ZipFile, dict[Path, zipfile.ZipInfo]]:
    """An archive and its files; the last one stays open, as its files come one after the other."""
    _check_directory(archive)
    try:
        packed = zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as error:
        raise UnpackError("a damaged archive") from error
    infos = [info for info in packed.infolist() if not info.is_dir()]
    by_path = {_path(archive, info): info for info in infos}
    if not _within_bounds(infos, archive.stat().st_size) or len(by_path) < len(infos) or archive in by_path:
        packed.close()
        raise UnpackError("an archive beyond the bounds, or with one name twice")
    return packed, by_path


def _check_directory(archive: Path) -> None:
    """That the list of files, which is read whole, is not too long."""
    with open(archive, "rb") as handle:
        size = handle.seek(0, io.SEEK_END)
        handle.seek(max(0, size - _TAIL_BYTES))
        tail = handle.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        raise UnpackError("an archive without its end")
    (length,) = struct.unpack_from("<L", tail, end + 12)
    wide = tail.rfind(b"PK\x06\x06")
    if 0 <= wide <= len(tail) - 56:
        (length,) = struct.unpack_from("<Q", tail, wide + 40)
    if length > MAX_DIRECTORY_BYTES:
        raise UnpackError("too long a list of files")


def _within_bounds(infos: list[zipfile.ZipInfo], archive_bytes: int) -> bool:
    """Whether all is unlocked, packed as usual, and its sizes are no bomb's; files that overlap add up to too much."""
    unpacked = sum(info.file_size for info in infos)
    return (
        len(infos) <= MAX_MEMBERS
        and all(info.file_size <= MAX_UNPACKED_BYTES for info in infos)
        and all(info.compress_type in _METHODS and not info.flag_bits & _LOCKED for info in infos)
        and unpacked <= max(MAX_ARCHIVE_BYTES, MAX_RATIO * archive_bytes)
        and sum(info.compress_size for info in infos) <= archive_bytes
    )


def _path(archive: Path, info: zipfile.ZipInfo) -> Path:
    """Where a member would lie in the archive; steps upwards are left out, as nothing is written there anyway."""
    return archive.joinpath(*(part for part in PurePosixPath(info.filename).parts if part.strip("/.")))


def _gunzipped(handle: BinaryIO) -> bytes:
    try:
        content = gzip.GzipFile(fileobj=handle).read(MAX_UNPACKED_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UnpackError("a damaged gzip") from error
    if len(content) > MAX_UNPACKED_BYTES:
        raise UnpackError("a gzip beyond the bounds")
    return content
