"""Weights that are not what they say."""

from __future__ import annotations

import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.errors import ConfigError, WeightsError
from pipeline.files import sha256_file
from pipeline.training_config import Backbone
from pipeline.transfer.backbone import load, most_bytes
from pipeline.transfer.networks import create


def chosen(file: Path, name: str = "resnet10t", **more: object) -> Backbone:
    return Backbone.model_validate({"name": name, "weights": "file", "file": file, **more})


def test_a_whole_file_is_loaded(weights_file: Path) -> None:
    network, found, stated = load(chosen(weights_file))
    for key, value in load_file(weights_file).items():
        assert torch.equal(network.state_dict()[key], value)
    assert len(found.sha256) == 64
    assert stated.licence.startswith("not stated")  # the library's licence is that of its own release
    assert found.origin == "resnet10t.safetensors"
    assert found.verified == "not verified"


def test_a_checksum_pins_the_file(weights_file: Path) -> None:
    own = sha256_file(weights_file)
    assert load(chosen(weights_file, sha256=own))[1].verified == "SHA-256 as stated by backbone.sha256"
    with pytest.raises(WeightsError, match=rf"{'0' * 64} as stated by backbone\.sha256; found {own}"):
        load(chosen(weights_file, sha256="0" * 64))


def test_the_licence_of_a_file_is_what_the_user_states(weights_file: Path) -> None:
    assert load(chosen(weights_file, licence="CC-BY-NC-4.0"))[2].licence == "CC-BY-NC-4.0"
    with pytest.raises(ConfigError, match=r"backbone\.licence: null with weights: hub, which states its own"):
        load(chosen(weights_file, weights="hub", licence="MIT"))


def test_a_licence_that_forbids_commercial_use_can_be_refused(weights_file: Path) -> None:
    for licence in ("MIT", None):
        load(chosen(weights_file, licence=licence, allow_non_commercial=False))
    load(chosen(weights_file, licence="CC-BY-NC-4.0", allow_non_commercial=True))
    with pytest.raises(WeightsError, match=r"allow_non_commercial is false; found the licence 'CC-BY-NC-4\.0'"):
        load(chosen(weights_file, licence="CC-BY-NC-4.0", allow_non_commercial=False))


def test_a_folder_stands_for_the_one_file_in_it(weights_file: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="one weights file in .*; found none. Set backbone.file to one file"):
        load(chosen(tmp_path))
    shutil.copy(weights_file, tmp_path)
    assert load(chosen(tmp_path))[1].origin == weights_file.name
    shutil.copy(weights_file, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="found other.safetensors, resnet10t.safetensors"):
        load(chosen(tmp_path))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file. Check backbone.file"):
        load(chosen(tmp_path / "none.safetensors"))


@pytest.mark.parametrize("keep", [0, 5, 1000, -10])
def test_a_truncated_file(weights_file: Path, tmp_path: Path, keep: int) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights_file.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="whole safetensors file.*truncated"):
        load(chosen(cut))


def test_another_architecture(weights_file: Path) -> None:
    with pytest.raises(WeightsError, match="belongs to another architecture"):
        load(chosen(weights_file, "mobilenetv3_small_050"))
    with pytest.raises(WeightsError, match=r"tensors of resnet18.*missing.*unknown.*another architecture"):
        load(chosen(weights_file, "resnet18"))


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    path = tmp_path / "bomb.pth"
    torch.save({"w": Bomb()}, path)
    with pytest.raises(WeightsError, match="a pickle that holds other objects"):
        load(chosen(path))
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(WeightsError, match=r"pickle|cannot be read"):
        load(chosen(path))
    assert not (tmp_path / "ran").exists()


def test_a_pytorch_file_of_tensors_is_loaded(weights_file: Path, tmp_path: Path) -> None:
    torch.save(load_file(weights_file), tmp_path / "w.pth")
    load(chosen(tmp_path / "w.pth"))
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="a state dict in"):
        load(chosen(tmp_path / "other.pth"))


@pytest.mark.parametrize("name", ["large.pth", "large.safetensors"])
def test_a_file_that_is_too_large_is_not_opened(tmp_path: Path, name: str) -> None:
    most = most_bytes(create("resnet10t", {}))
    with open(tmp_path / name, "wb") as sparse:
        sparse.truncate(most + 1)
    with pytest.raises(WeightsError, match=f"at most {most} bytes.*found {most + 1}"):
        load(chosen(tmp_path / name))
    with open(tmp_path / name, "wb") as sparse:
        sparse.truncate(most)
    with pytest.raises(WeightsError, match="cannot be read"):
        load(chosen(tmp_path / name))


def test_a_zip_that_unpacks_to_too_much_is_not_unpacked(weights_file: Path, tmp_path: Path) -> None:
    torch.save(load_file(weights_file), tmp_path / "w.pth")
    with zipfile.ZipFile(tmp_path / "w.pth", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/zeros", bytes(1 << 28))
    assert (tmp_path / "w.pth").stat().st_size < most_bytes(create("resnet10t", {}))
    with pytest.raises(WeightsError, match="at most .*made to fill the memory"):
        load(chosen(tmp_path / "w.pth"))


def test_a_tensor_that_claims_more_than_it_holds_is_not_spread_out(weights_file: Path, tmp_path: Path) -> None:
    claims = load_file(weights_file) | {"more": torch.zeros(1, dtype=torch.float16).expand(1 << 30)}
    torch.save(claims, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"at most .*found 2\d{9}\."):
        load(chosen(tmp_path / "w.pth"))


def test_the_size_leaves_room_for_more_classes_and_for_half_or_double_precision(tmp_path: Path) -> None:
    for classes, kind in ((21843, torch.float32), (1000, torch.float64), (1000, torch.float16)):
        state = create("resnet10t", {}, classes).state_dict()
        floats = {key: value.to(kind) if value.is_floating_point() else value for key, value in state.items()}
        save_file(floats, tmp_path / "w.safetensors")
        network, found, _ = load(chosen(tmp_path / "w.safetensors"))
        assert {value.dtype for value in found.state.values()} <= {torch.float32, torch.int64}
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, classes)


def test_a_header_that_claims_more_than_the_file_is_refused(weights_file: Path, tmp_path: Path) -> None:
    content = weights_file.read_bytes()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + content[8:])
    with pytest.raises(WeightsError, match="whole safetensors file"):
        load(chosen(tmp_path / "w.safetensors"))


def test_an_unknown_network_names_near_ones() -> None:
    with pytest.raises(ConfigError, match="Near to it: .*resnet18"):
        create("resnet_18", {})


@pytest.mark.parametrize("name", ["hf-hub:timm/resnet18.a1_in1k", "hf_hub:timm/resnet18.a1_in1k", "local-dir:resnet18"])
def test_a_name_that_asks_a_hub_is_refused_wherever_the_weights_are(weights_file: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"the plain name of a network.*Near to it: .*resnet18"):
        load(chosen(weights_file, name))


def test_a_network_that_no_hub_has_is_said_to_be_so(weights_file: Path) -> None:
    with pytest.raises(WeightsError, match=r"found none for torchvision/resnet18.*set backbone\.weights: file"):
        load(chosen(weights_file, "torchvision/resnet18", weights="hub"))
