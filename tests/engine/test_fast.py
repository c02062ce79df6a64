"""Every quick version of a primitive against its plain formula, on the CPU and on a GPU.

Without a GPU the CUDA kernels run on the CPU, from the same source (see fake_gpu/on_cpu.py).
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from references import host

from tinyinfogan.engine import Tensor, fast, ops, plain, primitives, seam
from tinyinfogan.engine.fast import conv, cpu, threads
from tinyinfogan.engine.fast.cuda import cublas, kernels
from tinyinfogan.infogan.variants.augmentation import Augmentation, draw_maps

SEEDS = 30


# --- random arguments of each primitive -----------------------------------------------------------


def a_shape(rng, axes, most=9):
    """A shape; now and then an axis is empty or has one element."""
    return tuple(int(n) for n in rng.choice([0, 1, *range(2, most)], axes))


def some_rows(rng, normal, number=1):
    """Arrays (N, C), now and then large enough to be shared among threads."""
    N, C = rng.choice([1, 2, 127, 128, 129, 4000]), rng.choice([1, 32, 33, rng.integers(2, 80)])
    return [normal(N, C) for _ in range(number)]


def a_window(rng, H, W):
    KH, KW, stride, padding = (int(n) for n in rng.integers([1, 1, 1, 0], [6, 6, 4, 4]))
    return (max(H, KH - 2 * padding), max(W, KW - 2 * padding), KH, KW, stride, padding)


def some_images(rng, most=12):
    return tuple(int(n) for n in rng.integers(1, most, 3)) + (int(rng.choice([1, 3, 8])),)


def conv_arguments(rng, normal):
    """Images x, the matrix W, the rows g, and the window of a convolution."""
    N, H, W, C = some_images(rng)
    H, W, *window = a_window(rng, H, W)
    OH, OW = primitives.windows(H, W, *window)
    columns, C_out = window[0] * window[1] * C, int(rng.integers(1, 9))
    return normal(N, H, W, C), normal(columns, C_out), normal(N * OH * OW, C_out), window


def im2col(rng, normal):
    x, _, _, window = conv_arguments(rng, normal)
    return x, *window


def col2im(rng, normal):
    x, matrix, g, window = conv_arguments(rng, normal)
    return normal(len(g), len(matrix)), x.shape, *window


def conv_forward(rng, normal):
    x, matrix, _, window = conv_arguments(rng, normal)
    return x, matrix, *window


def conv_input_grad(rng, normal):
    x, matrix, g, window = conv_arguments(rng, normal)
    return g, matrix, x.shape, *window


def conv_weight_grad(rng, normal):
    x, _, g, window = conv_arguments(rng, normal)
    return x, g, *window


def matmul(rng, normal):
    M, K, N = a_shape(rng, 3) if rng.uniform() < 0.5 else (165, 500, 65)
    batch = rng.uniform() < 0.1
    return (normal(2, M, K), normal(2, K, N)) if batch else (normal(M, K), normal(K, N))


def leaky_relu(rng, normal):
    shape = a_shape(rng, int(rng.integers(0, 5))) if rng.uniform() < 0.7 else (300, 900)
    x, special = normal(*shape), [0, -0.0, np.inf, -np.inf, np.nan]
    x[rng.uniform(size=shape) < 0.2] = rng.choice(special)
    return x, float(rng.choice([0.0, 0.1, 0.3]))


def leaky_relu_grad(rng, normal):
    x, slope = leaky_relu(rng, normal)
    g = normal(*x.shape)
    g[rng.uniform(size=x.shape) < 0.2] = rng.choice([np.inf, -np.inf, np.nan])
    return x, g, slope


def adam_update(rng, normal):
    """Several parameters, now and then more than fit one kernel's table, or a large one."""
    shapes = [a_shape(rng, int(rng.integers(0, 4))) for _ in range(rng.integers(1, 80))]
    shapes += [(1024 * 256 + 300,)] if rng.uniform() < 0.1 else []
    lists = [[normal(*shape) for shape in shapes] for _ in range(4)]
    lists[3] = [np.asarray(abs(v)) for v in lists[3]]
    return *lists, normal(2) ** 2 + 0.01, 0.5, 0.999


def of_processes(rng, rows):
    """The number of rows of one or two processes, and what adds up over them, or None."""
    one, two = (len(rows), lambda x: x), (2 * len(rows), lambda x: 2 * x)
    return (one, one, one, two, (len(rows), None))[rng.integers(5)]


def norm_forward(rng, normal):
    """Rows, now and then far from 0, and running statistics, or none."""
    (x,) = some_rows(rng, normal)
    x = np.concatenate([x, x + 1]) if len(x) == 1 else x
    gamma, beta, mean, var = (normal(x.shape[1]) for _ in range(4))
    of = of_processes(rng, x)
    running = [mean, np.asarray(var**2)] if rng.uniform() < 0.8 or of[1] is None else []
    return x, gamma, beta, running, 0.1, 1e-5, *of


def norm_grad(rng, normal):
    g, centred = some_rows(rng, normal, 2)
    scale, gamma = normal(g.shape[1]), normal(g.shape[1])
    return g, centred, scale, gamma, *of_processes(rng, g)


def far_out(rng, normal):
    x, _ = leaky_relu(rng, normal)
    return (np.asarray(x * x.dtype.type(rng.choice([1, 1000]))),)


def log_softmax(rng, normal):
    """Rows of logits, now and then far apart, equal or not finite, or of three axes."""
    shape = tuple(rng.integers(1, 12, 2 if rng.uniform() < 0.8 else 3))
    x = normal(*shape) * rng.choice([1, 100])
    x[rng.uniform(size=shape) < 0.1] = rng.choice([0, np.inf, -np.inf, np.nan])
    return x, int(rng.choice([-1, 1]))


def log_softmax_grad(rng, normal):
    x, axis = log_softmax(rng, normal)
    return -abs(x), normal(*x.shape), axis


def sum_over(rng, normal):
    shape = a_shape(rng, int(rng.integers(1, 4))) if rng.uniform() < 0.8 else (90000,)
    axis = None if rng.uniform() < 0.8 else 0
    return normal(*shape) * 1e4, axis, int(rng.choice([1, 7]))


def warp(rng, normal):
    shape = some_images(rng)
    how = Augmentation(rng.uniform(0, 9), rng.uniform(0, 180), rng.uniform(0, 1))
    maps = draw_maps(how, shape[0], rng)
    if rng.uniform() < 0.2:
        maps[0, :, :2] = rng.choice([0.0, 1e-4, 0.3])  # maps that have no inverse,
        maps[0, 0, 0] += rng.choice([0.0, 1e-5])  # or a very large one
    x = normal(*shape)
    return x, maps.astype(x.dtype)


CASES = {
    "matmul": matmul,
    "sum_rows": lambda rng, normal: some_rows(rng, normal),
    "leaky_relu": leaky_relu,
    "leaky_relu_grad": leaky_relu_grad,
    "sigmoid": far_out,
    "softplus": far_out,
    "log_softmax": log_softmax,
    "log_softmax_grad": log_softmax_grad,
    "sum_over": sum_over,
    "im2col": im2col,
    "col2im": col2im,
    "conv_forward": conv_forward,
    "conv_input_grad": conv_input_grad,
    "conv_weight_grad": conv_weight_grad,
    "norm_forward": norm_forward,
    "norm_grad": norm_grad,
    "adam_update": adam_update,
    "warp": warp,
    "warp_grad": warp,
}


# --- the comparison -------------------------------------------------------------------------------


def arguments_of(name, seed, dtype, contiguous):
    rng = np.random.default_rng(seed)

    def normal(*shape):
        array = np.asarray(rng.standard_normal(shape), dtype)
        return array if contiguous or not shape else np.repeat(array, 2, axis=-1)[..., ::2]

    return CASES[name](rng, normal)


def results(function, arguments, on):
    """What a function returns and what it has written to its arguments, a list of arrays."""

    def moved(value):
        if isinstance(value, list):
            return [on(array) for array in value]
        return on(value) if isinstance(value, np.ndarray) else value

    arguments = [moved(argument) for argument in arguments]
    result = function(*arguments)
    found = list(result) if isinstance(result, tuple) else [] if result is None else [result]
    written = [array for argument in arguments if isinstance(argument, list) for array in argument]
    return [np.asarray(host(array)) for array in found + written]


def assert_close(found, expected, dtype, message):
    assert len(found) == len(expected)
    for a, b in zip(expected, found, strict=True):
        assert b.shape == a.shape, message
        assert b.dtype == a.dtype, message
        finite = np.abs(a[np.isfinite(a)])
        scale = max(finite.max(), 1) if finite.size else 1.0
        tolerance = {np.float32: 2e-5, np.float64: 1e-12}[dtype] * scale
        np.testing.assert_allclose(b, a, rtol=0, atol=tolerance, err_msg=message)


each = pytest.mark.parametrize("contiguous", [True, False])
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.mark.parametrize("name", cpu.VERSIONS)
@dtypes
@each
def test_quick_is_plain_on_the_cpu(name, dtype, contiguous, monkeypatch):
    monkeypatch.setattr(threads, "count", 3)
    monkeypatch.setattr(conv, "COLUMNS", 2000)  # so that a few images are taken at a time
    for seed in range(SEEDS):
        arguments = arguments_of(name, seed, dtype, contiguous)
        copies = [
            [a.copy() for a in x] if isinstance(x, list) else x for x in arguments
        ]  # what is written to is the caller's
        with np.errstate(all="ignore"), plain():
            expected = results(seam.primitives[name].plain, copies, np.array)
        with np.errstate(all="ignore"):
            found = results(cpu.VERSIONS[name], arguments, lambda array: array)
        assert_close(found, expected, dtype, f"{name}, seed {seed}")


@pytest.mark.parametrize("name", kernels.VERSIONS)
@dtypes
def test_quick_is_plain_on_a_gpu(name, dtype, gpu, monkeypatch):
    monkeypatch.setattr(kernels, "COLUMNS", 2000)
    compared = 0
    for seed in range(SEEDS):
        arguments = arguments_of(name, seed, dtype, contiguous=True)
        with np.errstate(all="ignore"), plain():
            expected = results(seam.primitives[name].plain, arguments, np.array)

        def quick(*on_gpu):
            nonlocal compared
            version = fast.version(name, on_gpu)
            compared += version is not None
            return (version or seam.primitives[name].plain)(*on_gpu)

        with np.errstate(all="ignore"):
            found = results(quick, arguments, gpu.array)
        assert_close(found, expected, dtype, f"{name}, seed {seed}")
    assert compared > SEEDS / 2


def test_every_version_is_of_a_primitive_and_has_a_case():
    for versions in (cpu.VERSIONS, kernels.VERSIONS):
        assert versions.keys() <= seam.primitives.keys() & CASES.keys()
    functions = {name for name, value in vars(cpu).items() if callable(value)}
    assert functions & seam.primitives.keys() == cpu.VERSIONS.keys()


@pytest.mark.skipif(seam.is_plain, reason="the formulas start none of them")
def test_every_kernel_is_started(gpu, monkeypatch):
    started, start = set(), kernels.start
    monkeypatch.setattr(
        kernels,
        "start",
        lambda name, *args, **how: (started.add(name), start(name, *args, **how))[1],
    )
    for name in kernels.VERSIONS:
        for seed in range(4):
            arguments = arguments_of(name, seed, np.float32, contiguous=True)
            results(seam.primitives[name], arguments, gpu.array)
    kernels.norm([gpu.ones(3)])
    kernels.not_finite([gpu.ones(3, np.float32)])
    lines = [line for line in kernels.SOURCE.splitlines() if line.startswith("__global__")]
    assert started == {line.split("(")[0].split()[-1] for line in lines} and lines


# --- which version is taken -----------------------------------------------------------------------


def taken(monkeypatch, name):
    """Calls of the quick version of a primitive on the CPU, a list that grows."""
    calls, version = [], cpu.VERSIONS[name]
    monkeypatch.setitem(cpu.VERSIONS, name, lambda *a: (calls.append(name), version(*a))[1])
    return calls


def test_plain_leaves_the_formulas_in_place(monkeypatch):
    calls, x = taken(monkeypatch, "matmul"), Tensor(np.ones((3, 3)))
    ops.matmul(x, x)
    with plain():
        ops.matmul(x, x)
        with plain():
            ops.matmul(x, x)
        ops.matmul(x, x)
    assert len(calls) == (0 if seam.is_plain else 1)
    ops.matmul(x, x)
    assert len(calls) == (0 if seam.is_plain else 2)


@pytest.mark.parametrize("value, is_plain", [("1", True), ("0", False), ("", False)])
def test_the_environment_leaves_the_formulas_in_place(value, is_plain):
    code = "from tinyinfogan.engine import ops; ops.relu([1.0]); import sys; print(*sys.modules)"
    environment = os.environ | {"TINYINFOGAN_PLAIN": value}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert ("tinyinfogan.engine.fast" not in done.stdout.split()) == is_plain


def test_other_arrays_on_a_gpu_take_the_formula(gpu, rng, monkeypatch):
    monkeypatch.setattr(kernels, "start", None)
    for x in (gpu.array(rng.standard_normal((3, 4))).T, gpu.ones((3, 4), np.float16)):
        x = Tensor(x, True)
        ops.leaky_relu(x).backward(gpu.ones_like(x.data))
        np.testing.assert_allclose(host(x.grad), np.where(host(x) > 0, 1, 0.1), rtol=1e-3)


def test_cublas_supports_matrices_of_one_type_only(gpu):
    a = gpu.ones((2, 2), np.float32)
    assert cublas.supports(a, a)
    assert not cublas.supports(a, gpu.ones((2, 2), np.float64))
    assert not cublas.supports(gpu.ones((1, 2, 2), np.float32), a)
