"""Networks by name, without their heads, at the side of picture that is wanted, with weights made for another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pipeline.errors import ConfigError, StemError, WeightsError
from pipeline.training_config import Backbone
from pipeline.transfer import backbone, heads, stem
from pipeline.transfer.networks import create
from pipeline.transfer.resolution import sized
from tests.families import Family, each_family, network


def _file(name: str, **more: Any) -> Backbone:
    return Backbone.model_validate({"name": name, "weights": "file", "file": Path("weights.safetensors"), **more})


@each_family
def test_the_head_on_the_trunk_is_the_network(family: Family) -> None:
    whole = network(family, classes=7)
    assert len(heads.paths(whole)) == 1
    head = whole.get_submodule(backbone.head_path(whole))
    pictures = torch.rand(3, 3, family.size, family.size)
    with torch.no_grad():
        wanted = whole(pictures)
        features = backbone.trunk(whole)(pictures)
        scores = head(features if isinstance(head, nn.Linear) else features[:, :, None, None])
    assert features.ndim == 2
    torch.testing.assert_close(scores.flatten(1), wanted)
    assert wanted.shape == (3, 7)
    assert sum(parameter.numel() for parameter in head.parameters()) == (features.shape[1] + 1) * 7


@pytest.mark.parametrize(
    ("name", "size", "expected", "features"),
    [
        ("deit_tiny_distilled_patch16_224", 224, ["head", "head_dist"], 192),
        ("levit_128s", 224, ["head.linear", "head_dist.linear"], 384),
        ("levit_384_s8", 224, ["head.linear", "head_dist.linear"], 768),  # timm's description leaves one out
        ("torchvision/squeezenet1_1", 64, ["classifier.1"], 512),
        ("mobilenetv3_small_050", 64, ["classifier"], 1024),
        ("torchvision/vit_b_32", 224, ["heads.head"], 768),
        ("inception_v4", 75, ["last_linear"], 1536),
    ],
)
def test_heads_of_other_kinds(name: str, size: int, expected: list[str], features: int) -> None:
    net = create(name, {}, classes=7)
    assert heads.paths(net) == expected
    assert all(net.get_submodule(path).weight.shape[0] == 7 for path in expected)
    assert backbone.feature_count(backbone.trunk(net), size, channels=3) == features
    assert heads.paths(net) == [] or name.startswith("torchvision/")


@pytest.mark.parametrize("name", ["torchvision/inception_v3", "torchvision/googlenet"])
def test_auxiliary_classifiers_are_off_while_the_trunk_learns(name: str) -> None:
    net = create(name, {}, classes=7)
    count = len(list(net.parameters()))
    trunk = backbone.trunk(net).train()
    assert isinstance(trunk(torch.rand(2, 3, 80, 80)), torch.Tensor)
    assert len(list(trunk.parameters())) < count - 4
    assert backbone.source(name, net).mean == (0.5, 0.5, 0.5)


class OnlyInEvaluation(nn.Module):
    def __init__(self, instead: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.norm, self.instead = nn.BatchNorm2d(1), instead

    def forward(self, slices: torch.Tensor) -> object:
        features = self.norm(slices).flatten(1)
        return self.instead(features) if self.training else features


@pytest.mark.parametrize(
    ("instead", "found"),
    [
        (lambda features: (features, None), "a tuple"),
        (lambda features: features[:, :5], "5 where it gives 64"),
        (lambda features: features[None], r"\(1, 2, 64\)"),
        (lambda features: features @ features, "RuntimeError: .*mat1"),
    ],
)
def test_a_network_that_does_something_else_in_training_is_an_error(
    instead: Callable[[torch.Tensor], object], found: str
) -> None:
    with pytest.raises(StemError, match=f"from net in training without its class scores; found {found}"):
        backbone.require_trainable(OnlyInEvaluation(instead), "net", 8)


def test_looking_at_a_trunk_in_training_leaves_it_as_it_was() -> None:
    net = OnlyInEvaluation(lambda features: features)
    backbone.require_trainable(net, "net", 8)
    assert int(net.norm.num_batches_tracked) == 0
    assert torch.equal(net.norm.running_mean, torch.zeros(1))  # type: ignore[arg-type]


def test_maps_are_no_features() -> None:
    with pytest.raises(StemError, match=r"\(2, F\), from Conv2d without its class scores; found \(2, 4, 6, 6\)"):
        backbone.feature_count(nn.Conv2d(1, 4, 3), 8)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("resnet19", r"'resnet19'\. Near to it: resnet1.*torchvision/resnet18"),
        ("torchvision/resnet19", r"Near to it: .*torchvision/resnet1"),
        ("torchvision/fasterrcnn_resnet50_fpn", "a network of timm, or torchvision/<name>"),  # it would fetch weights
        ("resnet18.nosuchtag", "Invalid pretrained tag"),
    ],
)
def test_a_name_that_is_no_backbone_is_an_error(name: str, found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        create(name, {})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {"depth": 3}),
        ("torchvision/resnet18", {"pretrained_too": True}),
        ("torchvision/vit_b_32", {"image_size": 65}),
        ("vit_tiny_patch16_224", {"img_size": "large"}),
        ("resnet18", {"num_classes": 3}),
    ],
)
def test_options_that_the_network_does_not_take_are_an_error(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"options that {name} takes in backbone.options; found .*Error: "):
        create(name, options)


@pytest.mark.parametrize(
    ("name", "options", "size", "expected"),
    [
        ("resnet18", {}, 64, {}),
        ("vit_tiny_patch16_224", {}, 224, {}),
        ("vit_tiny_patch16_224", {}, 64, {"img_size": 64}),
        ("vit_tiny_patch16_224.augreg_in21k", {}, 64, {"img_size": 64}),
        ("vit_tiny_patch16_224", {"img_size": 96}, 64, {"img_size": 96}),
        ("vit_tiny_patch16_224", {"class_token": False}, 64, {"class_token": False, "img_size": 64}),
        ("torchvision/vit_b_32", {}, 64, {"image_size": 64}),
        ("torchvision/vit_b_32", {}, 224, {}),
        ("torchvision/resnet18", {}, 64, {}),
        ("nosuchnetwork", {}, 64, {}),
    ],
)
def test_a_network_made_for_one_side_is_told_it(
    name: str, options: dict[str, Any], size: int, expected: dict[str, Any]
) -> None:
    assert sized(_file(name, options=options), size).options == expected


def test_the_embedded_network_is_left_as_it_was() -> None:
    chosen = _file("vit_tiny_patch16_224", weights="embedded")
    assert sized(chosen, 64) == chosen


@pytest.mark.parametrize(
    ("name", "own", "tensor"),
    [
        ("vit_tiny_patch16_224", {"img_size": 96}, "pos_embed"),
        ("torchvision/vit_b_32", {"image_size": 96}, "encoder.pos_embedding"),
        ("swin_s3_tiny_224", {"img_size": 128}, "layers.2.blocks.0.attn.relative_position_bias_table"),
    ],
)
def test_weights_of_another_side_are_resampled_and_said(
    name: str, own: dict[str, int], tensor: str, tmp_path: Path
) -> None:
    torch.manual_seed(4)
    made = create(name, own, classes=5)
    save_file(made.state_dict(), tmp_path / "weights.safetensors")
    chosen = sized(_file(name, file=tmp_path / "weights.safetensors"), 64)
    network_, weights, stated = backbone.load(chosen)
    assert tensor in weights.resampled
    assert all(any(word in key for word in ("pos_embed", "relative_position")) for key in weights.resampled)
    same = {
        key for key, value in network_.state_dict().items() if torch.equal(value, made.state_dict().get(key, value[:0]))
    }
    assert set(network_.state_dict()) - same == set(weights.resampled)
    adapted = stem.adapt(network_, name, stated.mean, stated.std)
    stem.prove(network_, adapted, name, stated.mean, stated.std, 64)


def test_weights_of_another_patch_are_not_made_to_fit(tmp_path: Path) -> None:
    save_file(create("vit_small_patch32_224", {}, 5).state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(WeightsError, match="patch_embed.proj.weight|of another shape"):
        backbone.load(_file("vit_small_patch16_224", file=tmp_path / "weights.safetensors"))


def test_weights_published_without_a_head(tmp_path: Path) -> None:
    name, options = "vit_small_patch16_dinov3", {"depth": 2}
    made = create(name, options, classes=0)
    save_file(made.state_dict(), tmp_path / "weights.safetensors")
    chosen = sized(_file(name, options=options, file=tmp_path / "weights.safetensors"), 64)
    network_, _, stated = backbone.load(chosen)
    adapted = stem.adapt(network_, name, stated.mean, stated.std)
    stem.prove(network_, adapted, name, stated.mean, stated.std, 64)
    trunk = backbone.trunk(adapted)
    assert backbone.feature_count(trunk, 64) == 384
    assert backbone.empty_trunk(name, chosen.options).state_dict().keys() == trunk.state_dict().keys()


def test_a_network_whose_loader_wants_a_version_takes_mere_tensors(tmp_path: Path) -> None:
    save_file(create("torchvision/mnasnet0_75", {}, 5).state_dict(), tmp_path / "weights.safetensors")
    network_, _, _ = backbone.load(_file("torchvision/mnasnet0_75", file=tmp_path / "weights.safetensors"))
    adapted = stem.adapt(network_, "mnasnet", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    adapted.load_state_dict({key: value + 1 for key, value in adapted.state_dict().items()})
    assert not torch.equal(adapted.state_dict()["layers.3.weight"], network_.state_dict()["layers.3.weight"])
