"""Checksums and signature of a release folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipeline.errors import ContractError
from pipeline.inference import signature


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "a.json").write_text("{}")
    (folder / "b.onnx").write_bytes(b"\x00\x01")
    signature.write_sums(folder)
    return folder


@pytest.fixture
def key_files(tmp_path: Path) -> tuple[Path, Path]:
    """A private and a public key as openssl writes them."""
    private, public = tmp_path / "key.pem", tmp_path / "key.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public


def test_sha256sum_agrees(folder: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", signature.SUMS], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "a.json: OK\nb.onnx: OK\n"


def test_openssl_agrees(folder: Path, key_files: tuple[Path, Path]) -> None:
    signature.sign(folder, signature.private_key(key_files[0]))
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", key_files[1]]
    done = subprocess.run(
        [*command, "-in", folder / signature.SUMS, "-sigfile", folder / signature.SIGNATURE], capture_output=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "b.onnx").write_bytes(b"\x00\x02"), "b.onnx with the SHA-256 .* another content"),
        (lambda folder: (folder / "b.onnx").unlink(), "b.onnx missing"),
        (lambda folder: (folder / "c.engine").write_bytes(b""), "c.engine not listed"),
        (lambda folder: (folder / "more").mkdir(), "more, a folder"),
        (lambda folder: (folder / signature.SUMS).unlink(), "SHA256SUMS in .* none there"),
        (lambda folder: (folder / signature.SUMS).write_text("00  a.json\n"), "lines of"),
        (lambda folder: (folder / signature.SUMS).write_text(f"{'0' * 64}  ../a.json\n"), "lines of"),
    ],
)
def test_any_change_is_found(spoil, message: str, folder: Path) -> None:
    signature.check_sums(folder)
    spoil(folder)
    with pytest.raises(ContractError, match=message):
        signature.check_sums(folder)


def test_the_signature_covers_every_file(folder: Path, key_files: tuple[Path, Path]) -> None:
    signature.sign(folder, signature.private_key(key_files[0]))
    signature.verify(folder, key_files[1])
    (folder / "a.json").write_text("{ }")
    with pytest.raises(ContractError, match=r"a\.json"):
        signature.verify(folder, key_files[1])
    signature.write_sums(folder)
    with pytest.raises(ContractError, match="does not fit"):
        signature.verify(folder, key_files[1])


def test_a_key_that_came_with_the_release_proves_nothing(folder: Path, key_files: tuple[Path, Path]) -> None:
    stranger = Ed25519PrivateKey.generate()
    signature.sign(folder, stranger)
    with pytest.raises(ContractError, match="does not fit"):
        signature.verify(folder, key_files[1])


def test_an_unsigned_release_is_not_verified(folder: Path, key_files: tuple[Path, Path]) -> None:
    with pytest.raises(ContractError, match=r"no SHA256SUMS\.sig"):
        signature.verify(folder, key_files[1])


def test_other_kinds_of_key_are_refused(folder: Path, key_files: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = key_files
    encrypted, other = tmp_path / "encrypted.pem", tmp_path / "ec.pem"
    encrypted.write_bytes(
        signature.private_key(private).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", other], check=True)
    for path, message in [
        (encrypted, "unencrypted"),
        (other, "an Ed25519 private key"),
        (public, "unencrypted"),
        (tmp_path / "none", "no such file"),
    ]:
        with pytest.raises(ContractError, match=message):
            signature.private_key(path)
    with pytest.raises(ContractError, match="PEM public key"):
        signature.verify(folder, private)


def test_a_manifest_names_the_key_and_not_its_secret(key_files: tuple[Path, Path]) -> None:
    named = signature.describe(signature.private_key(key_files[0]))
    algorithm, fingerprint = named.split()
    assert (algorithm, len(fingerprint)) == ("Ed25519", 64)
