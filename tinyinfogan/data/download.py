"""Downloads: a file is whole, with the right sum, or it is not there.

This is ours because with pooch 1.9 a broken transfer starts again at its first byte, half a file is
taken for whole if neither its length nor its sum is known, and a server that drips is never left.
"""

import gzip
import hashlib
import os
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import NamedTuple

from tinyinfogan.data.errors import DataError, one_line
from tinyinfogan.storage.files import replacing

TIMEOUT = 30.0  # seconds without a byte, after which the next mirror has its turn
SLOWEST = 1024  # bytes per second over TIMEOUT; a server that only drips counts as stalled
RESUMES = 5  # times that a connection to one mirror may break off


class File(NamedTuple):
    """A published file.

    urls: mirrors, in the order to try them.  sha256: of the file or, if `gzipped`, of what it
    unpacks to, since gzip headers differ; None if no sum is published: the server must then say how
    long the file is, and the reader checks its structure.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str | None
    gzipped: bool = False


def cache_folder() -> Path:
    """Return the folder for downloads: TINYINFOGAN_DATA, else one in the platform's cache."""
    if folder := os.environ.get("TINYINFOGAN_DATA"):
        return Path(folder).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    folder = Path(os.path.expanduser(base), "tinyinfogan")
    near = next(place for place in (folder, *folder.parents) if os.path.exists(place))
    # Where there is no home, as in a container, what is kept may go with the next start.
    return folder if os.access(near, os.W_OK) else Path(tempfile.gettempdir(), "tinyinfogan")


def fetch(wanted: tuple[File, ...], folder: Path) -> None:
    """Download what is not in `folder` yet, or is there with another sum, from mirrors in turn.

    Raises DataError, which names the missing files and the folder to put them in, if none helps.
    """
    missing = [file for file in wanted if not _is_whole(folder / file.name, file)]
    for index, file in enumerate(missing):
        reasons = []
        for url in file.urls:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with replacing(folder / file.name) as output:
                    _transfer(url, output, file)
                    output.flush()
                    if not _is_whole(Path(output.name), file):
                        raise ValueError("the SHA-256 of what it sent is wrong")
                break
            except Exception as error:
                reasons.append(f"{url}: {one_line(error)}")
        else:
            names = ", ".join(other.name for other in missing[index:])
            advice = f"put {names} in {folder}, or give the folder that has them as --data"
            problem = f"cannot be downloaded ({'; '.join(reasons)}); try again, or {advice}"
            raise DataError(f"{file.name}: {problem}")


def _is_whole(path, file):
    """Return whether there is a file at `path`, with the sum that `file` has."""
    if file.sha256 is None:
        return path.is_file()
    digest = hashlib.sha256()
    try:
        with (gzip.open if file.gzipped else open)(path, "rb") as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
    except (OSError, EOFError, ValueError, zlib.error):
        return False
    return digest.hexdigest() == file.sha256


def _transfer(url, output, file):
    """Write what is at `url` to `output`, all of it, going on after broken connections."""
    import urllib.request

    from tqdm import tqdm

    headers = {"User-Agent": "tinyinfogan", "Accept-Encoding": "identity"}
    with tqdm(desc=file.name, unit="B", unit_scale=True, dynamic_ncols=True, delay=1) as bar:
        for _ in range(1 + RESUMES):
            request, start = urllib.request.Request(url, headers=headers), output.tell()
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                if response.status == 200:  # all of it, from the start
                    start = output.seek(0)
                    output.truncate()
                elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                    raise ValueError(f"HTTP status {response.status}, without the part asked for")
                length = response.headers.get("Content-Length")
                if length is None and file.sha256 is None:
                    raise ValueError("it does not say how long the file is: no sum is published")
                bar.total, bar.n = None if length is None else start + int(length), start
                problem = _copy(response, output, bar)
            if not problem and bar.total in (None, output.tell()):
                return
            # It goes on only if the server can tell that its file is still the same one (RFC 9110,
            # If-Range; weak tags cannot), so that no file is ever sewn together from two.
            etag = response.headers.get("ETag")
            if not etag or etag.startswith("W/"):
                break
            headers |= {"Range": f"bytes={output.tell()}-", "If-Range": etag}
        raise ValueError(f"it stopped after {output.tell()} bytes of {bar.total}{problem}")


def _copy(response, output, bar):
    """Copy to the end of the response.  Return what ended it early, in brackets, or nothing."""
    since, received = time.monotonic(), 0
    while True:
        try:
            piece = response.read1(1 << 16)
        except Exception as error:
            return f" ({one_line(error)})"
        if not piece:
            return ""
        output.write(piece)
        bar.update(len(piece))
        received += len(piece)
        if time.monotonic() - since > TIMEOUT:
            if received < SLOWEST * TIMEOUT:
                raise ValueError(f"only {received} bytes in {TIMEOUT:g} seconds")
            since, received = time.monotonic(), 0
