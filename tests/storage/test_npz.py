"""What read_npz returns is what np.savez was given."""

import numpy as np
import pytest

from tinyinfogan.storage.npz import read_headers, read_npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_all_arrays_come_back(tmp_path, save):
    arrays = {
        "scalar": np.array(7),
        "text": np.array("β"),
        "empty": np.zeros((0, 3), np.float32),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big_endian": np.arange(4, dtype=">i4"),
    }
    save(tmp_path / "a.npz", **arrays)
    with open(tmp_path / "a.npz", "rb") as file:
        found = read_npz(file)
        some = read_npz(file, ["text", "unknown"])
        claimed = read_headers(file)
    assert list(found) == list(arrays) and list(some) == ["text"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
        assert found[name].flags.writeable
        assert claimed[name] == (array.shape, array.dtype)
