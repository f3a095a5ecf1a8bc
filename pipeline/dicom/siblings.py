"""Slices of a series have one header but for a few elements: what the rest of it comes to is worked out once.

A file whose other elements are equal, byte for byte, to those of one before is that one, with its own name, place and
number. This holds for classic files of one plane; nothing else that is kept of these depends on the elements of `OWN`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom.datadict import tag_for_keyword

from pipeline.dicom import private, variants
from pipeline.dicom.plain_header import File
from pipeline.dicom.values import numbers

if TYPE_CHECKING:
    from pipeline.dicom.header import Instance

#: Headers that are remembered: the echoes and time points of some series that lie side by side.
MOST = 64

_SOP_CLASS = 0x00080016
_CSA = private.SIEMENS_CSA_IMAGE

#: Elements that a slice has for itself; the CSA header counts for mosaics alone.
OWN = frozenset(
    {tag for keyword in ("SOPInstanceUID", "ImagePositionPatient", *variants.OWN) if (tag := tag_for_keyword(keyword))}
    | {(_CSA.group << 16) + (block << 8) + _CSA.element for block in private.BLOCKS}
)


class Siblings:
    """The last headers of one process, without their own elements."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, Instance] = OrderedDict()

    def find(self, path: Path, file: File) -> Instance | None:
        """The instance of a file, from one of the same series; None where none is known.

        Raises:
            Doubtful, or any of `values.DAMAGED`: an element of its own is not certain.
        """
        known = self._known.get(_key(file))
        if known is None:
            return None
        header, pixels = file.header, file.pixels
        if known.pixels and not pixels.whole:
            return None
        frame = replace(
            known.frames[0],
            position=numbers(header.get("ImagePositionPatient"), 3),
            variant=known.frames[0].variant._replace(**variants.own(header)),
        )
        place = known.pixels and known.pixels._replace(
            offset=pixels.offset, size=pixels.size, modified_ns=pixels.modified_ns
        )
        return replace(known, path=path, sop_uid=str(header.get("SOPInstanceUID") or ""), frames=(frame,), pixels=place)

    def add(self, file: File, instance: Instance) -> None:
        """Remember what a file came to, if it is one that others can be like."""
        single = len(instance.frames) == 1 and instance.frames[0].number is None and instance.frames[0].position
        # Where plain pixels are cut off, the header is that of whole ones.
        ordinary = single and not instance.tiled and (instance.pixels or not file.plain)
        if not ordinary or _SOP_CLASS not in file.header.keys():  # noqa: SIM118 - no mapping
            return
        self._known[_key(file)] = instance
        if len(self._known) > MOST:
            self._known.popitem(last=False)


def _key(file: File) -> Hashable:
    return file.syntax, file.pixels.vr, file.pixels.length, file.header.without(OWN)
