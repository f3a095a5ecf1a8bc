"""The one file of a box's settings: TOML, read and validated before anything starts."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, IPvAnyNetwork, ValidationError

from deploy.box.destinations import Destination, Dicom, named_apart
from deploy.box.fields import Absolute, Address, AeTitle
from deploy.box.fields import Tls as Tls
from deploy.box.web.settings import Web
from pipeline.errors import ConfigError
from pipeline.strict import Strict
from pipeline.typed import explain

#: The smallest cap on a PDU: association requests of up to 128 contexts are some 20 kB (PS3.8, section 9.3.2).
LEAST_PDU_BYTES = 65_536


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


class Retention(Strict):
    """How long what nothing waits for is kept, in days.

    Attributes:
        answered_days: instances of answered studies.
        failed_days: instances of studies that could not be answered.
        quarantine_days: instances that were refused, of which no more are kept than the quarantine holds.
        results_days: results that were sent to all destinations; then the study's row goes, too. What was given up
            stays until it is sent.
    """

    answered_days: float = Field(default=7.0, gt=0)
    failed_days: float = Field(default=30.0, gt=0)
    quarantine_days: float = Field(default=30.0, gt=0)
    results_days: float = Field(default=90.0, gt=0)


class Archive(Strict):
    """A PACS whose studies can be fetched.

    Attributes:
        name: by which `fetch` knows it.
        dicom: where it is.
    """

    name: str = Field(min_length=1)
    dicom: Dicom


class Syslog(Strict):
    """A collector of audit messages (PS3.15, A.6 and A.7).

    Attributes:
        address, port: of the collector; a name is looked up at each connection.
        tls: None: UDP, over which messages can be lost, cut or read by others.
    """

    address: str = Field(min_length=1)
    port: int = Field(ge=1, le=65_535)
    tls: Tls | None = None


class AuditTrail(Strict):
    """The record of who did what to whose data, which is always kept in the box's state.

    Attributes:
        syslog: whither each message is sent, too; None: nowhere.
    """

    syslog: Syslog | None = None


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
        retention: how long what is done with is kept.
        send: to whom the answers go.
        archives: whence studies can be fetched.
        audit: where its trail is sent, beside being kept.
        web: the page, metrics, health and STOW-RS; None: nothing of it.
    """

    state: Absolute
    release: Absolute
    public_key: Absolute | None = None
    allow_unsigned: bool = False
    receive: Receive
    studies: Studies = Studies()
    work: Work = Work()
    retention: Retention = Retention()
    send: Annotated[tuple[Destination, ...], AfterValidator(named_apart)] = ()
    archives: tuple[Archive, ...] = ()
    audit: AuditTrail = AuditTrail()
    web: Web | None = None


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
