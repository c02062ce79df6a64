"""CUDA kernels: their compilation, and arrays that are too large."""

import ctypes
import importlib.util
from pathlib import Path

import pytest

from tinyinfogan.engine.fast.cuda import kernels


def test_an_array_too_large_for_a_kernel_is_refused(gpu):
    class Huge:
        shape, size = (1 << 16, 1 << 15), 1 << 31

    with pytest.raises(ValueError, match="leaky_relu.*65536.*smaller batch"):
        kernels.start("leaky_relu", Huge())


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
