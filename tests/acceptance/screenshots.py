"""The pictures of docs/prefect.md: `python -m tests.acceptance.screenshots [OUT]`, which needs Chromium.

A shrunk project runs through a real server, work pool and worker; then Prefect's own pages are photographed.
"""

from __future__ import annotations

import base64
import io
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

from PIL import Image
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from tests.acceptance.worker_kills import ROOT, Trial
from tests.browser import Browser, browser
from tests.waiting import within

WIDTH = 1360
#: A picture that is kept holds no more.
MOST_BYTES = 200_000


def main() -> None:
    out = Path(sys.argv[1] if sys.argv[1:] else ROOT / "docs/images")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("expected Chromium; found none. Install it (apt-get install chromium).")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as running:
        trial = Trial(Path(folder), running)
        run = trial.end()
        page = running.enter_context(browser(program, Path(folder) / "chromium", reach="127.0.0.1"))
        address = trial.environment["PREFECT_API_URL"].removesuffix("/api")
        for name, (path, words, height) in pages(trial.api, trial.deployment, run).items():
            photograph(page, f"{address}/{path}", words, height, out / f"prefect-{name}.png")


def pages(api: SyncPrefectClient, deployment: UUID, run: UUID) -> dict[str, tuple[str, str, int]]:
    """What is photographed: its address, words that it shows once it is whole, and its height in pixels."""
    of_metrics = ArtifactFilter(key=ArtifactFilterKey(any_=["metrics"]))
    [metrics] = api.read_artifacts(artifact_filter=of_metrics)
    return {
        "deployments": ("deployments", "ingest-new-studies", 640),
        "run": (f"runs/flow-run/{run}", "Finished in state", 900),
        "artifacts": ("artifacts", "acceptance", 500),
        "metrics": (f"artifacts/artifact/{metrics.id}", "this run", 700),
        "form": (f"deployments/deployment/{deployment}/run", "timeout_minutes", 900),
    }


def photograph(page: Browser, address: str, words: str, height: int, file: Path) -> None:
    """One page as a small PNG, once it shows these words and changes no more."""
    size = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
    page.call("Emulation.setDeviceMetricsOverride", **size)
    page.call("Page.navigate", url=address)
    seen: list[str] = []

    def settled() -> bool:
        seen.append(page.evaluate("document.body?.innerText ?? ''"))
        return words in seen[-1] and seen[-4:] == seen[-1:] * 4

    assert within(120, settled, 1.0), f"{words}: {address}"
    # Of the viewport: beyond it, Chromium waits for a frame that these pages never end.
    shot = base64.b64decode(page.call("Page.captureScreenshot", format="png")["data"])
    with Image.open(io.BytesIO(shot)) as picture:
        picture.convert("RGB").quantize(64).save(file, optimize=True)
    assert file.stat().st_size < MOST_BYTES, file
    print(f"{file.name}: {file.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
