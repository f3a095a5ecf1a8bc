"""The pictures of docs/prefect.md: `python -m tests.acceptance.screenshots [OUT]`, which needs Chromium.

A shrunk project runs through a real server, work pool and worker, twice; then Prefect's own pages are photographed.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from PIL import Image

from tests.acceptance.worker_kills import ROOT, Trial
from tests.browser import Browser, browser

WIDTH, HEIGHT = 1280, 800


def main() -> None:
    out = Path(sys.argv[1] if sys.argv[1:] else ROOT / "docs/images")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("expected Chromium; found none. Install it (apt-get install chromium).")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        trial = Trial(Path(folder), running)
        run = trial.end()
        pages = {
            "deployments": "deployments",
            "run": f"runs/flow-run/{run}",
            "artifacts": f"runs/flow-run/{run}?tab=Artifacts",
            "form": f"deployments/deployment/{trial.deployment}/run",
            "metrics": "artifacts/key/metrics",
            "automations": "automations",
        }
        page = running.enter_context(browser(program, Path(folder) / "chromium", reach="127.0.0.1"))
        address = trial.environment["PREFECT_API_URL"].removesuffix("/api")
        for name, path in pages.items():
            _photograph(page, f"{address}/{path}", out / f"prefect-{name}.png")


def _photograph(page: Browser, address: str, file: Path) -> None:
    """One page as a small PNG."""
    page.open(address, WIDTH)
    time.sleep(5)  # until the page has asked the server for everything that it shows
    page.screenshot(file)
    with Image.open(file) as shot:
        small = shot.convert("RGB").crop((0, 0, WIDTH, min(HEIGHT, shot.height)))
    small.quantize(64).save(file, optimize=True)


if __name__ == "__main__":
    main()
