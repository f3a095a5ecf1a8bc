"""Canaries: words, dates and UIDs that stand for a patient, planted wherever a file can hold them."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from pipeline.dicom.confidentiality import rules

WORDS = ("Zebrafinch", "ZEBRAFINCH", "Übelkrähe", "ツバメ太郎", "山田花子", "Finkenweg 17", "QX-4711-77")
DATES = ("19470309", "1947-03-09", "09.03.1947", "20210617", "091843")
UIDS = ("1.2.826.0.1.3680043.4711.77", "1.2.826.0.1.19470309")
ENCODINGS = ("utf-8", "latin-1", "iso2022_jp", "shift_jis", "euc_jp", "utf-16-le", "utf-16-be", "gb18030")
CHARACTER_SETS = (
    ("ISO_IR 100", "Zebrafinch^Übelkrähe"),
    ("ISO_IR 192", "Zebrafinch^Übelkrähe=ツバメ太郎"),
    (["", "ISO 2022 IR 87"], "Zebrafinch^Jane=山田花子"),
    ("GB18030", "Zebrafinch=山田花子"),
)
#: Sequences that stay, one in another.
WAY = ("AnatomicRegionSequence", "ReferencedSeriesSequence", "ReferencedImageSequence")

#: What tells whose a file is and where it belongs; each is a canary itself.
KEPT = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")

VALUES: dict[str, Any] = {
    **dict.fromkeys(("LO", "LT", "PN", "SH", "ST", "UC", "UT"), "Zebrafinch"),
    "AE": "ZEBRAFINCH",
    "CS": "ZEBRAFINCH",
    "UR": "http://Zebrafinch.org",
    "UI": UIDS[0],
    "DA": "19470309",
    "TM": "091843",
    "DT": "20210617091843",
    **dict.fromkeys(("OB", "OW", "UN"), b"Zebrafinch"),
}


def every_row() -> Dataset:
    """All rows of the table that can stand in a data set, each with a canary."""
    item = Dataset()
    for row in rules():
        tag = Tag(row.tag.replace("x", "0"))
        vr = row.vr or "OB"
        if tag.group > 4 and vr in VALUES:
            item.add(DataElement(tag, vr, VALUES[vr]))
        elif vr == "SQ":
            inner = Dataset()
            inner.PatientName, inner.CodeMeaning, inner.ReferencedSOPInstanceUID = "Zebrafinch", "Zebrafinch", UIDS[1]
            item.add(DataElement(tag, vr, Sequence([inner])))
    return item


def nested() -> Dataset:
    """The whole table at depths 1 to 3, with private elements and local codes beside it."""
    inner = every_row()
    for keyword in reversed(WAY[1:]):
        outer = every_row()
        outer.add(DataElement(Tag(0x00091010), "LO", "Zebrafinch"))
        outer.add(DataElement(Tag(0x00090010), "LO", "ZEBRAFINCH 01"))
        outer.CodeValue, outer.CodingSchemeDesignator, outer.CodeMeaning = "QX-4711-77", "99FINCH", "Zebrafinch"
        setattr(outer, keyword, Sequence([inner]))
        inner = outer
    return inner


def plant(ds: Dataset, count: int) -> None:
    """Canaries in one file; what tells which series and slice it is stays."""
    kept = {keyword: ds[keyword].value for keyword in KEPT}
    groups = {element.tag for element in ds if element.VR == "SQ"}
    for element in every_row():
        if element.tag not in groups and element.tag.group < 0x5000:
            ds[element.tag] = element
    for keyword, value in kept.items():
        setattr(ds, keyword, value)
    characters, name = CHARACTER_SETS[count % len(CHARACTER_SETS)]
    ds.SpecificCharacterSet, ds.PatientName = characters, name
    ds.Manufacturer = "Zebrafinch GmbH, Finkenweg 17"
    ds.PatientAddress, ds.PatientComments = "Finkenweg 17", "born 1947-03-09, 09.03.1947"
    ds.PatientSex, ds.PatientAge = "F", "074Y"
    ds.StudyDate, ds.StudyTime, ds.ContentDate = "20210617", "091843", "20210617"
    setattr(ds, WAY[0], Sequence([nested()]))
    _bulk(ds)


def _bulk(ds: Dataset) -> None:
    """Overlay, curve, icon, structured content, private elements, padding."""
    finch = b"Zebrafinch"
    for tag, vr in ((0x60003000, "OB"), (0x50003000, "OB"), (0xFFFCFFFC, "OB"), (0x00281200, "OB")):
        ds.add(DataElement(Tag(tag), vr, finch))
    ds.add(DataElement(Tag(0x60000022), "LO", "Zebrafinch"))
    icon, content = Dataset(), Dataset()
    icon.Rows, icon.Columns, icon.PixelData, icon.BitsAllocated, icon.PixelRepresentation = 1, 10, finch, 8, 0
    icon["PixelData"].VR = "OB"
    content.ValueType, content.TextValue, content.PersonName = "TEXT", "Zebrafinch", "Zebrafinch"
    ds.IconImageSequence, ds.ContentSequence = Sequence([icon]), Sequence([content])
    for creator, group, values in (
        ("SIEMENS CSA HEADER", 0x29, {0x1010: ("OB", finch), 0x1020: ("OB", finch)}),
        ("SIEMENS MR HEADER", 0x19, {0x1008: ("CS", "ZEBRAFINCH"), 0x100C: ("LO", "Zebrafinch")}),
        ("ZEBRAFINCH", 0x11, {0x1001: ("LO", "Zebrafinch"), 0x1002: ("UI", UIDS[1])}),
    ):
        ds.add(DataElement(Tag(group, 0x10), "LO", creator))
        for element, (vr, value) in values.items():
            ds.add(DataElement(Tag(group, element), vr, value))
    ds.preamble = b"Zebrafinch 19470309".ljust(128)
    ds.file_meta.SourceApplicationEntityTitle = "ZEBRAFINCH"
    ds.file_meta.ImplementationVersionName = "ZEBRAFINCH"
    ds.file_meta.PrivateInformationCreatorUID, ds.file_meta.PrivateInformation = UIDS[1], finch


def save(ds: Dataset, path: Path, count: int) -> None:
    syntaxes = (
        *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
        RLELossless,
    )
    syntax = syntaxes[count % len(syntaxes)]
    if syntax == RLELossless:
        ds.compress(RLELossless, generate_instance_uid=False)
    if syntax == ExplicitVRBigEndian:
        ds.PixelData = b"".join(ds.PixelData[i : i + 2][::-1] for i in range(0, len(ds.PixelData), 2))
    list(ds.iterall())  # read, so that it can be written in another byte order
    plain = Dataset(ds)
    plain.file_meta, plain.preamble = ds.file_meta, ds.preamble
    plain.file_meta.TransferSyntaxUID = syntax
    path.parent.mkdir(parents=True, exist_ok=True)
    plain.save_as(path, enforce_file_format=True)


def second_echo(folder: Path, series: str) -> None:
    """Makes a series one of two volumes."""
    for path in sorted(folder.iterdir()):
        ds = dcmread(path)
        if ds.SeriesInstanceUID == series:
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ds.SOPInstanceUID}.2"
            ds.EchoTime = float(ds.EchoTime) + 50
            ds.save_as(folder / f"{path.stem}.2.dcm", enforce_file_format=True)


def pack(folder: Path) -> None:
    """Every fifth file gzipped, and every fifth into an archive with telling names, where some text lies, too."""
    files = sorted(folder.rglob("QX*.dcm"))
    with zipfile.ZipFile(folder / "Zebrafinch^Jane 19470309.zip", "w") as packed:
        packed.writestr("Zebrafinch/QX-4711-77.txt", "Zebrafinch, born 19470309")
        for path in files[::5]:
            packed.write(path, f"ツバメ太郎/Zebrafinch^Jane {path.name}")
            path.unlink()
    for path in files[1::5]:
        path.with_suffix(".dcm.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
