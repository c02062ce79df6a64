"""Files that are whole or not there."""

import contextlib
import os
import uuid
from pathlib import Path


@contextlib.contextmanager
def replacing(path):
    """Yield a binary file that becomes `path` when the block ends, and only if it ends well.

    The bytes go to a temporary file in the same folder, which is flushed to the disk and renamed,
    so that a full disk or a kill leaves what was at `path` as it was.  Raises OSError.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
