"""What the benchmarks share: workers, rounds, rates, memory, the machine, files of results."""

import argparse
import contextlib
import importlib.metadata
import json
import multiprocessing
import os
import platform
import time
import traceback
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np

from tinyinfogan.engine.fast import threads

RESULTS = Path(__file__).parent / "results"


# --- workers and rounds ---------------------------------------------------------------------------


@contextlib.contextmanager
def worker(prepare, *args):
    """Run `handle = prepare(*args)` in a fresh process and yield `ask(request)` -> handle(request).

    Each side of a comparison lives in a process of its own: no library's threads, allocator or
    imports can touch another's.  A side that nobody asks sleeps.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, prepare, args))
    process.start()
    there.close()

    def ask(*request):
        here.send(request)
        return _answer(here)

    try:
        _answer(here)
        yield ask
    finally:
        here.close()
        process.join(10)
        if process.is_alive():
            process.terminate()


def _serve(connection, prepare, args):
    try:
        handle = prepare(*args)
        connection.send((True, None))
        while True:
            connection.send((True, handle(*connection.recv())))
    except EOFError:
        pass  # nobody asks any more
    except Exception:
        connection.send((False, traceback.format_exc()))


def _answer(connection):
    try:
        worked, answer = connection.recv()
    except EOFError:
        raise RuntimeError("a worker ended without an answer; out of memory?") from None
    if not worked:
        raise RuntimeError(f"a worker failed:\n{answer}")
    return answer


def alternate(sides, rounds):
    """Let sides take turns.  sides: {name: function without arguments -> a result}.

    Every round starts with another side, so that none always follows the same one.
    Returns {name: [its result in each round]}.
    """
    names, results = list(sides), {name: [] for name in sides}
    for index in range(rounds):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            results[name].append(sides[name]())
    return results


def parser(name, description):
    """Return the argparse parser of the command `python -m benchmarks.NAME`."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def spread(values):
    """Return {"median", "min", "max"} of numbers, to 5 digits."""
    rounded = {"median": median(values), "min": min(values), "max": max(values)}
    return {name: float(f"{value:.5g}") for name, value in rounded.items()}


def milliseconds(function, *args):
    """Return how long one call takes."""
    since = time.perf_counter()
    function(*args)
    return 1e3 * (time.perf_counter() - since)


# --- the machine ----------------------------------------------------------------------------------


def gemm_rate(multiply=np.matmul, make=lambda a: a, size=2048, repeats=8):
    """Return the best rate of a square float32 matrix product, in FLOP per second.

    multiply: takes (a, b, out=...).  make: turns a NumPy array into what `multiply` takes.
    """
    a, b, out = (make(np.full((size, size), 0.5, np.float32)) for _ in range(3))
    best = min(milliseconds(lambda: multiply(a, b, out=out)) for _ in range(repeats))
    return 2e3 * size**3 / best


def memory_rate(megabytes=256, repeats=8):
    """Return the best rate of moving memory on all threads, in bytes read and written per second.

    The better one of copying an array and of changing it in place, both too large for any cache.
    """
    source = np.ones((megabytes, 1 << 18), np.float32)
    target = np.ones_like(source)

    def copy(a, b):
        np.copyto(b, a)

    def change(a, b):
        np.multiply(b, 1.5, out=b)

    best = min(
        milliseconds(lambda f=function: threads.share_rows(f, source, target, chunk=1 << 20))
        for function in (copy, change)
        for _ in range(repeats)
    )
    return 2e3 * source.nbytes / best


def memory():
    """Return (memory this process has in use, the most it ever had) in bytes.

    From the kernel's status file if there is one: `getrusage` would start a process with the peak
    of the one that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return tuple(1024 * int(fields[name].split()[0]) for name in ("VmRSS", "VmHWM"))
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if platform.system() == "Darwin" else 1024
    return peak, peak


def children_of(pid):
    """Return the numbers of a process's children, none if the kernel does not tell."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return path.read_text().split() if path.exists() else []


def memory_in(pid, kind):
    """Return the bytes that a process has in the lines of smaps_rollup that begin with `kind`."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(kind))


def machine():
    """Return what the results were measured on, a dict."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads.count,
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas['name']} {blas['version']}",
        "torch": _version("torch"),
        "jax": _version("jax"),
    }


def _processor():
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


# --- results --------------------------------------------------------------------------------------


def save(name, results, folder=None, device="cpu"):
    """Write {key: result} to results/NAME.json; other keys from the same machine stay."""
    folder = Path(folder or RESULTS)
    old = load(name, folder)
    described = machine()
    if device == "cuda":
        from tinyinfogan.cli import doctor

        described["gpu"] = doctor.gpu_lines()
    if old and old["machine"] == described:
        results = {**old["results"], **results}
    folder.mkdir(parents=True, exist_ok=True)
    content = {"machine": described, "date": date.today().isoformat(), "results": results}
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def load(name, folder=None):
    """Return what `save` wrote, {"machine", "date", "results"}, or None if there is nothing."""
    path = Path(folder or RESULTS) / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None
