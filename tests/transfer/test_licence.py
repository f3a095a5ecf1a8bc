"""Which licences are taken to forbid commercial use."""

from __future__ import annotations

import pytest
import timm

from pipeline.transfer.licence import restriction


@pytest.mark.parametrize(
    "licence",
    [
        "cc-by-nc-4.0",
        "CC BY-NC-SA 4.0",
        "fair-noncommercial-research-license",
        "for non-commercial use",
        "Non commercial",
        "research use only",
        "weights learnt from ImageNet images, whose terms allow non-commercial research",
        "apple-amlr",
    ],
)
def test_they_are_named(licence: str) -> None:
    assert str(restriction(licence)).startswith("No commercial use")


@pytest.mark.parametrize(
    "licence",
    ["apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "apple-ascl", "not stated by timm", "Licence of Incept Inc."],
)
def test_others_are_not(licence: str) -> None:
    assert restriction(licence) is None


def test_it_knows_what_timm_writes() -> None:
    """A network of each kind, so that another way of writing in timm shows here."""
    stated = {name: timm.get_pretrained_cfg(name).license for name in ("convnextv2_atto.fcmae", "resnet18.a1_in1k")}
    assert restriction(stated["convnextv2_atto.fcmae"])
    assert not restriction(stated["resnet18.a1_in1k"])
