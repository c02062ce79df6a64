"""NumPy or CuPy: the one place where that is decided.

Importing this module never imports CuPy.
"""

import importlib.util

import numpy

CUDA_INSTALL = 'pip install -e ".[cuda13]" (or ".[cuda12]" for a CUDA 12 driver)'


class DeviceError(RuntimeError):
    """The device asked for is not there; the message says what is missing and what to install."""


def resolve_device(name="auto"):
    """Return "cpu" or "cuda" for `name`, one of "auto", "cpu", "cuda".

    "auto" takes CUDA when CuPy is installed and sees a GPU, otherwise the CPU.
    Raises ValueError for another name and DeviceError when "cuda" cannot be had.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"unknown device {name!r}: expected auto, cpu or cuda")
    if name == "cpu":
        return name
    missing = missing_for_cuda()
    if missing is None:
        return "cuda"
    if name == "cuda":
        raise DeviceError(f"device cuda: {missing}")
    return "cpu"


def missing_for_cuda():
    """Return None where CUDA can be used, else one sentence: what is missing, what to do."""
    if importlib.util.find_spec("cupy") is None:
        return f"CuPy is not installed; install it with {CUDA_INSTALL}"
    try:
        import cupy

        from tinyinfogan.engine.backend import product

        if not cupy.cuda.is_available():
            return (
                "CuPy is installed but sees no GPU; install the NVIDIA driver (nvidia-smi shows "
                "whether it works, and up to which CUDA), or use --device cpu"
            )
        product(*[cupy.ones((2, 2), numpy.float32)] * 2).get()  # CUDA's libraries work too
    except Exception as error:  # a CuPy built for another CUDA fails in many ways
        reason = str(error).partition("\n")[0]
        return f"CuPy does not work ({reason}); install the one for your driver: {CUDA_INSTALL}"
    return None


def array_module(array):
    """Return the library, `numpy` or `cupy`, that `array` belongs to."""
    if isinstance(array, (numpy.ndarray, numpy.generic)):
        return numpy
    import cupy

    return cupy


def device_of(array):
    """Return where `array` is, "cpu" or "cuda"."""
    return "cpu" if array_module(array) is numpy else "cuda"


def to_device(array, device):
    """Return `array` on `device` ("cpu" or "cuda"); no copy where it is there already."""
    if device == "cpu":
        return to_host(array)
    import cupy

    return cupy.asarray(array)


def to_host(array):
    """Return `array` as a NumPy array.  From a GPU this waits for it and copies."""
    return array if isinstance(array, (numpy.ndarray, numpy.generic)) else array.get()
