"""The stage `ingest` on many small series, in projects of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import config
from pipeline.stages import ingest as stage

SERIES = 24
VOLUMES = 17  # of eight slices or more


class ManySeries:
    """Runs the stage in a folder of its own and gives the bytes of every file that it wrote, by name."""

    def __init__(self, root: Path, builder: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root, self._folder, self._monkeypatch = root, folder, monkeypatch
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        self.scans = folder / "scans"
        for number in range(SERIES):
            builder.save(builder.classic(f"s{number}", 9 - number % 3, patient=f"MRN-{number}"), self.scans)
        builder.save([builder.enhanced("enhanced", 12)], self.scans)
        (self.scans / "notes.txt").write_text("no DICOM")

    def enter(self, name: str, **settings: Any) -> Path:
        """Make a project, or change its settings, and make it the current directory."""
        project = self._folder / name
        project.mkdir(exist_ok=True)
        self._monkeypatch.setenv("XDG_CACHE_HOME", str(project / "cache"))
        self._monkeypatch.chdir(project)
        params = yaml.safe_load((self._root / "params.yaml").read_text())
        params["data"].update(dicom_dir=str(self.scans), labels=None)
        params["ingest"].update({"min_slices": 8, "workers": 1, **settings})
        Path("params.yaml").write_text(yaml.safe_dump(params))
        return project

    def __call__(self, name: str, **settings: Any) -> dict[str, bytes]:
        project = self.enter(name, **settings)
        stage.ingest(config.load())
        written = [path for path in (project / "data").rglob("*") if path.is_file()]
        return {path.relative_to(project).as_posix(): path.read_bytes() for path in written}
