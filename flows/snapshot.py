"""A project's files: at a revision without a checkout, from git, DVC's cache or DVC's remote; or in a folder."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from csv import DictReader
from pathlib import Path
from typing import Any, Protocol

from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from dvc_objects.errors import ObjectDBError

from flows.workspace import resolve
from pipeline.errors import DataError
from pipeline.files import read_csv

_PULL = "Bring it back: `dvc pull` at that revision, from a remote that has it."


class Data(Protocol):
    """Where patients and labels are read.

    Attributes:
        name: of it, in messages.
    """

    name: str

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        ...

    def rows(self, path: str) -> list[dict[str, str]]:
        """All rows of a CSV."""
        ...

    def borrow(self, path: Path) -> AbstractContextManager[Path]:
        """A file, for as long as the context lasts."""
        ...


class Checkout:
    """The files of a folder, such as a clone in which `ingest` ran."""

    def __init__(self, folder: Path) -> None:
        self.name = "the data of now"
        self._folder = folder

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        return (self._folder / path).exists()

    def rows(self, path: str) -> list[dict[str, str]]:
        """All rows of a CSV."""
        return read_csv(self._folder / path)

    def borrow(self, path: Path) -> AbstractContextManager[Path]:
        """The file itself."""
        return nullcontext(self._folder / path)


class Snapshot:
    """Files of git and DVC at one commit.

    Attributes:
        commit: of the project.
        name: its first digits.
    """

    def __init__(self, repository: Path, revision: str) -> None:
        """See `flows.workspace.resolve` for what is no revision."""
        self.commit = resolve(repository, revision)
        self.name = self.commit[:12]
        self._files = DVCFileSystem(repository, rev=self.commit)

    def has(self, path: str) -> bool:
        """Whether git or DVC knows the file, wherever its content is."""
        return bool(self._files.exists(path))

    def text(self, path: str) -> str:
        """The content of a text file.

        Raises:
            DataError: it is not there, or its content is nowhere.
        """
        with self._explained(path):
            return str(self._files.read_text(path, encoding="utf-8"))

    def rows(self, path: str) -> list[dict[str, str]]:
        """All rows of a CSV.

        Raises:
            DataError: it is not there, or its content is nowhere.
        """
        return list(DictReader(self.text(path).splitlines()))

    def json(self, path: str) -> Any:
        """The content of a JSON file.

        Raises:
            DataError: it is not there, or its content is nowhere.
        """
        return json.loads(self.text(path))

    def fetch(self, path: str, into: Path) -> None:
        """Copy a file, or the files of a folder, to `into`.

        Raises:
            DataError: they are not there, or their content is nowhere.
        """
        with self._explained(path):
            self._files.get(path, str(into), recursive=bool(self._files.isdir(path)))

    @contextmanager
    def borrow(self, path: Path) -> Iterator[Path]:
        """A copy of a file that is gone afterwards."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            self.fetch(path.as_posix(), copy)
            yield copy

    @contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        try:
            yield
        except (DvcException, ObjectDBError, OSError) as error:
            raise DataError(f"{path} at {self.name}", f"none ({type(error).__name__})", _PULL) from error
