"""fit(): training from a notebook, in memory or into a folder."""

import json
import subprocess
import sys

import numpy as np
import pytest

import tinyinfogan
from tinyinfogan import data
from tinyinfogan.cli.train import main
from tinyinfogan.training import checkpoint, folder, report
from tinyinfogan.training.finite import TrainingError

SMALL = {"channels": 2, "hidden": 8, "batch_size": 10, "steps": 3, "device": "cpu"}


@pytest.fixture()
def images(rng):
    return rng.integers(0, 256, (40, 8, 8), np.uint8)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr(report, "finish", lambda *_: None)


def test_in_memory_with_a_bar_and_nothing_else(images, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = tinyinfogan.fit(images, np.arange(40) % 3, categorical=(4,), continuous=1, **SMALL)
    captured = capsys.readouterr()
    assert captured.out == "" and "3/3" in captured.err and "accuracy" in captured.err
    assert list(tmp_path.iterdir()) == []
    assert model.spec.categorical == (4,) and model.generate(5).shape == (5, 8, 8, 1)
    assert model.encode(images[..., None]).probabilities[0].shape == (40, 4)


def test_with_a_folder_it_is_the_same_training_and_load_gives_it_back(images, tmp_path):
    model = tinyinfogan.fit(images, **SMALL, seed=7)
    again = tinyinfogan.fit(images / 255, **SMALL, seed=7, out=tmp_path / "run")
    loaded = tinyinfogan.load(tmp_path / "run")
    assert type(loaded) is type(model)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, again.state_dict()[name], err_msg=name)
        np.testing.assert_array_equal(array, loaded.state_dict()[name], err_msg=name)
    other = tinyinfogan.fit(images, **SMALL, seed=8).state_dict()
    assert any((array != other[name]).any() for name, array in model.state_dict().items())


def test_colour_and_padding(rng):
    colour = tinyinfogan.fit(rng.random((20, 16, 12, 3)), **SMALL)
    assert colour.generate(2).shape == (2, 16, 12, 3)
    padded = tinyinfogan.fit(rng.random((20, 8, 8)), **SMALL, pad=2)
    assert padded.image_shape == (12, 12, 1)


def test_numbers_of_numpy_are_numbers(images, tmp_path):
    many = SMALL | {"steps": np.int64(3), "seed": np.int64(7), "categorical": np.array([3, 2])}
    tinyinfogan.fit(images, **many, d_lr=np.float32(0.001), out=tmp_path)
    assert tinyinfogan.load(tmp_path).spec.categorical == (3, 2)


def resume(capsys, *argv):
    status = main(["--resume", *map(str, argv)])
    captured = capsys.readouterr()
    return status, captured.err.strip().splitlines()[-1]


def test_a_run_on_arrays_goes_on_once_it_is_told_where_they_are(images, tmp_path, capsys):
    out, path = tmp_path / "run", tmp_path / "mine.npz"
    labels = np.arange(40) % 3
    tinyinfogan.fit(images, labels, **SMALL, out=out)
    assert json.loads((out / "config.json").read_text())["dataset"] == "arrays"
    before = (out / checkpoint.NAME).read_bytes()
    status, message = resume(capsys, out, "--steps", 5)
    assert status == 1 and "np.savez" in message and "--data PATH" in message
    assert (out / checkpoint.NAME).read_bytes() == before
    np.savez(path, images=255 - images, labels=labels)
    status, message = resume(capsys, out, "--steps", 5, "--data", path)
    assert status == 1 and "not the images" in message
    np.savez(path, images=images, labels=labels)
    assert resume(capsys, out, "--steps", 5, "--data", path)[0] == 0
    assert resume(capsys, out, "--steps", 6)[0] == 0  # it remembers
    assert [record["step"] for record in folder.read_log(out)] == [3, 5, 6]
    whole = tinyinfogan.fit(images, labels, **SMALL | {"steps": 6}, decay=0.0, out=tmp_path / "w")
    assert checkpoint.read(tmp_path / "w")["step"] == 6
    assert whole.state_dict().keys() == tinyinfogan.load(out).state_dict().keys()


def test_the_data_of_such_a_run_cannot_be_found_and_the_line_says_so(images, tmp_path):
    tinyinfogan.fit(images, **SMALL, out=tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    with pytest.raises(data.DataError, match="arrays.*--data"):
        data.of_run(config)


def test_a_run_that_is_there_is_kept(images, tmp_path):
    tinyinfogan.fit(images, **SMALL, out=tmp_path)
    before = (tmp_path / checkpoint.NAME).read_bytes()
    with pytest.raises(FileExistsError, match="holds config.json of a run; choose another out"):
        tinyinfogan.fit(images, **SMALL, seed=1, out=tmp_path)
    assert (tmp_path / checkpoint.NAME).read_bytes() == before


@pytest.mark.parametrize(
    "change, error, words",
    [
        ({"batchsize": 5}, TypeError, "'batchsize'.*batch_size"),
        ({"preset": "nope"}, ValueError, "preset is 'nope'.*paper-mnist"),
        ({"categorical": 10}, TypeError, r"categorical is 10, expected sizes, as in \(10,\)"),
        ({"batch_size": 41}, ValueError, "batch_size is 41, more than the 40 images"),
        ({"steps": 0}, ValueError, "steps is 0"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"categorical": (1,)}, ValueError, "size 1"),
        ({"device": "tpu"}, ValueError, "tpu"),
        ({"images": np.zeros((3, 4))}, data.DataError, "arrays: images have the shape"),
        ({"images": np.full((3, 8, 8), 300.0)}, data.DataError, "from 300 to 300"),
        ({"images": np.zeros((30, 7, 7))}, ValueError, "7×7×1"),
        ({"labels": np.zeros(3, int)}, data.DataError, "40 images but labels"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(images, tmp_path, change, error, words):
    arguments = {"images": images, "out": tmp_path / "run", **SMALL} | change
    with pytest.raises(error, match=words) as caught:
        tinyinfogan.fit(**arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_numbers_that_are_not_finite_end_it(images):
    with pytest.raises(TrainingError, match="nothing has been saved; lower the learning rates"):
        tinyinfogan.fit(images, **SMALL | {"steps": 200}, g_lr=1e18, d_lr=1e18)


def test_importing_the_package_loads_no_room():
    code = "import sys, tinyinfogan; print(*(m for m in sys.modules if 'tinyinfogan.' in m))"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "\n"


def test_the_bundled_model():
    assert tinyinfogan.load().spec == tinyinfogan.LatentSpec(62, (10,), 2)
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        tinyinfogan.other  # noqa: B018


@pytest.mark.parametrize("seed", [None, "a", 1.5, -1])
def test_a_seed_that_is_none(images, seed):
    with pytest.raises(ValueError, match="seed is .*expected a whole number, 0 or more"):
        tinyinfogan.fit(images, **SMALL, seed=seed)


def test_images_of_different_shapes(images):
    with pytest.raises(data.DataError, match="different shapes"):
        tinyinfogan.fit([images[0], images[1, :5]], **SMALL)


@pytest.mark.parametrize("sizes", [np.int64(10), 10, 10.0, None])
def test_the_sizes_of_categories_are_several(images, sizes):
    with pytest.raises(TypeError, match="expected sizes"):
        tinyinfogan.fit(images, **SMALL, categorical=sizes)
