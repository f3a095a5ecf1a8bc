"""Names keep the bytes in which they came, in the report and in the summary."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from deploy.box import report, summary
from deploy.box.answered import Answered
from pipeline.contract import load
from pipeline.inference.predict import Prediction
from tests.inference.conftest import Maker, SeriesWriter

#: PS3.5, H.3.1 and H.3.2; I.2 (Korean); and Latin-1, UTF-8.
JAPANESE = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"
HALF_WIDTH = b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J"
KOREAN = b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"
NAMES = [
    (["ISO_IR 100"], b"M\xfcller^J\xf6rg"),
    (["", "ISO 2022 IR 87"], JAPANESE),
    (["ISO 2022 IR 13", "ISO 2022 IR 87"], HALF_WIDTH),
    (["", "ISO 2022 IR 149"], KOREAN),
    (["ISO_IR 192"], "Müller^Jörg=山田^太郎".encode()),
]


@pytest.mark.parametrize(("character_set", "name"), NAMES, ids=[" ".join(sets) for sets, _ in NAMES])
def test_names_keep_their_bytes(
    make_release: Maker, write_series: SeriesWriter, tmp_path: Path, character_set: list[str], name: bytes
) -> None:
    even = name + b" " * (len(name) % 2)
    write_series(tmp_path / "study", 1, SpecificCharacterSet=character_set, PatientName="X" * len(even))
    for path in (tmp_path / "study").iterdir():
        # As a scanner writes it, not as a library would.
        path.write_bytes(path.read_bytes().replace(b"X" * len(even), even))
    images = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted((tmp_path / "study").iterdir())]
    said = [Prediction(images[0].StudyInstanceUID, images[0].SeriesInstanceUID, probabilities=(0.5,), decision="1")]
    answered = Answered(images, said, load(make_release(tmp_path / "release")), "ab" * 32, "ONNX Runtime, fp32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = {"sr": report.encoded(answered), "sc": summary.encoded(answered, [])}
    for content in made.values():
        assert b"\x10\x00\x10\x00PN" + len(even).to_bytes(2, "little") + even in content
        read = pydicom.dcmread(BytesIO(content))
        assert read.SpecificCharacterSet == images[0].SpecificCharacterSet
        assert read.PatientName == images[0].PatientName
