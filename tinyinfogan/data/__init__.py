"""Data sets: `load` gives a named one or the user's own images, `from_arrays` checks arrays."""

from importlib import import_module

from tinyinfogan.data.errors import ChoiceError, DataError

__all__ = ["ARRAYS", "NAMES", "ChoiceError", "DataError", "Dataset", "from_arrays", "load"]
__all__ += ["name_at", "of_run", "pad", "preparation_for", "seen_in"]


def __getattr__(name):
    """Import the data sets once they are asked for: a reader of files needs none of them."""
    if name in __all__:
        return getattr(import_module("tinyinfogan.data.datasets"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
