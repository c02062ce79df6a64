"""What shells, notebooks and containers set, and packages that are really not there."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from tinyinfogan.cli import evaluate
from tinyinfogan.data.download import cache_folder

ROOT = Path(__file__).parents[2]
TINY = "--channels 2 --hidden 4 --neighbours 1 --batch-size 4 --steps 2 --device cpu".split()
MAIN = "import sys; from tinyinfogan.cli.main import main; sys.exit(main(sys.argv[1:]))"
INLINE = "module://matplotlib_inline.backend_inline"  # as Jupyter sets it
ALL = """
import os, sys
from tinyinfogan.cli.main import main
run = sys.argv[1] + "/run"
commands = [
    ["train", "--data", sys.argv[1] + "/a.npz", "--out", run, *sys.argv[2:]],
    ["sample", run],
    ["encode", run, "--data"],
]
failed = [words[0] for words in commands if main(words)]
with open(run + "/failed", "w") as file:
    file.write(" ".join(failed))
"""


def started(code, *argv, shell='exec "$@"', **environment):
    """Run code in a Python of its own, in a shell; return (exit status, what is on stderr)."""
    env = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    env = {name: value for name, value in env.items() if value is not None}
    command = ["bash", "-c", shell, "bash", sys.executable, "-c", code, *map(str, argv)]
    done = subprocess.run(command, env=env, capture_output=True, timeout=300)
    return done.returncode, done.stderr.decode(errors="replace")


@pytest.mark.parametrize(
    "shell, environment",
    [
        (
            'exec "$@"',
            {"MPLBACKEND": INLINE, "COLUMNS": "0", "TERM": "dumb", "OMP_NUM_THREADS": "4,2"},
        ),
        ('exec "$@"', {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONWARNINGS": "error"}),
        ('exec "$@" >&- 2>&-', {"PYTHONOPTIMIZE": "2"}),
        ('"$@" 2>&1 | true', {"PYTHONUNBUFFERED": "1"}),
        ('cd /proc; umask 077; exec "$@"', {"HOME": "/nonexistent", "XDG_CACHE_HOME": None}),
    ],
    ids="inline ASCII closed broken homeless".split(),
)
def test_every_command_bears(shell, environment, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 8), np.uint8)
    np.savez(tmp_path / "a.npz", images=pixels, labels=np.arange(8) % 2)
    status, errors = started(ALL, tmp_path, *TINY, shell=shell, **environment)
    assert status == 0 and "Traceback" not in errors
    assert (tmp_path / "run" / "failed").read_text() == ""
    made = {path.name for path in (tmp_path / "run").iterdir()}
    assert made >= {"traversal.png", "confusion.txt", "training.gif", "sample.png"}


def test_the_cache_is_where_it_can_be(tmp_path, monkeypatch):
    monkeypatch.delenv("TINYINFOGAN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "tinyinfogan"
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path))
    assert cache_folder() != tmp_path / "tinyinfogan" and cache_folder().name == "tinyinfogan"


def test_a_run_that_may_only_be_read_is_evaluated(tmp_path, capsys, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8), np.uint8)
    np.savez(tmp_path / "a.npz", images=images)
    started(ALL, tmp_path, *TINY)
    before = sorted((tmp_path / "run").iterdir())
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / "run")
    assert evaluate.main([str(tmp_path / "run")]) == 0
    out, err = capsys.readouterr()
    assert out and f"{tmp_path / 'run'} may not be written to" in err
    assert sorted((tmp_path / "run").iterdir()) == before


def test_a_path_may_begin_with_a_tilde(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((8, 8, 8), np.uint8))
    for argv in (
        ["train", "--data=~/a.npz", "--out=~/run", *TINY],
        ["sample", "~/run", "--out=~/x.png"],
    ):
        status, errors = started(MAIN, *argv, HOME=str(tmp_path))
        assert status == 0, errors
    assert {"run", "x.png"} <= {path.name for path in tmp_path.iterdir()}


# --- packages that are not there ------------------------------------------------------------------


@pytest.fixture(scope="module")
def lacking(tmp_path_factory):
    """lacking("tornado")(code, …): what `started` returns where that package is really absent."""

    def environment(*absent):
        folder = tmp_path_factory.mktemp("site")
        for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
            if not path.name.lower().startswith(tuple(f"{name}" for name in absent)):
                (folder / path.name).symlink_to(path)

        def run(code, *argv, **more):
            more |= {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
            return started(code, *argv, shell='exec "$1" -S "${@:2}"', **more)

        return run

    return environment


@pytest.mark.parametrize("backend", [None, "nonsense"])
def test_explore_web_without_tornado(lacking, backend):
    status, errors = lacking("tornado")(MAIN, "explore", "--web", MPLBACKEND=backend)
    assert status == 2 and len(errors.splitlines()) == 1
    assert "--web needs tornado: pip install tornado (The WebAgg backend requires" in errors


def test_without_scikit_learn_scipy_safetensors_and_mpi(lacking, tmp_path):
    run = lacking("sklearn", "scikit_learn", "scipy", "safetensors", "mpi4py")
    status, errors = run("import tinyinfogan.cluster")
    last = errors.splitlines()[-1]
    assert status == 1 and last.endswith("needs scikit-learn: pip install scikit-learn")
    code = "import tinyinfogan; tinyinfogan.load(device='cpu').save('x.safetensors')"
    assert run(code)[1].splitlines()[-1].endswith("needs safetensors: pip install safetensors")
    (tmp_path / "x.safetensors").write_bytes(b"-")
    status, errors = run(MAIN, "sample", tmp_path / "x.safetensors")
    assert status == 1 and errors == "sample: this needs safetensors: pip install safetensors\n"
    for name in ("train_32x32.mat", "test_32x32.mat"):
        (tmp_path / name).write_bytes(b"-")
    argv = ["train", "--dataset", "svhn", "--data", tmp_path, "--out", tmp_path / "run"]
    status, errors = run(MAIN, *argv, TINYINFOGAN_DATA=str(tmp_path))
    assert status == 1 and errors.endswith("reading it needs SciPy: pip install scipy\n")
    status, errors = run(MAIN, *argv, OMPI_COMM_WORLD_SIZE="2")
    assert status == 2 and len(errors.splitlines()) == 1 and "mpi4py" in errors
