"""Remove a withdrawn patient: `python -m pipeline.erase PATIENT`, a PatientID or pseudonym; `-` reads it from stdin.

The patient leaves ingest's memory, the outputs below data/ and reports/, the copies of reports that runs under Prefect
kept, cached features and unfinished trainings, and DVC's cache and remotes; goes to the list of withdrawn patients,
which ingest honours; and the releases that were made with the patient are listed as such. The scans themselves, and
models that learned from them, stay.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import yaml

from pipeline import config, dvc_history, withdrawn
from pipeline.dicom.memory import Memory
from pipeline.dicom.pseudonym import Pseudonyms, existing_key, pseudonyms_of
from pipeline.errors import DataError, PipelineError
from pipeline.files import read_csv, write_csv
from pipeline.progress import say

RELEASES = Path("models/releases/withdrawn.csv")
RELEASE_COLUMNS = ["name", "version", "dvc_md5", "patient"]


def erase(params: config.Params, patient: str) -> str:
    """Remove a patient, given as PatientID or pseudonym, and say what was done.

    Returns:
        The pseudonym.

    Raises:
        ConfigError: this machine holds no key.
        DataError: the list of withdrawn patients is not one, or DVC cannot be asked.
    """
    names = pseudonyms_of(params.data.dicom_dir, existing_key)
    name = patient if withdrawn.PSEUDONYM.fullmatch(patient) else names.patient(patient.strip())
    cache = Path(_dvc("cache", "dir").strip())
    trace = dvc_history.trace(name, cache)
    # First of all, so that no ingest brings back what goes now.
    new = withdrawn.add(name)
    say(f"erase: {name} {'is now' if new else 'was already'} in {withdrawn.LIST}: commit that file")
    _mark(trace, cache, name)
    files, volumes = _forget(params.cache("ingest"), name, names)
    say(f"erase: {files} files and {volumes} volumes removed from ingest's memory")
    say(f"erase: {_remove_reports(params.cache('reports'))} copies of reports removed, of whichever patients")
    for folder in map(params.cache, ("features", "checkpoints")):
        # What networks made of slices; it is computed again.
        if folder.is_dir():
            shutil.rmtree(folder)
    say("erase: cached features and unfinished trainings removed, of whichever patients")
    index = Path(dvc_history.INGESTED) / "index.csv"
    if trace.objects or files or volumes or (index.is_file() and name in index.read_text(encoding="utf-8")):
        removed = _empty_workspace()
        say(f"erase: removed, for `dvc repro` to make again: {', '.join(map(str, removed)) or 'no outputs'}")
        _remove_objects(trace.in_order(), cache)
    elif not trace.unknown:
        say("erase: nothing here held this patient; if that surprises, compare the PatientID with that of the scans")
    if trace.unknown:
        say(
            f"erase: {trace.unknown} earlier outputs of ingest are not in DVC's cache, so nobody can tell whether they "
            "hold this patient: `dvc fetch --all-commits --run-cache`, then erase again"
        )
    say("erase: the scans themselves are not touched; ingest refuses them from now on")
    return name


def _forget(cache: Path, patient: str, names: Pseudonyms) -> tuple[int, int]:
    """From the memories of all folders of scans."""
    files = volumes = 0
    for folder in (path for path in sorted(cache.glob("*")) if path.is_dir()):
        with closing(Memory(folder, names)) as memory:
            found = memory.forget(patient, names)
        files, volumes = files + found[0], volumes + found[1]
    return files, volumes


def _remove_reports(folder: Path) -> int:
    """Copies that `flows.artifacts` made; they show slices of test patients, and which of them is not asked."""
    copies = list(folder.glob("*.html"))
    for copy in copies:
        copy.unlink()
    return len(copies)


def _empty_workspace() -> list[Path]:
    """Remove the outputs that hold patients' data; which of them hold this one is not asked."""
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"].values()
    outs = [Path(out) for stage in stages for out in stage.get("outs", []) if isinstance(out, str)]
    removed = [out for out in outs if out.as_posix().startswith(dvc_history.DATA) and out.exists()]
    for out in removed:
        if out.is_dir():
            shutil.rmtree(out)
        else:
            out.unlink()
    return removed


def _remove_objects(objects: list[str], cache: Path) -> None:
    """From DVC's cache and from remotes that are folders here; of others, say which have to go."""
    for name, url in re.findall(r"^remote\.(.+)\.url=(.+)$", _dvc("config", "--list"), re.MULTILINE):
        if Path(url).is_dir():
            say(f"erase: {_removed(objects, Path(url))} objects removed from the remote {name}")
        elif objects:
            say(f"erase: remove these objects from the remote {name}; it cannot be reached as a folder:")
            for md5 in objects:
                sys.stdout.write(f"{dvc_history.place(md5, Path()).as_posix()}\n")
    # Last, as the trace is found in it: until then an erase that was stopped can be done again.
    say(f"erase: {_removed(objects, cache)} objects removed from DVC's cache")


def _removed(objects: list[str], store: Path) -> int:
    paths = [path for path in (dvc_history.place(md5, store) for md5 in objects) if path.is_file()]
    for path in paths:
        path.unlink()
    return len(paths)


def _mark(trace: dvc_history.Trace, cache: Path, patient: str) -> None:
    """List the releases that can no longer be rebuilt: their data is no longer whole."""
    rows = read_csv(RELEASES) if RELEASES.is_file() else []
    known = {(row["dvc_md5"], row["patient"]) for row in rows}
    for md5 in sorted(trace.releases):
        name, version = dvc_history.release_name(md5, cache)
        if (md5, patient) not in known:
            rows.append(dict(zip(RELEASE_COLUMNS, (name, version, md5, patient), strict=True)))
        say(f"erase: the release {name} {version} can no longer be rebuilt: {RELEASES}")
    if trace.releases:
        write_csv(RELEASES, RELEASE_COLUMNS, sorted(rows, key=lambda row: [row[column] for column in RELEASE_COLUMNS]))


def _dvc(*arguments: str) -> str:
    """What DVC says."""
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise DataError("a project of DVC", "`dvc` failed", "Run this in the project's folder.")
    return done.stdout


def main() -> int:
    """Erase the patient that the command line or stdin names; exit 1 with a message when that cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.erase", description=__doc__)
    parser.add_argument("patient", metavar="PATIENT", help="PatientID or P- pseudonym; -: a line of stdin")
    asked = parser.parse_args().patient
    try:
        erase(config.load(), sys.stdin.readline().strip() if asked == "-" else asked)
    except PipelineError as error:
        say(f"erase: {type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
