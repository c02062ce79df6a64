"""The names of the data sets, and what the command says about them."""

import json
import os
import subprocess
import sys

import pytest
from test_published import write_fashion

from tinyinfogan import data
from tinyinfogan.cli.train import main
from tinyinfogan.data import ChoiceError, load, published
from tinyinfogan.training import report


def test_sums_are_sums_and_addresses_end_with_the_name():
    for files in published.FILES.values():
        for file in files:
            assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32
            assert all(url.endswith(f"/{file.name}") for url in file.urls)
            assert all(url.startswith("https://") for url in file.urls) or file.sha256


@pytest.mark.parametrize(
    "name, path, message",
    [
        ("mnist", "x", "comes with the package"),
        ("sprites", "x", "comes with the package"),
        ("faces", None, "Basel Face Model"),
        ("cifar", None, "choose one of mnist, fashion-mnist, svhn, celeba, chairs, faces, sprites"),
    ],
)
def test_choices_that_do_not_fit(name, path, message):
    with pytest.raises(ChoiceError, match=message):
        load(path, name)


def test_mnist_has_a_name():
    assert load(name="mnist").name == "mnist" and data.NAMES[0] == "mnist"


def test_the_command_says_so(tmp_path, capsys):
    assert main(["--dataset", "faces", "--out", str(tmp_path / "run")]) == 2
    assert main(["--dataset", "sprites", "--data", "x"]) == 2
    assert main(["--dataset", "chairs", "--data", str(tmp_path)]) == 1
    assert main(["--dataset", "chairs", "--resume", str(tmp_path)]) == 1  # there is no run
    assert len(capsys.readouterr().err.splitlines()) == 4
    assert not (tmp_path / "run").exists()


def test_a_run_knows_its_data(tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    monkeypatch.setattr(report, "finish", lambda *_: None)  # pictures, which take long
    write_fashion(folder, 8)
    out = tmp_path / "run"
    small = ["--batch-size", "4", "--channels", "2", "--hidden", "4", "--steps"]
    arguments = ["--dataset", "fashion-mnist", "--data", os.path.relpath(folder)]
    assert main([*arguments, "--out", str(out), *small, "1"]) == 0
    config = json.loads((out / "config.json").read_text())
    assert data.of_run(config).name == "fashion-mnist"
    assert len(data.of_run(config).images) == 8
    assert main(["--resume", str(out), "--steps", "2"]) == 0
    assert data.of_run({"data": None}).name == "mnist", "as older runs have it"


def test_a_reader_of_files_loads_little():
    code = "import sys, tinyinfogan.data.idx; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(loaded.stdout.split())
    assert {name for name in loaded if name.split(".")[0] == "tinyinfogan"} == {
        "tinyinfogan",
        "tinyinfogan.data",
        "tinyinfogan.data.errors",
        "tinyinfogan.data.idx",
        "tinyinfogan.storage",
        "tinyinfogan.storage.npz",
        "tinyinfogan.storage.space",
    }
    assert not loaded & {"tqdm", "PIL", "urllib.request", "http.client", "matplotlib"}
