"""The training step of another checkout of this repository, as that one's own benchmarks start it.

So this side needs to know nothing of the other code but `sides.prepare` and `mnist`.
"""

import contextlib
import pickle
import subprocess
import sys

SERVE = """
import pickle, sys
answers, sys.stdout = sys.stdout.buffer, sys.stderr
from benchmarks import sides
try:
    from benchmarks.problem import mnist
except ImportError:  # where it was once
    mnist = sides.mnist
handle = sides.prepare("ours", {}, mnist(*pickle.load(sys.stdin.buffer)))
while True:
    try:
        request = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    pickle.dump(handle(*request), answers)
    answers.flush()
"""


@contextlib.contextmanager
def worker(path, problem):
    """Start the step of the checkout at `path` on the CPU, and yield `ask` as common.worker does.

    problem: a Problem on MNIST, whose preset, batch size and dtype the other one is given.
    """
    settings = problem.settings
    command = [sys.executable, "-c", SERVE]  # -c puts the working directory first on sys.path
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=path, **pipes) as process:

        def send(value):
            pickle.dump(value, process.stdin)
            process.stdin.flush()

        def ask(*request):
            try:
                send(request)
                return pickle.load(process.stdout)
            except (EOFError, BrokenPipeError):
                raise RuntimeError(f"the step of {path} failed; see above") from None

        send((settings.preset, settings.batch_size, problem.dtype))
        yield ask
