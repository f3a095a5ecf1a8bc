"""Files that mean harm: whole ones of every encoding, damaged by number, and those made to cost time or memory."""

from __future__ import annotations

import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)
from pydicom.valuerep import STANDARD_VR

from tests.dicom import series_builder as builder

SEED = 20260214
#: Where a damaged file still is believed, and most of what is read stands.
HEADER_BYTES = 3000
DEPTHS = (200, 5000)
#: One beyond the bound of what is unpacked, one just below.
BOMBS_MIB = (600, 500)
VRS = [vr.encode() for vr in sorted(STANDARD_VR)]

_EXPLICIT = re.compile(rb"[\x02-\x30]\x00[\x00-\xff]\x00(" + b"|".join(VRS) + rb")")


def whole() -> dict[str, bytes]:
    """Sound files, each of which is a volume, or the second slice of one."""
    files: dict[str, Any] = {
        "classic": builder.classic(slices=2)[1],
        "enhanced": builder.enhanced(slices=4),
        "mosaic": builder.mosaic(slices=4),
        "older mosaic": builder.mosaic(slices=4, csa_header=False),
    }
    for syntax in (RLELossless, JPEG2000Lossless):
        for name, ds in (("classic", builder.classic(slices=2)[1]), ("enhanced", builder.enhanced(slices=4))):
            ds.compress(syntax, generate_instance_uid=False)
            files[f"{name}, {syntax.name}"] = ds
    for syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian):
        ds = builder.enhanced(slices=4)
        ds.file_meta.TransferSyntaxUID = syntax
        files[syntax.name] = ds
    contents = {name: _bytes(ds) for name, ds in files.items()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("a/b"), contents["enhanced"], zipfile.ZIP_DEFLATED)
    return contents | {"gzip": gzip.compress(contents["enhanced"], mtime=0), "zip": packed.getvalue()}


def damaged(number: int, files: dict[str, bytes]) -> tuple[str, bytes]:
    """Case `number`, the same in every run: a cut at one of 100 places, other VRs, bits flipped, or all of it."""
    rng = np.random.default_rng([SEED, number])
    name = sorted(files)[number % len(files)]
    content = bytearray(files[name])
    kind = ("cut", "vr", "bits", "all")[number // len(files) % 4]
    if kind in {"vr", "all"}:
        places = [match.start(1) for match in _EXPLICIT.finditer(content)]
        for place in rng.choice(places, min(len(places), int(rng.integers(1, 4))), replace=False) if places else ():
            content[place : place + 2] = VRS[rng.integers(len(VRS))]
    if kind in {"bits", "all"}:
        reach = HEADER_BYTES if rng.integers(4) else len(content)
        for place in rng.integers(0, min(reach, len(content)), int(rng.integers(1, 20))):
            content[place] ^= 1 << rng.integers(8)
    percent = number // (4 * len(files)) % 100 if kind == "cut" else rng.integers(1, 100)
    if kind == "cut" or (kind == "all" and rng.integers(2)):
        content = content[: len(content) * int(percent) // 100]
    return f"{name}: {kind} {number}", bytes(content)


def costly() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Small files that claim, hold or unfold to a lot."""
    for depth in DEPTHS:
        for length in ("defined", "undefined"):
            yield f"{depth} sequences deep, {length} length", lambda d=depth, le=length: _deep(d, le == "defined")
    for mark, where in ((b"\x10\0\x20\0LO", "header"), (b"\xe0\x7f\x10\0OW", "pixels")):
        yield f"4 GiB in the {where}, 3 bytes there", lambda m=mark: _claims(m)
    yield "RLE of 30,000² that ends at once", lambda: _rle(30_000, b"")
    yield "RLE of 8,000² that ends at once", lambda: _rle(8_000, b"")
    yield "RLE of 8,000² that is there", lambda: _rle(8_000, _rle_zeros(8_000 * 8_000))
    for mib in BOMBS_MIB:
        yield f"{mib} MiB deflated", lambda m=mib: _deflated_bomb(m)
        yield f"{mib} MiB gzipped", lambda m=mib: _gzip_bomb(m)


def _bytes(ds: Any) -> bytes:
    target = io.BytesIO()
    if ds.file_meta.TransferSyntaxUID == ExplicitVRBigEndian:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    ds.save_as(target, enforce_file_format=True)
    return target.getvalue()


def _deep(depth: int, defined: bool) -> bytes:
    """Items in items of ReferencedSeriesSequence, before all that follows it."""
    content = _bytes(builder.classic(slices=2)[1])
    inner = b""
    tag, item = struct.pack("<2H2s2x", 0x0008, 0x1115, b"SQ"), struct.pack("<2H", 0xFFFE, 0xE000)
    ends = [struct.pack("<2HL", 0xFFFE, end, 0) for end in (0xE00D, 0xE0DD)]
    for _ in range(depth):
        if defined:
            inner = tag + struct.pack("<L", len(inner) + 8) + item + struct.pack("<L", len(inner)) + inner
        else:
            inner = tag + b"\xff" * 4 + item + b"\xff" * 4 + inner + b"".join(ends)
    place = content.index(b"\x10\0\x10\0PN")
    return content[:place] + inner + content[place:]


def _claims(mark: bytes) -> bytes:
    content = _bytes(builder.classic(slices=2)[1])
    return content[: content.index(mark)] + mark[:4] + b"OW\0\0" + struct.pack("<L", 0xFFFFFFF0) + b"abc"


def _rle(side: int, segment: bytes) -> bytes:
    """Two frames of `side`² pixels, each byte of which is in a segment (PS3.5 G.5)."""
    ds = builder.enhanced(slices=2)
    ds.Rows = ds.Columns = side
    ds.file_meta.TransferSyntaxUID = RLELossless
    frame = struct.pack("<16L", 2, 64, 64 + len(segment), *[0] * 13) + segment * 2
    ds.PixelData = encapsulate([frame, frame])
    ds["PixelData"].is_undefined_length = True
    return _bytes(ds)


def _rle_zeros(count: int) -> bytes:
    return (b"\x81\0" * (count // 128)) + (b"\x81\0" if count % 128 else b"")


def _zeros(mib: int) -> bytes:
    """Deflated zeros, open at the end: one piece again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)) * mib


def _ended(content: bytes) -> bytes:
    """Deflated in a piece of its own, and the end of the stream."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def _gzip_bomb(mib: int) -> bytes:
    checksum = 0
    for _ in range(mib):
        checksum = zlib.crc32(bytes(1 << 20), checksum)
    return gzip.compress(b"")[:10] + _zeros(mib) + _ended(b"") + struct.pack("<2L", checksum, mib << 20)


def _deflated_bomb(mib: int) -> bytes:
    """A private element of zeros ahead of the rest of a sound data set."""
    ds = builder.enhanced(slices=2)
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = _bytes(ds)
    end = 144 + int.from_bytes(content[140:144], "little")
    data = zlib.decompress(content[end:], -15)
    place = data.index(b"\x10\0\x10\0PN")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(data[:place] + struct.pack("<2H2s2xL", 0x0009, 0x1001, b"OB", mib << 20))
    return content[:end] + start + packer.flush(zlib.Z_FULL_FLUSH) + _zeros(mib) + _ended(data[place:])
