"""A signed release with one bit of one file flipped answers nothing, and nothing of it is parsed."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipeline import contract
from pipeline.errors import ContractError
from pipeline.inference import release
from pipeline.inference.__main__ import main
from pipeline.inference.backends import OnnxRuntime
from pipeline.inference.openvino import OpenVino
from pipeline.inference.signature import SIGNATURE, SUMS

FLIPS = 100


@pytest.fixture(scope="module")
def signed(make_release, tmp_path_factory) -> tuple[Path, Path]:
    """A release with an engine, and its maker's public key."""
    folder = tmp_path_factory.mktemp("signed")
    key = Ed25519PrivateKey.generate()
    form = serialization.Encoding.PEM
    private = key.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(form, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pem").write_bytes(private)
    (folder / "key.pub").write_bytes(public)
    return make_release(folder / "release", key_file=folder / "key.pem"), folder / "key.pub"


def places(folder: Path, count: int) -> list[tuple[str, int, int]]:
    """File, byte and bit of `count` flips: every file has its share, its first and last bit among them."""
    names = sorted(path.name for path in folder.iterdir())
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        name, size = names[number % len(names)], (folder / names[number % len(names)]).stat().st_size
        turn = number // len(names)
        byte = {0: 0, 1: size - 1}.get(turn, int(rng.integers(size)))
        found.append((name, byte, {0: 7, 1: 0}.get(turn, int(rng.integers(8)))))
    return found


def flip(path: Path, byte: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[byte] ^= 1 << bit
    path.write_bytes(content)


def test_every_one_bit_flip_is_refused_before_anything_is_parsed(signed, monkeypatch) -> None:
    folder, public = signed

    def parsed(*_: object, **__: object) -> None:
        raise AssertionError("a file was parsed before it was verified")

    assert release.open_release(folder, public).verified
    monkeypatch.setattr(contract, "load", parsed)
    monkeypatch.setattr(OnnxRuntime, "__init__", parsed)
    monkeypatch.setattr(OpenVino, "__init__", parsed)
    refused: Counter[str] = Counter()
    for name, byte, bit in places(folder, FLIPS):
        flip(folder / name, byte, bit)
        with pytest.raises(ContractError, match=r"expected .+; found .+\. [A-Z]"):
            release.open_release(folder, public)
        flip(folder / name, byte, bit)
        refused[name] += 1
    assert refused.total() == FLIPS
    assert refused.keys() == {path.name for path in folder.iterdir()}
    assert {SUMS, SIGNATURE, "manifest.json", "model.onnx", "trunk.safetensors"} <= refused.keys()


def test_without_a_key_a_flip_is_refused_wherever_a_hash_covers_it(signed) -> None:
    folder, _ = signed
    for name, byte, bit in places(folder, FLIPS // 2):
        flip(folder / name, byte, bit)
        if name == SIGNATURE:
            assert not release.open_release(folder).verified
        else:
            with pytest.raises(ContractError):
                release.open_release(folder)
        flip(folder / name, byte, bit)


@pytest.mark.parametrize("spoil", ["remove", "empty", "longer", "swap"])
def test_a_signature_that_is_none_is_refused(spoil: str, signed, make_release, tmp_path) -> None:
    folder, public = shutil.copytree(signed[0], tmp_path / "release"), signed[1]
    path = folder / SIGNATURE
    if spoil == "remove":
        path.unlink()
    elif spoil == "empty":
        path.write_bytes(b"")
    elif spoil == "longer":
        path.write_bytes(path.read_bytes() + b"\0")
    else:  # the maker's own signature, of another release
        shutil.copy(make_release(tmp_path / "other", "study", signed[1].with_name("key.pem")) / SIGNATURE, path)
    with pytest.raises(ContractError):
        release.open_release(folder, public)


def test_the_command_says_unsigned_and_refuses_it_where_a_key_is_given(
    signed, make_release, write_series, tmp_path, capsys
) -> None:
    unsigned = make_release(tmp_path / "release")
    write_series(tmp_path / "scans", 1)
    asked = [str(unsigned), str(tmp_path / "scans")]
    assert main(asked) == 0
    assert "UNSIGNED: nobody vouches" in capsys.readouterr().err
    assert main([*asked, "--public-key", str(signed[1])]) == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert "Ask its maker for a signed one" in written.err
