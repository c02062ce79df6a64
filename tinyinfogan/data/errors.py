"""The one error that bad data raises."""

import re
import sys
from contextlib import contextmanager


class DataError(ValueError):
    """Data that cannot be used; the message is one line: which path, what was wrong, what to do."""


class ChoiceError(DataError):
    """Arguments that do not fit one another: a data set that needs a path, or has no use for it."""


@contextmanager
def reading(path, kind):
    """Raise DataError, with `path` in its message, for whatever the block raises.

    `kind` says what the path should have been ("an IDX file", …).  DataError passes unchanged.
    """
    try:
        yield
    except (DataError, ImportError):  # without Pillow, no file is to blame
        raise
    except Exception as error:  # a hostile file can provoke almost any in gzip, NumPy and Pillow
        raise DataError(
            f"{path}: cannot be read as {kind} ({one_line(error)}); replace the file or remove it"
        ) from error


def one_line(error):
    """Return an error's message as one line, without addresses, or its type if it has none."""
    text = re.sub(r" <[^>]* at 0x\w+>", "", str(error))
    return " ".join(text.split()) or type(error).__name__


def say(line):
    """Print a line on stderr: what was done with the data that is not plain to see."""
    print(line, file=sys.stderr)
