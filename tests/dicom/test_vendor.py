from __future__ import annotations

import pytest

from pipeline.dicom.vendor import vendor


@pytest.mark.parametrize("name", ["SIEMENS", "Siemens HealthCare GmbH", "siemens healthineers"])
def test_siemens_by_any_spelling(name):
    assert vendor(name) == "Siemens"


@pytest.mark.parametrize("name", ["GE MEDICAL SYSTEMS", "GE", "GE_MEDICAL_SYSTEMS", "General Electric", "GEMS"])
def test_ge_by_any_spelling(name):
    assert vendor(name) == "GE"


def test_other_vendors():
    assert vendor("Philips Medical Systems") == "Philips"
    assert vendor(" TOSHIBA_MEC ") == vendor("Canon Medical Systems") == "Canon"
    assert vendor("UIH") == vendor("United Imaging Healthcare") == "UIH"
    assert vendor("Bruker BioSpin MRI GmbH") == "Bruker"
    assert vendor("") == vendor(" ") == ""


def test_a_manufacturer_that_nobody_knows_is_not_repeated():
    """Whoever typed a name there finds it nowhere else."""
    assert vendor("Gerhard Scanners") == vendor("Zebrafinch^Jane 19470309") == "other"
