"""Matrix products by NVIDIA's cuBLAS, called directly.

CuPy's own calls are refused while a CUDA graph is captured (see `graph`), and these are not.  They
are used with and without a graph, so that both give the same numbers.
"""

import ctypes
import functools

_FUNCTIONS = {
    "float32": ("cublasSgemm_v2", ctypes.c_float), "float64": ("cublasDgemm_v2", ctypes.c_double)
}  # fmt: skip
_TF32, _ALLOC_FAILED = 3, 3  # CUBLAS_TF32_TENSOR_OP_MATH, CUBLAS_STATUS_ALLOC_FAILED
WORKSPACE = 32 << 20  # bytes, as NVIDIA advises for Hopper

tf32 = False
"""Whether float32 products may round their inputs to TF32's 10 bits, for the sake of speed."""


@functools.cache
def _library():
    from cuda import pathfinder  # comes with CuPy

    return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("cublas").abs_path)


def _call(name, *arguments):
    if status := getattr(_library(), name)(*arguments):
        kind = MemoryError if status == _ALLOC_FAILED else RuntimeError
        raise kind(f"{name.removesuffix('_v2')} failed with status {status}")


@functools.cache
def _handle(cupy, library, device, stream, tf32):
    """Return (handle, workspace) for one stream, by its address, of one device, by its number.

    Each has a workspace of its own: cuBLAS would allocate one in the middle of a capture.
    """
    handle, workspace = ctypes.c_void_p(), cupy.empty(WORKSPACE, "uint8")
    place, size = ctypes.c_void_p(workspace.data.ptr), ctypes.c_size_t(WORKSPACE)
    _call("cublasCreate_v2", ctypes.byref(handle))
    _call("cublasSetStream_v2", handle, ctypes.c_void_p(stream))
    _call("cublasSetWorkspace_v2", handle, place, size)
    if tf32:
        _call("cublasSetMathMode", handle, _TF32)
    return handle, workspace


def matmul(a, b):
    """Return a @ b, of CuPy arrays (M, K) and (K, N), both float32 or both float64.

    Raises RuntimeError if cuBLAS fails, MemoryError if for lack of memory.
    """
    import cupy

    name, number = _FUNCTIONS[a.dtype.name]
    (M, K), N = a.shape, b.shape[1]
    out = cupy.empty((M, N), a.dtype)
    if not (M and N and K):
        out.fill(0)
        return out
    place = cupy.cuda.runtime.getDevice(), cupy.cuda.get_current_stream().ptr
    handle, _ = _handle(cupy, _library(), *place, tf32)
    # cuBLAS counts elements column by column, so it finds the transpose of what NumPy sees:
    # outᵀ = bᵀ aᵀ.
    (b, b_turned, b_step), (a, a_turned, a_step) = map(_layout, (b, a))
    at_a, at_b, at_out = (ctypes.c_void_p(array.data.ptr) for array in (a, b, out))
    one, zero = ctypes.byref(number(1)), ctypes.byref(number(0))
    sizes = b_turned, a_turned, N, M, K
    _call(name, handle, *sizes, one, at_b, b_step, at_a, a_step, zero, at_out, N)
    return out


def _layout(matrix):
    """Return (a contiguous matrix, whether it is stored transposed, the step between its lines)."""
    if matrix.flags.f_contiguous and not matrix.flags.c_contiguous:
        return matrix, 1, matrix.shape[0]
    import cupy

    return cupy.ascontiguousarray(matrix), 0, matrix.shape[1]


def supports(a, b):
    """Return whether `matmul` supports these CuPy arrays."""
    return a.ndim == b.ndim == 2 and a.dtype == b.dtype and a.dtype.name in _FUNCTIONS
