"""Training on several processes: the same as on one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tinyinfogan import parallel

MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


@pytest.fixture
def mpiexec():
    """mpiexec(ranks, *arguments): run Python on several ranks; returns the finished process."""
    pytest.importorskip("mpi4py", reason='mpi4py is not installed: pip install -e ".[mpi]"')
    if MPIEXEC is None:
        pytest.skip("no mpiexec here: pip install mpich")

    def run(ranks, *arguments, timeout=120):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [MPIEXEC, "-n", str(ranks), sys.executable, *map(str, arguments)],
            env=environment, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip

    return run


@pytest.mark.parametrize("ranks", [2, 4])
def test_shared_batches(mpiexec, ranks):
    done = mpiexec(ranks, Path(__file__).with_name("on_ranks.py"), ranks)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("agrees") == ranks


def test_one_process_needs_no_mpi(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert parallel.start().size == 1


def test_mpiexec_without_mpi4py(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.setenv("PMI_SIZE", "2")
    with pytest.raises(parallel.ParallelError, match="2 processes, and mpi4py"):
        parallel.start()
