"""CUDA kernels: their compilation, and arrays that are too large."""

import ctypes
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from references import host

from tinyinfogan.engine import fast, primitives
from tinyinfogan.engine.fast.cuda import kernels


def test_an_array_too_large_for_a_kernel_is_refused(gpu):
    class Huge:
        shape, size = (1 << 16, 1 << 15), 1 << 31

    with pytest.raises(ValueError, match="leaky_relu.*65536.*smaller batch"):
        kernels.start("leaky_relu", Huge())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("number", [1, 3, 64, 150])
def test_the_norm_of_many_gradients(number, dtype, gpu, rng):
    arrays = [rng.standard_normal((n, 3)).astype(dtype) for n in rng.integers(0, 300, number)]
    arrays[0] = rng.standard_normal(kernels.BLOCKS * kernels.THREADS + 300).astype(dtype)
    expected = np.sqrt(sum((a.astype(np.float64) ** 2).sum() for a in arrays))
    found = host(kernels.norm([gpu.array(array) for array in arrays]))
    assert found.shape == () and found.dtype == dtype
    assert abs(found - expected) <= {np.float32: 1e-6, np.float64: 1e-14}[dtype] * expected


def test_log_softmax_of_some_columns(gpu, rng):
    x = rng.standard_normal((7, 9))
    columns = gpu.array(x)[:, 2:6]
    assert fast.version("log_softmax", (columns, -1)) is kernels.log_softmax
    expected = primitives.log_softmax.plain(x[:, 2:6], -1)
    np.testing.assert_allclose(host(kernels.log_softmax(columns, -1)), expected, atol=1e-14)


def test_log_softmax_along_an_axis_that_there_is_not(gpu):
    with pytest.raises(IndexError):
        primitives.log_softmax(gpu.ones((2, 2)), 3)


def test_small_tails_keep_their_digits(gpu):
    x = np.array([-60.0, -20.0, -5.0, 5.0], np.float32)
    exact = np.log1p(np.exp(x.astype(np.float64)))
    np.testing.assert_allclose(host(kernels.softplus(gpu.array(x))), exact, rtol=1e-6)
    logits = np.array([[0.0, 30.0], [30.0, 0.0]], np.float32)
    found = host(kernels.log_softmax(gpu.array(logits), -1))
    np.testing.assert_allclose(found.max(axis=1), -np.exp(-30), rtol=1e-6)
    y, g = np.array([[-1e-12, -30.0]], np.float32), np.array([[1.0, 0.0]], np.float32)
    dx = host(kernels.log_softmax_grad(gpu.array(y), gpu.array(g), -1))
    np.testing.assert_allclose(dx, [[1e-12, -np.exp(-30)]], rtol=1e-6)


@pytest.mark.parametrize("C", [1, 3])
def test_sums_in_float32_lose_no_digits(C, gpu, rng):
    """Of many rows far from 0, and twice the same bits."""
    x = (rng.standard_normal((30_000, C)) + 1000).astype(np.float32)
    one, zero, exact = gpu.ones(C, np.float32), gpu.zeros(C, np.float32), x.astype(np.float64)
    found = []
    for _ in range(2):
        running = [gpu.zeros(C, np.float32), gpu.ones(C, np.float32)]
        numbers = 1.0, 0.0, len(x), lambda array: array
        kernels.norm_forward(gpu.array(x), one, zero, running, *numbers)
        found.append([host(kernels.sum_rows(gpu.array(x))), *map(host, running)])
    np.testing.assert_array_equal(*found)
    sums, mean, var = found[0]
    np.testing.assert_allclose(sums, exact.sum(axis=0), rtol=3e-7)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=3e-7)
    np.testing.assert_allclose(var, exact.var(axis=0, ddof=1), rtol=1e-5)


# --- compilation ----------------------------------------------------------------------------------


def nvrtc():
    """NVIDIA's compiler, from its wheel for either CUDA, or None."""
    try:
        places = importlib.util.find_spec("nvidia").submodule_search_locations
    except AttributeError:
        return None
    found = [path for place in places for path in Path(place).glob("**/libnvrtc.so.1?")]
    return ctypes.CDLL(str(sorted(found)[-1])) if found else None


@pytest.mark.parametrize("dtype", kernels.TYPES)
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
    assert assembly.value.count(b".entry") == kernels.SOURCE.count("__global__")
