"""CUDA kernels: in one pass what the NumPy code of this package does in a row of small ones.

Each kernel has the name of the Python function below that starts it; the comment above it names the
NumPy code that is its meaning.  `T` is float or double.  A thread computes one element i of what is
written, so that nothing depends on the order in which threads run.
"""

import functools

import numpy as np

from tinyinfogan.engine.device import array_module

SOURCE = r"""
#define ELEMENT(n) int i = blockIdx.x * blockDim.x + threadIdx.x; if (i >= (n)) return

struct Windows { int H, W, C, OH, OW, KH, KW, stride, padding; };

// What Adam needs of each parameter: its elements, their gradients and moments, and their number.
struct Parameters { T *theta[64]; const T *g[64]; T *m[64], *v[64]; int size[64]; };

// A place between pixels: the one above and to the left of it, and how far below and right it is.
struct Place { int r, c; T down, right; bool inside; };

__device__ Place place(const T* map, int r, int c, int H, int W) {
    T y = r - (H - 1) / T(2), x = c - (W - 1) / T(2);
    T i = map[0] * y + (map[2] + (H - 1) / T(2)) + map[1] * x;
    T j = map[3] * y + (map[5] + (W - 1) / T(2)) + map[4] * x;
    if (!(i > -1 && i < H && j > -1 && j < W)) return Place{0, 0, 0, 0, false};
    int above = int(floor(i)), left = int(floor(j));
    return Place{above, left, i - above, j - left, true};
}

extern "C" {

// conv.gather_patches: a number of a window is one of the image, or 0 around it.
__global__ void gather_patches(const T* x, T* patches, int n, Windows s) {
    ELEMENT(n);
    int at = i;
    int c = at % s.C;   at /= s.C;
    int l = at % s.KW;  at /= s.KW;
    int k = at % s.KH;  at /= s.KH;
    int ow = at % s.OW; at /= s.OW;
    int oh = at % s.OH; at /= s.OH;
    int h = oh * s.stride + k - s.padding, w = ow * s.stride + l - s.padding;
    bool inside = h >= 0 && h < s.H && w >= 0 && w < s.W;
    patches[i] = inside ? x[((at * s.H + h) * s.W + w) * s.C + c] : T(0);
}

// conv.scatter_patches: a pixel is the sum of the windows (oh, ow) that cover it.
__global__ void scatter_patches(const T* patches, T* images, int n, Windows s) {
    ELEMENT(n);
    int at = i;
    int c = at % s.C;               at /= s.C;
    int w = at % s.W + s.padding;   at /= s.W;
    int h = at % s.H + s.padding;   at /= s.H;
    int first_oh = h < s.KH ? 0 : (h - s.KH) / s.stride + 1;
    int first_ow = w < s.KW ? 0 : (w - s.KW) / s.stride + 1;
    T sum = 0;
    for (int oh = first_oh; oh <= h / s.stride && oh < s.OH; oh++)
        for (int ow = first_ow; ow <= w / s.stride && ow < s.OW; ow++) {
            int k = h - oh * s.stride, l = w - ow * s.stride;
            sum += patches[((((at * s.OH + oh) * s.OW + ow) * s.KH + k) * s.KW + l) * s.C + c];
        }
    images[i] = sum;
}

// norm.sum_products: the sum of one group of rows in one channel.  backend.sum_rows, without b.
__global__ void sum_products(const T* a, const T* b, T* sums, int n, int N, int C, int group) {
    ELEMENT(n);
    int first = i / C * group, last = min(first + group, N);
    T sum = 0;
    for (int at = first * C + i % C; at < last * C; at += C) sum += b ? a[at] * b[at] : a[at];
    sums[i] = sum;
}

// norm.batch_norm, forward, from x - mean on.
__global__ void normalise(const T* centred, const T* factor, const T* beta, T* y, int n, int C) {
    ELEMENT(n);
    int c = i % C;
    y[i] = centred[i] * factor[c] + beta[c];
}

// norm.batch_norm, backward in training: dx.
__global__ void normalise_backward(const T* g, const T* centred, const T* mean_g, const T* slope,
                                   const T* factor, T* dx, int n, int C) {
    ELEMENT(n);
    int c = i % C;
    dx[i] = (g[i] - centred[i] * slope[c] - mean_g[c]) * factor[c];
}

// ops.leaky_relu, forward.  Not a number stays what it is, and -inf times a slope of 0 is 0.
__global__ void leaky_relu(const T* x, T* y, int n, T slope) {
    ELEMENT(n);
    y[i] = !(x[i] <= 0) ? x[i] : slope != 0 ? slope * x[i] : T(0);
}

// ops.leaky_relu, backward.
__global__ void leaky_relu_backward(const T* x, const T* g, T* dx, int n, T slope) {
    ELEMENT(n);
    dx[i] = g[i] * (x[i] > 0 ? T(1) : slope);
}

// optim.Adam.step.  blockIdx.y counts the parameters; a thread takes every so many-th element.
// The shares of what is new, 1 - β, come as numbers of their own: 1 - 0.999f would be off by 1e-5.
__global__ void adam(Parameters all, T beta1, T new1, T beta2, T new2, const T* numbers) {
    T rate = numbers[0], eps = numbers[1];
    T *theta = all.theta[blockIdx.y], *m = all.m[blockIdx.y], *v = all.v[blockIdx.y];
    const T *g = all.g[blockIdx.y];
    int i = blockIdx.x * blockDim.x + threadIdx.x, n = all.size[blockIdx.y];
    for (; i < n; i += gridDim.x * blockDim.x) {
        m[i] = beta1 * m[i] + new1 * g[i];
        v[i] = beta2 * v[i] + new2 * (g[i] * g[i]);
        theta[i] -= rate * (m[i] / (sqrt(v[i]) + eps));
    }
}

// augment.warp, forward.
__global__ void warp(const T* x, const T* maps, T* y, int n, int H, int W, int C) {
    ELEMENT(n);
    int at = i;
    int c = at % C;   at /= C;
    int col = at % W; at /= W;
    int row = at % H; at /= H;
    Place p = place(maps + 6 * at, row, col, H, W);
    T sum = 0;
    for (int dr = 0; p.inside && dr < 2; dr++)
        for (int dc = 0; dc < 2; dc++) {
            int r = p.r + dr, q = p.c + dc;
            if (r < 0 || r >= H || q < 0 || q >= W) continue;
            sum += (dr ? p.down : 1 - p.down) * (dc ? p.right : 1 - p.right)
                   * x[((at * H + r) * W + q) * C + c];
        }
    y[i] = sum;
}

// augment.warp, backward: a pixel sums what the places less than a pixel away have taken of it.
// They are where the inverse map takes the square of 2 by 2 pixels around it.
__global__ void warp_backward(const T* g, const T* maps, T* dx, int n, int H, int W, int C) {
    ELEMENT(n);
    int at = i;
    int c = at % C; at /= C;
    int q = at % W; at /= W;
    int r = at % H; at /= H;
    const T* map = maps + 6 * at;
    T determinant = map[0] * map[4] - map[1] * map[3];
    T y = r - (H - 1) / T(2) - map[2], x = q - (W - 1) / T(2) - map[5];
    T i0 = (map[4] * y - map[1] * x) / determinant + (H - 1) / T(2);
    T j0 = (map[0] * x - map[3] * y) / determinant + (W - 1) / T(2);
    T margin = T(0.01);  // for rounding; what is outside the square has no weight
    T rows = (fabs(map[4]) + fabs(map[1])) / fabs(determinant) + margin;
    T columns = (fabs(map[0]) + fabs(map[3])) / fabs(determinant) + margin;
    // Without an inverse these are infinite or not numbers, and the whole image is searched.
    int top = int(fmin(fmax(ceil(i0 - rows), T(0)), T(H)));
    int bottom = int(fmax(fmin(floor(i0 + rows), T(H - 1)), T(-1)));
    int left = int(fmin(fmax(ceil(j0 - columns), T(0)), T(W)));
    int right = int(fmax(fmin(floor(j0 + columns), T(W - 1)), T(-1)));
    T sum = 0;
    for (int row = top; row <= bottom; row++)
        for (int col = left; col <= right; col++) {
            Place p = place(map, row, col, H, W);
            int dr = r - p.r, dc = q - p.c;
            if (!p.inside || dr < 0 || dr > 1 || dc < 0 || dc > 1) continue;
            sum += (dr ? p.down : 1 - p.down) * (dc ? p.right : 1 - p.right)
                   * g[((at * H + row) * W + col) * C + c];
        }
    dx[i] = sum;
}

}
"""
_TYPES = {"float32": "float", "float64": "double"}
_THREADS = 256  # in a block
# The structs, which are passed by value; a kernel's arguments may have 4,096 bytes.
_MANY = 64
_PARAMETERS = np.dtype([*[(name, np.uint64, _MANY) for name in ("theta", "g", "m", "v")],
                        ("size", np.int32, _MANY)])  # fmt: skip
_WINDOWS = np.dtype([(name, np.int32) for name in
                     ("H", "W", "C", "OH", "OW", "KH", "KW", "stride", "padding")])  # fmt: skip


def serve(*arrays):
    """Return whether the kernels are for `arrays`: on a GPU, contiguous, all float32 or float64.

    For all others there is the code that NumPy runs.
    """
    return all(
        not isinstance(array, (np.ndarray, np.generic))
        and array.dtype.name in _TYPES
        and array.dtype == arrays[0].dtype
        and array.flags.c_contiguous
        for array in arrays
    )


def source(dtype):
    """Return the CUDA source for T of the dtype with this name."""
    return f"typedef {_TYPES[dtype]} T;\n{SOURCE}"


@functools.cache
def _module(cupy, dtype):
    return cupy.RawModule(code=source(dtype))


@functools.cache
def _kernel(cupy, dtype, name):
    return _module(cupy, dtype).get_function(name)


def _start(name, written, *arguments, grid=None):
    """Start a thread of the kernel `name` for each element of the array `written`.

    arguments: the kernel's, NumPy's being passed by value.  Floats become numbers of the dtype of
    `written`; arrays are copied where they are not contiguous or of another dtype.
    """
    if not written.size:
        return
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

    grid = grid or (-(-written.size // _THREADS),)
    _kernel(xp, dtype.name, name)(grid, (_THREADS,), tuple(value(a) for a in arguments))


def _windows(shape, OH, OW, *window):
    return np.array((*shape[1:], OH, OW, *window), _WINDOWS)


def gather_patches(x, patches, OH, OW, *window):
    """Write the windows of x (N, H, W, C) to patches (N·OH·OW, KH·KW·C).

    window: KH, KW, stride, padding.
    """
    _start("gather_patches", patches, x, patches, patches.size, _windows(x.shape, OH, OW, *window))


def scatter_patches(patches, images, OH, OW, *window):
    """Write the sums of windows (N, OH, OW, KH, KW, C) to images (N, H, W, C)."""
    windows = _windows(images.shape, OH, OW, *window)
    _start("scatter_patches", images, patches, images, images.size, windows)


def sum_products(a, b, group=32):
    """Return Σ_n a[n] b[n] of two arrays (N, C), groups of rows apart at first."""
    N, C = a.shape
    b = np.uint64(0) if b is None else b  # no address
    sums = array_module(a).empty((-(-N // group), C), a.dtype)
    _start("sum_products", sums, a, b, sums, sums.size, N, C, group)
    return sums.sum(axis=0)


def sum_rows(x):
    """Return Σ_n x[n] of an array (N, C)."""
    return sum_products(x, None)


def normalise(centred, factor, beta, y):
    """Write factor · centred + beta to y; arrays are (N, C), numbers for a channel (C,)."""
    _start("normalise", y, centred, factor, beta, y, y.size, y.shape[1])


def normalise_backward(g, centred, mean_g, slope, factor, dx):
    """Write (g - mean_g - slope · centred) · factor to dx, as in `normalise`."""
    _start("normalise_backward", dx, g, centred, mean_g, slope, factor, dx, dx.size, dx.shape[1])


def leaky_relu(x, y, slope):
    """Write x where x > 0, else slope · x, to y."""
    _start("leaky_relu", y, x, y, y.size, float(slope))


def leaky_relu_backward(x, g, dx, slope):
    """Write g where x > 0, else slope · g, to dx."""
    _start("leaky_relu_backward", dx, x, g, dx, dx.size, float(slope))


def adam(parameters, beta1, beta2, numbers):
    """Move parameters, a list of arrays (θ, gradient, m, v), all in one kernel.

    numbers: array (2,) of their dtype, the rate and the eps of this step (see optim.Adam.count).
    """
    for start in range(0, len(parameters), _MANY):
        some = [arrays for arrays in parameters[start : start + _MANY] if arrays[0].size]
        table = np.zeros((), _PARAMETERS)
        for name, arrays in zip(("theta", "g", "m", "v"), zip(*some)):
            table[name][: len(some)] = [array.data.ptr for array in arrays]
        table["size"][: len(some)] = [theta.size for theta, *_ in some]
        largest = max((theta for theta, *_ in some), key=lambda theta: theta.size)
        blocks = min(-(-largest.size // _THREADS), 1024)
        shares = map(float, (beta1, 1 - beta1, beta2, 1 - beta2))
        _start("adam", largest, table, *shares, numbers, grid=(blocks, len(some)))


def warp(x, maps, y):
    """Write images x (N, H, W, C), moved by their maps (N, 2, 3), to y."""
    _start("warp", y, x, maps, y, y.size, *y.shape[1:])


def warp_backward(g, maps, dx):
    """Write the gradient of warp's x to dx (N, H, W, C)."""
    _start("warp_backward", dx, g, maps, dx, dx.size, *dx.shape[1:])
