"""The command `tinyinfogan`: which command it runs, what it says for none, and what it loads."""

import shutil
import subprocess
import sys

import pytest

import tinyinfogan
from tinyinfogan.cli import main as cli

LOADED = """
import sys
from tinyinfogan.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print("LOADED", *sys.modules)
"""


def loaded_by(*argv):
    """Return the names of all modules of a fresh process that has run the command."""
    command = [sys.executable, "-c", LOADED, *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("LOADED")[2].split())


def answer_of(*command):
    """Return (status, stdout, stderr) of a command in a process of its own."""
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_every_command(option, capsys):
    assert cli.main([option]) == 0
    first_words = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line]
    commands = ["train", "sample", "encode", "evaluate", "explore", "sweep", "doctor"]
    assert [word for word in first_words if word in commands] == commands == list(cli.COMMANDS)


@pytest.mark.parametrize(
    "argv, words", [([], "expected a command"), (["paint"], "'paint'"), (["--paint"], "'--paint'")]
)
def test_no_command_or_an_unknown_one_is_one_line(argv, words, capsys):
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert not out and line.startswith("tinyinfogan: ") and words in line
    assert line.endswith("choose one of train, sample, encode, evaluate, explore, sweep, doctor")


def test_the_version_is_the_package_s(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"{tinyinfogan.__version__}\n"


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help_by_its_name(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: tinyinfogan {command} ")


@pytest.mark.parametrize("argv", [["--help"], ["--version"], [], ["paint"], ["sample", "--help"]])
def test_the_module_and_the_script_do_the_same(argv):
    script = shutil.which("tinyinfogan")
    if not script:
        pytest.skip("the command tinyinfogan is not installed: pip install -e .")
    expected = answer_of(sys.executable, "-m", "tinyinfogan", *argv)
    assert expected[0] == (0 if argv and argv != ["paint"] else 2)
    assert answer_of(script, *argv) == expected


@pytest.mark.parametrize("seeds", [["--seeds", "1"], ["--seeds=1"]])
def test_train_with_seeds_is_a_sweep(seeds, monkeypatch):
    from tinyinfogan.cli import sweep

    given = []
    monkeypatch.setattr(sweep, "main", lambda argv: given.append(argv) or 7)
    assert cli.main(["train", *seeds, "--steps", "2"]) == 7
    assert given == [[*seeds, "--steps", "2"]]


def test_train_with_one_seed_is_none(monkeypatch):
    from tinyinfogan.cli import train

    monkeypatch.setattr(train, "main", lambda argv: argv)
    assert cli.main(["train", "--seed", "1"]) == ["--seed", "1"]


def test_help_loads_nothing_else():
    ours = {"tinyinfogan", "tinyinfogan.cli", "tinyinfogan.cli.main"}
    loaded = loaded_by("--help")
    assert not {"numpy", "matplotlib"} & loaded
    assert {name for name in loaded if name.startswith("tinyinfogan")} == ours


@pytest.mark.parametrize(
    "command, files",
    [("train", {"train", "options"}), ("sample", {"sample"}), ("doctor", {"doctor"})],
)
def test_a_command_loads_only_its_own_modules(command, files):
    loaded = loaded_by(command, "--help")
    assert not {"matplotlib", "PIL", "cupy"} & loaded
    inside = {name.split(".")[2] for name in loaded if name.startswith("tinyinfogan.cli.")}
    assert inside == {"main", "common", *files}
