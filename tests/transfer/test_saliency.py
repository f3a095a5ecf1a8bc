"""Grad-CAM on networks whose maps lie differently: channels first, channels last, and tokens."""

import numpy as np
import pytest
import torch

from pipeline.errors import TrainingError
from pipeline.transfer.backbone import empty_trunk, feature_count
from pipeline.transfer.model import TransferModel
from pipeline.transfer.saliency import _as_map, _last_map, saliency

VIT = {"img_size": 64, "patch_size": 16, "embed_dim": 32, "depth": 3, "num_heads": 2}
SWIN = {"img_size": 64, "patch_size": 4, "embed_dim": 16, "depths": (2, 2), "num_heads": (2, 2), "window_size": 4}


class Brightness(torch.nn.Module):
    """Of each quarter of the picture its brightness, in the form in which a family of networks passes it on."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.scale = torch.nn.Linear(1, 1)
        torch.nn.init.ones_(self.scale.weight)
        torch.nn.init.zeros_(self.scale.bias)
        self.last = torch.nn.Identity()
        self.form = form

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        quarters = torch.nn.functional.avg_pool2d(slices, slices.shape[2] // 4).permute(0, 2, 3, 1)
        inside = self.scale(quarters).repeat(1, 1, 1, 3)
        if self.form == "tokens":
            tokens = inside.flatten(1, 2)
            tokens = torch.cat([torch.zeros_like(tokens[:, :1]), tokens], 1)
            return self.last(tokens)[:, 1:].mean((1, 2))[:, None]
        if self.form == "channels first":
            inside = inside.permute(0, 3, 1, 2)
        return self.last(inside).mean((1, 2, 3))[:, None]


def bright(corner: tuple[int, int]) -> np.ndarray:
    slices = np.zeros((1, 32, 32), np.uint8)
    slices[0, corner[0] : corner[0] + 8, corner[1] : corner[1] + 8] = 255
    return slices


@pytest.mark.parametrize("form", ["channels first", "channels last", "tokens"])
@pytest.mark.parametrize("corner", [(0, 24), (16, 8)])
def test_the_peak_is_where_the_picture_speaks_for_the_class(form, corner):
    model = TransferModel(Brightness(form), 1)
    torch.nn.init.ones_(model.head.logits.weight)
    heat = saliency(model, bright(corner), np.zeros(1, np.int64))[0]
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert corner[0] <= row < corner[0] + 8
    assert corner[1] <= column < corner[1] + 8
    assert heat.max() == 1


@pytest.mark.parametrize(
    ("name", "options"),
    [("vit_tiny_patch16_224", VIT), ("swin_tiny_patch4_window7_224", SWIN), ("resnet10t", {})],
    ids=["class token", "channels last", "channels first"],
)
def test_real_families_give_maps_that_follow_their_input(name, options):
    torch.manual_seed(1)
    trunk = empty_trunk(name, options)
    model = TransferModel(trunk, feature_count(trunk, 64))
    torch.nn.init.normal_(model.head.logits.weight)
    slices = np.random.default_rng(0).integers(0, 255, (3, 64, 64)).astype(np.uint8)
    heat = saliency(model, slices, np.zeros(3, np.int64), batch=2)
    assert heat.shape == (3, 64, 64)
    assert heat.min() >= 0
    assert all(np.ptp(each) > 0.05 for each in heat), "a map that is flat shows nothing"
    np.testing.assert_allclose(heat[2], saliency(model, slices[2:], np.zeros(1, np.int64))[0], atol=1e-4)


def test_of_a_small_picture_a_finer_layer_is_taken_than_the_last():
    torch.manual_seed(1)
    trunk = empty_trunk("resnet10t", {})
    model = TransferModel(trunk, feature_count(trunk, 128))
    torch.nn.init.normal_(model.head.logits.weight)
    example = torch.rand(1, 1, 128, 128)
    model.eval()
    names = {module: name for name, module in trunk.named_modules()}
    assert names[_last_map(model, example, 0)].startswith("layer3")
    assert names[_last_map(model, torch.rand(1, 1, 224, 224), 0)].startswith("layer4")
    assert names[_last_map(model, torch.rand(1, 1, 32, 32), 0)] in names.values()


def test_maps_are_told_from_what_is_none():
    assert _as_map(torch.zeros(2, 5, 4, 4), None, False).shape == (2, 5, 4, 4)
    assert _as_map(torch.zeros(2, 4, 4, 5), None, False).shape == (2, 5, 4, 4)
    assert _as_map(torch.zeros(2, 17, 6), None, False).shape == (2, 6, 4, 4)
    assert _as_map(torch.zeros(2, 20, 6), 4, False).shape == (2, 6, 4, 4)
    first = torch.arange(64.0).reshape(1, 4, 4, 4)
    assert torch.equal(_as_map(first, None, True)[0, 1], first[0, :, :, 1])
    assert torch.equal(_as_map(first, None, False)[0, 1], first[0, 1])
    for shape in ((2, 5), (2, 5, 1, 1), (2, 3, 4, 5), (2, 13, 6)):
        assert _as_map(torch.zeros(shape), 1 if len(shape) == 3 else None, False) is None


def test_a_network_without_any_map_is_named():
    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.only = torch.nn.Linear(1024, 4)

        def forward(self, slices: torch.Tensor) -> torch.Tensor:
            return self.only(slices.flatten(1))

    with pytest.raises(TrainingError, match="width and height"):
        saliency(TransferModel(Flat(), 4), bright((0, 0)), np.zeros(1, np.int64))


def test_no_slices_give_no_maps():
    model = TransferModel(Brightness("channels first"), 1)
    assert saliency(model, np.zeros((0, 32, 32), np.uint8), np.zeros(0, np.int64)).shape == (0, 32, 32)
