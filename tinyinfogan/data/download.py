"""Downloads: a file is whole, with the right sum, or it is not there."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import sys
import time
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tqdm import tqdm

from tinyinfogan.data.errors import DataError
from tinyinfogan.storage import files

TIMEOUT = 30.0  # seconds without a byte, after which the next mirror has its turn
SLOWEST = 1024  # bytes per second over TIMEOUT; a server that only drips counts as stalled
RESUMES = 5  # times that a connection to one mirror may break off
PIECE_BYTES = 1 << 16


class File(NamedTuple):
    """A published file.

    urls: mirrors, in the order to try them.  sha256: of the file, or of what it unpacks to where
    `gzipped`, since repacks differ in the gzip header; None where no sum is published: the server
    must then say how long the file is, and the reader checks its structure.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str | None
    gzipped: bool = False


class _TransferError(Exception):
    """This mirror failed; the message is one short reason."""


class _BrokenOff(_TransferError):
    """The connection ended early.  validator: the server's name for this version, or None."""

    def __init__(self, message, validator):
        super().__init__(message)
        self.validator = validator


def cache_folder() -> Path:
    """Return the folder for downloads: TINYINFOGAN_DATA, else one in the platform's cache."""
    if folder := os.environ.get("TINYINFOGAN_DATA"):
        return Path(folder).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tinyinfogan"


def fetch(wanted: tuple[File, ...], folder: Path) -> None:
    """Download what is not in `folder` yet, or is there with another sum.

    Every mirror is tried in turn, whatever is wrong with the one before.  Raises DataError, which
    names the files that are missing and the folder to put them in, where none of them helps.
    """
    missing = [file for file in wanted if not _is_whole(folder / file.name, file)]
    for index, file in enumerate(missing):
        reasons = []
        for url in file.urls:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with files.replacing(folder / file.name) as temporary:
                    _transfer(url, temporary, file)
                    temporary.flush()
                    if not _is_whole(temporary.name, file):
                        raise _TransferError("the SHA-256 of what it sent is wrong")
                break
            except (_TransferError, OSError, ValueError, http.client.HTTPException) as error:
                reasons.append(f"{url}: {' '.join(str(error).split()) or type(error).__name__}")
        else:
            names = ", ".join(other.name for other in missing[index:])
            raise DataError(
                f"{file.name}: cannot be downloaded ({'; '.join(reasons)}); try again, or put "
                f"{names} in {folder}, or give the folder that has them as --data"
            )


def _is_whole(path: str | Path, file: File) -> bool:
    """Whether there is a file at `path`, with the sum that `file` has."""
    if not Path(path).is_file():
        return False
    if file.sha256 is None:
        return True
    digest = hashlib.sha256()
    try:
        with gzip.open(path) if file.gzipped else open(path, "rb") as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
    except (OSError, EOFError, ValueError, zlib.error):
        return False
    return digest.hexdigest() == file.sha256


def _transfer(url: str, output: BinaryIO, file: File) -> None:
    """Write what is at `url` to `output`, all of it, going on after broken connections."""
    # A broken transfer goes on only if the server can tell that its file is still the same one
    # (RFC 9110, If-Range), so that no file is ever sewn together from two.
    validator, resumes = None, 0
    with tqdm(desc=file.name, unit="B", unit_scale=True, dynamic_ncols=True, delay=1) as bar:
        while True:
            try:
                return _receive(url, output, validator, bar, file.sha256 is not None)
            except _BrokenOff as error:
                validator, resumes = error.validator, resumes + 1
                if validator is None or resumes > RESUMES:
                    raise


def _receive(url, output, validator, bar, length_optional):
    """Write the answer to one request, for the part from where `output` is at.

    validator: names the version that the part before is of.  Raises _BrokenOff, with the validator
    for the next request, where the answer is cut short, and _TransferError where it is wrong.
    """
    import urllib.request  # here, since it takes long to import and most runs need none of it

    headers = {"User-Agent": "tinyinfogan", "Accept-Encoding": "identity"}
    start = output.tell()
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status == 206:
            if not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise _TransferError("it sent another part of the file than was asked for")
        elif response.status == 200:  # all of it, from the start
            start = 0
            output.seek(0)
            output.truncate()
        else:
            raise _TransferError(f"HTTP status {response.status}")
        length = response.headers.get("Content-Length")
        if length is None and not length_optional:
            raise _TransferError("it does not say how long the file is, and no sum is published")
        bar.total, bar.n = None if length is None else start + int(length), start
        error = _copy(response, output, bar)
        if error is None and (length is None or output.tell() == bar.total):
            return
        etag = response.headers.get("ETag")
        if etag and etag.startswith("W/"):  # a weak one, which does not promise the same bytes
            etag = None
        reason = f" ({error})" if error else ""
        total = "unknown" if length is None else bar.total
        raise _BrokenOff(f"it stopped after {output.tell()} bytes of {total}{reason}", etag)


def _copy(response, output, bar):
    """Copy to the end of the response.  Returns None, or the error that ended it early."""
    since, received = time.monotonic(), 0
    while True:
        try:
            piece = response.read1(PIECE_BYTES)
        except (OSError, http.client.HTTPException) as error:
            return error
        if not piece:
            return None
        output.write(piece)
        bar.update(len(piece))
        received += len(piece)
        if time.monotonic() - since > TIMEOUT:
            if received < SLOWEST * TIMEOUT:
                raise _TransferError(f"only {received} bytes in {TIMEOUT:g} seconds")
            since, received = time.monotonic(), 0
