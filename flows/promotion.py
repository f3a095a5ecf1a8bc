"""The flows `promote`, `rollback` and `evaluate-production`: what is in production, and how it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.events import emit_event

from flows import gate, labels, programs, repro, store, versions
from flows.gate import Check, Tagged
from flows.snapshot import Checkout, Snapshot
from flows.stages import die_with_worker, run_stages
from flows.versions import Version
from flows.workspace import clone, root
from pipeline import config
from pipeline import params as checking
from pipeline.clinical.comparison import ask, figures
from pipeline.errors import ConfigError
from pipeline.inference.release import open_release
from pipeline.validation_config import Waiver


@flow(name="promote", description="Put a release into production, if it is accepted, signed and not worse.")
def promote(
    repository: Path | None = None,
    version: str | None = None,
    revision: str = "HEAD",
    waiver: Waiver | None = None,
) -> str:
    """Move production to a version if every check passes; the artifact `promotion` lists them.

    Args:
        repository: the project; None: the current folder.
        version: such as `1.2.0`; None: the highest.
        revision: whose data/ingested both releases answer for.
        waiver: by whom and why checks against production that failed are let through; acceptance and signature never.

    Returns:
        The tag of the version that is in production now.

    Raises:
        PromotionError: a check failed; production stays.
        ConfigError: no such version or revision; params.yaml has a change that is not committed; or production was
            moved meanwhile.
        ContractError: a release in the store is damaged.
        DataError: data is in nobody's reach.
    """
    project, params = _opened(repository)
    name, policy = params.release.name, params.promote
    candidate = versions.find(project, name, version) if version else _highest(project, name)
    with store.held(policy.folder, name) as folder:
        current = _settled(project, name, folder)
        made = [_tagged(project, each, folder) for each in (candidate, current) if each]
    if candidate == current:
        get_run_logger().info("%s is in production already", candidate.tag)
        return candidate.tag
    checks = _judged(made, params, lambda: Snapshot(project, revision), waiver)
    _publish("promotion", checks, f"{candidate.tag} for production, in place of {current.tag if current else 'none'}")
    gate.require(checks, candidate.tag)
    _move(project, policy, current, candidate, "mri-transfer.promoted", _reasons(checks, waiver))
    return candidate.tag


@flow(name="rollback", description="Put an earlier release back into production.")
def rollback(repository: Path | None = None, to: str | None = None) -> str:
    """Move production back; nothing is compared, nothing is trained.

    Args:
        repository: the project; None: the current folder.
        to: a version that was in production; None: the one before the present one.

    Returns:
        The tag of the version that is in production now.

    Raises:
        ConfigError: there was none before, or `to` never was in production; params.yaml as for `promote`.
        PromotionError: its signature does not hold.
        ContractError: its release in the store is damaged.
    """
    project, params = _opened(repository)
    name, policy = params.release.name, params.promote
    current = versions.production(project, name)
    wanted = versions.find(project, name, to) if to else versions.before(project, name)
    if current is None or wanted is None or wanted not in versions.history(project, name):
        found = f"{wanted.tag}, which never was" if wanted else "none"
        raise ConfigError(f"a version of {name} that was in production before", found, "Name one by `to`, or promote.")
    with store.held(policy.folder, name) as folder:
        back = store.place(project, wanted, folder)
    checks = [gate.signed(back, policy)]
    _publish("promotion", checks, f"{wanted.tag} back into production, in place of {current.tag}")
    gate.require(checks, wanted.tag)
    _move(project, policy, current, wanted, "mri-transfer.rolled-back", f"rolled back from {current.tag}")
    return wanted.tag


@flow(name="evaluate-production", description="What is in production, on labelled patients that it did not learn from.")
def evaluate_production(repository: Path | None = None, revision: str | None = None) -> None:
    """Read the scans and labels of now, and have production answer for them; the artifact `production` has the figures.

    Args:
        repository: the project; None: the current folder.
        revision: by whose parameters and code the scans are read; None: what is checked out.

    Raises:
        ConfigError: nothing is in production, a changed file, or no such revision.
        StageError: the scans cannot be read.
        ContractError: its release in the store is damaged.
        DataError: labels shrank, or production's data is in nobody's reach.
    """
    project, params = _opened(repository)
    name, policy = params.release.name, params.promote
    with store.held(policy.folder, name) as folder:
        current = _settled(project, name, folder)
        if current is None:
            raise ConfigError(f"a version of {name} in production", "none", "Run the flow `promote` first.")
        made = _tagged(project, current, folder)
    with clone(project, revision) as here:
        checking.check(config.load(here / "params.yaml"), here)
        for _ in run_stages(here, repro.order(here, last="ingest")):
            pass
        data = Checkout(here)
        gate.require_labels(made, data)
        release = open_release(made.folder)
        answered = ask([release], data.rows(gate.INDEX), data.rows(labels.LABELS), gate.taught(made), data.borrow)
    told = figures(answered, release, params.validate_.confidence)
    rows = [{"figure": key, "now": each if isinstance(each, str) else gate.shown(each)} for key, each in told.items()]
    what = f"{current.tag} on the labelled patients of now that it did not learn from"
    create_table_artifact(rows, key="production", description=what)


def _opened(repository: Path | None) -> tuple[Path, config.Params]:
    """The project, and what its params.yaml asks for, which must be what git has: the tags are to be read by it."""
    die_with_worker()
    project = root(repository or Path())
    if programs.git(project, "status", "--porcelain", "--", "params.yaml"):
        remedy = "Commit it, or take the change back."
        raise ConfigError(f"params.yaml in {project} as it was committed", "a change", remedy)
    return project, config.load(project / "params.yaml")


def _highest(project: Path, name: str) -> Version:
    known = versions.versions(project, name)
    if not known:
        raise ConfigError(f"a version of {name}", "no tag", "Run the flow `retrain`, which tags what it releases.")
    return known[-1]


def _settled(project: Path, name: str, folder: Path) -> Version | None:
    """What is in production by git; a link that a killed move left behind follows."""
    current = versions.production(project, name)
    if current is not None and store.pointed(folder) != current.version:
        store.place(project, current, folder)
        store.point(folder, current)
    return current


def _tagged(project: Path, version: Version, folder: Path) -> Tagged:
    return Tagged(version.tag, Snapshot(project, version.commit), store.place(project, version, folder))


def _judged(
    made: Sequence[Tagged], params: config.Params, data: Callable[[], Snapshot], waiver: Waiver | None
) -> list[Check]:
    """What is asked of the first of them; of an accepted and signed one also against the second, if there is one."""
    checks = [gate.accepted(made[0]), gate.signed(made[0].folder, params.promote)]
    if len(made) == 1:
        none = "there is none yet: nothing to compare with"
        return [*checks, Check("not worse", "than production", none, passed=True)]
    if all(check.passed for check in checks):
        found = gate.against(made[0], made[1], data(), params.promote, params.validate_.confidence)
        checks += gate.waive(found, waiver)
    return checks


def _reasons(checks: Sequence[Check], waiver: Waiver | None) -> str:
    """The message of the tag."""
    rows = [check.row() for check in checks]
    words = [f"{each['check']}: {each['verdict']}, {each['found']}; asked: {each['asked']}" for each in rows]
    if waiver and any(check.waived for check in checks):
        words.append(f"waived by {waiver.by}: {waiver.reason}")
    return "\n".join(["promoted", "", *words])


def _move(
    project: Path, policy: config.Promote, expected: Version | None, version: Version, event: str, message: str
) -> None:
    """Tag, then link: git says what is in production, and the link follows it."""
    with store.held(policy.folder, version.name) as folder:
        if versions.production(project, version.name) != expected:
            raise ConfigError(
                f"{expected.tag if expected else 'nothing'} in production still",
                "another version: somebody moved it meanwhile",
                "Start the flow again.",
            )
        store.place(project, version, folder)
        assigned = versions.assign(project, version, message)
        digest = store.point(folder, version)
    get_run_logger().info("%s is in production: %s", version.tag, assigned)
    resource = {"prefect.resource.id": f"mri-transfer.model.{version.name}"}
    before = expected.tag if expected else None
    emit_event(event, resource, payload={"version": version.tag, "before": before, "sha256sums": digest})


def _publish(key: str, checks: Sequence[Check], what: str) -> None:
    create_table_artifact([check.row() for check in checks], key=key, description=what)
