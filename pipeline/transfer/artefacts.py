"""What a scanner does to an image, as changes of many slices at once on their device.

The definitions are those of MONAI's transforms, which take one image with one strength at a time and, but for Gibbs
ringing, compute in NumPy. MONAI has no motion; it is made here as Shaw et al. do, without their rotations.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from monai.transforms import GibbsNoise
from monai.transforms.utils import Fourier
from monai.utils import convert_to_tensor
from numpy.polynomial import legendre

#: Highest degree of a bias field's polynomials, both axes together; the constant is left out, being a gain.
DEGREE = 3
TERMS = (DEGREE + 1) * (DEGREE + 2) // 2 - 1

#: How often a patient moves while the lines of one slice are acquired.
EVENTS = 3
#: Random numbers that one motion takes: the moments, and a position (two axes) before and after each.
MOTION_DRAWS = EVENTS + 2 * (EVENTS + 1)


def bias_field(slices: torch.Tensor, coefficients: torch.Tensor, log_gain: torch.Tensor) -> torch.Tensor:
    """Multiplied by exp of Legendre polynomials, the shading of a receive coil.

    Van Leemput et al., IEEE Trans Med Imaging 18 (1999) 885, as in MONAI's RandBiasField, whose form for two axes
    leaves out the polynomials of the columns alone.

    Args:
        slices: float (N, 1, H, W).
        coefficients: (N, TERMS), their relation to each other.
        log_gain: (N,), the field's largest deviation, up or down, as a logarithm.
    """
    basis = _polynomials(slices.shape[-2], slices.shape[-1]).to(slices.device)
    field = torch.einsum("nt,thw->nhw", coefficients, basis)
    largest = field.abs().amax(dim=(1, 2)).clamp_min(1e-6)
    return slices * torch.exp(field * (log_gain / largest).view(-1, 1, 1)).unsqueeze(1)


@functools.lru_cache(maxsize=4)
def _polynomials(height: int, width: int) -> torch.Tensor:
    """(TERMS, H, W) products of Legendre polynomials over -1..1."""
    rows, columns = np.linspace(-1, 1, height), np.linspace(-1, 1, width)
    degrees = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i) if i + j]
    planes = []
    for place in degrees:
        one = np.zeros((DEGREE + 1, DEGREE + 1))
        one[place] = 1
        planes.append(legendre.leggrid2d(rows, columns, one))
    return torch.from_numpy(np.stack(planes).astype(np.float32))


def gibbs(slices: torch.Tensor, resolution: float) -> torch.Tensor:
    """The ringing of an acquisition with fewer lines, by MONAI's GibbsNoise.

    Args:
        slices: float (N, 1, H, W).
        resolution: share of the k-space radius that is kept; its corners are always lost.
    """
    kept = GibbsNoise(alpha=1 - resolution / math.sqrt(2))  # whose 0 keeps the corners
    plain: torch.Tensor = convert_to_tensor(kept(slices[:, 0]), track_meta=False)
    return plain.abs().unsqueeze(1)


def rician(slices: torch.Tensor, sigma: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The magnitude of a signal with complex Gaussian noise, as in MONAI's RandRicianNoise.

    Gudbjartsson and Patz, Magn Reson Med 34 (1995) 910. Where there is no signal its mean is sigma * sqrt(pi / 2).

    Args:
        slices: float (N, 1, H, W).
        sigma: (N,), the standard deviation of each part.
        generator: on the device of `slices`.
    """
    noise = torch.randn((2, *slices.shape), generator=generator, device=slices.device) * sigma.view(-1, 1, 1, 1)
    return torch.hypot(slices + noise[0], noise[1])


def motion(slices: torch.Tensor, drawn: torch.Tensor, shift: float) -> torch.Tensor:
    """A head that moves between the lines of k-space, and is where it was when the central one is acquired.

    Lines are acquired in order along the rows; those after an event are of the head in its new place, which is a linear
    phase (the Fourier shift theorem). Ghosts and ringing appear along the rows' axis. Shaw et al., PMLR 102 (2019) 427;
    Zaitsev et al., J Magn Reson Imaging 42 (2015) 887.

    Args:
        slices: float (N, 1, H, W).
        drawn: (N, MOTION_DRAWS) in 0..1.
        shift: largest distance from the middle between places, share of the width.
    """
    count, height, width = len(slices), slices.shape[-2], slices.shape[-1]
    lines = torch.arange(height, device=slices.device)
    segment = (lines.view(1, -1, 1) >= drawn[:, None, :EVENTS] * height).sum(-1)
    places = (drawn[:, EVENTS:].reshape(count, EVENTS + 1, 2) * 2 - 1) * shift * width
    place = places.gather(1, segment.unsqueeze(-1).expand(-1, -1, 2))
    place = place - place[:, height // 2].unsqueeze(1)
    rows = (lines - height // 2) / height
    columns = (torch.arange(width, device=slices.device) - width // 2) / width
    turns = place[..., :1] * rows.view(1, -1, 1) + place[..., 1:] * columns
    spectrum = Fourier.shift_fourier(slices[:, 0], 2) * torch.polar(torch.ones_like(turns), -2 * math.pi * turns)
    # Not MONAI's inverse: that takes the real part, and a scanner the magnitude.
    image: torch.Tensor = torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1)))
    return image.abs().unsqueeze(1)
