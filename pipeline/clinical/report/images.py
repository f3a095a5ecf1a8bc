"""Slices and saliency overlays as PNG in data URIs."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

#: The overlay goes from clear through this colour to the second one, which grey slices do not hold.
_WARM, _HOT = np.array([236.0, 92.0, 32.0]), np.array([255.0, 226.0, 96.0])
_OPACITY = 0.75


def grey_png(image: npt.NDArray[np.uint8]) -> str:
    """A data URI of a uint8 (H, W) slice."""
    return _uri(Image.fromarray(image))


def overlay_png(image: npt.NDArray[np.uint8], saliency: npt.NDArray[np.float32]) -> str:
    """A data URI of a uint8 (H, W) slice under its saliency, float32 (H, W) in 0..1: the more, the more opaque."""
    strength = np.clip(np.nan_to_num(saliency), 0, 1)[..., None].astype(np.float64)
    colour = _WARM + (_HOT - _WARM) * strength
    alpha = _OPACITY * strength
    mixed = image[..., None] * (1 - alpha) + colour * alpha
    return _uri(Image.fromarray(np.round(mixed).astype(np.uint8)))


def _uri(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode("ascii")
