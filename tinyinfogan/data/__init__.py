"""Datasets in: `load()` gives a named data set or the user's own images."""

from tinyinfogan.data.datasets import Dataset, from_arrays, load, of_run, pad
from tinyinfogan.data.errors import ChoiceError, DataError
from tinyinfogan.data.published import NAMES

__all__ = ["NAMES", "ChoiceError", "DataError", "Dataset", "from_arrays", "load", "of_run", "pad"]
