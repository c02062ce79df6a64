"""NumPy or CuPy: the one place where that is decided.

Everything else asks an array which library it belongs to (`array_module`) and writes the same
expressions for both.  Importing this module never imports CuPy.
"""

import importlib.util
from typing import Any, TypeAlias

import numpy as np

from tinyinfogan.engine.seam import primitives

Array: TypeAlias = Any  # of NumPy or of CuPy, for which Python has no common type
CUDA_INSTALL = 'pip install -e ".[cuda13]" (or ".[cuda12]" for a CUDA 12 driver)'

_FULL = "the GPU's memory is full; end what else is there (nvidia-smi), or take --device cpu"
_OLD = 'no NVIDIA driver, or too old a one for this CuPy; see nvidia-smi: for CUDA 12 ".[cuda12]"'
_NONE = "CuPy is installed but sees no GPU; nvidia-smi and CUDA_VISIBLE_DEVICES tell which it may"


class DeviceError(RuntimeError):
    """The device asked for is not there; the message says what is missing and what to install."""


def resolve_device(name: str = "auto") -> str:
    """Return "cpu" or "cuda"; for "auto" CUDA if CuPy is installed and sees a GPU.

    Raises ValueError for another name and DeviceError if "cuda" cannot be had.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"unknown device {name!r}: expected auto, cpu or cuda")
    missing = None if name == "cpu" else missing_for_cuda()
    if name == "cuda" and missing:
        raise DeviceError(f"device cuda: {missing}")
    return "cpu" if name == "cpu" or missing else "cuda"


def missing_for_cuda() -> str | None:
    """Return None if CUDA can be used, else one sentence: what is missing, what to do."""
    if importlib.util.find_spec("cupy") is None:
        return f"CuPy is not installed; install it with {CUDA_INSTALL}"
    try:
        import cupy

        if not cupy.cuda.runtime.getDeviceCount():  # is_available() would not say why
            return _NONE
        primitives["matmul"](*[cupy.ones((2, 2), np.float32)] * 2).get()  # CUDA's libraries work
    except Exception as error:  # a CuPy built for another CUDA fails in many ways
        status = 2 if isinstance(error, MemoryError) else getattr(error, "status", None)
        if status in (2, 35, 100):  # of CUDA's errors
            return {2: _FULL, 35: _OLD, 100: _NONE}[status]
        if "'cuda" in str(error):  # no module of that name: cuda.pathfinder
            return f"CuPy {cupy.__version__} is too old, 14 is expected; {CUDA_INSTALL}"
        reason = str(error).partition("\n")[0]
        return f"CuPy does not work ({reason}); install the one for your driver: {CUDA_INSTALL}"
    return None


def array_module(array: Array) -> Any:
    """Return the library, `numpy` or `cupy`, that `array` belongs to."""
    if isinstance(array, (np.ndarray, np.generic)):
        return np
    import cupy

    return cupy


def device_of(array: Array) -> str:
    """Return the device that `array` is on, "cpu" or "cuda"."""
    return "cpu" if array_module(array) is np else "cuda"


def to_device(array: Array, device: str) -> Array:
    """Return `array` on `device` ("cpu" or "cuda"); no copy if it is there already."""
    if device == "cpu":
        return to_host(array)
    import cupy

    return cupy.asarray(array)


def to_host(array: Array) -> Array:
    """Return `array` as a NumPy array; from a GPU this waits for it and copies."""
    return array if isinstance(array, (np.ndarray, np.generic)) else array.get()
