"""The one file of a box's settings: TOML, read and validated before anything starts."""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, IPvAnyNetwork, ValidationError

from pipeline.errors import ConfigError
from pipeline.strict import Strict
from pipeline.typed import explain

#: The smallest cap on a PDU: association requests of up to 128 contexts are some 20 kB (PS3.8, section 9.3.2).
LEAST_PDU_BYTES = 65_536


def _ae_title(title: str) -> str:
    """PS3.5, table 6.2-1, AE: 1 to 16 characters of the default repertoire, no backslash, not spaces alone."""
    title = title.strip(" ")
    if not 1 <= len(title) <= 16 or not (title.isascii() and title.isprintable()) or "\\" in title:
        raise ValueError("an AE title is 1 to 16 printable ASCII characters without backslash")
    return title


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be a path from the root: a service has no folder of its own to start from")
    return path


def _numeric(address: object) -> object:
    """A name would be looked up at the start, and be another host the next day."""
    ipaddress.ip_address(str(address))
    return address


AeTitle = Annotated[str, AfterValidator(_ae_title)]
Absolute = Annotated[Path, AfterValidator(_absolute)]
Address = Annotated[str, BeforeValidator(_numeric)]


class Tls(Strict):
    """TLS by PS3.15, B.12: both sides show certificates.

    Attributes:
        certificate: PEM of this box, with its chain.
        key: PEM of its private key.
        authorities: PEM of those who may vouch for the other side.
    """

    certificate: Absolute
    key: Absolute
    authorities: Absolute


class Sender(Strict):
    """Who may send.

    Attributes:
        ae_title: the calling AE title.
        networks: whence, such as 10.1.2.0/24.
    """

    ae_title: AeTitle
    networks: tuple[IPvAnyNetwork, ...] = Field(min_length=1)


class Receive(Strict):
    """The C-STORE and C-ECHO SCP.

    Attributes:
        ae_title: the called AE title; an association for another is rejected.
        address: of the interface that listens.
        port: that it listens on; 0 takes a free one.
        senders: all others are turned away.
        tls: None: plaintext.
        associations: at one time.
        idle_s: after which a silent connection is closed, in seconds.
        pdu_bytes: longest PDU that is read, and announced; a longer one ends the connection before it is read.
        instance_mb: largest instance.
        keep_free_mb: of the disk; below, instances are refused with A700.
    """

    ae_title: AeTitle
    address: Address = "127.0.0.1"
    port: int = Field(default=11112, ge=0, le=65_535)
    senders: tuple[Sender, ...] = Field(min_length=1)
    tls: Tls | None = None
    associations: int = Field(default=8, ge=1, le=64)
    idle_s: float = Field(default=30.0, gt=0)
    pdu_bytes: int = Field(default=131_072, ge=LEAST_PDU_BYTES, le=2**20)
    instance_mb: int = Field(default=512, ge=1)
    keep_free_mb: int = Field(default=2_048, ge=0)


class Studies(Strict):
    """When a study is complete.

    Attributes:
        quiet_s: after so many seconds in which nothing of it came.
        forced_s: at the latest, after its first instance.
    """

    quiet_s: float = Field(default=60.0, gt=0)
    forced_s: float = Field(default=1_800.0, gt=0)


class Work(Strict):
    """The process that answers.

    Attributes:
        memory_mb: that it may use.
        study_s: for one study, in seconds.
    """

    memory_mb: int = Field(default=8_192, ge=512)
    study_s: float = Field(default=600.0, gt=0)


class Settings(Strict):
    """All of it.

    Attributes:
        state: the box's own folder: what was received, its journal, engines.
        release: the folder of the release that answers.
        public_key: of the release's maker, had by other means; None: only with `allow_unsigned`.
        allow_unsigned: take a release for which nobody vouches.
        receive: what comes in.
        studies: when it is complete.
        work: how it is answered.
    """

    state: Absolute
    release: Absolute
    public_key: Absolute | None = None
    allow_unsigned: bool = False
    receive: Receive
    studies: Studies = Studies()
    work: Work = Work()


def read(path: Path) -> Settings:
    """Read and validate the file.

    Raises:
        ConfigError: no such file, no TOML, an unknown key (the message names the nearest valid one) or a bad value.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"the box's settings in {path}", "no such file", "Name the file that holds them.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"TOML in {path}", str(error), "Mend the line that it names.") from error
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise explain(Settings, error.errors(), path) from error
