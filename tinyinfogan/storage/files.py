"""Files that are whole or not there."""

import contextlib
import os
import uuid
from pathlib import Path


@contextlib.contextmanager
def replacing(path, verify=None):
    """Yield a binary file, to write and read, that becomes `path` if the block ends well.

    A temporary file in the same folder is flushed to the disk and renamed: a full disk or a kill
    leaves `path` as it was.  verify: called with that file's path before.  Raises OSError.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if verify is not None:
            verify(temporary)
        os.replace(temporary, path)
        if os.name == "posix":  # elsewhere a folder cannot be opened
            _flush(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and str(error.filename) == str(temporary):
            raise OSError(error.errno, error.strerror, str(path)) from error  # which the user knows
        raise


def _flush(folder):
    """Make a renaming outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporaries(folder):
    """Remove what a killed process left half written in `folder`."""
    for path in Path(folder).glob(f".*.{'[0-9a-f]' * 32}.tmp"):  # others may be somebody's
        path.unlink(missing_ok=True)


def append(path, line):
    """Append `line`, bytes, to a file: all of it or, if that fails with OSError, nothing."""
    with open(path, "ab", buffering=0) as file:
        before = file.tell()
        try:
            while line:
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except BaseException:
            file.truncate(before)
            raise
