"""A project as it was at a revision, read without a checkout: from git, DVC's cache, or DVC's remote."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from csv import DictReader
from pathlib import Path
from typing import Any

from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from dvc_objects.errors import ObjectDBError

from flows.workspace import resolve
from pipeline.errors import DataError

_PULL = "Bring it back: `dvc pull` at that revision, from a remote that has it."


class Snapshot:
    """Files of git and DVC at one commit.

    Attributes:
        commit: of the project.
    """

    def __init__(self, repository: Path, revision: str) -> None:
        """See `flows.workspace.resolve` for what is no revision."""
        self.commit = resolve(repository, revision)
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
            raise DataError(f"{path} at {self.commit[:12]}", f"none ({type(error).__name__})", _PULL) from error
