"""NumPy or CuPy: the one place where that is decided, and what hangs on it.

Everything else in the engine asks an array which library it belongs to (`array_module`)
and writes the same expressions for both.  Importing this module never imports CuPy.
"""

import os
import queue
import re
import sys
import threading


def _tune_openblas():
    """Set what OpenBLAS reads when NumPy is first imported, but for what the user has set."""
    # It takes its AVX-512 kernels wherever they run.  AMD's Zen 4 (family 25) makes such operations
    # in two halves, and there its AVX2 kernels are faster on our shapes (benchmarks/README.md).
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            processor = file.read(400)
        if re.search(r"AuthenticAMD\s+cpu family\s*: 25\n", processor):
            os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")


_tune_openblas()

import numpy  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

from tinyinfogan.engine.device import array_module  # noqa: E402
from tinyinfogan.engine.fast.cuda import cublas  # noqa: E402

# --- kept buffers ---------------------------------------------------------------------------------
# A large array that is new costs a page fault for each 4 KiB that is first written, as much time
# as the arithmetic that fills it.  So large results are written into memory that an earlier result
# has left behind.  NumPy's views refer to the array that owns their memory: an owner that nobody
# but `_kept` refers to is free.

_LARGE = 1 << 18  # bytes; below this, malloc keeps memory for itself
_kept = {}  # size in bytes -> owners of that size
_kept_lock = threading.Lock()


def _reference_counts(owners):
    return [sys.getrefcount(owner) for owner in owners]


(_FREE,) = _reference_counts([numpy.empty(0)])  # of an owner that only the list refers to


def empty(shape, like, dtype=None):
    """Return an uninitialised array of `shape`, in the library and (by default) dtype of `like`.

    On the CPU large arrays take over the memory of earlier ones that are no longer referred to.
    """
    dtype = numpy.dtype(dtype or like.dtype)
    if not isinstance(like, numpy.ndarray):
        return array_module(like).empty(shape, dtype)
    size = dtype.itemsize
    for length in shape:
        size *= length
    if size < _LARGE:
        return numpy.empty(shape, dtype)
    with _kept_lock:
        if len(_kept) > 100 and size not in _kept:
            _kept.clear()  # sizes that keep changing must not pile up
        owners = _kept.setdefault(size, [])
        counts = _reference_counts(owners)
        if _FREE not in counts:
            counts.append(_FREE)
            owners.append(numpy.empty(size, numpy.uint8))
        return owners[counts.index(_FREE)].view(dtype).reshape(shape)


def product(a, b, out=None):
    """Return the matrix product a @ b; of two matrices of NumPy, in `out` or a kept buffer."""
    if not isinstance(a, numpy.ndarray):
        multiply = cublas.product if cublas.serve(a, b) else array_module(a).matmul
        return multiply(a, b, out=out)
    if a.ndim != 2 or b.ndim != 2:
        return a @ b
    (M, K), N = a.shape, b.shape[1]
    if out is None:
        out = empty((M, N), like=a, dtype=numpy.result_type(a, b))
    if M * K * N < _SMALL_PRODUCT:
        numpy.matmul(a, b, out=out)
    elif M >= N:
        in_pieces(lambda rows: numpy.matmul(a[rows], b, out=out[rows]), out)
    else:
        in_pieces(lambda some: numpy.matmul(a, b[:, some], out=out[:, some]), out.T)
    return out


# --- threads --------------------------------------------------------------------------------------

# Our threads share all work, matrix products too: a thread takes some images through a whole row of
# operations, and waits for nobody.  So BLAS, which NumPy calls, must not start threads of its own;
# that holds for the whole process.
threadpool_limits(limits=1, user_api="blas")

_SMALL_PRODUCT = 1 << 20  # multiplications; below this one thread is done before another has begun

# Elements: a few float32 blocks of this size stay in a core's own cache, and work on them is long
# enough for threads not to wait for each other at the interpreter lock.
_BLOCK = 1 << 17


def _thread_count():
    """Threads to use: OMP_NUM_THREADS, else the cores that we may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


threads = _thread_count()
_jobs = queue.SimpleQueue()  # (function, argument, the queue that None or an exception goes to)


def _work():
    """Do one job after another.  A pool of concurrent.futures takes ten times as long for it."""
    while True:
        function, argument, done = _jobs.get()
        error = None
        try:
            function(argument)
        except BaseException as raised:
            error = raised
        del function  # before the other thread goes on: it holds kept buffers
        done.put(error)
        del error  # as this does


def _start_threads():
    for number in range(1, max(2, threads)):  # one at least: `threads` may be raised
        threading.Thread(target=_work, name=f"tinyinfogan-{number}", daemon=True).start()


def _start_again():
    """In a child process: there are no threads, and what one of them held locked stays so."""
    global _kept_lock, _jobs
    _kept_lock, _jobs = threading.Lock(), queue.SimpleQueue()
    _start_threads()


_start_threads()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_again)


class _ThisThread(threading.local):
    has_a_piece = False  # of in_pieces


_this_thread = _ThisThread()


def in_blocks(function, *arrays, block=_BLOCK):
    """Call `function(*blocks)` for blocks of rows (first axis) of `arrays`, all equally long.

    NumPy makes one pass over memory for each operation, on one core.  Here a row of operations on
    one block finds its operands in the cache, and the blocks are shared among `threads`; NumPy lets
    go of the interpreter lock while it computes.  `function` writes its results into its arguments,
    each row's from that row alone.  Small arrays, and arrays on a GPU, are passed whole.
    """
    largest = max(arrays, key=lambda array: array.size)
    if largest.size <= block or not isinstance(largest, numpy.ndarray):
        function(*arrays)
        return
    step = max(1, block * len(largest) // largest.size)
    in_pieces(lambda piece: function(*[array[piece] for array in arrays]), largest, step)


def in_pieces(function, array, step=None):
    """Call `function(slice)` for pieces of an array's rows, each thread in its equal share of them.

    A piece is `step` rows, or the share.  What is called in it stays on its thread.  Work on a GPU
    stays on this one.
    """
    count = len(array)
    alone = _this_thread.has_a_piece or not isinstance(array, numpy.ndarray)
    share = max(1, -(-count // (1 if alone else threads)))
    step = step or share

    def run(begin):
        end = min(begin + share, count)
        before, _this_thread.has_a_piece = _this_thread.has_a_piece, True
        try:
            for start in range(begin, end, step):
                function(slice(start, min(start + step, end)))
        finally:
            _this_thread.has_a_piece = before

    done, begins, errors = queue.SimpleQueue(), range(share, count, share), []
    for begin in begins:
        _jobs.put((run, begin, done))
    try:
        run(0)
    except BaseException as error:
        errors.append(error)
    left = len(begins)
    while left:  # after Ctrl-C too: what the others write to is not to be used by anybody else
        try:
            errors.append(done.get())
            left -= 1
        except KeyboardInterrupt as error:
            errors.append(error)
    for error in filter(None, errors):
        raise error


def add(a, b):
    """Return a + b, of arrays or numbers, which broadcast as in NumPy.

    Large sums are made block by block, in a kept buffer, where b is as long as a or is repeated
    along a's first axis, as the bias of a layer is.
    """
    shape = getattr(b, "shape", ())
    large = isinstance(a, numpy.ndarray) and a.nbytes >= _LARGE and len(shape) <= a.ndim
    if not large or numpy.broadcast_shapes(a.shape, shape) != a.shape:
        return a + b
    out = empty(a.shape, like=a, dtype=numpy.result_type(a, b))
    if shape[:1] == a.shape[:1] and len(shape) == a.ndim:
        in_blocks(lambda a, b, out: numpy.add(a, b, out=out), a, b, out)
    else:
        in_blocks(lambda a, out: numpy.add(a, b, out=out), a, out)
    return out
