"""CUDA kernels on the CPU: the same source, compiled as C++ with the few words of CUDA defined."""

import ctypes
import functools
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

COMPILER = shutil.which("g++") or shutil.which("clang++")

# Arguments come as CUDA's own launch takes them: an array of pointers to their values.
HEAD = """
#include <cmath>
#include <cstddef>
#include <utility>
using namespace std;
#define __global__
#define __device__
struct Index { unsigned x, y; };
static Index blockIdx, threadIdx, blockDim, gridDim;

template <class... A, size_t... I>
void run(void (*kernel)(A...), const Index& grid, const Index& block, void** values,
         index_sequence<I...>) {
    gridDim = grid;
    blockDim = block;
    for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++)
    for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++)
    for (threadIdx.x = 0; threadIdx.x < block.x; threadIdx.x++)
        kernel(*static_cast<A*>(values[I])...);
}

template <class... A>
void run(void (*kernel)(A...), Index grid, Index block, void** values) {
    run(kernel, grid, block, values, index_sequence_for<A...>());
}
"""
LAUNCH = """
extern "C" void launch_{0}(unsigned x, unsigned y, unsigned threads, void** values) {{
    run({0}, Index{{x, y}}, Index{{threads, 1}}, values);
}}
"""


@functools.cache
def compile(code):
    """Return the ctypes library of CUDA source."""
    if COMPILER is None:
        raise RuntimeError("there is no C++ compiler")
    names = re.findall(r"__global__ void (\w+)\(", code)
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "kernels.cpp", Path(folder) / "kernels.so"
        source.write_text(HEAD + code + "".join(LAUNCH.format(name) for name in names))
        flags = ["-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-Wall", "-Werror"]
        subprocess.run([COMPILER, *flags, source, "-o", library], check=True)
        return ctypes.CDLL(str(library))


def launch(library, name, grid, block, args):
    """Run a kernel.  args: as for a CuPy kernel, NumPy arrays being what is "on the device".

    A NumPy array of a structured dtype is a struct that is passed by value.
    """
    values = []
    for value in args:
        if isinstance(value, np.ndarray) and value.dtype.names is None:
            assert value.flags.c_contiguous or value.size == 0, name
            value = np.uint64(value.ctypes.data)
        elif not isinstance(value, (np.ndarray, np.generic)):
            value = {int: np.int64, float: np.float64}[type(value)](value)
        values.append(np.ascontiguousarray(value))
    pointers = (ctypes.c_void_p * len(values))(*[value.ctypes.data for value in values])
    (x, *y), (threads,) = grid, block
    assert x > 0 and threads <= 1024, (name, grid, block)
    getattr(library, f"launch_{name}")(x, *y or [1], threads, pointers)
