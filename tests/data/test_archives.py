"""What broken zip and tar files of the published data sets are refused for."""

import time

import pytest
from archives import CELEBA, CHAIRS, tar_member

from tinyinfogan.data import DataError, load


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYINFOGAN_DATA", str(tmp_path / "cache"))


def refused(folder, name, file, content, message):
    (folder / file).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(folder, name)


def test_pictures_that_a_damaged_zip_would_lose(tmp_path):
    directory = CELEBA.index(b"PK\1\2")
    at = CELEBA.index(b"1.jpg", directory)
    other = CELEBA[:at] + b"1.txt" + CELEBA[at + 5 :]
    refused(tmp_path, "celeba", "img_align_celeba.zip", other, "differ")
    count = CELEBA.index(b"PK\5\6") + 10
    fewer = CELEBA[:count] + b"\3" + CELEBA[count + 1 :]
    refused(tmp_path, "celeba", "img_align_celeba.zip", fewer, "directory is damaged")


@pytest.mark.parametrize("kind", [b"0", b"7", b"g"])
def test_a_tar_whose_member_claims_a_lot_is_refused_at_once(tmp_path, kind):
    lots = tar_member("1.txt", b"", kind, 2**60)
    since = time.process_time()
    refused(tmp_path, "chairs", "rendered_chairs.tar", lots + CHAIRS, "claims|tar of PNG files")
    assert time.process_time() - since < 1


def test_pictures_that_a_damaged_tar_would_lose_or_change(tmp_path):
    second = CHAIRS.index(b"2.png")
    lost = CHAIRS[:second] + b"3" + CHAIRS[second + 1 :]
    refused(tmp_path, "chairs", "rendered_chairs.tar", lost, f"damaged header at byte {second}")
    at = CHAIRS.index(b"IDAT") + 20
    changed = CHAIRS[:at] + bytes([CHAIRS[at] ^ 1]) + CHAIRS[at + 1 :]
    refused(tmp_path, "chairs", "rendered_chairs.tar", changed, "1.png")
