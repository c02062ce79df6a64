"""What an .npz file knows of its images besides their labels."""

import struct
import zipfile

import numpy as np
import pytest

from tinyinfogan.data import DataError, load

IMAGES = np.arange(3 * 2 * 4, dtype=np.uint8).reshape(3, 2, 4)


def saved(folder, **arrays):
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def test_lists_of_numbers_are_factors(tmp_path, capsys):
    known = {
        "azimuth": np.array([-130, 0, 45], np.int16),
        "width": np.array([0.5, 1, 2], ">f4"),
        "glasses": np.array([True, False, True]),
    }
    dataset = load(saved(tmp_path, **known, images=IMAGES, labels=[0, 1, 0]))
    assert dataset.labels.tolist() == [0, 1, 0]
    assert list(dataset.factors) == list(known)
    for name, values in known.items():
        np.testing.assert_array_equal(dataset.factors[name], values)
    assert capsys.readouterr() == ("", "")


def test_what_cannot_be_a_factor_is_left_out_in_one_line(tmp_path, capsys):
    others = {
        "latents": np.zeros((3, 5), np.float32),
        "names": np.array(["ann", "bob", "cy"]),
        "mean": np.float64(3),
        "half": np.arange(2),
        "waves": np.zeros(3, complex),
        "anything": np.array([{}, [], 1], object),
    }
    path = saved(tmp_path, images=IMAGES, angle=[0, 5, 10], **others)
    assert list(load(path).factors) == ["angle"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{path}: left out anything (object (3,)), half (int64 (2,)), latents (")
    assert "names (<U3 (3,))" in line and line.endswith("; a factor is a list of 3 numbers")
    assert load(saved(tmp_path, images=IMAGES)).factors is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_factor_is_finite(tmp_path, value):
    path = saved(tmp_path, images=IMAGES, elevation=[0, value, 1])
    with pytest.raises(DataError, match=f"a.npz: elevation must be finite, found {value}"):
        load(path)


def test_a_factor_that_claims_more_than_there_is(tmp_path):
    path = saved(tmp_path, images=IMAGES)
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(
            "angle.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(16)
        )
    with pytest.raises(DataError, match=r"angle, \(3,\) of float64, claims 91 bytes and has 83"):
        load(path)
