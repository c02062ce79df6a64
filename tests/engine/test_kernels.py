"""CUDA kernels against the NumPy code that is their meaning, and their compilation.

Without a GPU they run on the CPU, from the same source (see on_cpu.py).
"""

import ctypes
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from references import host

from tinyinfogan.engine import Tensor, conv, norm, ops, optim
from tinyinfogan.engine.fast.cuda import kernels
from tinyinfogan.infogan.variants.augmentation import Augmentation, draw_maps, warp

SHAPES = 120


# --- what is computed, on arrays of either library ------------------------------------------------


def gather(rng, on):
    H, W, KH, KW = rng.integers(1, 9, 4)
    stride, padding = int(rng.integers(1, 4)), int(rng.integers(0, 4))
    H, W = max(H, KH - 2 * padding), max(W, KW - 2 * padding)
    x = normal(rng, rng.integers(1, 4), H, W, rng.integers(1, 20))
    return conv.gather_patches(on(x), int(KH), int(KW), stride, padding)


def scatter(rng, on):
    N, H, W, KH, KW = (int(n) for n in rng.integers(1, 9, 5))
    stride, padding = int(rng.integers(1, 4)), int(rng.integers(0, 4))
    H, W = max(H, KH - 2 * padding), max(W, KW - 2 * padding)
    OH, OW = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    C = int(rng.integers(1, 20))
    images = on(np.full((N, H, W, C), np.nan, np.float32))
    patches = on(normal(rng, N * OH * OW, KH * KW * C))
    conv.scatter_patches(patches, images, KH, KW, stride, padding)
    return images


def sum_products(rng, on):
    shape = rng.integers(1, 400), rng.integers(1, 40)
    return norm.sum_rows_and_products(on(normal(rng, *shape)), on(normal(rng, *shape)))


def batch_norm(rng, on):
    N, C = rng.integers(2, 300), rng.integers(1, 40)
    x, gamma, beta = (Tensor(on(normal(rng, *shape)), True) for shape in ((N, C), (C,), (C,)))
    y = norm.batch_norm(x, gamma, beta)
    y.backward(on(normal(rng, N, C)))
    return y.data, x.grad, gamma.grad, beta.grad


def leaky_relu(rng, on):
    x = normal(rng, *rng.integers(0, 9, rng.integers(0, 5)))
    x[rng.uniform(size=x.shape) < 0.2] = rng.choice([0, -0.0, np.inf, -np.inf, np.nan])
    slope = rng.choice([0.0, 0.1, 0.3])
    x, g = Tensor(on(x), True), on(normal(rng, *x.shape))
    y = ops.leaky_relu(x, slope)
    y.backward(g)
    return y.data, x.grad


def adam(rng, on):
    """Two steps of several parameters, more than fit one kernel's table, some with no gradient."""
    number = rng.integers(1, 80)
    parameters = [
        Tensor(on(normal(rng, *rng.integers(0, 9, rng.integers(0, 4))))) for _ in range(number)
    ]
    parameters[0].data = on(normal(rng, 500, 7))
    optimizer = optim.Adam(parameters, lr=rng.uniform(1e-3, 1e-1))
    for _ in range(2):
        for parameter in parameters:
            g = on(normal(rng, *parameter.shape))
            parameter.grad = g if rng.uniform() < 0.8 else None
        optimizer.step()
    return [p.data for p in parameters] + optimizer.first_moments + optimizer.second_moments


def warped(rng, on):
    shape = tuple(rng.integers(1, 12, 3)) + (rng.choice([1, 3]),)
    how = Augmentation(rng.uniform(0, 9), rng.uniform(0, 180), rng.uniform(0, 1))
    maps = draw_maps(how, shape[0], rng)
    if rng.uniform() < 0.2:
        maps[0, :, :2] = rng.choice([0.0, 1e-4, 0.3])  # maps that have no inverse,
        maps[0, 0, 0] += rng.choice([0.0, 1e-5])  # or a very large one
    x = Tensor(on(normal(rng, *shape)), True)
    y = warp(x, maps)
    y.backward(on(normal(rng, *shape)))
    return y.data, x.grad


def normal(rng, *shape):
    return np.asarray(rng.standard_normal(shape), np.float32)


USED = {
    gather: {"gather_patches"}, scatter: {"scatter_patches"}, sum_products: {"sum_products"},
    batch_norm: {"sum_products", "normalise", "normalise_backward"},
    leaky_relu: {"leaky_relu", "leaky_relu_backward"}, adam: {"adam"},
    warped: {"warp", "warp_backward"},
}  # fmt: skip


@pytest.mark.parametrize("function", USED)
def test_what_numpy_computes(function, gpu, monkeypatch):
    """On random shapes, to float32 rounding relative to the largest element."""
    started, start = set(), kernels._start
    monkeypatch.setattr(kernels, "_start", lambda name, *args, **options: (
        started.add(name), start(name, *args, **options)))  # fmt: skip
    for seed in range(SHAPES):
        expected = function(np.random.default_rng(seed), np.array)
        found = function(np.random.default_rng(seed), gpu.array)
        if not isinstance(expected, (tuple, list)):
            expected, found = [expected], [found]
        assert len(expected) == len(found)
        for a, b in zip(expected, map(host, found), strict=True):
            finite = np.abs(a[np.isfinite(a)])
            scale = finite.max() if finite.size else 1.0
            np.testing.assert_allclose(b, a, rtol=0, atol=5e-6 * scale, err_msg=f"seed {seed}")
            assert b.dtype == a.dtype and b.shape == a.shape
    assert started == USED[function]


def test_every_kernel_is_compared():
    names = {line.split("(")[0].split()[-1] for line in kernels.SOURCE.splitlines()
             if line.startswith("__global__")}  # fmt: skip
    assert names == set().union(*USED.values()) and len(names) == 10


def test_adam_of_more_elements_than_threads(gpu, rng):
    values = []
    for on in (np.array, gpu.array):
        parameter = Tensor(on(np.arange(1024 * 256 + 300, dtype=np.float32)))
        parameter.grad = parameter.data + 1
        optim.Adam([parameter], lr=100).step()
        values.append(host(parameter))
    np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-3)


def test_other_arrays_take_the_code_that_numpy_takes(gpu, rng, monkeypatch):
    monkeypatch.setattr(kernels, "_start", None)
    for x in (gpu.array(rng.standard_normal((3, 4))).T, gpu.ones((3, 4), np.float16)):
        x = Tensor(x, True)
        ops.leaky_relu(x).backward(gpu.ones_like(x.data))
        np.testing.assert_allclose(host(x.grad), np.where(host(x) > 0, 1, 0.1), rtol=1e-3)


def test_an_array_too_large_for_a_kernel_is_refused(gpu):
    class Huge:
        shape, size = (1 << 16, 1 << 15), 1 << 31

    with pytest.raises(ValueError, match="leaky_relu.*65536.*smaller batch"):
        kernels._start("leaky_relu", Huge())


# --- compilation ----------------------------------------------------------------------------------


def nvrtc():
    """NVIDIA's compiler, from its wheel for either CUDA, or None."""
    try:
        places = importlib.util.find_spec("nvidia").submodule_search_locations
    except AttributeError:
        return None
    found = [path for place in places for path in Path(place).glob("**/libnvrtc.so.1?")]
    return ctypes.CDLL(str(sorted(found)[-1])) if found else None


@pytest.mark.parametrize("dtype", kernels._TYPES)
def test_kernels_compile_for_the_gpu(dtype):
    library = nvrtc()
    if library is None:
        pytest.skip("NVRTC is not installed: pip install nvidia-cuda-nvrtc")
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    source = kernels.source(dtype).encode()
    assert library.nvrtcCreateProgram(ctypes.byref(program), source, b"k.cu", 0, None, None) == 0
    flags = [b"--gpu-architecture=compute_80", b"--std=c++17"]
    flags = (ctypes.c_char_p * 2)(*flags)
    result = library.nvrtcCompileProgram(program, 2, flags)
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    assert result == 0 and log.value == b"", log.value.decode()
    library.nvrtcGetPTXSize(program, ctypes.byref(size))
    assembly = ctypes.create_string_buffer(size.value)
    library.nvrtcGetPTX(program, assembly)
    assert assembly.value.count(b".entry") == 10
