"""Where a box sends its results: the sections `[[send]]` of its settings."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from deploy.box.fields import Absolute, AeTitle, Tls
from pipeline.strict import Strict

Kind = Literal["sr", "sc"]


def _url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("must be such as https://pacs.example.org/dicom-web, without user, query or fragment")
    return url.rstrip("/")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Dicom(Strict):
    """A C-STORE SCP.

    Attributes:
        ae_title: of the destination.
        calling_ae_title: by which the box names itself; None: as it is called itself.
        address, port: of the destination; a name is looked up at each try.
        tls: None: plaintext.
        timeout_s: for which the destination may be silent, while it connects or answers.
        commitment: ask for storage commitment (PS3.4, annex J) of what was sent. The report comes in the same
            association or in one of its own; for the latter the destination must be one of `receive.senders`.
        commitment_s: for which that report may take; then the result is sent again.
    """

    ae_title: AeTitle
    calling_ae_title: AeTitle | None = None
    address: str = Field(min_length=1)
    port: int = Field(ge=1, le=65_535)
    tls: Tls | None = None
    timeout_s: float = Field(default=30.0, gt=0)
    commitment: bool = False
    commitment_s: float = Field(default=3_600.0, gt=0)


class Stow(Strict):
    """An origin server of STOW-RS (PS3.18, 10.5).

    Attributes:
        url: of the service, below which `/studies` is.
        authorities: PEM of those who may vouch for the server; None: those that this machine trusts.
        tls: a certificate of this box, shown to the server, in place of `authorities`.
        secret_file: holds a bearer token or, where `user` is given, that user's password.
        secret_variable: of the environment, which holds it in place of a file.
        user: None: the secret is a token.
        timeout_s: for which the server may be silent.
    """

    url: Annotated[str, AfterValidator(_url)]
    authorities: Absolute | None = None
    tls: Tls | None = None
    secret_file: Absolute | None = None
    secret_variable: str | None = None
    user: str | None = Field(default=None, pattern=r"^[^:]+$")
    timeout_s: float = Field(default=30.0, gt=0)

    @model_validator(mode="after")
    def _secret_is_one_and_safe(self) -> Stow:
        secrets = [each for each in (self.secret_file, self.secret_variable) if each is not None]
        parts = urlsplit(self.url)
        if len(secrets) > 1 or (self.user is not None and not secrets):
            raise ValueError("give the secret in one of `secret_file` and `secret_variable`; a `user` needs one")
        if secrets and parts.scheme == "http" and not _loopback(parts.hostname or ""):
            raise ValueError("a secret goes over https alone, except on this machine")
        return self


class Retry(Strict):
    """When a delivery that failed is tried again: each wait is twice the one before, of which chance takes up to half.

    Attributes:
        first_s, longest_s: waits.
        tries, hours: after as many it is given up, whichever is first; it can be replayed.
    """

    first_s: float = Field(default=10.0, gt=0)
    longest_s: float = Field(default=1_800.0, gt=0)
    tries: int = Field(default=250, ge=1)
    hours: float = Field(default=72.0, gt=0)


class Destination(Strict):
    """Who gets what.

    Attributes:
        name: stands in lists and logs, and in the journal: results wait for a destination by its name.
        dicom, stow: how; one of them.
        what: structured reports, secondary captures.
        only: `positive`: of studies where a decision is 1, or names a class.
        calling_ae_titles: only of studies of which something came from one of these; empty: of all.
        retry: when it does not go well.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    dicom: Dicom | None = None
    stow: Stow | None = None
    what: tuple[Kind, ...] = Field(default=("sr", "sc"), min_length=1)
    only: Literal["all", "positive"] = "all"
    calling_ae_titles: tuple[AeTitle, ...] = ()
    retry: Retry = Retry()

    @model_validator(mode="after")
    def _by_one_way(self) -> Destination:
        if (self.dicom is None) == (self.stow is None):
            raise ValueError("give one of `dicom` and `stow`")
        return self

    def takes(self, kind: Kind, positive: bool, calling_ae_titles: set[str]) -> bool:
        """Whether a result goes there."""
        told = not self.calling_ae_titles or bool(calling_ae_titles & set(self.calling_ae_titles))
        return kind in self.what and told and (positive or self.only == "all")


def named_apart(destinations: tuple[Destination, ...]) -> tuple[Destination, ...]:
    """The same.

    Raises:
        ValueError: two have one name.
    """
    names = [each.name for each in destinations]
    if len(set(names)) < len(names):
        raise ValueError("two destinations have one name")
    return destinations
