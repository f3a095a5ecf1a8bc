"""TLS by PS3.15, B.12: who shows no certificate, the wrong one, or speaks an old version stays outside."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.box import scp
from deploy.box.audit import Audit, messages
from deploy.box.fields import Tls
from deploy.box.tls import client_context, server_context, trusting
from deploy.box.trail import Trail
from deploy.box.watch import Watch
from tests.deploy.box.conftest import Receiver, associate, instance
from tests.waiting import within

pytestmark = pytest.mark.acceptance
Start = Callable[..., Receiver]
NOW = datetime.now(UTC)


def certificate(folder: Path, name: str, authority: str | None = None) -> None:
    """`name.pem` and `name.key`, by itself or by an authority of the folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = key
    if authority is not None:
        signer = serialization.load_pem_private_key((folder / f"{authority}.key").read_bytes(), None)  # type: ignore[assignment]
        issuer = x509.load_pem_x509_certificate((folder / f"{authority}.pem").read_bytes()).subject
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / f"{name}.key").write_bytes(pem)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    certificate(folder, "hospital")
    certificate(folder, "box", "hospital")
    certificate(folder, "scanner", "hospital")
    certificate(folder, "elsewhere")
    certificate(folder, "stranger", "elsewhere")
    return folder


@pytest.fixture
def tls(keys: Path) -> dict[str, Path]:
    return {"certificate": keys / "box.pem", "key": keys / "box.key", "authorities": keys / "hospital.pem"}


@pytest.fixture
def box(receiver: Start, tls: dict[str, Path], tmp_path: Path) -> Receiver:
    return receiver(tls=tls, watch=Watch(Trail(Audit(tmp_path / "state" / "audit", "MRIBOX"), "MRIBOX")))


def client(keys: Path, name: str | None = "scanner") -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=keys / "hospital.pem")
    if name is not None:
        made.load_cert_chain(keys / f"{name}.pem", keys / f"{name}.key")
    return made


def test_a_scanner_with_its_certificate_sends(box: Receiver, keys: Path) -> None:
    association = associate(box.port, tls_args=(client(keys), "127.0.0.1"))
    assert association.is_established
    # Larger than a TLS record: what TLS holds back is read, too.
    assert association.send_c_store(instance(size=512)).Status == scp.SUCCESS
    association.release()
    assert len(box.journal.instances()) == 1


@pytest.mark.parametrize("name", [None, "stranger"])
def test_no_certificate_or_a_strangers(box: Receiver, keys: Path, name: str | None) -> None:
    assert not associate(box.port, tls_args=(client(keys, name), "127.0.0.1")).is_established
    assert within(30, lambda: any("Security Alert" in message for message in messages(box.state / "audit")))


def test_plaintext(box: Receiver) -> None:
    assert not associate(box.port).is_established


def aged(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same, of TLS 1.1 alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    # Its signatures are by SHA-1, which OpenSSL 3 takes at no other level.
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def test_an_old_version(
    box: Receiver, receiver: Start, keys: Path, tls: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = (aged(client(keys)), "127.0.0.1")
    assert not associate(box.port, tls_args=old).is_established
    # It is the version: where the box took it, the same client would be heard.
    monkeypatch.setattr(
        "deploy.box.front.server_context", lambda *given, **named: aged(server_context(*given, **named))
    )
    association = associate(receiver(tls=tls).port, tls_args=old)
    assert association.is_established
    association.release()


def test_to_others_it_speaks_only_what_the_profile_recommends(tls: dict[str, Path]) -> None:
    known = Tls(**tls)
    for made in (client_context(known), trusting(None), server_context(known, required=True)):
        assert made.minimum_version == ssl.TLSVersion.TLSv1_2
        assert all("GCM" in each["name"] or "CHACHA20" in each["name"] for each in made.get_ciphers())
