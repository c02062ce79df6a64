"""Pictures and digits of one's own, from the folder to what the model says of them."""

import csv
import io
import json
import math
import struct

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from tinyinfogan import data
from tinyinfogan.cli import encode, evaluate, explore, train
from tinyinfogan.training import report

FAST = "--channels 2 --hidden 8 --neighbours 1 --batch-size 4 --steps 2 --device cpu".split()
CATEGORIES = [8, 9, 0, 4, 1, 5, 2, 7, 6, 3]  # of the digits, in the model of the package


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYINFOGAN_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(report, "finish", lambda *_: None)


def run(main, *argv):
    return main([str(word) for word in argv])


# --- digits ---------------------------------------------------------------------------------------


def arc(x, y, rx, ry, begin, end):
    """Points of a part of an ellipse, in degrees clockwise from the right."""
    angles = np.radians(np.linspace(begin, end, 24))
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


DIGITS = [  # two ways to write each; strokes as points in a box of 1x1, y downwards
    ([arc(0.5, 0.5, 0.32, 0.48, 0, 360)], [arc(0.5, 0.5, 0.4, 0.45, -90, 270)]),
    ([[(0.5, 0), (0.5, 1)]], [[(0.35, 0.2), (0.55, 0), (0.5, 1)]]),
    (
        [[*arc(0.5, 0.28, 0.3, 0.26, 180, 400), (0.15, 0.97), (0.85, 0.97)]],
        [[*arc(0.5, 0.25, 0.28, 0.24, 200, 410), (0.2, 0.95), (0.8, 0.93)]],
    ),
    (
        [arc(0.45, 0.26, 0.28, 0.25, 200, 450) + arc(0.45, 0.74, 0.32, 0.25, 270, 520)],
        [arc(0.45, 0.26, 0.25, 0.25, 190, 450) + arc(0.45, 0.74, 0.3, 0.25, 270, 510)],
    ),
    (
        [[(0.6, 0.02), (0.12, 0.65), (0.88, 0.65)], [(0.65, 0.4), (0.65, 0.98)]],
        [[(0.2, 0.05), (0.18, 0.5), (0.8, 0.5)], [(0.75, 0.05), (0.72, 0.98)]],
    ),
    (
        [[(0.8, 0.03), (0.25, 0.03), (0.22, 0.45), *arc(0.45, 0.68, 0.33, 0.28, 230, 500)]],
        [[(0.75, 0.05), (0.3, 0.05), (0.25, 0.42), *arc(0.45, 0.68, 0.3, 0.28, 240, 510)]],
    ),
    (
        [[(0.65, 0.03), (0.4, 0.2), (0.25, 0.5), *arc(0.5, 0.7, 0.27, 0.27, 180, 540)]],
        [[(0.7, 0.05), (0.35, 0.3), (0.22, 0.65), *arc(0.48, 0.72, 0.26, 0.25, 190, 540)]],
    ),
    ([[(0.12, 0.05), (0.85, 0.05), (0.4, 0.98)]], [[(0.15, 0.08), (0.8, 0.05), (0.42, 0.98)]]),
    (
        [arc(0.5, 0.26, 0.24, 0.24, 90, 450) + arc(0.5, 0.75, 0.3, 0.25, 270, 630)],
        [arc(0.5, 0.27, 0.22, 0.25, 90, 450) + arc(0.5, 0.74, 0.27, 0.24, 270, 630)],
    ),
    (
        [[*arc(0.48, 0.3, 0.28, 0.27, 0, 360), (0.74, 0.6), (0.68, 0.98)]],
        [[*arc(0.45, 0.28, 0.27, 0.26, 10, 370), (0.72, 0.28), (0.68, 0.97)]],
    ),
]


def drawn(strokes, width, box, ink=0, paper=255):
    """Draw strokes into a box (left, top, width, height) of a sheet of 300x400, "L"."""
    sheet = Image.new("L", (600, 800), paper)
    pen, (left, top, W, H) = ImageDraw.Draw(sheet), box
    for stroke in strokes:
        points = [(2 * (left + x * W), 2 * (top + y * H)) for x, y in stroke]
        pen.line(points, fill=ink, width=2 * width, joint="curve")
        for x, y in points:
            pen.ellipse((x - width, y - width, x + width, y + width), fill=ink)
    return sheet.resize((300, 400), Image.Resampling.BOX)


def twenty(**how):
    """Yield (digit, drawing): two of each, with strokes of several widths, all off centre."""
    for digit, ways in enumerate(DIGITS):
        for way, strokes in enumerate(ways):
            width = (5, 9, 14, 20, 28, 36)[(3 * digit + way) % 6]
            box = ((40, 40, 100, 160), (130, 160, 120, 200))[(digit + way) % 2]
            yield digit, drawn(strokes, width, box, **how)


def shared_out(sheet):
    """A telephone's: unevenly lit, blurred, with noise, a JPEG in colour."""
    y, x = np.mgrid[0:400, 0:300]
    light = 0.6 + 0.3 * x / 300 + 0.1 * y / 400
    grey = (30 + 0.7 * np.asarray(sheet)) * light + np.random.default_rng(0).normal(
        0, 4, (400, 300)
    )
    grey = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
    return Image.merge("RGB", [grey.filter(ImageFilter.GaussianBlur(1))] * 3)


def on_nothing(sheet):
    """An editor's: black ink, and the rest is clear."""
    black = Image.new("L", sheet.size, 0)
    return Image.merge("LA", [black, Image.fromarray(255 - np.asarray(sheet))])


def with_dust(sheet):
    pixels = np.array(sheet)
    pixels[[20, 21, 350, 351], [20, 21, 280, 281]] = 60
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    "change",
    [
        lambda sheet: sheet,
        lambda sheet: Image.fromarray(255 - np.asarray(sheet)),
        lambda sheet: sheet.convert("RGBA"),
        lambda sheet: sheet.convert("P"),
        lambda sheet: Image.fromarray(np.asarray(sheet).astype(np.uint16) * 257),
        shared_out,
        on_nothing,
        with_dust,
        lambda sheet: Image.fromarray((np.asarray(sheet) > 127).astype(np.uint8)),
        lambda sheet: Image.eval(sheet, lambda level: 120 + level // 4),
        lambda sheet: sheet.resize((3000, 4000)),
        lambda sheet: sheet.resize((45, 60), Image.Resampling.BOX),
    ],
    ids="plain light-on-dark RGBA palette 16-bit photo clear dust mask pale large small".split(),
)
def test_twenty_drawn_digits_are_read(change, tmp_path, capsys, request):
    kind = "jpg" if change is shared_out else "png"
    for index, (digit, sheet) in enumerate(twenty()):
        change(sheet).save(tmp_path / f"{index:02}-{digit}.{kind}")
    assert run(encode.main, tmp_path, "--csv", "--device", "cpu") == 0
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(out)))
    right = [CATEGORIES[int(row["image"][-5])] == int(row["c0"]) for row in rows]
    assert len(rows) == 20 and sum(right) >= 17
    line = err.splitlines()[-1]
    assert "20 fitted and centred by their ink as MNIST's" in line
    assert ("inverted" in line) == (request.node.callspec.id != "light-on-dark")


def test_inverted_data_are_turned_back(tmp_path, capsys):
    images, labels = data.load().test_images[:200], data.load().test_labels[:200]
    np.savez(tmp_path / "a.npz", images=255 - images)
    assert run(encode.main, "--data", tmp_path / "a.npz", "--csv") == 0
    out, err = capsys.readouterr()
    found = [int(row["c0"]) for row in csv.DictReader(io.StringIO(out))]
    assert np.mean(np.array(CATEGORIES)[labels] == found) > 0.95
    assert "all images inverted" in err
    assert run(encode.main, "--data", tmp_path / "a.npz", "--csv", "--invert", "no") == 0
    found = [int(row["c0"]) for row in csv.DictReader(io.StringIO(capsys.readouterr().out))]
    assert np.mean(np.array(CATEGORIES)[labels] == found) < 0.3


# --- a folder of photographs ----------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path):
    """Six photographs of two sizes, one of them taken upright, and a file of another kind."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng, exif = np.random.default_rng(0), Image.Exif()
    exif[274] = 6
    for index in range(6):
        W, H = ((640, 480), (574, 378))[index % 2]
        small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
        more = {"exif": exif} if index == 5 else {}
        small.resize((W, H), Image.Resampling.BICUBIC).save(folder / f"{index}.jpg", **more)
    (folder / "a.heic").write_bytes(b"another")
    return folder


def test_a_folder_of_photographs_trains(photos, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(train.main, *FAST, "--data", photos, "--out", out) == 0
    config = json.loads((out / "config.json").read_text())
    assert config["image_shape"] == [28, 28, 3]
    assert config["pictures"]["size"] == [28, 28] and config["pictures"]["channels"] == 3
    line = capsys.readouterr().err.splitlines()[0]
    sizes = "6 pictures of 574x378 to 640x480 (width x height), colour: 6 cropped to 28x28"
    assert sizes in line and "left out 1 .heic" in line
    assert run(train.main, "--resume", out, "--steps", 3) == 0
    assert run(encode.main, out, photos / "1.jpg", photos / "5.jpg", "--csv") == 0
    shown = list(
        csv.DictReader(io.StringIO(capsys.readouterr().out.split("cpu:")[-1].split("\n", 1)[1]))
    )
    assert run(encode.main, out, "--data", "--csv") == 0
    own = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    for row, index in zip(shown, (1, 5)):
        for name in row.keys() - {"image"}:
            assert float(row[name]) == pytest.approx(float(own[index][name]), rel=1e-4)
    assert run(evaluate.main, out, "--data", photos) == 0


@pytest.mark.parametrize(
    "options, shape",
    [
        (["--size", "32"], [32, 32, 3]),
        (["--size", "16x24", "--grey", "--fit", "stretch"], [24, 16, 1]),
        (["--preset", "faces"], [32, 32, 3]),
        (["--preset", "tutorial-mnist"], [32, 32, 1]),
    ],
)
def test_sizes_of_ones_choice(options, shape, photos, tmp_path):
    out = tmp_path / "run"
    width = ["--channels", "8"]
    assert run(train.main, *FAST[4:], *width, "--data", photos, "--out", out, *options) == 0
    assert json.loads((out / "config.json").read_text())["image_shape"] == shape


@pytest.mark.parametrize("text", ["0", "big", "32x", "2000", "8x8x8", "-3"])
def test_sizes_that_cannot_be(text, photos, capsys):
    with pytest.raises(SystemExit):
        run(train.main, "--data", photos, f"--size={text}")
    assert "argument --size" in capsys.readouterr().err.splitlines()[-1]


# --- data that moved ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "npz", "idx"])
def test_a_run_goes_on_where_its_data_moved(kind, photos, tmp_path, capsys):
    place, out = tmp_path / "old", tmp_path / "run"
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 8), np.uint8)
    if kind == "folder":
        photos.rename(place)
    elif kind == "idx":
        place.mkdir()
        head = struct.pack(">4I", 0x803, 8, 8, 8)
        (place / "train-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
    else:
        place = tmp_path / "old.npz"
        np.savez(place, images=pixels)
    assert run(train.main, *FAST, "--data", place, "--out", out) == 0
    new = tmp_path / f"elsewhere{place.suffix}"
    place.rename(new)
    for main, argv in ((train.main, ["--resume", out, "--steps", 3]), (evaluate.main, [out])):
        capsys.readouterr()
        assert run(main, *argv) == 1
        assert f"{place}: does not exist; if it was moved" in capsys.readouterr().err
    assert run(train.main, "--resume", out, "--steps", 3, "--data", new) == 0
    assert run(train.main, "--resume", out, "--steps", 4) == 0, "it is noted"
    assert run(encode.main, out, "--data", new) == 0
    model, config = explore.checkpoint.load_with_config(out, "cpu")
    assert len(explore.real_images(config, model, path=new)) in (6, 8)


def test_other_data_in_its_place_are_refused(tmp_path, capsys):
    pixels, out = np.random.default_rng(0).integers(0, 256, (8, 8, 8), np.uint8), tmp_path / "run"
    np.savez(tmp_path / "a.npz", images=pixels)
    np.savez(tmp_path / "b.npz", images=pixels[::-1])
    assert run(train.main, *FAST, "--data", tmp_path / "a.npz", "--out", out) == 0
    before = (out / "config.json").read_bytes()
    assert run(train.main, "--resume", out, "--steps", 3, "--data", tmp_path / "b.npz") == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert "not the images that" in message and "give their place" in message
    assert (out / "config.json").read_bytes() == before
    (tmp_path / "b.npz").rename(tmp_path / "a.npz")
    assert run(evaluate.main, out) == 1
    assert "not the images that" in capsys.readouterr().err
    assert run(train.main, "--resume", out, "--steps", 3, "--size", 16) == 2


def test_runs_among_the_pictures_are_no_pictures(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(photos)
    assert run(train.main, *FAST, "--data", ".") == 0
    assert list((photos / "runs" / "mnist-1").rglob("*.png"))
    capsys.readouterr()
    assert run(train.main, "--resume", "runs/mnist-1", "--steps", 3) == 0
    assert " 1 runs" in capsys.readouterr().err
