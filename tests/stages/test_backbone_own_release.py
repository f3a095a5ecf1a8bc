"""Task B first, then task A: the release of one project is where the next one starts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.torch import load_file, save_file

from pipeline import config, contract
from pipeline.clinical.report.content import weights as said_in_report
from pipeline.errors import ConfigError, ContractError, EngineError, WeightsError
from pipeline.files import read_json, sha256_file
from pipeline.inference import signature
from pipeline.origins import Pretrained
from pipeline.stages.backbone import backbone
from pipeline.transfer.model import from_backbone
from tests import embedded_backbone, own_release

OUT = Path("models/backbone")
NETWORK = {"name": embedded_backbone.NAME, "options": embedded_backbone.OPTIONS}

Choose = Callable[..., config.Params]


@pytest.fixture(scope="module")
def of_b(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release of task B, from the embedded backbone."""
    chosen = own_release.params(root, data=own_release.DATA)
    return own_release.make(tmp_path_factory.mktemp("b"), chosen, "task-b")


@pytest.fixture
def release_b(of_b: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that may be changed; the current folder is another, empty project."""
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    return Path(shutil.copytree(of_b, tmp_path / "release"))


@pytest.fixture
def choose(root: Path, release_b: Path) -> Choose:
    """Parameters of task A, which starts from B's release."""

    def chosen(**section: Any) -> config.Params:
        return own_release.params(root, **{"weights": "file", "file": release_b, **section})

    return chosen


def change(release: Path, name: str, edit: Callable[[Path], None]) -> None:
    """Edit a file and make the checksums fit again, as somebody would who wants to be believed."""
    edit(release / name)
    signature.write_sums(release)


def in_manifest(**values: Any) -> Callable[[Path], None]:
    """An edit of manifest.json."""

    def edit(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return edit


def test_the_fine_tuned_trunk_is_what_the_next_project_starts_from(
    choose: Choose, release_b: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """By backbone.file alone: the network is B's already."""
    backbone(choose())
    ours, theirs = load_file(OUT / "backbone.safetensors"), load_file(release_b / "trunk.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    before = from_backbone(OUT, own_release.SIZE, 0.0, pretrained=False).trunk.state_dict()
    assert not torch.equal(ours["layer4.1.conv2.weight"], before["layer4.1.conv2.weight"])
    said = capfd.readouterr().err
    assert "backbone: resnet18 as fine-tuned for task-b 0.1.0" in said
    assert "learnt before: MRI classification, one label a series (not bleeding, bleeding) from Hospital B" in said
    assert "UNSIGNED" in said


def test_the_card_tells_the_whole_chain_and_inherits_its_restriction(choose: Choose, release_b: Path) -> None:
    backbone(choose())
    card = Pretrained.model_validate(read_json(OUT / "card.json"))
    embedded = contract.load(release_b).backbone
    assert (card.weights, card.origin) == ("release", "task-b 0.1.0")
    assert card.sha256 == sha256_file(release_b / "trunk.safetensors")
    assert card.verified == "SHA-256 as stated by its manifest (UNSIGNED)"
    first, last = card.origins
    assert (first.name, first.version, first.data, first.licence) == ("task-b", "0.1.0", "Hospital B", "CC BY 4.0")
    assert (last.name, last.data, last.licence) == (embedded.name, embedded.origin, embedded.licence)
    assert (last.version, last.sha256) == (None, embedded.sha256)
    assert card.licence == f"CC BY 4.0; {embedded.licence}"
    assert str(card.restriction).startswith("No commercial use")
    assert card.parity["max_abs_feature_difference"] <= card.parity["tolerance"]
    report = said_in_report(read_json(OUT / "card.json"))
    assert "resnet18, release: task-b 0.1.0." in report
    assert f"from Hospital B. Learnt before: image classification from {embedded.origin}." in report


def test_a_third_project_knows_the_first(choose: Choose, root: Path, tmp_path: Path) -> None:
    of_a = own_release.make(tmp_path / "a", choose(), "task-a")
    manifest = contract.load(of_a)
    assert manifest.task.source.startswith(
        "MRI classification, one label a series (not bleeding, bleeding) by resnet18"
    )
    assert "| task-b 0.1.0 | MRI classification" in (of_a / "model_card.md").read_text()
    backbone(own_release.params(root, weights="file", file=of_a))
    origins = Pretrained.model_validate(read_json(OUT / "card.json")).origins
    assert [origin.name for origin in origins] == ["task-a", "task-b", "resnet18"]
    assert origins[1:] == manifest.backbone.origins


def test_two_runs_give_the_same_bytes(choose: Choose) -> None:
    backbone(choose())
    first = {path.name: path.read_bytes() for path in OUT.iterdir()}
    backbone(choose())
    assert {path.name: path.read_bytes() for path in OUT.iterdir()} == first
    assert sorted(first) == ["backbone.safetensors", "card.json"]


def test_without_a_name_the_release_says_name_and_options(choose: Choose) -> None:
    backbone(choose(name=None, options={}))
    assert read_json(OUT / "card.json")["options"] == embedded_backbone.OPTIONS


@pytest.mark.parametrize(
    "section",
    [
        {"name": "mobilenetv2_100", "options": {}},
        {"options": {}},
        {"name": None, "options": {"channels": [4, 4, 4, 4]}},
    ],
)
def test_another_network_is_refused_with_what_to_set(choose: Choose, section: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"resnet18 with options .*Set backbone.name: null and backbone.options"):
        backbone(choose(**section))
    assert not OUT.exists()


@pytest.mark.parametrize(("key", "value"), [("licence", "MIT"), ("mean", (0.5,) * 3), ("std", (0.5,) * 3)])
def test_of_what_the_release_states_nothing_else_is_heard(choose: Choose, key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"backbone\.{key}: null with a release"):
        backbone(choose(**{key: value}))


def test_no_name_and_no_release_is_an_error(root: Path, release_b: Path) -> None:
    for section in ({"weights": "embedded"}, {"weights": "file", "file": release_b.parent}):
        with pytest.raises(ConfigError, match=r"backbone\.name, or a release in backbone\.file"):
            backbone(own_release.params(root, name=None, options={}, **section))


def test_a_pin_is_compared_with_the_trunk(choose: Choose, release_b: Path) -> None:
    backbone(choose(sha256=sha256_file(release_b / "trunk.safetensors")))
    assert read_json(OUT / "card.json")["verified"].endswith("and backbone.sha256")
    shutil.rmtree(OUT)
    with pytest.raises(WeightsError, match=r"0{64} as stated by backbone\.sha256"):
        backbone(choose(sha256="0" * 64))
    assert not OUT.exists()


@pytest.mark.parametrize("name", ["trunk.safetensors", "manifest.json", "model.onnx", "model_card.md"])
def test_a_file_that_changed_is_refused(choose: Choose, release_b: Path, name: str) -> None:
    content = (release_b / name).read_bytes()
    (release_b / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ContractError, match=f"{name} with the SHA-256 of SHA256SUMS"):
        backbone(choose())
    assert not OUT.exists()


@pytest.mark.parametrize("name", ["trunk.safetensors", "manifest.json", "SHA256SUMS"])
def test_a_file_that_is_missing_is_refused(choose: Choose, release_b: Path, name: str) -> None:
    (release_b / name).unlink()
    with pytest.raises(ContractError, match=name):
        backbone(choose())
    assert not OUT.exists()


def test_another_trunk_with_checksums_that_fit_is_not_the_manifests(choose: Choose, release_b: Path) -> None:
    change(release_b, "trunk.safetensors", _zeroed)
    with pytest.raises(WeightsError, match="as stated by its manifest"):
        backbone(choose())


def test_another_trunk_with_a_manifest_that_fits_is_not_the_graphs(choose: Choose, release_b: Path) -> None:
    change(release_b, "trunk.safetensors", _zeroed)
    trunk = {"file": "trunk.safetensors", "sha256": sha256_file(release_b / "trunk.safetensors")}
    change(release_b, "manifest.json", in_manifest(trunk=trunk))
    with pytest.raises(EngineError, match=r"the trunk of model\.onnx.*The two are of different models"):
        backbone(choose())
    assert not OUT.exists()


def _zeroed(path: Path) -> None:
    state = load_file(path)
    state["conv1.conv.weight"][:] = 0
    save_file(state, path)


def test_a_release_of_another_schema_says_what_to_do(choose: Choose, release_b: Path) -> None:
    change(release_b, "manifest.json", in_manifest(schema_version=1))
    with pytest.raises(ContractError, match=r"schema 2; found schema_version.*make it again.*dvc repro release"):
        backbone(choose())


def test_no_path_out_of_the_release_and_no_option_that_reads_files(choose: Choose, release_b: Path) -> None:
    manifest = read_json(release_b / "manifest.json")
    change(release_b, "manifest.json", in_manifest(trunk=manifest["trunk"] | {"file": "../x"}))
    with pytest.raises(ContractError, match="trunk.file"):
        backbone(choose())
    options = {"checkpoint_path": "/etc/passwd"}
    backbone_ = manifest["backbone"] | {"options": options}
    change(release_b, "manifest.json", in_manifest(trunk=manifest["trunk"], backbone=backbone_))
    with pytest.raises(ConfigError, match="the option checkpoint_path"):
        backbone(choose(name=None, options={}))


@pytest.mark.parametrize("link", ["data", "weights", "earlier", "stated"])
def test_a_licence_that_forbids_commercial_use_binds_at_any_link(choose: Choose, release_b: Path, link: str) -> None:
    manifest = read_json(release_b / "manifest.json")
    free = manifest["backbone"] | {"licence": "apache-2.0", "restriction": None}
    change(release_b, "manifest.json", in_manifest(backbone=free))
    backbone(choose(allow_non_commercial=False))
    assert read_json(OUT / "card.json")["restriction"] is None
    bound = "CC BY-NC 4.0"
    earlier = {"name": "c", "version": "1.0.0", "task": "t", "data": "d", "licence": bound, "sha256": "12" * 32}
    values: dict[str, Any] = {
        "data": {"data": manifest["data"] | {"licence": bound}},
        "weights": {"backbone": free | {"licence": bound}},
        "earlier": {"backbone": free | {"origins": [earlier]}},
        "stated": {"backbone": free | {"restriction": "No commercial use: agreed with the donors."}},
    }
    change(release_b, "manifest.json", in_manifest(**values[link]))
    with pytest.raises(WeightsError, match="weights that may be used commercially"):
        backbone(choose(allow_non_commercial=False))
    backbone(choose())
    assert str(read_json(OUT / "card.json")["restriction"]).startswith("No commercial use")


def test_a_signed_release_is_named_so_and_that_nobody_checked_it(root: Path, choose: Choose, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    (tmp_path / "key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    unsigned = own_release.params(root, data=own_release.DATA)
    signing = unsigned.model_copy(
        update={"release": unsigned.release.model_copy(update={"key_file": tmp_path / "key"})}
    )
    signed = own_release.make(tmp_path / "signed", signing, "task-b")
    backbone(choose(file=signed))
    assert "its signature was not checked" in read_json(OUT / "card.json")["verified"]


def test_pictures_of_another_size_than_the_releases_are_taken(choose: Choose) -> None:
    backbone(choose(size=48))
    assert read_json(OUT / "card.json")["parity"]["size"] == own_release.SIZE
