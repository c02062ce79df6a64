"""Datasets in: `load()` gives the bundled MNIST or the user's own images."""

from tinyinfogan.data.datasets import Dataset, load, of_run, pad
from tinyinfogan.data.errors import DataError

__all__ = ["DataError", "Dataset", "load", "of_run", "pad"]
