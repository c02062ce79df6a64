"""Training on several processes: the same as on one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tinyinfogan.training import checkpoint, folder, ranks

MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


@pytest.fixture
def mpiexec():
    """mpiexec(processes, *arguments): run Python so many times; returns the finished process."""
    pytest.importorskip("mpi4py", reason='mpi4py is not installed: pip install -e ".[mpi]"')
    if MPIEXEC is None:
        pytest.skip("no mpiexec here: pip install mpich")

    def run(processes, *arguments, timeout=120):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [MPIEXEC, "-n", str(processes), sys.executable, *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.mark.parametrize("processes", [2, 4])
def test_shared_batches(mpiexec, processes):
    done = mpiexec(processes, Path(__file__).parents[1] / "helpers" / "on_ranks.py", processes)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("agrees") == processes


SMALL = [
    "-m",
    "tinyinfogan.train",
    "--channels=4",
    "--hidden=16",
    "--neighbours=1",
    "--batch-size=32",
    "--log-every=10",
    "--device=cpu",
]


HOOK = """
import os, signal, sys
from tinyinfogan import train
from tinyinfogan.cli.train import main
make = train.step_of_run
class Hooked:
 def __init__(self, *args):
  self.step, self.group, self.n = make(*args), args[-1], 0
 def __call__(self, *args):
  {work}
  return self.step(*args)
train.step_of_run = Hooked
sys.exit(main())
"""


def assert_same_log(run, other):
    """The same losses, up to what rounding becomes in 20 steps of Adam in float32."""
    for record, expected in zip(folder.read_log(run), folder.read_log(other), strict=True):
        assert record["d_loss"] == pytest.approx(expected["d_loss"], abs=1e-3)
        assert record["g_loss"] == pytest.approx(expected["g_loss"], abs=1e-3)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run of 20 steps by one process."""
    out = tmp_path_factory.mktemp("alone") / "run"
    subprocess.run(
        [sys.executable, *SMALL, "--steps=20", f"--out={out}"],
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
    )
    return out


@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_follow_one(mpiexec, alone, tmp_path, processes):
    done = mpiexec(processes, *SMALL, "--steps=20", f"--out={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("writing to") == 1
    assert_same_log(tmp_path / "run", alone)


def test_a_run_goes_on_with_another_number_of_processes(mpiexec, alone, tmp_path):
    run = tmp_path / "run"
    assert (
        mpiexec(
            4, *SMALL, "--steps=20", f"--out={run}", "--checkpoint-every=5", "--keep=9"
        ).returncode
        == 0
    )
    (run / "checkpoint-000010.npz").rename(run / checkpoint.NAME)
    done = mpiexec(2, "-m", "tinyinfogan.train", "--resume", run, "--steps=20")
    assert done.returncode == 0, done.stderr
    assert_same_log(run, alone)


def test_a_killed_rank_ends_the_job_and_the_run_goes_on(mpiexec, tmp_path):
    run = tmp_path / "run"
    kill = HOOK.format(
        work="self.n += 1\n  if self.n == 13 and self.group.rank == 1: "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    options = ["--steps=20", f"--out={run}", "--checkpoint-every=5"]
    done = mpiexec(2, "-c", kill, *SMALL[2:], *options)
    assert done.returncode != 0
    assert checkpoint.read(run)["step"] == 10
    done = mpiexec(2, "-m", "tinyinfogan.train", "--resume", run)
    assert done.returncode == 0, done.stderr
    assert checkpoint.read(run)["step"] == 20


@pytest.mark.parametrize(
    "options, status, message",
    [
        (["--batch-size=30"], 2, "4 processes cannot share"),
        (["--data=/nowhere"], 1, "does not exist"),
    ],
)
def test_all_processes_end_together_with_one_line(mpiexec, tmp_path, options, status, message):
    small = [text for text in SMALL if text != "--batch-size=32"]
    done = mpiexec(4, *small, *options, f"--out={tmp_path / 'run'}")
    assert done.returncode == status
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("train:")]
    assert message in line
    assert not (tmp_path / "run").exists()


def test_what_happens_to_one_rank_alone_names_it(mpiexec, tmp_path):
    full = HOOK.format(work="if self.group.rank == 1: raise MemoryError('none left')")
    done = mpiexec(2, "-c", full, *SMALL[2:], "--steps=20", f"--out={tmp_path / 'run'}")
    assert done.returncode != 0
    assert "rank 1: not enough memory (none left)" in done.stderr


def test_one_process_needs_no_mpi(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert ranks.start_processes().size == 1


def test_mpiexec_without_mpi4py(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.setenv("PMI_SIZE", "2")
    with pytest.raises(ranks.ParallelError, match="2 processes, and mpi4py"):
        ranks.start_processes()
