"""Datasets in: `load()` gives the bundled MNIST or the user's own images."""

from .datasets import Dataset, load
from .errors import DataError

__all__ = ["DataError", "Dataset", "load"]
