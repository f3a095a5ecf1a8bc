"""By what a file is known again without being read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple


class Stamp(NamedTuple):
    """The change time also tells a modification time that was set back."""

    size: int
    modified_ns: int
    changed_ns: int


def stamp(path: Path | str) -> Stamp | None:
    """The stamp of a regular file, or of the archive that holds it; None where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - of each file, twice
    except NotADirectoryError:
        return next((stamp(parent) for parent in Path(path).parents if parent.is_file()), None)
    except OSError:
        return None
    regular = stat.S_ISREG(status.st_mode)
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns) if regular else None
