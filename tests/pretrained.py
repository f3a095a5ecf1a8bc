"""What the backbone stage leaves about weights, for tests of the stages after it."""

from __future__ import annotations

from typing import Any

#: How an embedded backbone was trained, as its card says.
TRAINED: dict[str, Any] = {
    "data": "ImageNet subset, 200 classes, 64x64",
    "classes": 200,
    "resolution": 64,
    "epochs": 40,
    "top1": 0.5512,
    "top1_images": 10000,
    "teachers": ["mobilenetv2_100"],
}


def card(name: str = "mobilenetv2_100", **changes: Any) -> dict[str, Any]:
    """`models/backbone/card.json` of weights from a file."""
    return {
        "name": name,
        "options": {},
        "weights": "file",
        "origin": f"{name}.safetensors",
        "sha256": "12" * 32,
        "verified": "not verified",
        "resampled": [],
        "licence": "apache-2.0",
        "restriction": None,
        "trained": None,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "parity": {"max_abs_logit_difference": 1e-6, "tolerance": 1e-4, "size": 64},
        "origins": [],
        **changes,
    }


def embedded_card() -> dict[str, Any]:
    """The same of an embedded backbone, whose licence forbids commercial use."""
    return card(
        "resnet10t",
        weights="embedded",
        origin=f"embedded: {TRAINED['data']}",
        verified="SHA-256 as stated by its card",
        licence="weights learnt from ImageNet images, whose terms allow non-commercial research",
        restriction="No commercial use: the licence of the pre-trained weights forbids it.",
        trained=TRAINED,
    )
