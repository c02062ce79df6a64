"""Importing a module changes nothing in the process, a fresh one."""

import os
import subprocess
import sys

from test_architecture import read_package

PROBE = """
import os, sys, threading
import numpy as np
from threadpoolctl import threadpool_info

def state():
    blas = [(lib["filepath"], lib["num_threads"]) for lib in threadpool_info()]
    draws = [str(part) for part in np.random.get_state()]
    threads = sorted(thread.name for thread in threading.enumerate())
    return {"environment": dict(os.environ), "threads": threads, "BLAS": blas, "random": draws}

before = state()
for name in sys.argv[1:]:
    __import__(name)
    after = state()
    for what in before:
        assert after[what] == before[what], (name, what, before[what], after[what])
"""


def probe(*names):
    """Import modules one after another; return what the first change was, or nothing."""
    command = [sys.executable, "-c", PROBE, *names]
    env = os.environ | {"OMP_NUM_THREADS": "2"}  # of which a limit to one is a change
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    return done.stderr.strip().rpartition("\n")[2]


def test_importing_changes_nothing():
    # A __main__ is a program; scikit-learn, which the estimator needs, sets a variable.
    names = [f"tinyinfogan.{name}".rstrip(".") for name in read_package()]
    assert probe(*(name for name in names if not name.endswith(("__main__", ".cluster")))) == ""


def test_a_change_is_seen(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "harmless.py").write_text("")
    for number, line in enumerate(
        (
            "import os; os.environ['CHANGED'] = '1'",
            "import threading as t; t.Thread(target=t.Event().wait, daemon=True).start()",
            "import numpy; numpy.random.seed(3)",
            "from threadpoolctl import threadpool_limits; threadpool_limits(limits=1)",
        )
    ):
        (tmp_path / f"changing{number}.py").write_text(line)
        assert f"changing{number}" in probe("harmless", f"changing{number}")


def test_a_reader_of_files_loads_only_what_it_needs():
    code = "import sys, tinyinfogan.data.idx; print(*(n for n in sys.modules if 'tinyinfo' in n))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rooms = {name.split(".")[1] for name in done.stdout.split() if "." in name}
    assert rooms <= {"data", "storage"}
