"""The primitives of the engine once more, quick: on the CPU with threads, on a GPU with kernels."""

from collections.abc import Callable

import numpy as np

from tinyinfogan.engine.fast import cpu
from tinyinfogan.engine.fast.cuda import kernels


def version(name: str, arguments: tuple) -> Callable | None:
    """Return the quick version of the primitive `name` for these arguments, or None.

    The first argument, an array or a list of arrays, tells the library.
    """
    first = arguments[0][0] if isinstance(arguments[0], list) else arguments[0]
    if isinstance(first, np.ndarray):
        return cpu.VERSIONS.get(name)
    return None if isinstance(first, np.generic) else kernels.version(name, arguments)
