"""Each check before production by itself, and the store that boxes read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flows import gate, store, versions
from flows.gate import Check, Tagged
from flows.snapshot import Snapshot
from pipeline.config import Promote
from pipeline.errors import ContractError, DataError, PromotionError
from pipeline.inference.signature import check_sums
from pipeline.validation_config import Waiver
from tests.flows import releases
from tests.flows.releases import NAME, Released
from tests.flows.versioned import Project

pytestmark = pytest.mark.acceptance


def _keys(folder: Path, name: str) -> tuple[Path, Path]:
    """A private and a public key."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture(scope="module")
def project(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Released:
    """Unsigned, signed, not accepted, and one that learnt from other patients."""
    made = releases.make(root, tmp_path_factory.mktemp("released"), tmp_path_factory.getbasetemp() / "graphs")
    made.release("1.0.0", "good")
    made.release("1.1.0", "better", key_file=_keys(made.folder.parent, "ours")[0])
    made.release("1.2.0", "good", accepted=False)
    made.release("1.3.0", "better", first=releases.PATIENTS - releases.TAUGHT)
    return made


def _tagged(project: Released, version: str) -> Tagged:
    found = versions.find(project.folder, NAME, version)
    with store.held(project.store, NAME) as folder:
        return Tagged(found.tag, Snapshot(project.folder, found.commit), store.place(project.folder, found, folder))


def test_acceptance_of_its_own_run_counts(project: Released) -> None:
    assert gate.accepted(_tagged(project, "1.0.0")).passed
    missed = gate.accepted(_tagged(project, "1.2.0"))
    assert (missed.passed, missed.found) == (False, "missed: finetuned.auroc.low")


@pytest.mark.parametrize(
    ("version", "key", "unsigned", "passes"),
    [
        ("1.1.0", "ours", False, True),
        ("1.1.0", "theirs", False, False),
        ("1.1.0", "theirs", True, False),  # signed by somebody else is not the same as by nobody
        ("1.1.0", None, False, False),
        ("1.0.0", "ours", False, False),
        ("1.0.0", "ours", True, True),
        ("1.0.0", None, True, True),
    ],
)
def test_signature_holds_or_nobody_has_to_sign(
    project: Released, version: str, key: str | None, unsigned: bool, passes: bool
) -> None:
    folder = project.folder.parent
    if not (folder / "theirs.pub").exists():
        _keys(folder, "theirs")
    policy = Promote(public_key=folder / f"{key}.pub" if key else None, allow_unsigned=unsigned)
    assert gate.signed(_tagged(project, version).folder, policy).passed is passes


def test_patients_that_either_learnt_from_are_not_asked(project: Released) -> None:
    one, other = _tagged(project, "1.0.0"), _tagged(project, "1.3.0")
    data = Snapshot(project.folder, "HEAD")
    _, _, enough, _ = gate.against(other, one, data, Promote(patients=33), 0.95)
    assert enough == Check("patients", "at least 33 that neither learnt from", "32", passed=False)


def test_data_whose_content_is_nowhere_is_named(project: Released, tmp_path: Path) -> None:
    project("git", "clone", "--quiet", str(project.folder), str(tmp_path / "bare"))
    with pytest.raises(DataError, match=r"expected data/split\.csv at .*; found none .*Bring it back: `dvc pull`"):
        Snapshot(tmp_path / "bare", "HEAD").rows("data/split.csv")


def test_data_that_only_the_remote_has_is_read_from_there(project: Released, tmp_path: Path) -> None:
    project("dvc", "remote", "add", "--local", "--default", "--force", "store", str(tmp_path / "remote"))
    project("dvc", "push", "--quiet")
    project("git", "clone", "--quiet", str(project.folder), str(tmp_path / "other"))
    other = Project(tmp_path / "other")
    other("dvc", "remote", "add", "--local", "--default", "store", str(tmp_path / "remote"))
    found = Snapshot(other.folder, f"{NAME}@v1.3.0")
    assert len(found.rows("data/split.csv")) == releases.PATIENTS
    with found.borrow(Path("data/ingested/volumes/S-000000000001.nii.gz")) as volume:
        assert volume.stat().st_size > 1000
    assert not volume.exists()


def test_failed_checks_are_all_named_unless_waived() -> None:
    checks = [Check("one", "a", "b", True), Check("two", "c", "d", False), Check("three", "e", "f", False)]
    with pytest.raises(PromotionError, match=r"\(two: c; three: e\); found two: d; three: f\."):
        gate.require(checks, "model@v1.0.0")
    gate.require(gate.waive(checks, Waiver(by="somebody", reason="because")), "model@v1.0.0")
    assert gate.waive(checks, None) == checks


def test_tag_and_manifest_must_name_one_version(project: Released, tmp_path: Path) -> None:
    commit = project("git", "rev-list", "-n", "1", f"{NAME}@v1.0.0")
    with (
        store.held(tmp_path, NAME) as folder,
        pytest.raises(ContractError, match=r"of .*@v7\.0\.0; found one of .* 1\.0\.0"),
    ):
        store.place(project.folder, versions.Version(NAME, "7.0.0", commit), folder)
    assert [path.name for path in (tmp_path / NAME).iterdir()] == [".lock"]


def test_whoever_is_killed_leaves_the_old_release_or_the_new(project: Released, tmp_path: Path) -> None:
    one, other = (versions.find(project.folder, NAME, version) for version in ("1.0.0", "1.1.0"))
    with store.held(tmp_path, NAME) as folder:
        for version in (one, other):
            store.place(project.folder, version, folder)
        store.point(folder, one)
    code = f"""
        from pathlib import Path
        from flows import store
        from flows.versions import Version
        versions = [Version(*each) for each in {[(each.name, each.version, each.commit) for each in (one, other)]!r}]
        print("ready", flush=True)
        while True:
            for version in versions:
                with store.held(Path({str(tmp_path)!r}), version.name) as folder:
                    store.point(folder, version)
    """
    seen = set()
    for attempt in range(5):
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(0.01 + 0.004 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        seen.add(store.pointed(tmp_path / NAME))
        check_sums(tmp_path / NAME / "production")
    assert seen <= {"1.0.0", "1.1.0"}
    with store.held(tmp_path, NAME) as folder:  # the lock went with whoever held it
        store.point(folder, other)
    assert store.pointed(tmp_path / NAME) == "1.1.0"
