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
NOWHERE = np.uint64(0)  # the address of no array
WIDTH = 32  # channels that lie side by side, at the most: a thread each, in one block
COLUMNS = 1 << 28  # elements of columns at a time: large products are better, this bounds memory

# The structs, which are passed by value; a kernel's arguments may have 4,096 bytes.
MANY = 64
_POINTERS = [(name, np.uint64, MANY) for name in ("theta", "g", "m", "v")]
_PARAMETERS = np.dtype([*_POINTERS, ("size", np.int32, MANY)])
_SIZES = ("H", "W", "C", "OH", "OW", "KH", "KW", "stride", "padding")
_WINDOWS = np.dtype([(name, np.int32) for name in _SIZES])


def supports(*arrays, contiguous=True):
    """Return whether the kernels are for `arrays`: on a GPU, contiguous, all float32 or float64."""
    return all(
        not isinstance(array, (np.ndarray, np.generic))
        and array.dtype.name in TYPES
        and array.dtype == arrays[0].dtype
        and (array.flags.c_contiguous or not contiguous)
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
    largest = max((written, *arguments), key=lambda array: getattr(array, "size", 0))
    if largest.size >= 1 << 31:
        raise ValueError(f"{name}: an array of {largest.shape} is too large; use a smaller batch")
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
    parts, grid, *sizes = _parts_of(x)
    start("sum_rows", parts, x, parts, *sizes, grid=grid)
    return parts[0] if len(parts) == 1 else sum_rows(parts)


def _parts_of(x, *numbers):
    """Return an array (parts of the rows of x, C, *numbers), the blocks, and N, C and width."""
    N, C = x.shape
    width = min(WIDTH, 1 << max(0, C - 1).bit_length())  # a power of two
    groups, enough = max(1, -(-C // width)), 16 * THREADS // width  # 16 rows for each thread
    parts = max(1, min(-(-N // enough), BLOCKS // groups))
    return array_module(x).empty((parts, C, *numbers), x.dtype), (groups, parts), N, C, width


def norm_forward(x, gamma, beta, running, momentum, eps, n, total):
    if total is None or n != len(x):  # not in training, or with other processes
        return primitives.norm_forward.plain(x, gamma, beta, running, momentum, eps, n, total)
    parts, grid, *sizes = _parts_of(x, 3)
    if len(parts) > 1:
        start("norm_moments", parts, x, parts, *sizes, grid=grid)
    xp, addresses = array_module(x), running or [NOWHERE] * 2
    y, centred, scale = (xp.empty(shape, x.dtype) for shape in (x.shape, x.shape, gamma.shape))
    arrays = x, parts, gamma, beta, *addresses, y, centred, scale
    start("norm_forward", y, *arrays, *sizes, float(momentum), float(eps), grid=grid)
    return y, centred, scale


def norm_grad(g, centred, scale, gamma, n, total):
    if total is None or n != len(g):
        return primitives.norm_grad.plain(g, centred, scale, gamma, n, total)
    parts, grid, *sizes = _parts_of(g, 2)
    if len(parts) > 1:
        start("norm_sums", parts, g, centred, parts, *sizes, grid=grid)
    xp = array_module(g)
    dx, dgamma, dbeta = (xp.empty(shape, g.dtype) for shape in (g.shape, gamma.shape, gamma.shape))
    arrays = g, centred, scale, gamma, parts, dx, dgamma, dbeta
    start("norm_grad", dx, *arrays, *sizes, grid=grid)
    return dx, dgamma, dbeta


def _like(name, x, *others):
    """Return an array like x that a kernel writes from x, other arrays, its size and numbers."""
    y = array_module(x).empty(x.shape, x.dtype)
    numbers = [number for number in others if not hasattr(number, "ndim")]
    return start(name, y, x, *others[: len(others) - len(numbers)], y, y.size, *numbers)


leaky_relu, leaky_relu_grad, sigmoid, softplus = (
    functools.partial(_like, name)
    for name in ("leaky_relu", "leaky_relu_grad", "sigmoid", "softplus")
)


def warp(x, maps):
    return _like("warp", x, maps, *x.shape[1:])


def warp_grad(g, maps):
    return _like("warp_grad", g, maps, *g.shape[1:])


def log_softmax(x, axis):
    if x.ndim != 2 or axis not in (-1, 1) or x.strides[1] != x.itemsize:
        return primitives.log_softmax.plain(x, axis)
    y, address, step = array_module(x).empty(x.shape, x.dtype), x.data.ptr, x.strides[0]
    return start("log_softmax", y, np.uint64(address), y, *x.shape, step // x.itemsize)


def log_softmax_grad(y, g, axis):
    if y.ndim != 2 or axis not in (-1, 1):
        return primitives.log_softmax_grad.plain(y, g, axis)
    dx = array_module(y).empty(y.shape, y.dtype)
    return start("log_softmax_grad", dx, y, g, dx, *y.shape)


def sum_over(x, axis, n):
    if axis is not None or x.dtype != np.float32 or x.size > 1 << 13:
        return primitives.sum_over.plain(x, axis, n)
    y = array_module(x).empty((1,) * x.ndim, x.dtype)
    return start("sum_over", y, x, y, x.size, float(n), grid=(1,))


def im2col(x, *window):
    (N, H, W, C), (OH, OW) = x.shape, primitives.windows(*x.shape[1:3], *window)
    columns = array_module(x).empty((N * OH * OW, window[0] * window[1] * C), x.dtype)
    sizes = np.array((H, W, C, OH, OW, *window), _WINDOWS)
    return start("im2col", columns, x, columns, columns.size, sizes)


def col2im(columns, shape, *window):
    images = array_module(columns).empty(shape, columns.dtype)
    sizes = np.array((*shape[1:], *primitives.windows(*shape[1:3], *window), *window), _WINDOWS)
    return start("col2im", images, columns, images, images.size, sizes)


def conv_forward(x, matrix, *window):
    elements = math.prod(primitives.windows(*x.shape[1:3], *window)) * len(matrix)
    some = [primitives.conv_forward.plain(part, matrix, *window) for part in _parts(elements, x)]
    return some[0] if len(some) == 1 else array_module(x).concatenate(some)


def conv_input_grad(g, matrix, shape, *window):
    g, some = g.reshape(shape[0], -1, g.shape[1]), []
    for part in _parts(g[0].shape[0] * len(matrix), g):
        rows, size = part.reshape(-1, g.shape[2]), (len(part), *shape[1:])
        some.append(primitives.conv_input_grad.plain(rows, matrix, size, *window))
    return some[0] if len(some) == 1 else array_module(g).concatenate(some)


def conv_weight_grad(x, g, *window):
    g = g.reshape(len(x), -1, g.shape[1])
    elements = g.shape[1] * window[0] * window[1] * x.shape[3]
    some = [
        primitives.conv_weight_grad.plain(part, rows.reshape(-1, g.shape[2]), *window)
        for part, rows in zip(_parts(elements, x), _parts(elements, g))
    ]
    return sum(some[1:], some[0])


def _parts(elements, images):
    """Return parts of images, as many as to make columns of, those of one having `elements`."""
    step = max(1, COLUMNS // elements)
    return [images[at : at + step] for at in range(0, len(images), step)]


def adam_update(thetas, grads, ms, vs, numbers, beta1, beta2):
    shares = [float(share) for share in (beta1, 1 - beta1, beta2, 1 - beta2)]
    for some, table, grid in _tables(theta=thetas, g=grads, m=ms, v=vs):
        largest = max(thetas[some], key=lambda theta: theta.size)
        start("adam_update", largest, table, *shares, numbers, grid=grid)


def _tables(**lists):
    """Yield (slice, struct Parameters, grid) of {name of a column: arrays}, MANY at a time."""
    for at in range(0, len(next(iter(lists.values()))), MANY):
        some, table = slice(at, at + MANY), np.zeros((), _PARAMETERS)
        for name, arrays in lists.items():
            number = len(arrays[some])
            table[name][:number] = [array.data.ptr for array in arrays[some]]
            table["size"][:number] = [array.size for array in arrays[some]]
        yield some, table, (min(-(-int(table["size"].max()) // THREADS), 1024), number)


def norm(arrays):
    """Return √(Σ x²) over all elements of arrays that the kernels support."""
    xp, dtype, largest = array_module(arrays[0]), arrays[0].dtype, max(a.size for a in arrays)
    blocks = min(1 + largest // (16 * THREADS), BLOCKS)
    sums, y = xp.empty((len(arrays), blocks), dtype), xp.empty((), dtype)
    for some, table, (_, number) in _tables(g=arrays):
        start("sum_squares", sums[some], table, sums[some], grid=(blocks, number))
    return start("root_of_sum", y, sums, y, sums.size, grid=(1,))


def not_finite(arrays):
    """Return an array (n,): 1 for each of n arrays in which a number is not finite, else 0."""
    flags = array_module(arrays[0]).zeros(len(arrays), arrays[0].dtype)
    for some, table, grid in _tables(g=arrays):
        start("not_finite", flags[some], table, flags[some], grid=grid)
    return flags


VERSIONS = {name: globals()[name] for name in seam.primitives if name in globals()}
"""All of them by name; for arrays that the kernels do not support there is the formula."""


def version(name, arguments):
    """Return the quick version of the primitive `name` for these arguments, or None."""
    if name == "matmul":
        return matmul if cublas.supports(*arguments) else None
    first = [] if isinstance(arguments[0], list) else [arguments[0]]
    arrays = sum((a for a in arguments if isinstance(a, list)), first)
    return VERSIONS.get(name) if supports(*arrays, contiguous=name != "log_softmax") else None
