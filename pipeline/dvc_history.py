"""What DVC made of a patient's data, now and before: its lock files, its run cache, and the objects that they name."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline.files import read_csv

INGESTED = "data/ingested"
RELEASE = "models/release"
#: Outputs below these hold patients' data; models hold what was learned from it.
DATA = ("data/", "reports/")


@dataclass(frozen=True)
class Run:
    """One run of a stage: paths and hashes of what went in and came out."""

    deps: dict[str, str]
    outs: dict[str, str]


@dataclass
class Trace:
    """What derives from a patient.

    Attributes:
        objects: hashes of those that hold the patient's data.
        releases: hashes of the release folders that were made with it.
        roots: hashes by which the others are found: tables of ingest, then their folders.
        unknown: outputs of ingest of which the cache does not hold what would tell.
    """

    objects: set[str] = field(default_factory=set)
    releases: set[str] = field(default_factory=set)
    roots: list[str] = field(default_factory=list)
    unknown: int = 0

    def in_order(self) -> list[str]:
        """The objects in an order in which, wherever their removal stops, `trace` finds the rest again."""
        others = sorted(self.objects - {*self.roots}, key=lambda md5: (md5.endswith(".dir"), md5))
        return others + [md5 for md5 in self.roots if md5 in self.objects]


def runs(cache: Path) -> list[Run]:
    """All runs that the lock file tells of, in any commit, and the run cache; `cache` is DVC's cache directory."""
    locks = [Path("dvc.lock").read_text(encoding="utf-8")] if Path("dvc.lock").is_file() else []
    locks += [
        _git("show", f"{commit}:./dvc.lock") for commit in _git("log", "--all", "--format=%H", "--", "dvc.lock").split()
    ]
    stages = [stage for lock in locks if lock for stage in (yaml.safe_load(lock).get("stages") or {}).values()]
    stages += [yaml.safe_load(path.read_text(encoding="utf-8")) for path in cache.glob("runs/*/*/*")]
    return [Run(_hashes(stage, "deps"), _hashes(stage, "outs")) for stage in stages if isinstance(stage, dict)]


def trace(patient: str, cache: Path) -> Trace:
    """Follow a patient from the outputs of ingest, whose index names them, through every run."""
    known, found, unknown = runs(cache), Trace(), set[str]()
    for listing in {run.outs[INGESTED] for run in known if INGESTED in run.outs}:
        if (held := _held(patient, listing, cache)) is None:
            unknown.add(listing)
        else:
            found.roots += held
    found.roots.sort(key=lambda md5: md5.endswith(".dir"))
    found.unknown = len(unknown)
    tainted, doubtful = _with_derived({*found.roots}, known), _with_derived(unknown, known)
    made = {item for run in known for item in run.outs.items()}
    for path, md5 in made:
        if md5 in tainted and path == RELEASE:
            found.releases.add(md5)
        elif md5 in tainted and path.startswith(DATA):
            found.objects |= {md5, *(each["md5"] for each in _listing(md5, cache))}
    # What other runs made as well stays theirs: it comes from other patients.
    for _, md5 in made:
        if md5 not in tainted | doubtful:
            found.objects -= {md5, *(each["md5"] for each in _listing(md5, cache))}
    return found


def place(md5: str, store: Path) -> Path:
    """Where an object lies in a cache directory or a remote folder (DVC 3)."""
    return store / "files/md5" / md5[:2] / md5[2:]


def release_name(md5: str, cache: Path) -> tuple[str, str]:
    """Name and version of a release folder; empty where its manifest is no longer in the cache."""
    for each in _listing(md5, cache):
        path = place(each["md5"], cache)
        if each["relpath"] == "manifest.json" and path.is_file():
            manifest = json.loads(path.read_text(encoding="utf-8"))
            return str(manifest["name"]), str(manifest["version"])
    return "", ""


#: Of ingest's outputs those that other stages depend on by themselves, and that name patients.
_TABLES = ("index.csv", "labels.csv")


def _held(patient: str, listing: str, cache: Path) -> list[str] | None:
    """The hash of an output of ingest, and of its tables, if it holds the patient; None where nothing tells."""
    files = {each["relpath"]: each["md5"] for each in _listing(listing, cache)}
    tables = {name: place(files[name], cache) for name in _TABLES if name in files}
    held = [
        files[name]
        for name, path in tables.items()
        if path.is_file() and any(row["patient"] == patient for row in read_csv(path))
    ]
    if held:
        return [*held, listing]
    return [] if "index.csv" in tables and tables["index.csv"].is_file() else None


def _with_derived(hashes: set[str], known: list[Run]) -> set[str]:
    """These and all that runs made of them."""
    hashes, before = {*hashes}, -1
    while before != len(hashes):
        before = len(hashes)
        hashes.update(*(run.outs.values() for run in known if hashes & {*run.deps.values()}))
    return hashes


def _listing(md5: str, cache: Path) -> list[dict[str, str]]:
    path = place(md5, cache)
    if not md5.endswith(".dir") or not path.is_file():
        return []
    listed: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return listed


def _hashes(stage: dict[str, Any], kind: str) -> dict[str, str]:
    return {each["path"]: each["md5"] for each in stage.get(kind) or [] if "md5" in each}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], check=False, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""
