"""Bring the server at PREFECT_API_URL to what prefect.yaml and automations.yaml say: `python -m flows.deployment`.

Doing so again changes nothing but what differs; what people switched on or off there stays so.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import prefect
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import get_current_settings
from rich.console import Console

from flows.stages import GPU
from pipeline.errors import ConfigError, PipelineError

ROOT = Path(__file__).resolve().parent.parent
POOL = "mri-transfer"


def deploy(pool_type: str = "process") -> None:
    """Work pool, GPU limit, deployments with their schedules and triggers, automations.

    A pool or limit that is there stays as it is: somebody may have fitted it to more machines.

    Args:
        pool_type: of a work pool that is not there yet: process, docker, kubernetes.

    Raises:
        ConfigError: there is no server, it is of another version, or it refuses a deployment.
    """
    with connected() as client:
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=POOL, type=pool_type))
        try:  # the server would print a traceback where it is created twice
            client.read_global_concurrency_limit_by_name(GPU)
        except ObjectNotFound:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU, limit=1))
        with _switches_kept(client):
            _deployments()
        for automation in _wanted():
            _bring(client, automation)


@contextmanager
def connected() -> Iterator[SyncPrefectClient]:
    """A client of the server at PREFECT_API_URL.

    Raises:
        ConfigError: nothing answers there, or what answers refuses, or is of another version than this Prefect.
    """
    address = get_current_settings().api.url
    if address is None:
        remedy = "Set PREFECT_API_URL, or run in the project's folder."
        raise ConfigError("the address of a Prefect server", "none", remedy)
    with SyncPrefectClient(address) as client:
        _require_version(client, address)
        yield client


def _require_version(client: SyncPrefectClient, address: str) -> None:
    """See that a server answers, and is of this version but for its last number."""
    try:
        theirs = client.api_version()
    except httpx.HTTPStatusError as error:
        found = f"status {error.response.status_code}"
        remedy = "See that PREFECT_API_URL ends in the server's /api, and PREFECT_API_AUTH_STRING is what it asks for."
        raise ConfigError(f"a Prefect server at {address} that says its version", found, remedy) from error
    except httpx.HTTPError as error:
        remedy = "Start one (`make prefect`), or set PREFECT_API_URL to the address of yours."
        raise ConfigError(f"a Prefect server at {address}", f"no answer ({type(error).__name__})", remedy) from error
    ours = prefect.__version__
    if theirs.split(".")[:2] != ours.split(".")[:2]:
        remedy = f"Install prefect=={theirs} here, or {ours} there: schedules and automations differ between versions."
        raise ConfigError(f"a Prefect server of version {ours} at {address}", theirs, remedy)


@contextmanager
def _switches_kept(client: SyncPrefectClient) -> Iterator[None]:
    """Schedules and triggers that were there are on or off afterwards as they were before.

    `prefect deploy` sets schedules to what prefect.yaml says, and makes each trigger anew, switched on.
    """
    automations = client.read_automations()
    known, off = {each.id for each in automations}, {each.name for each in automations if not each.enabled}
    active = {(each.id, own.slug): own.active for each in client.read_deployments() for own in each.schedules}
    try:
        yield
    finally:
        for automation in client.read_automations():
            if automation.id not in known and automation.name in off:
                client.pause_automation(automation.id)
        for each in client.read_deployments():
            for own in each.schedules:
                if (was := active.get((each.id, own.slug), own.active)) != own.active:
                    client.update_deployment_schedule(each.id, own.id, active=was)


def _deployments() -> None:
    """What `prefect deploy --all` makes of prefect.yaml."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    # It exits with 0 where a deployment failed.
    if done.returncode or "Failed" in done.stdout:
        lines = (done.stdout + done.stderr).split("\n")
        found = " ".join(line.strip() for line in lines if line.strip())[-500:]
        raise ConfigError("deployments of prefect.yaml that the server takes", found, "Mend prefect.yaml.")


def _wanted() -> list[AutomationCore]:
    listed = yaml.safe_load((ROOT / "automations.yaml").read_text(encoding="utf-8"))["automations"]
    return [AutomationCore.model_validate(each) for each in listed]


def _bring(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Create an automation, or change the one of its name; one that somebody switched off stays so."""
    there = next(iter(client.read_automations_by_name(automation.name)), None)
    if there is None:
        client.create_automation(automation)
    else:
        client.update_automation(there.id, automation.model_copy(update={"enabled": there.enabled}))


def main() -> int:
    """Deploy; exit 1 with a message where that cannot be done."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        deploy(*sys.argv[1:2])
    except PipelineError as error:
        console.print(f"{type(error).__name__}: {error}", markup=False)
        return 1
    console.print(f"Deployed to {get_current_settings().api.url}", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
