"""Whether a release is whole and who made it: SHA256SUMS over every file, an Ed25519 signature (RFC 8032) over that.

The public key comes from the caller, never from the release: a key that travels with what it signs proves nothing.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pipeline.errors import ContractError
from pipeline.files import sha256_file, write_atomic, write_text

SUMS, SIGNATURE, UNSIGNED = "SHA256SUMS", "SHA256SUMS.sig", "UNSIGNED"

_LINE = re.compile(r"([0-9a-f]{64})  ([^/\\\x00-\x1f]+)")
_COPY_AGAIN = "Copy the release again, whole, and do not change it."
_MAKE_KEY = "Make a key with `openssl genpkey -algorithm ed25519`, its public half with `openssl pkey -pubout`."


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS over every other file of `folder`, sorted by name, as `sha256sum -c` reads it."""
    names = sorted(_listed(folder))
    write_text(folder / SUMS, "".join(f"{sha256_file(folder / name)}  {name}\n" for name in names))


def check_sums(folder: Path) -> None:
    """See that every file is listed, every listed file is there, and each has its hash.

    Raises:
        ContractError: it is not so; the message names the file.
    """
    path = folder / SUMS
    if not path.is_file():
        raise ContractError(f"{SUMS} in {folder}", "none there", "Name the release folder.")
    sums: dict[str, str] = {}
    # By "\n" alone: whatever else may end a line of text would be a changed byte that nobody notices.
    for line in path.read_bytes().decode(errors="replace").removesuffix("\n").split("\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ContractError(f"lines of `hash  name` in {path}", repr(line[:80]), _COPY_AGAIN)
        sums[match[2]] = match[1]
    present = _listed(folder)
    for names, what in ((sums.keys() - present, "missing"), (present - sums.keys(), "not listed")):
        if names:
            raise ContractError(f"exactly the files of {SUMS} in {folder}", f"{sorted(names)[0]} {what}", _COPY_AGAIN)
    for name, digest in sums.items():
        if sha256_file(folder / name) != digest:
            raise ContractError(f"{name} with the SHA-256 of {SUMS}", "another content", _COPY_AGAIN)


def _listed(folder: Path) -> set[str]:
    """The names that SHA256SUMS must cover; a folder among them is no part of a release."""
    names = set()
    for entry in folder.iterdir():
        if not entry.is_file():
            raise ContractError(f"plain files only in {folder}", f"{entry.name}, a folder", _COPY_AGAIN)
        names.add(entry.name)
    return names - {SUMS, SIGNATURE}


def private_key(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 private key in a PEM file.

    Raises:
        ContractError: no such file, an encrypted key, or another kind of key.
    """
    try:
        key = serialization.load_pem_private_key(_read_key(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ContractError(f"an unencrypted PEM private key in {path}", "something else", _MAKE_KEY) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ContractError(f"an Ed25519 private key in {path}", type(key).__name__.lstrip("_"), _MAKE_KEY)
    return key


def _read_key(path: Path) -> bytes:
    if not path.is_file():
        raise ContractError(f"a key in {path}", "no such file", _MAKE_KEY)
    return path.read_bytes()


def describe(key: Ed25519PrivateKey) -> str:
    """How a manifest names the key that signs it: the algorithm and the hash of the public key's DER bytes."""
    info = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"Ed25519 {hashlib.sha256(info).hexdigest()}"


def sign(folder: Path, key: Ed25519PrivateKey) -> None:
    """Write SHA256SUMS.sig, the 64 raw bytes of the signature over SHA256SUMS."""
    signature = key.sign((folder / SUMS).read_bytes())
    write_atomic(folder / SIGNATURE, lambda handle: handle.write(signature))


def verify(folder: Path, public_key: Path) -> None:
    """See that SHA256SUMS was signed by the owner of `public_key`, and that the folder matches it.

    Raises:
        ContractError: no signature, one by another key, a changed file, or a key file that holds no Ed25519 key.
    """
    try:
        key = serialization.load_pem_public_key(_read_key(public_key))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ContractError(f"a PEM public key in {public_key}", "something else", _MAKE_KEY) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ContractError(f"an Ed25519 public key in {public_key}", type(key).__name__.lstrip("_"), _MAKE_KEY)
    missing = [name for name in (SUMS, SIGNATURE) if not (folder / name).is_file()]
    if missing:
        raise ContractError(f"a signed release in {folder}", f"no {missing[0]}", "Ask its maker for a signed one.")
    try:
        key.verify((folder / SIGNATURE).read_bytes(), (folder / SUMS).read_bytes())
    except InvalidSignature as error:
        raise ContractError(
            f"{SUMS} signed by the key in {public_key}", "a signature that does not fit", "Do not use this release."
        ) from error
    check_sums(folder)
