"""A weights file from the Hugging Face hub, or from the mirror in HF_ENDPOINT, with the checksum that it states."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from huggingface_hub import constants, get_hf_file_metadata, get_session, hf_hub_download, hf_hub_url, is_offline_mode
from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError, RemoteEntryNotFoundError  # type: ignore[attr-defined]
from huggingface_hub.file_download import HfFileMetadata, repo_folder_name
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from pipeline.errors import WeightsError
from pipeline.files import write_atomic
from pipeline.progress import track

#: Seconds that a hub may take to answer, and that it may be silent in the middle of a file.
PATIENCE_S = 5.0

#: In the order of preference; the second is a pickle and is opened as one that may hold tensors only.
FILES = ("model.safetensors", "pytorch_model.bin")

_MIB = 1 << 20
_OTHER_WAYS = "Set backbone.weights: file and backbone.file to a file that you have, or try again with a network."


@dataclass(frozen=True)
class Fetched:
    """A file in the hub's cache.

    Attributes:
        path: where it lies.
        name: one of `FILES`.
        sha256: what the hub states; None where it states none.
    """

    path: Path
    name: str
    sha256: str | None


def fetch(repository: str, most_bytes: int) -> Fetched:
    """A repository's weights, from the hub's cache if they are there and the hub's version is no other.

    HF_HUB_OFFLINE, HF_ENDPOINT and HF_HUB_CACHE are honoured. Where no hub answers, the cache alone is asked.

    Raises:
        WeightsError: nothing in a few seconds and nothing in the cache, more than `most_bytes`, or damaged on the way.
    """
    reason = "HF_HUB_OFFLINE is set, and its cache holds neither"
    if not is_offline_mode():
        try:
            return _from_hub(repository, most_bytes)
        except (OSError, HTTPError) as error:
            reason = f"no answer that helps ({_line(error)}), and its cache holds neither"
    for name in FILES:
        try:
            return _fetched(Path(hf_hub_download(repository, name, local_files_only=True)), name)
        except LocalEntryNotFoundError:
            continue
    host = urlsplit(constants.ENDPOINT).netloc.rpartition("@")[2]
    raise WeightsError(f"{' or '.join(FILES)} of {repository} from the model hub {host}", reason, _OTHER_WAYS)


def _from_hub(repository: str, most_bytes: int) -> Fetched:
    """The first of `FILES` that the hub has; its errors are those of its library."""
    missing: Exception = FileNotFoundError(repository)
    for name in FILES:
        url = hf_hub_url(repository, name)
        try:
            stated = get_hf_file_metadata(url, timeout=PATIENCE_S)
        except RemoteEntryNotFoundError as error:
            missing = error
            continue
        _place(repository, url, stated, most_bytes)
        return _fetched(Path(hf_hub_download(repository, name, etag_timeout=PATIENCE_S)), name)
    raise missing


def _place(repository: str, url: str, stated: HfFileMetadata, most_bytes: int) -> None:
    """Put the file where `hf_hub_download` looks for it before it downloads.

    Its own download tries again for a minute when nothing comes, and for ever when the end is always missing.
    """
    if not re.fullmatch(r"[\w-]+", stated.etag or ""):
        raise WeightsError("an ETag that names the file's content", f"{stated.etag!r}", _OTHER_WAYS)
    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model")
    blob = folder / "blobs" / str(stated.etag)
    if blob.exists():
        return
    if (stated.size or 0) > most_bytes:
        raise WeightsError(
            f"at most {most_bytes} bytes for this network from {repository}",
            f"{stated.size}",
            "The file is not what backbone.name says; it was not fetched.",
        )
    write_atomic(blob, lambda handle: _download(url, stated, handle))


def _download(url: str, stated: HfFileMetadata, handle: BinaryIO) -> None:
    """Write what the hub sends; an error where it is not what the hub states."""
    digest = hashlib.sha256()
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    with get_session().stream("GET", url, headers=headers, timeout=PATIENCE_S, follow_redirects=True) as answer:
        answer.raise_for_status()
        total = None if stated.size is None else -(-stated.size // _MIB)
        for chunk in track(answer.iter_bytes(_MIB), "MiB from the model hub", total):
            handle.write(chunk)
            digest.update(chunk)
    promised = _sha256(str(stated.etag))
    if promised and digest.hexdigest() != promised:
        raise WeightsError(
            f"a file with the SHA-256 {promised} that the hub states for {url}",
            digest.hexdigest(),
            "It was damaged or changed on the way, and is not kept. Try again, or set backbone.weights: file.",
        )


def _fetched(path: Path, name: str) -> Fetched:
    # The cache names a file by its ETag, which is the SHA-256 of a file that the hub keeps in its large-file storage.
    return Fetched(path, name, _sha256(path.resolve().name))


def _sha256(etag: str) -> str | None:
    return etag if re.fullmatch(r"[0-9a-f]{64}", etag) else None


def _line(error: Exception) -> str:
    """One line of words for an error of the hub's library, some of which have none."""
    return str(error).partition("\n")[0] or type(error).__name__
