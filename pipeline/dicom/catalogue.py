"""Which files make a series, and little more: so that memory hardly grows with the number of series.

A header in memory takes some 2 kB, a path here about its own length. So headers are read once to tell the series, and
again when it is the turn of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipeline.contract import Selection
from pipeline.dicom.admission import Verdict, group, judge
from pipeline.dicom.encoded import Header
from pipeline.dicom.header import Instance, read_headers
from pipeline.dicom.reasons import Rejection
from pipeline.dicom.sources import relative

_END = b"\0"  # no path holds it


@dataclass(frozen=True)
class Files:
    """Files below a folder, compactly; for memory only, as paths can identify.

    Attributes:
        folder: below which they lie.
        packed: their paths relative to it, each with `_END` behind it.
    """

    folder: Path
    packed: bytes = field(repr=False)

    @property
    def names(self) -> list[str]:
        """Their paths below the folder, as `within` gives them."""
        return [path.decode("utf-8", "surrogatepass") for path in self.packed.split(_END)[:-1]]

    @property
    def paths(self) -> list[Path]:
        """Their whole paths."""
        return [self.folder / name for name in self.names]


@dataclass(frozen=True)
class Series:
    """The files under one SeriesInstanceUID that are refused for one reason, or not.

    Attributes:
        uid: SeriesInstanceUID.
        refusal: as in `Instance`; empty for none.
        files: all of them.
    """

    uid: str = field(repr=False)
    refusal: str
    files: Files


class Member(NamedTuple):
    """What of a header tells to which series a file belongs; identifying.

    Attributes:
        path: where it lies.
        series_uid: empty for none.
        refusal: as in `Instance`, or why the file belongs to no series; empty for none.
        patient_id: empty where unknown.
    """

    path: str
    series_uid: str
    refusal: str
    patient_id: str


#: A file that belongs to a series: its SeriesInstanceUID, its refusal, and its packed path.
Placed = tuple[str, str, bytes]


def pack(folder: Path, paths: Iterable[Path | str]) -> Files:
    """Files below a folder, which is one of the parents of each."""
    return Files(folder, b"".join(_packed(path, folder) for path in paths))


#: What the reader refuses beyond what headers tell: gives a header back, refused or as it is.
Mark = Callable[[Header], Header]


def as_it_is(header: Header) -> Header:
    """The `Mark` that refuses nothing."""
    return header


def headers(files: Files, marked: Mark = as_it_is) -> list[Header]:
    """Read the headers of files."""
    return [marked(header) for header in read_headers(files.paths)]


def place(files: Files, marked: Mark = as_it_is) -> list[Placed | Rejection]:
    """Read the headers of files: to which series each belongs, or why to none."""
    return [placed(member(header), files.folder) for header in headers(files, marked)]


def member(header: Header) -> Member:
    """What of a header is needed to place its file."""
    if isinstance(header, Rejection):
        return Member(header.source, "", header.reason, "")
    refusal = header.refusal or ("" if header.series_uid else "no_identity")
    return Member(str(header.path), header.series_uid, refusal, header.patient_id)


def placed(file: Member, folder: Path) -> Placed | Rejection:
    """To which series a file belongs, or why to none; the source is then relative to the folder."""
    if not file.series_uid:
        return Rejection(relative(folder / within(file.path, folder), folder), file.refusal)
    return file.series_uid, file.refusal, _packed(file.path, folder)


class Catalogue:
    """The series below a folder, and the files of none.

    Attributes:
        refused: the files of no series, in the order of their paths.
    """

    def __init__(self, folder: Path, placed: Iterable[Placed | Rejection]) -> None:
        self._folder = folder
        self._files: dict[tuple[str, str], bytearray] = {}
        refused = []
        for file in placed:
            if isinstance(file, Rejection):
                refused.append(file)
            else:
                *key, path = file
                self._files.setdefault((key[0], key[1]), bytearray()).extend(path)
        self.refused: Sequence[Rejection] = sorted(refused, key=lambda rejection: rejection.source)

    def __len__(self) -> int:
        """How many series there are."""
        return len(self._files)

    def __iter__(self) -> Iterator[Series]:
        """The series in the order of their UIDs."""
        for uid, refusal in sorted(self._files):
            yield Series(uid, refusal, Files(self._folder, bytes(self._files[uid, refusal])))


def judge_series(series: Series, selection: Selection | None, marked: Mark = as_it_is) -> list[Verdict]:
    """Read the headers of a series again: what becomes of each of its volumes, and of the rest of it."""
    return judge_headers(series, headers(series.files, marked), selection)


def judge_headers(series: Series, present: Sequence[Header], selection: Selection | None) -> list[Verdict]:
    """What becomes of a series by the headers that its files have now."""
    found, refused = group(present)
    if len(found) == 1 and not refused and len(found[0]) == series.files.packed.count(_END):
        first = found[0][0]
        if (first.series_uid, first.refusal or "") == (series.uid, series.refusal):
            return judge(found[0], selection)
    # It changed since it was catalogued, as what is found to change when pixels are read.
    lost = Instance(series.files.paths[0], None, "", series.uid, "", "", "")
    return [Verdict(lost, None, reason="unreadable_pixels")]


def _packed(path: Path | str, folder: Path) -> bytes:
    return within(path, folder).encode("utf-8", "surrogatepass") + _END


def within(path: Path | str, folder: Path) -> str:
    """`path.relative_to(folder)` as text, for a path that begins so; many times faster."""
    return str(path).removeprefix(f"{folder}/")
