"""Keyed pseudonyms: the same scan gets the same name again, and nobody without the key can go back or forth.

HMAC-SHA256 (RFC 2104) of the identifier under a secret key, as re-identification by whoever holds the key only
(PS3.15 E.1.1). The key lies outside the project, so it reaches neither git nor DVC.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from pydicom.uid import UID_dictionary

from pipeline.dicom.clock import MOST_DAYS, MOST_SECONDS, Clock
from pipeline.errors import ConfigError
from pipeline.progress import say

#: Where the embedded demo is made.
DEMO = Path("data/demo/dicom")
#: The demo's patients are simulated, so their key may be known; with it, everybody gets the same demo.
PUBLIC_DEMO_KEY = bytes.fromhex("6d72692d7472616e736665722064656d6f206b65792c206e6f7420736563726574")

_HEX_DIGITS = 12

#: Stands before the number of a volume; no digit of a pseudonym.
_VOLUME = "-v"


def series_of(name: str) -> str:
    """The pseudonym of the series that a volume is of; another pseudonym as it is."""
    return name.partition(_VOLUME)[0]


class Pseudonyms:
    """Names for patients, studies, series and refused sources; those of one kind never meet those of another."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def patient(self, patient_id: str) -> str:
        """`P-` and 12 hex digits for a PatientID."""
        return f"P-{self._digest('PatientID', patient_id)}"

    def study(self, uid: str) -> str:
        """`E-` (examination) and 12 hex digits for a StudyInstanceUID."""
        return f"E-{self._digest('StudyInstanceUID', uid)}"

    def series(self, uid: str) -> str:
        """`S-` and 12 hex digits for a SeriesInstanceUID."""
        return f"S-{self._digest('SeriesInstanceUID', uid)}"

    def volume(self, uid: str, number: int | None) -> str:
        """The name of one volume: that of its series, and its number where the series holds several."""
        return self.series(uid) if number is None else f"{self.series(uid)}{_VOLUME}{number}"

    def instance(self, uid: str) -> str:
        """`I-` and 12 hex digits for a SOPInstanceUID; unique within its series."""
        return f"I-{self._digest('SOPInstanceUID', uid)}"

    def token(self, source: str) -> str:
        """`R-` and 12 hex digits for a refused file or series, `Rejection.source`."""
        return f"R-{self._digest('source', source)}"

    def uid(self, uid: str) -> str:
        """Another UID for a UID, `2.25.` and 128 bits (PS3.5 B.2); one that the standard defines stays as it is."""
        if uid in UID_dictionary:
            return uid
        return f"2.25.{int.from_bytes(self._hmac('UID', uid)[:16], 'big')}"

    def clock(self, patient_id: str) -> Clock:
        """How far the dates and times of a patient are moved."""
        digest = self._hmac("clock", patient_id)
        days, seconds = (int.from_bytes(part, "big") for part in (digest[:8], digest[8:16]))
        return Clock(1 + days % MOST_DAYS, 1 + seconds % MOST_SECONDS)

    def secret(self, purpose: str) -> bytes:
        """32 bytes for another purpose than names; they tell nothing of the key."""
        return self._hmac("secret", purpose)

    def _digest(self, kind: str, value: str) -> str:
        return self._hmac(kind, value).hex()[:_HEX_DIGITS]

    def _hmac(self, kind: str, value: str) -> bytes:
        return hmac.digest(self._key, f"{kind}\0{value}".encode("utf-8", "surrogateescape"), "sha256")


def default_key_file() -> Path:
    """`mri-transfer/pseudonym.key` in the user's configuration folder (XDG_CONFIG_HOME)."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "mri-transfer/pseudonym.key"


def load_key(path: Path) -> bytes:
    """The secret key in a file of 64 hex digits; made on first use, readable by its owner only, and its place said.

    Raises:
        ConfigError: the file holds no key, or others may read it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return existing_key(path)
    with open(descriptor, "w", encoding="ascii") as handle:
        handle.write(secrets.token_hex(32) + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    say(f"pseudonyms: a new secret key was made in {path}; keep it, it alone leads back to the patients")
    return existing_key(path)


def existing_key(path: Path) -> bytes:
    """The secret key in a file that must be there: to go back to the patients, a new one is of no use.

    Raises:
        ConfigError: no such file, it holds no key, or others may read it.
    """
    if not path.is_file():
        raise ConfigError(f"the key in {path}", "no such file", "Run this on the machine that holds the key.")
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"a key that its owner alone may read in {path}", "one that others may", f"chmod 600 {path}")
    text = path.read_text(encoding="ascii", errors="replace").strip()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ConfigError(
            f"a key of 64 hex digits in {path}",
            f"{len(text)} characters that are none",
            "Put the right key there; or remove the file for a new one, which gives everything new pseudonyms.",
        )
    return bytes.fromhex(text)


def pseudonyms_of(dicom_dir: Path, key: Callable[[Path], bytes]) -> Pseudonyms:
    """The demo's patients under the public key, all others under the user's own, which `key` gets from its file."""
    return Pseudonyms(PUBLIC_DEMO_KEY if dicom_dir.resolve() == DEMO.resolve() else key(default_key_file()))
