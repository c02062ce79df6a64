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
BLOCKS = 256  # about as many are to add up the rows of a matrix: two for each multiprocessor
WIDTH = 32  # channels that lie side by side, at the most: a thread each, in one block
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


# --- the primitives -------------------------------------------------------------------------------


def sum_rows(x):
    while True:
        parts, grid, *sizes = _parts_of(x)
        start("sum_rows", parts, x, parts, *sizes, grid=grid)
        if len(parts) == 1:
            return parts[0]
        x = parts


def _parts_of(x, numbers=None):
    """Return what kernels that add up rows (N, C) need.

    That is an array for the results of each part of the rows, (parts, C) or (parts, C, numbers),
    the grid of blocks, and the kernels' arguments N, C and width.
    """
    N, C = x.shape
    width = min(WIDTH, 1 << max(0, C - 1).bit_length())  # a power of two
    groups, enough = max(1, -(-C // width)), 2 * THREADS // width  # two rows for each thread
    parts = max(1, min(-(-N // enough), BLOCKS // groups))
    shape = (parts, C) if numbers is None else (parts, C, numbers)
    return array_module(x).empty(shape, x.dtype), (groups, parts), N, C, width


def norm_forward(x, gamma, beta, running, momentum, eps, n, total):
    if total is None or n != len(x):  # not in training, or with other processes
        return primitives.norm_forward.plain(x, gamma, beta, running, momentum, eps, n, total)
    parts, grid, *sizes = _parts_of(x, 3)
    start("norm_moments", parts, x, parts, *sizes, grid=grid)
    xp, addresses = array_module(x), running or [np.uint64(0)] * 2
    y, centred, scale = (xp.empty(shape, x.dtype) for shape in (x.shape, x.shape, gamma.shape))
    arrays = x, parts, gamma, beta, *addresses, y, centred, scale
    start("norm_forward", y, *arrays, *sizes, float(momentum), float(eps), grid=grid)
    return y, centred, scale


def norm_grad(g, centred, scale, gamma, n, total):
    if total is None or n != len(g):
        return primitives.norm_grad.plain(g, centred, scale, gamma, n, total)
    parts, grid, *sizes = _parts_of(g, 2)
    start("norm_sums", parts, g, centred, parts, *sizes, grid=grid)
    xp = array_module(g)
    dx, dgamma, dbeta = (xp.empty(shape, g.dtype) for shape in (g.shape, gamma.shape, gamma.shape))
    arrays = g, centred, scale, gamma, parts, dx, dgamma, dbeta
    start("norm_grad", dx, *arrays, *sizes, grid=grid)
    return dx, dgamma, dbeta


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
    first = [] if isinstance(arguments[0], list) else [arguments[0]]
    arrays = sum((a for a in arguments if isinstance(a, list)), first)
    return VERSIONS.get(name) if supports(*arrays) else None
