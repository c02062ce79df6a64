"""Checkpoints: whole, checked, versioned, and what they refuse."""

import errno
import json
import zipfile
from dataclasses import asdict, replace

import numpy as np
import pytest

import tinyinfogan
from docs.pictures import save_small
from tinyinfogan import data
from tinyinfogan.engine import optim
from tinyinfogan.evaluation import clustering
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.settings import PRESETS, Settings
from tinyinfogan.storage import files, npz, space
from tinyinfogan.training import checkpoint, folder

SMALL = Settings("mnist", noise=1, channels=1, hidden=2, batch_size=2, steps=9)
CONFIG = {"settings": asdict(SMALL), "image_shape": [8, 8, 1], "data": None, "seed": 0}


def players():
    model = InfoGAN(SMALL, (8, 8, 1), np.random.default_rng(0))
    return model, {"g_adam": optim.Adam(model.generator.parameters(), 1e-3)}


def arrays_of(step=3, **changes):
    arrays = checkpoint.snapshot(*players(), step, CONFIG, {"d_loss": np.ones(2, np.float32)})
    return arrays | {name: np.array(value) for name, value in changes.items()}


def tiny(folder):
    """Write a checkpoint of next to nothing, for tests that read it often; return its path."""
    small = {n: a for n, a in arrays_of().items() if "." not in n} | {"model.w": np.ones(3)}
    checkpoint.save(folder / checkpoint.NAME, small)
    return folder / checkpoint.NAME


def test_numpy_alone_reads_what_the_docstring_says(tmp_path):
    arrays = arrays_of()
    checkpoint.save(tmp_path / "a.npz", arrays)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        found = dict(file)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    heads = {name.partition(".")[0] for name in found}
    assert heads == {"format", "step", "config", "model", "g_adam", "history"}


def test_a_snapshot_is_a_copy(tmp_path):
    model, optimisers = players()
    arrays = checkpoint.snapshot(model, optimisers, 3, CONFIG)
    before = {name: array.copy() for name, array in arrays.items()}
    for part in (model, *optimisers.values()):
        for array in part.state_dict().values():
            if array.ndim:
                array += 1
    for name, array in before.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_every_bit_counts(tmp_path):
    """One bit in each byte, another one in each; all of them in tests/faults."""
    path = tiny(tmp_path)
    content = path.read_bytes()
    assert checkpoint.read(path)["step"] == 3
    for at in range(0, len(content), 5):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        with pytest.raises(checkpoint.CheckpointError, match="not a whole checkpoint"):
            checkpoint.read(path)
    for length in range(0, len(content), 11):
        path.write_bytes(content[:length])
        with pytest.raises(checkpoint.CheckpointError):
            checkpoint.read(path)
    path.write_bytes(content + b"x")
    with pytest.raises(checkpoint.CheckpointError, match="not a whole checkpoint"):
        checkpoint.read(path)


def test_an_array_that_was_exchanged_is_noticed(tmp_path):
    """Here the zip file's own checksums are right."""
    path = tiny(tmp_path)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["model.w"] = np.full(3, 2.0)
    np.savez(path, **arrays)
    with pytest.raises(checkpoint.CheckpointError, match="the file is not as its checksum says"):
        checkpoint.read(path)


def test_format_1_is_read_and_a_later_one_is_not(tmp_path):
    old = {n: a for n, a in arrays_of(format=1).items() if not n.startswith("history")}
    np.savez(tmp_path / checkpoint.NAME, **old)
    model = checkpoint.load(tmp_path)
    for name, array in players()[0].state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], array)
    assert checkpoint.history_of(checkpoint.read(tmp_path), tmp_path) == []
    np.savez(tmp_path / checkpoint.NAME, **arrays_of(format=3))
    with pytest.raises(checkpoint.CheckpointError, match="format 3, this version .* reads 2"):
        checkpoint.read(tmp_path)


@pytest.mark.parametrize("old, new", [("players", "joint"), ("all", "separate")])
def test_settings_of_older_names_are_read(old, new, tmp_path):
    fields = asdict(SMALL)
    del fields["info_step"]
    config = CONFIG | {"settings": {**fields, "info_updates": old, "of_tomorrow": 1}}
    checkpoint.save(tmp_path / checkpoint.NAME, arrays_of(config=json.dumps(config)))
    assert checkpoint.load(tmp_path).settings == replace(SMALL, info_step=new)
    assert checkpoint.load_for_run(tmp_path)[2].info_step == new


def test_what_does_not_read_back_does_not_replace_what_does(tmp_path, monkeypatch):
    path = tiny(tmp_path)
    before = path.read_bytes()
    seals = iter([b"0" * 64, b"1" * 64])
    monkeypatch.setattr(checkpoint, "_seal", lambda file: next(seals))
    with pytest.raises(checkpoint.CheckpointError, match="not a whole checkpoint"):
        checkpoint.save(path, arrays_of(4))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.NAME]


@pytest.mark.parametrize("links", [True, False])
def test_keep(tmp_path, monkeypatch, links):
    if not links:  # as on a memory stick

        def link(*_):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(checkpoint.os, "link", link)
    path = tmp_path / checkpoint.NAME
    (tmp_path / "checkpoint-best.npz").touch()  # not ours
    for step in (2, 4, 6, 8):
        checkpoint.save(path, arrays_of(step), keep=3)
    assert checkpoint.read(tmp_path)["step"] == 8
    older = checkpoint.older(tmp_path)
    assert list(older) == [4, 6] == [checkpoint.read(p)["step"] for p in older.values()]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(checkpoint.CheckpointError, match="rename checkpoint-000006.npz"):
        checkpoint.read(tmp_path)
    checkpoint.save(path, arrays_of(10), keep=1)
    assert checkpoint.older(tmp_path) == {}
    assert (tmp_path / "checkpoint-best.npz").exists()


def test_a_model_saved_beside_a_run_s_checkpoints_leaves_those(tmp_path):
    for step in (2, 4, 6):
        checkpoint.save(tmp_path / checkpoint.NAME, arrays_of(step), keep=3)
    tinyinfogan.load(tmp_path).save(tmp_path / "best.npz")
    assert list(checkpoint.older(tmp_path)) == [2, 4]


@pytest.mark.parametrize("keep", [1, 2, 4, 5, 6])
def test_as_many_are_kept_as_asked(keep, tmp_path):
    for step in range(1, 9):
        checkpoint.save(tmp_path / checkpoint.NAME, arrays_of(step), keep)
    assert list(checkpoint.older(tmp_path)) == list(range(1, 8))[8 - keep :]


def test_a_damaged_checkpoint_is_not_kept_and_keeps_nothing_from_being_written(tmp_path):
    path = tmp_path / checkpoint.NAME
    for step in (1, 2, 3):
        checkpoint.save(path, arrays_of(step), keep=3)
        path.write_bytes(path.read_bytes()[: 100 if step == 2 else None])
    assert checkpoint.read(path)["step"] == 3
    assert list(checkpoint.older(tmp_path)) == [1]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_s_networks_come_back_from_a_checkpoint(preset, tmp_path):
    """At their true size: what is counted before any memory is taken must be what there is."""
    settings = PRESETS[preset]
    model = InfoGAN(settings, settings.image_shape, Zeros())
    arrays = {f"model.{name}": array for name, array in model.state_dict().items()}
    again = checkpoint.model_of(arrays, tmp_path, settings, settings.image_shape)
    assert again.state_dict().keys() == model.state_dict().keys()


class Zeros:
    """A generator of weights that takes no time."""

    def standard_normal(self, shape, dtype):
        return np.zeros(shape, dtype)


def test_the_writer_raises_later_what_went_wrong(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with checkpoint.Writer(tmp_path / checkpoint.NAME) as writer:
        writer.save(arrays_of(1))
        writer.check(wait=True)
        monkeypatch.setattr(files.os, "fsync", full)
        writer.save(arrays_of(2))
        with pytest.raises(OSError, match="No space"):
            writer.check(wait=True)
        writer.check()  # said once
    with pytest.raises(OSError, match="No space"), checkpoint.Writer(tmp_path / "b.npz") as writer:
        writer.save(arrays_of(3))
    assert checkpoint.read(tmp_path)["step"] == 1


@pytest.mark.parametrize(
    "change, words",
    [
        ({"settings": {**asdict(SMALL), "hidden": 10**6}}, "more weights than it holds"),
        ({"settings": {**asdict(SMALL), "channels": 10**6}}, "more weights than it holds"),
        ({"settings": {**asdict(SMALL), "categorical": [10**6]}}, "more weights than it holds"),
        ({"image_shape": [4 * 10**6, 4 * 10**6, 3]}, "more weights than it holds"),
        ({"image_shape": "888"}, "settings inside are not ours"),
        ({"settings": {**asdict(SMALL), "noise": "many"}}, "settings inside are not ours"),
        ({"settings": []}, "settings inside are not ours"),
    ],
)
def test_settings_that_do_not_fit_the_weights_take_no_memory(tmp_path, change, words):
    checkpoint.save(tmp_path / checkpoint.NAME, arrays_of(config=json.dumps(CONFIG | change)))
    with pytest.raises(checkpoint.CheckpointError, match=words):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize(
    "name, array",
    [
        ("history.d_loss", np.ones((2, 2))),
        ("history.d_loss", np.array(["a", "b"])),
        ("history.g_loss", np.ones(3)),
    ],
)
def test_a_history_that_is_none(name, array):
    with pytest.raises(checkpoint.CheckpointError, match="history inside is not ours"):
        checkpoint.history_of(arrays_of(**{name: array}), "path")


def test_numbers_of_another_kind_are_refused():
    arrays = arrays_of()
    name = next(name for name in arrays if name.startswith("model."))
    arrays[name] = arrays[name].astype(complex)
    with pytest.raises(checkpoint.CheckpointError, match="complex128, expected float32"):
        checkpoint.restore(arrays, "path", model=players()[0])


# --- .npz files of strangers ----------------------------------------------------------------------


def test_npz_members_that_unpack_without_bound_are_refused(tmp_path):
    """bzip2 packs far better than deflate, and NumPy writes no such thing."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("images.npy", bytes(10**7))
    with open(tmp_path / "a.npz", "rb") as file:
        with pytest.raises(ValueError, match="claims 10000000 bytes, more than"):
            npz.read_npz(file)


def test_npz_larger_than_memory_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros(10**8, np.uint8))
    monkeypatch.setattr(space, "free_memory", lambda: 10**7)
    with open(tmp_path / "a.npz", "rb") as file:
        with pytest.raises(MemoryError, match="images takes 100 MB of memory, 10 MB are free"):
            npz.read_npz(file)


def test_appending_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "log"
    files.append(path, b"one\n")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError):
        files.append(path, b"two\n")
    assert path.read_bytes() == b"one\n"


# --- the model that comes with the package --------------------------------------------------------


def test_the_trained_model_in_the_package_knows_digits():
    path = checkpoint.TRAINED / checkpoint.NAME
    assert path.stat().st_size <= 3e6
    model, digits = checkpoint.load(), data.load()
    accuracy = clustering.code_table(model, digits, limit=2000).accuracy
    assert accuracy > 0.95
    logged = folder.read_log(checkpoint.TRAINED)[-1]
    assert abs(accuracy - logged["code_accuracy"]) < 0.02


def test_small_checkpoints_hold_the_model_only(tmp_path, rng):
    arrays = {
        "format": np.array(checkpoint.FORMAT),
        "step": np.array(3),
        "config": np.array("{}"),
        "model.a": rng.standard_normal((50, 40)).astype(np.float32),
        "d_adam.steps": np.array(3),
        "history.d_loss": np.zeros(2),
    }
    save_small(tmp_path / "small.npz", arrays)
    small = checkpoint.read(tmp_path / "small.npz")
    assert small.keys() == {"format", "step", "config", "model.a"}
    np.testing.assert_allclose(small["model.a"], arrays["model.a"], rtol=0.0025, atol=1e-6)
