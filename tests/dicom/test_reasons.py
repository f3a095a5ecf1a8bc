"""The codes as they are documented."""

from __future__ import annotations

import re

from pipeline.dicom import geometry, source
from pipeline.dicom.reasons import REASONS


def test_every_code_is_documented_in_the_order_in_which_it_is_asked(root):
    codes = (root / "docs/ingest.md").read_text().partition("\n## Codes\n")[2]
    assert re.findall(r"^\| `(\w+)` \|", codes, re.MULTILINE) == [*REASONS]


def test_documented_constants_exist(root):
    codes = (root / "docs/ingest.md").read_text().partition("\n## Codes\n")[2]
    for name in re.findall(r"`(?:source\.)?([A-Z_]{5,})`", codes):
        assert hasattr(geometry, name) or hasattr(source, name), name
