"""Crops that can be repeated, and colours."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.transfer import views

WHOLE = torch.tensor([[0.0, 0.0, 1.0, 1.0, 1.0]])


def pixels() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8))


def test_boxes_lie_in_the_image_and_keep_their_share_of_it() -> None:
    found = views.boxes(500, 1)
    assert (np.abs(found[:, :2]) + found[:, 2:4] <= 1 + 1e-6).all()
    area = found[:, 2] * found[:, 3]
    assert area.min() < 0.12
    assert area.max() > 0.9
    assert set(found[:, 4]) == {-1.0, 1.0}
    np.testing.assert_array_equal(views.boxes(500, 1), found)
    assert (views.boxes(500, 2) != found).any()


def test_the_whole_is_the_image_and_a_mirrored_box_its_mirror() -> None:
    image = pixels()
    expected = image.permute(0, 3, 1, 2).float() / 255
    torch.testing.assert_close(views.whole(image, 16), expected, atol=1e-5, rtol=0)
    mirrored = WHOLE * torch.tensor([1, 1, 1, 1, -1])
    torch.testing.assert_close(views.crop(image, mirrored, 16), expected.flip(3), atol=1e-5, rtol=0)


def test_a_box_cuts_out_its_part() -> None:
    image = torch.zeros(1, 16, 16, 3, dtype=torch.uint8)
    image[:, 8:, 8:] = 255
    part = torch.tensor([[0.5, 0.5, 0.4, 0.4, 1.0]])
    assert views.crop(image, part, 8).min() > 0.999


def test_recolouring_stays_in_range_and_makes_its_share_grey() -> None:
    batch = views.whole(pixels(), 16).repeat(400, 1, 1, 1)
    out = views.recolour(batch, np.random.default_rng(0))
    assert out.min() >= 0
    assert out.max() <= 1
    grey = (out - out.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 1e-6
    assert abs(grey.float().mean().item() - views.GREY) < 0.08
    again = views.recolour(batch, np.random.default_rng(0))
    assert torch.equal(out, again)
