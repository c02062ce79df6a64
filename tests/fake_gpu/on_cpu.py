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

# Arguments come as CUDA's own launch takes them: an array of pointers to their values.  The threads
# of a block take turns, each with a stack of its own; at a barrier it is the next one's turn.
HEAD = """
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <algorithm>
#include <csetjmp>
#include <functional>
#include <utility>
#include <vector>
#include <ucontext.h>
using namespace std;
#define __global__
#define __device__
#define __shared__ static
struct Index { unsigned x, y; };
static Index blockIdx, threadIdx, blockDim, gridDim;

struct Turn {
    ucontext_t start;
    jmp_buf at;
    bool begun = false, done;
    vector<char> stack = vector<char>(1 << 14);
};
static jmp_buf scheduler;
static Turn* turn;
static function<void()> thread_of_kernel;

static void end_turn() {
    if (!_setjmp(turn->at)) _longjmp(scheduler, 1);
}

static void thread_after_thread() {
    for (;; end_turn()) {
        turn->done = false;
        thread_of_kernel();
        turn->done = true;
    }
}

static bool ends_in_its_turn(Turn& own) {
    turn = &own;
    if (_setjmp(scheduler)) return turn->done;
    if (own.begun) _longjmp(own.at, 1);
    own.begun = true;
    getcontext(&own.start);
    own.start.uc_stack.ss_sp = own.stack.data();
    own.start.uc_stack.ss_size = own.stack.size();
    makecontext(&own.start, thread_after_thread, 0);
    setcontext(&own.start);
    return false;  // never
}

static void wrong() {
    fputs("a barrier that some threads do not reach\\n", stderr);
    abort();
}

static void __syncthreads() {
    if (!turn) wrong();
    end_turn();
}

// From the first thread to the last, in every other block from the last to the first: what lacks a
// barrier goes wrong in one of them.
static void run_block() {
    static vector<Turn> turns(1024);
    unsigned n = blockDim.x;
    bool backwards = (blockIdx.x + blockIdx.y) % 2;
    auto index = [=](unsigned i) { return backwards ? n - 1 - i : i; };
    threadIdx.x = index(0);
    unsigned done = ends_in_its_turn(turns[threadIdx.x]), without = done;
    if (without) turn = nullptr;  // the others may meet none either, and need no stacks
    for (unsigned i = 1; i < n; i++) {
        threadIdx.x = index(i);
        if (without) thread_of_kernel();
        done += without || ends_in_its_turn(turns[threadIdx.x]);
    }
    while (done < n) {
        if (done) wrong();
        for (unsigned i = 0; i < n; i++) {
            threadIdx.x = index(i);
            done += ends_in_its_turn(turns[threadIdx.x]);
        }
    }
}

template <class... A, size_t... I>
void run(void (*kernel)(A...), const Index& grid, const Index& block, void** values,
         index_sequence<I...>) {
    gridDim = grid;
    blockDim = block;
    thread_of_kernel = [=] { kernel(*static_cast<A*>(values[I])...); };
    for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++)
    for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++)
        run_block();
}

template <class... A>
void run(void (*kernel)(A...), Index grid, Index block, void** values) {
    run(kernel, grid, block, values, index_sequence_for<A...>());
}
"""
LAUNCH = """
extern "C" __attribute__((visibility("default")))
void launch_{0}(unsigned x, unsigned y, unsigned threads, void** values) {{
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
        # What floats share is not doubles'; a jump to another stack is meant.
        flags += ["-fvisibility=hidden", "-U_FORTIFY_SOURCE"]
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
