"""Which release answers, which runs in its shadow, and which answered before.

Each is copied whole into the box's state, under the hash of its SHA256SUMS, and verified there: what becomes of the
folder that it came from is of no matter. `releases.json` names them, and is replaced in one step; the box looks at it
before each study.
"""

from __future__ import annotations

import logging
import secrets
import shutil
from pathlib import Path

from pydantic import ValidationError

from deploy.box.answer import opened
from deploy.box.engines import require_trusted
from deploy.box.settings import Settings
from pipeline.errors import ConfigError, ContractError, StorageError
from pipeline.files import locked, sha256_file, sync_folder, sync_tree, write_text
from pipeline.inference import signature
from pipeline.strict import Strict

FILE = "releases.json"
#: Releases that can be gone back to.
BEFORE = 3

_LOG = logging.getLogger(__name__)


class Chosen(Strict):
    """`releases.json`; all are hashes of SHA256SUMS.

    Attributes:
        answering: what answers.
        before: what did, the last one last.
        shadow: what runs beside it and sends nothing.
        settings: the release that the settings named when they were last read: another one there is a switch.
    """

    answering: str
    before: tuple[str, ...] = ()
    shadow: str | None = None
    settings: str


class Releases:
    """The folder of releases in a box's state; for several processes."""

    def __init__(self, state: Path, public_key: Path | None, allow_unsigned: bool) -> None:
        """Make the folder.

        Args:
            state: the box's folder.
            public_key: of their maker; None: only with `allow_unsigned`.
            allow_unsigned: take releases for which nobody vouches.
        """
        self.state, self.public_key, self._allow_unsigned = state, public_key, allow_unsigned
        self._folder = state / "releases"
        self._folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def of(cls, settings: Settings) -> Releases:
        """Those in a box's state."""
        return cls(settings.state, settings.public_key, settings.allow_unsigned)

    def chosen(self) -> Chosen:
        """Which they are.

        Raises:
            ContractError: nothing was chosen, or the file cannot be read.
        """
        path = self._folder / FILE
        try:
            return Chosen.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            remedy = "Start the box with the release of its settings; delete the file where it is damaged."
            raise ContractError(f"the box's choice of releases in {path}", type(error).__name__, remedy) from error

    def path(self, sha256: str) -> Path:
        """The folder of one of them."""
        return self._folder / sha256

    def start(self, source: Path) -> Chosen:
        """Choose the release of the settings, where none was chosen yet or the settings name another than before.

        Where one was chosen and the folder is gone, what answered goes on.

        Raises:
            ContractError, StorageError: see `switch`.
        """
        with locked(self._folder):
            before = self.chosen() if (self._folder / FILE).is_file() else None
            if before is not None and not source.exists():
                _LOG.warning("%s, which the settings name, is not there; the release that answered goes on", source)
                sha256 = before.settings
            else:
                sha256 = _hash(source)
            if before is None or before.settings != sha256:
                # The worker opens it, in a process of its own.
                self._keep(source)
                chosen = _switched(before, sha256).model_copy(update={"settings": sha256})
                self._write(chosen)
                return chosen
            require_trusted(self.path(before.answering), self.public_key, self._allow_unsigned)
            return before

    def shadow(self, source: Path | None) -> Chosen:
        """Run a release beside the one that answers; None ends that.

        Raises:
            ContractError, EngineError, StorageError: see `switch`.
        """
        with locked(self._folder):
            sha256 = None if source is None else self._keep(source, tried=True)
            chosen = self.chosen().model_copy(update={"shadow": sha256})
            self._write(chosen)
            return chosen

    def switch(self, source: Path | None = None) -> Chosen:
        """Have a release answer from the next study on; None: the one in the shadow.

        Raises:
            ConfigError: there is none in the shadow.
            ContractError: it is not whole, or not by the owner of the key.
            EngineError: this machine cannot run it.
            StorageError: no room for its copy.
        """
        with locked(self._folder):
            chosen = self.chosen()
            sha256 = chosen.shadow if source is None else self._keep(source, tried=True)
            if sha256 is None:
                raise ConfigError("a release in the shadow", "none", "Name the folder of the release.")
            chosen = _switched(chosen, sha256)
            self._write(chosen)
            self._prune(chosen)
            return chosen

    def rollback(self) -> Chosen:
        """Have the release answer that did before.

        Raises:
            ConfigError: there is none.
            ContractError, EngineError: see `switch`.
        """
        with locked(self._folder):
            chosen = self.chosen()
            if not chosen.before:
                raise ConfigError("a release that answered before", "none", "Switch to one by its folder.")
            back = {"answering": chosen.before[-1], "before": chosen.before[:-1], "shadow": None}
            chosen = chosen.model_copy(update=back)
            self._require(self.path(chosen.answering), tried=True)
            self._write(chosen)
            return chosen

    def _keep(self, source: Path, tried: bool = False) -> str:
        """Copy a release and verify it there before anything in it is read; its hash. `tried`: open it, too."""
        sha256 = _hash(source)
        if self.path(sha256).is_dir():
            self._require(self.path(sha256), tried)
            return sha256
        part = self._folder / f"part-{secrets.token_hex(8)}"
        try:
            shutil.copytree(source, part)
            self._require(part, tried)
            sync_tree(part)
            part.rename(self.path(_hash(part)))
            sync_folder(self._folder)
        except (OSError, shutil.Error) as error:
            raise StorageError(f"a copy of the release {source}", str(error), "See to folder and disk.") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return sha256

    def _require(self, folder: Path, tried: bool) -> None:
        require_trusted(folder, self.public_key, self._allow_unsigned)
        if tried:
            opened(folder, self.public_key, self.state)

    def _prune(self, chosen: Chosen) -> None:
        known = {chosen.answering, *chosen.before, chosen.shadow}
        for folder in self._folder.iterdir():
            if folder.is_dir() and folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)

    def _write(self, chosen: Chosen) -> None:
        write_text(self._folder / FILE, chosen.model_dump_json(indent=1) + "\n")
        sync_folder(self._folder)


def _switched(chosen: Chosen | None, sha256: str) -> Chosen:
    if chosen is None:
        return Chosen(answering=sha256, settings=sha256)
    if chosen.answering == sha256:
        return chosen
    before = (*(each for each in chosen.before if each != sha256), chosen.answering)[-BEFORE:]
    shadow = None if chosen.shadow == sha256 else chosen.shadow
    return chosen.model_copy(update={"answering": sha256, "before": before, "shadow": shadow})


def _hash(release: Path) -> str:
    """Its name here.

    Raises:
        ContractError: it is no release.
    """
    sums = release / signature.SUMS
    if not sums.is_file():
        raise ContractError(f"a release in {release}", f"no {signature.SUMS}", "Name the folder of a release.")
    return sha256_file(sums)
