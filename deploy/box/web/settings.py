"""The section `[web]` of the settings."""

from __future__ import annotations

import ipaddress

from pydantic import Field, model_validator

from deploy.box.fields import Absolute, Address
from pipeline.strict import Strict


class WebTls(Strict):
    """HTTPS.

    Attributes:
        certificate: PEM of this box, with its chain.
        key: PEM of its private key.
        authorities: PEM of those whose certificates let a client in without the token; None: none do.
    """

    certificate: Absolute
    key: Absolute
    authorities: Absolute | None = None


class Web(Strict):
    """The page, metrics, health and STOW-RS.

    Attributes:
        address: of the interface that listens.
        port: that it listens on; 0 takes a free one.
        token_file: holds the token that opens everything; None: only certificates do.
        tls: None: HTTP.
        plaintext_beyond_loopback: listen without TLS where others can read what passes, the token with it.
        metrics_without_token: `/metrics` answers anybody.
        connections: at one time.
        idle_s: after which a connection that says nothing, or nothing whole, is closed, in seconds.
        stow_mb: largest request of STOW-RS.
        stow_instances: most instances in one.
    """

    address: Address = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65_535)
    token_file: Absolute | None = None
    tls: WebTls | None = None
    plaintext_beyond_loopback: bool = False
    metrics_without_token: bool = False
    connections: int = Field(default=64, ge=8, le=1_024)
    idle_s: int = Field(default=30, ge=1)
    stow_mb: int = Field(default=4_096, ge=1)
    stow_instances: int = Field(default=5_000, ge=1)

    @model_validator(mode="after")
    def _guarded(self) -> Web:
        if self.token_file is None and (self.tls is None or self.tls.authorities is None):
            raise ValueError("a token_file, or tls with authorities: else nobody could be told from anybody")
        loopback = ipaddress.ip_address(self.address).is_loopback
        if self.tls is None and not loopback and not self.plaintext_beyond_loopback:
            raise ValueError("beyond loopback only with tls, or where plaintext_beyond_loopback says so")
        return self
