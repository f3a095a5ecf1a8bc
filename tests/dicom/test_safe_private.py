"""Private elements: those on the list stay if they are what it says, all others go."""

from __future__ import annotations

import struct

import pytest
from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from pipeline.dicom import private
from pipeline.dicom.confidentiality import safe_private
from pipeline.dicom.deidentify import Options, deidentify
from pipeline.dicom.pseudonym import Pseudonyms
from tests.dicom.rewriting import reread

NAMES = Pseudonyms(b"k" * 32)
CANARY = "Zebrafinch"


def test_private_elements_go_but_those_on_the_list(builder):
    ds = builder.classic()[0]
    for offset in (0x10, 0x11):  # the same block twice: the second time under another number
        block = offset << 8
        ds.add(DataElement(Tag(0x0019, offset), "LO", "SIEMENS MR HEADER"))
        ds.add(DataElement(Tag(0x0019, block | 0x0C), "IS", "1000"))
        ds.add(DataElement(Tag(0x0019, block | 0x0D), "CS", "DIRECTIONAL"))
        ds.add(DataElement(Tag(0x0019, block | 0x08), "LO", CANARY))
    ds.add(DataElement(Tag(0x0029, 0x10), "LO", "SIEMENS CSA HEADER"))
    ds.add(DataElement(Tag(0x0029, 0x1010), "OB", CANARY.encode()))
    ds.add(DataElement(Tag(0x0043, 0x10), "LO", f"GEMS_PARM_01 {CANARY}"))
    ds.add(DataElement(Tag(0x0043, 0x1039), "IS", ["1", "2", "3", "4"]))
    made = deidentify(ds, NAMES, Options())
    private = sorted(f"{element.tag:08X}" for element in made if element.tag.is_private)
    assert private == ["00190010", "00190011", "0019100C", "0019100D", "0019110C", "0019110D"]
    assert made[0x0019, 0x110C].value == 1000


@pytest.mark.parametrize(
    ("vr", "element", "value"),
    [
        ("LO", 0x0C, CANARY),
        ("LO", 0x0C, "1000"),
        ("UN", 0x0C, CANARY.encode()),
        ("CS", 0x0D, "Zebra finch"),
        ("SQ", 0x0C, Sequence([])),
        ("FD", 0x0E, list(struct.unpack("<3d", b"Zebrafinch Zebrafinch 77"))),
        ("FD", 0x0E, [0.0, float("nan"), 1.0]),
    ],
)
def test_a_safe_private_element_that_holds_something_else_goes(builder, vr, element, value):
    ds = builder.classic()[0]
    ds.add(DataElement(Tag(0x0019, 0x10), "LO", "SIEMENS MR HEADER"))
    ds.add(DataElement(Tag(0x0019, 0x1000 | element), vr, value, validation_mode=0))
    made = deidentify(reread(ds), NAMES, Options())
    assert not [found for found in made if found.tag.is_private]


def test_a_safe_private_element_of_unknown_vr_is_read_as_listed(builder):
    ds = builder.classic()[0]
    ds.add(DataElement(Tag(0x0019, 0x10), "LO", "SIEMENS MR HEADER"))
    ds.add(DataElement(Tag(0x0019, 0x100C), "UN", b"1000"))
    made = deidentify(reread(ds), NAMES, Options())
    assert (made[0x0019, 0x100C].VR, made[0x0019, 0x100C].value) == ("IS", 1000)


def test_what_reading_needs_stays_but_for_what_is_no_number():
    """Volumes are parted alike before and after; Siemens's count is kept, and its CSA header made anew."""
    read = {place for place in vars(private).values() if isinstance(place, private.Private)}
    read |= {*private.GE_DIRECTION, *private.PHILIPS_DIRECTION}
    lost = {private.SIEMENS_MOSAIC_TIMES, private.UIH_TILES, private.PHILIPS_FRAME}
    assert read - set(safe_private()) == lost
