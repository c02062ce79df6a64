"""Quick versions of the primitives for CuPy arrays: what starts the kernels of kernels.cu."""

import functools
import math
from pathlib import Path

import numpy as np

from tinyinfogan.engine import primitives, seam
from tinyinfogan.engine.device import array_module
from tinyinfogan.engine.fast.cuda import cublas
from tinyinfogan.engine.fast.cuda.cublas import matmul

SOURCE = Path(__file__).with_name("kernels.cu").read_text(encoding="utf-8")
TYPES = {"float32": "float", "float64": "double"}
THREADS = 256  # in a block
GROUP = 32  # rows that are added up before their sum is added to others, for float32's sake
COLUMNS = 1 << 28  # elements of columns at a time: large products are better, this bounds memory

# The structs, which are passed by value; a kernel's arguments may have 4,096 bytes.
MANY = 64
_POINTERS = [(name, np.uint64, MANY) for name in ("theta", "g", "m", "v")]
_PARAMETERS = np.dtype([*_POINTERS, ("size", np.int32, MANY)])
_SIZES = ("H", "W", "C", "OH", "OW", "KH", "KW", "stride", "padding")
_WINDOWS = np.dtype([(name, np.int32) for name in _SIZES])


def supports(*arrays):
    """Return whether the kernels are for `arrays`: on a GPU, contiguous, all float32 or float64."""
    return all(
        not isinstance(array, (np.ndarray, np.generic))
        and array.dtype.name in TYPES
        and array.dtype == arrays[0].dtype
        and array.flags.c_contiguous
        for array in arrays
    )


def source(dtype):
    """Return the CUDA source for T of the dtype with this name."""
    return f"typedef {TYPES[dtype]} T;\n{SOURCE}"


@functools.cache
def _module(cupy, dtype):
    return cupy.RawModule(code=source(dtype))


@functools.cache
def _kernel(cupy, dtype, name):
    return _module(cupy, dtype).get_function(name)


def start(name, written, *arguments, grid=None):
    """Start a thread of the kernel `name` for each element of the array `written`, and return it.

    arguments: the kernel's, NumPy's being passed by value.  Floats become numbers of the dtype of
    `written`; arrays are copied if they are not contiguous or of another dtype.
    Raises ValueError for an array of 2³¹ elements or more.
    """
    if not written.size:
        return written
    if written.size >= 1 << 31:
        raise ValueError(f"{name}: an array of {written.shape} is too large; use a smaller batch")
    xp, dtype = array_module(written), written.dtype

    def value(argument):
        if isinstance(argument, int):
            return np.int32(argument)
        if isinstance(argument, float):
            return dtype.type(argument)
        by_value = isinstance(argument, (np.ndarray, np.generic))
        return argument if by_value else xp.ascontiguousarray(argument, dtype)

    grid = grid or (-(-written.size // THREADS),)
    _kernel(xp, dtype.name, name)(grid, (THREADS,), tuple(value(a) for a in arguments))
    return written


def not_finite(arrays):
    """Return an array (n,): 1 for each of n arrays in which a number is not finite, else 0."""
    flags = array_module(arrays[0]).zeros(len(arrays), arrays[0].dtype)
    for at in range(0, len(arrays), MANY):
        some, own, table = arrays[at : at + MANY], flags[at : at + MANY], np.zeros((), _PARAMETERS)
        table["g"][: len(some)] = [array.data.ptr for array in some]
        table["size"][: len(some)] = [array.size for array in some]
        grid = min(-(-max(array.size for array in some) // THREADS), 1024), len(some)
        start("not_finite", own, table, own, grid=grid)
    return flags


# --- the primitives -------------------------------------------------------------------------------


def sum_rows(x):
    return _sum_products(x, None)


def centre(x, mean):
    centred = x - mean
    return centred, _sum_products(centred, centred)


def normalise_sums(g, centred):
    return sum_rows(g), _sum_products(g, centred)


def _sum_products(a, b):
    """Return Σ_n a[n] b[n], or Σ_n a[n] without b, groups of rows apart at first."""
    N, C = a.shape
    b = np.uint64(0) if b is None else b  # no address
    sums = array_module(a).empty((-(-N // GROUP), C), a.dtype)
    return start("sum_products", sums, a, b, sums, sums.size, N, C, GROUP).sum(axis=0)


def leaky_relu(x, slope):
    y = array_module(x).empty(x.shape, x.dtype)
    return start("leaky_relu", y, x, y, y.size, float(slope))


def leaky_relu_grad(x, g, slope):
    dx = array_module(x).empty(x.shape, x.dtype)
    return start("leaky_relu_grad", dx, x, g, dx, dx.size, float(slope))


def im2col(x, *window):
    KH, KW, *_ = window
    N, H, W, C = x.shape
    OH, OW = primitives.windows(H, W, *window)
    columns = array_module(x).empty((N * OH * OW, KH * KW * C), x.dtype)
    sizes = np.array((H, W, C, OH, OW, *window), _WINDOWS)
    return start("im2col", columns, x, columns, columns.size, sizes)


def col2im(columns, shape, *window):
    images = array_module(columns).empty(shape, columns.dtype)
    sizes = np.array((*shape[1:], *primitives.windows(*shape[1:3], *window), *window), _WINDOWS)
    return start("col2im", images, columns, images, images.size, sizes)


def conv_forward(x, matrix, *window):
    count = math.prod(primitives.windows(*x.shape[1:3], *window))
    parts = _parts(len(x), count * len(matrix))
    return _joined([primitives.conv_forward.plain(x[some], matrix, *window) for some in parts])


def conv_input_grad(g, matrix, shape, *window):
    count, images = len(g) // shape[0], []
    for some in _parts(shape[0], count * len(matrix)):
        rows, size = g[some.start * count : some.stop * count], (some.stop - some.start, *shape[1:])
        images.append(primitives.conv_input_grad.plain(rows, matrix, size, *window))
    return _joined(images)


def conv_weight_grad(x, g, *window):
    KH, KW, *_ = window
    count, total = len(g) // len(x), 0
    for some in _parts(len(x), count * KH * KW * x.shape[3]):
        rows = g[some.start * count : some.stop * count]
        total = total + primitives.conv_weight_grad.plain(x[some], rows, *window)
    return total


def _parts(images, elements):
    """Return slices of as many images as to make columns of, those of one having `elements`."""
    step = max(1, COLUMNS // elements)
    return [slice(at, min(at + step, images)) for at in range(0, images, step)]


def _joined(parts):
    return parts[0] if len(parts) == 1 else array_module(parts[0]).concatenate(parts)


def normalise(centred, factor, beta):
    y = array_module(centred).empty(centred.shape, centred.dtype)
    return start("normalise", y, centred, factor, beta, y, y.size, y.shape[1])


def normalise_grad(g, centred, factor, a, b):
    dx = array_module(centred).empty(centred.shape, centred.dtype)
    return start("normalise_grad", dx, g, centred, factor, a, b, dx, dx.size, dx.shape[1])


def adam_update(thetas, grads, ms, vs, numbers, beta1, beta2):
    shares = map(float, (beta1, 1 - beta1, beta2, 1 - beta2))
    shares, every = tuple(shares), [a for a in zip(thetas, grads, ms, vs, strict=True) if a[0].size]
    for at in range(0, len(every), MANY):
        some, table = every[at : at + MANY], np.zeros((), _PARAMETERS)
        for name, arrays in zip(("theta", "g", "m", "v"), zip(*some)):
            table[name][: len(some)] = [array.data.ptr for array in arrays]
        table["size"][: len(some)] = [theta.size for theta, *_ in some]
        largest = max((theta for theta, *_ in some), key=lambda theta: theta.size)
        grid = min(-(-largest.size // THREADS), 1024), len(some)
        start("adam_update", largest, table, *shares, numbers, grid=grid)


def warp(x, maps):
    y = array_module(x).empty(x.shape, x.dtype)
    return start("warp", y, x, maps, y, y.size, *y.shape[1:])


def warp_grad(g, maps):
    dx = array_module(g).empty(g.shape, g.dtype)
    return start("warp_grad", dx, g, maps, dx, dx.size, *dx.shape[1:])


VERSIONS = {name: globals()[name] for name in seam.primitives if name in globals()}
"""All of them by name; for arrays that the kernels do not support there is the formula."""


def version(name, arguments):
    """Return the quick version of the primitive `name` for these arguments, or None."""
    if name == "matmul":
        return matmul if cublas.supports(*arguments) else None
    lists = [a for a in arguments if isinstance(a, list)]
    arrays = [array for arrays in lists for array in arrays] or arguments[:1]
    return VERSIONS.get(name) if supports(*arrays) else None
