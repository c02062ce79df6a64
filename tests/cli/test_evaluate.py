"""The commands on a trained run: evaluate, encode, sample, and what each says of bad input."""

import csv
import io
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import tinyinfogan
from tinyinfogan import data
from tinyinfogan.cli import common, encode, evaluate, sample, train
from tinyinfogan.evaluation import evaluate as evaluation
from tinyinfogan.evaluation import fidelity, measures
from tinyinfogan.evaluation.text import as_text
from tinyinfogan.training import checkpoint, report

MAINS = {"evaluate": evaluate.main, "encode": encode.main, "sample": sample.main}


def trained(folder, *options, labels=True):
    """Train a few steps on a few digits.  Returns the run's folder as text."""
    full, path = data.load(), folder / "digits.npz"
    np.savez(path, images=full.images[:120], **({"labels": full.labels[:120]} if labels else {}))
    argv = [
        "--data",
        str(path),
        "--out",
        str(folder / "run"),
        "--channels",
        "2",
        "--hidden",
        "16",
        "--steps",
        "4",
        "--batch-size",
        "20",
        *options,
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "finish", lambda *_: None)
        assert train.main(argv) == 0
    return str(folder / "run")


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("labelled"))


@pytest.fixture()
def few(monkeypatch):
    """Fewer images and steps than anyone would measure with."""
    measure = measures.measure
    monkeypatch.setattr(measures, "measure", lambda *args, **_: measure(*args, n=20))
    monkeypatch.setattr(evaluation, "IMAGES", 60)
    monkeypatch.setattr(fidelity, "STEPS", 5)


@pytest.fixture()
def digit(tmp_path):
    path = tmp_path / "digit.png"
    Image.fromarray(data.load().images[0, :, :, 0]).save(path)
    return str(path)


def output_of(capsys, command, argv):
    capsys.readouterr()
    assert MAINS[command](argv) == 0
    return capsys.readouterr().out


def message_of(capsys, command, argv, status):
    capsys.readouterr()
    try:
        assert MAINS[command](argv) == status
    except SystemExit as stop:  # argparse
        assert stop.code == status
    out, err = capsys.readouterr()
    assert not out
    assert "Traceback" not in err
    return err.strip().splitlines()[-1]


# --- evaluate -------------------------------------------------------------------------------------


def test_evaluate_writes_text_json_and_a_page(run, capsys, few):
    printed = json.loads(output_of(capsys, "evaluate", [run, "--json"]))
    text = as_text(printed)
    for words in ("L_I, nats", "balance", "accuracy", "Fréchet", "new noise"):
        assert words in text
    with open(f"{run}/evaluation.json") as file:
        assert json.load(file) == printed
    assert set(printed["codes"]) == {"c0", "c1", "c2"}
    assert sum(printed["categories"]["c0"]["shares"]) == pytest.approx(1)
    assert 0 <= printed["code_accuracy"] <= 1
    assert np.sum(printed["confusion"]["table"]) == 60
    assert np.array(Image.open(f"{run}/evaluation.png")).std() > 10


def test_evaluate_without_labels_says_what_is_missing(tmp_path, capsys, few):
    run = trained(tmp_path, "--categorical", "3", "4", labels=False)
    text = output_of(capsys, "evaluate", [run])
    assert "Code accuracy and fidelity need labels, and digits has none" in text
    result = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert set(result["categories"]) == {"c0", "c1"}
    assert not {"code_accuracy", "fidelity"} & set(result)


def test_evaluate_without_categories(tmp_path, capsys, few):
    run = trained(tmp_path, "--categorical")
    result = json.loads(output_of(capsys, "evaluate", [run, "--json"]))
    assert result["fidelity"]["agreement"] is None
    assert result["categories"] == {}


def test_evaluate_with_known_factors(run, tmp_path, capsys, few, monkeypatch):
    rng = np.random.default_rng(0)
    known = {"azimuth": rng.uniform(-90, 90, 120), "shape": rng.integers(3, size=120)}
    known |= {"elevation": rng.integers(50, size=120), "dull": np.ones(120)}
    arrays = {"images": data.load().images[:120], "labels": data.load().labels[:120]}
    np.savez(tmp_path / "known.npz", **arrays, **known)
    copy = shutil.copytree(run, tmp_path / "run")
    argv = [str(copy), "--data", str(tmp_path / "known.npz"), "--json"]
    result = json.loads(output_of(capsys, "evaluate", argv))
    kinds = {name: factor["kind"] for name, factor in result["factors"].items()}
    assert kinds == {
        "azimuth": "angle",
        "shape": "category",
        "elevation": "number",
        "dull": "number",
        "labels": "category",
    }
    assert list(result["factors"]["azimuth"]["codes"]) == ["c0", "c1", "c2"]
    assert list(result["factors"]["azimuth"]["error_degrees"]) == ["c0"]
    assert result["factors"]["dull"]["all_codes"] is None
    found = result["disentanglement"]
    assert found["factors"] == ["azimuth", "shape", "elevation"]
    for name in ("mig", "factor_vae", "sap", "modularity"):
        assert 0 <= found[name] <= 1
    assert np.shape(found["information_nats"]) == (3, 3)
    assert found["factor_entropies_nats"][0] <= np.log(20)  # cut into intervals
    text = as_text(result)
    for words in ("MIG", "azimuth, angle", "category c0 ±", "dull, number", "a guess", "NMI 0."):
        assert words in text
    result |= {"nmi": None, "ari": None}
    assert "NMI and ARI: needs scikit-learn" in as_text(result)


@pytest.mark.parametrize(
    "options", [["--categorical"], ["--continuous", "0"], ["--categorical", "3", "4"]]
)
def test_evaluate_with_one_factor_and_other_codes(tmp_path, capsys, few, options):
    run = trained(tmp_path, *options, labels=False)
    for count in (40, 2, 1):
        images = data.load().images[:count]
        np.savez(tmp_path / "known.npz", images=images, angle=np.arange(count))
        argv = [run, "--data", str(tmp_path / "known.npz"), "--json"]
        result = json.loads(output_of(capsys, "evaluate", argv))
        as_text(result)
        if count == 1:
            assert "factors" not in result
        else:
            assert set(result["factors"]["angle"]["codes"]) == set(result["codes"])
            assert result["disentanglement"]["factor_vae"] is None  # one factor is always found
    np.savez(tmp_path / "known.npz", images=data.load().images[:9], angle=np.zeros(9))
    argv = [run, "--data", str(tmp_path / "known.npz"), "--json"]
    assert "disentanglement" not in json.loads(output_of(capsys, "evaluate", argv))


def test_nothing_is_damaged_where_the_disk_is_full(run, tmp_path, capsys, few, monkeypatch):
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "evaluation.json").write_text("before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(evaluate.files.os, "fsync", full)
    assert "No space left" in message_of(capsys, "evaluate", [str(copy)], 1)
    assert (copy / "evaluation.json").read_text() == "before"


def test_the_report_of_training_names_failures(run, tmp_path, capsys, few, monkeypatch):
    drawn = [name for name in dir(report.plots) if name.startswith("save_")]
    for name in drawn:
        monkeypatch.setattr(report.plots, name, lambda *_: None)
    dataset = data.Dataset(data.load().images[:100], data.load().labels[:100])
    monkeypatch.setattr(measures, "failures", lambda *_: ["The noise is ignored."])
    report.finish(tmp_path, checkpoint.load(run), dataset)
    assert "warning: The noise is ignored.\n" in capsys.readouterr().out


# --- encode ---------------------------------------------------------------------------------------


def test_encode_prints_what_the_model_reads(run, digit, capsys):
    expected = checkpoint.load(run).encode(data.load().images[:1])
    (row,) = csv.DictReader(io.StringIO(output_of(capsys, "encode", [run, digit, "--csv"])))
    assert row["image"] == digit
    p = [float(row[f"c0={k}"]) for k in range(10)]
    np.testing.assert_allclose(p, expected.probabilities[0][0], rtol=1e-5)
    assert int(row["c0"]) == np.argmax(p)
    np.testing.assert_allclose([float(row["c1"]), float(row["c2"])], expected.means[0], rtol=1e-5)
    assert "c1_sd" not in row
    text = output_of(capsys, "encode", [run, digit]).splitlines()
    assert [len(line) for line in text] == [len(text[0])] * 2
    assert f"{float(row['c1']):.2f}" in text[1]


def test_encode_reads_folders_and_data_sets(run, digit, tmp_path, capsys):
    (tmp_path / "many").mkdir()
    for name in "ab":
        shutil.copy(digit, tmp_path / "many" / f"{name}.png")
    lines = output_of(capsys, "encode", [run, str(tmp_path / "many"), digit]).splitlines()
    assert [line.split()[0][-5:] for line in lines] == ["image", "a.png", "b.png", "t.png"]
    assert len({line.split(maxsplit=1)[1] for line in lines[1:]}) == 1
    assert len(output_of(capsys, "encode", [run, "--data"]).splitlines()) == 121
    np.savez(tmp_path / "two.npz", images=data.load().images[:2])
    lines = output_of(capsys, "encode", [run, "--data", str(tmp_path / "two.npz")]).splitlines()
    assert [line.split()[0] for line in lines] == ["image", "train/0", "train/1"]


def test_encode_pads_as_the_preset_does(tmp_path, digit, capsys):
    run = trained(tmp_path, "--pad", "2")
    (row,) = csv.DictReader(io.StringIO(output_of(capsys, "encode", [run, digit, "--csv"])))
    padded = np.pad(data.load().images[:1], ((0, 0), (2, 2), (2, 2), (0, 0)))
    expected = checkpoint.load(run).encode(padded).means[0]
    np.testing.assert_allclose([float(row["c1"]), float(row["c2"])], expected, rtol=1e-5)
    assert len(output_of(capsys, "encode", [run, "--data"]).splitlines()) == 121
    np.savez(tmp_path / "drawn.npz", images=padded)
    output_of(capsys, "encode", [run, "--data", str(tmp_path / "drawn.npz")])
    Image.fromarray(padded[0, :, :, 0]).save(tmp_path / "drawn.png")
    (row,) = csv.DictReader(
        io.StringIO(output_of(capsys, "encode", [run, str(tmp_path / "drawn.png"), "--csv"]))
    )
    np.testing.assert_allclose([float(row["c1"]), float(row["c2"])], expected, rtol=1e-5)


def test_encode_gives_deviations_where_they_were_learnt(tmp_path, digit, capsys):
    run = trained(tmp_path, "--q-sigma", "learnt", "--continuous", "1")
    (row,) = csv.DictReader(io.StringIO(output_of(capsys, "encode", [run, digit, "--csv"])))
    expected = checkpoint.load(run).encode(data.load().images[:1]).standard_deviations[0, 0]
    assert float(row["c1_sd"]) == pytest.approx(float(expected), rel=1e-5)


# --- sample ---------------------------------------------------------------------------------------


def test_sample_writes_arrays_that_the_model_gives(run, tmp_path, capsys):
    out = str(tmp_path / "x.npz")
    output_of(
        capsys,
        "sample",
        [run, "--code", "0=3", "--vary", "c1", "--count", "2", "--seed", "5", "--out", out],
    )
    with np.load(out, allow_pickle=False) as file:
        arrays = dict(file)
    assert arrays["images"].shape == (20, 28, 28, 1)
    expected = checkpoint.load(run, "cpu").decode(arrays["latents"])
    np.testing.assert_allclose(arrays["images"], expected, atol=1e-5)  # which a GPU may have drawn
    assert (arrays["c0"] == 3).all()
    np.testing.assert_allclose(arrays["c1"], np.tile(np.linspace(-2, 2, 10), 2), rtol=1e-6)
    for row in (slice(0, 10), slice(10, 20)):  # the same noise along a row
        assert len(np.unique(arrays["latents"][row, :62], axis=0)) == 1
        assert len(np.unique(arrays["c2"][row])) == 1
    assert data.load(out).images.shape == (20, 28, 28, 1)
    again = str(tmp_path / "y.npz")
    output_of(capsys, "sample", [run, "--count", "3", "--seed", "5", "--out", again])
    output_of(capsys, "sample", [run, "--count", "3", "--seed", "6", "--out", out])
    assert (np.load(out)["images"] != np.load(again)["images"]).any()


def test_sample_writes_grids_and_single_images(run, tmp_path, capsys):
    folder, grid = tmp_path / "singles", tmp_path / "grid.png"
    output_of(capsys, "sample", [run, "--vary", "c0", "--count", "1", "--out", str(folder)])
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"{k}_c0={k}.png" for k in range(10)]
    assert Image.open(folder / names[0]).size == (28, 28)
    output_of(capsys, "sample", [run, "--vary", "c2", "--count", "3", "--out", str(grid)])
    assert Image.open(grid).width > 10 * 28
    copy = shutil.copytree(run, tmp_path / "run")
    assert "13 images" in output_of(capsys, "sample", [str(copy), "--count", "13"])
    assert (copy / "sample.png").exists()
    output_of(capsys, "sample", [run, "--out", str(tmp_path / "new" / "a.png")])
    assert (tmp_path / "new" / "a.png").exists()


def test_no_output_replaces_a_part_of_a_run(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "run")
    shutil.copy(copy / "checkpoint.npz", copy / "checkpoint-000001.npz")
    for name in ("checkpoint.npz", "checkpoint-000001.npz"):
        before = (copy / name).read_bytes()
        message = message_of(capsys, "sample", [str(copy), "--out", str(copy / name)], 2)
        assert "is a part of a run" in message and (copy / name).read_bytes() == before


def test_too_many_images_for_the_memory_are_one_line(run, tmp_path, capsys, monkeypatch):
    def too_many(*args):
        raise MemoryError("Unable to allocate 54 TiB")

    monkeypatch.setattr(sample, "draw", too_many)
    message = message_of(capsys, "sample", [run, "--out", str(tmp_path / "a.png")], 1)
    assert "not enough memory (Unable to allocate 54 TiB)" in message


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--code", "c9=1"], "there is no code 'c9'; this run's codes are: c0, c1, c2"),
        (["--vary", "noise"], "there is no code 'noise'"),
        (["--vary", ""], "there is no code ''"),
        (["--code", "c0=10"], "expected categories from 0 to 9"),
        (["--code", "c0=-1"], "expected categories from 0 to 9"),
        (["--code", "c0=1.5"], "expected categories from 0 to 9"),
        (["--code", "c0=nan"], "expected categories from 0 to 9"),
        (["--code", "c1=inf"], "c1 is inf, expected finite numbers"),
        (["--code", "c1=much"], "c1 is 'much', expected a number"),
        (["--vary", "c0", "--vary", "c1"], "--vary is given twice; leave one out"),
        (["--seed", "1", "--seed", "2"], "--seed is given twice"),
        (["--code", "c0"], "expected NAME=VALUE"),
        (["--code", "c0=1", "--code", "0=2"], "given twice"),
        (["--code", "c0=1", "--vary", "c0"], "leave one out"),
        (["--count", "0"], "count is 0"),
        (["--seed", "-1"], "seed is -1"),
        (["--out", "picture.jpg"], "expected a .png, an .npz or a folder"),
    ],
)
def test_sample_refuses(argv, words, run, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in message_of(capsys, "sample", [run, *argv], 2)
    assert not list(tmp_path.iterdir())


def test_encode_refuses_what_the_run_does_not_take(run, tmp_path, capsys, digit):
    def refused(path, status=1):
        return message_of(capsys, "encode", [run, str(path)], status)

    (tmp_path / "broken.png").write_bytes(b"not an image")
    assert "broken.png" in refused(tmp_path / "broken.png")
    (tmp_path / "empty").mkdir()
    assert "empty: no pictures (PNG, JPEG, WebP" in refused(tmp_path / "empty")
    assert "does not exist" in refused(tmp_path / "nowhere.png")
    assert "neither is given" in message_of(capsys, "encode", [run], 2)
    assert "both are given" in message_of(capsys, "encode", [run, digit, "--data"], 2)


def test_data_of_another_shape_or_no_data(run, tmp_path, capsys):
    np.savez(tmp_path / "small.npz", images=np.zeros((4, 8, 8), np.uint8))
    assert MAINS["encode"]([run, "--data", str(tmp_path / "small.npz")]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 5
    assert err == "small: images of 8x8 (width x height) made 28x28\n"
    for command in ("evaluate", "encode"):
        argv = [run, "--data", str(tmp_path / "none.npz")]
        assert "does not exist" in message_of(capsys, command, argv, 1)


@pytest.mark.parametrize("command", ["evaluate", "sample"])
def test_a_folder_without_a_run(command, tmp_path, capsys):
    assert "no checkpoint here" in message_of(capsys, command, [str(tmp_path)], 1)


def test_without_a_run_the_model_in_the_package_is_taken(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert MAINS["sample"]([]) == 0
    assert (tmp_path / "sample.png").exists()  # and not in the package
    assert MAINS["sample"](["--code", "c0=4", "--count", "2", "--out", str(tmp_path / "two")]) == 0
    files = sorted(map(str, (tmp_path / "two").glob("*.png")))
    assert MAINS["encode"]([*files, "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()[-2:]
    assert [line.split(",")[1] for line in lines] == ["4", "4"]


def test_a_reader_that_stops_early_is_no_failure(monkeypatch):
    closed = []
    monkeypatch.setattr(common.os, "dup2", lambda *descriptors: closed.append(descriptors))
    monkeypatch.setattr(common.sys, "stdout", SimpleNamespace(fileno=lambda: 1))

    def work(args):
        raise BrokenPipeError

    parser = SimpleNamespace(parse_args=lambda argv: None, prog="x")
    assert common.run(parser, work) == 0
    assert closed


def test_a_run_without_a_checkpoint_is_no_folder_of_pictures(run, digit, tmp_path, capsys):
    begun = tmp_path / "begun"
    (begun / "samples").mkdir(parents=True)
    shutil.copy(f"{run}/config.json", begun)
    shutil.copy(digit, begun / "samples" / "000001.png")
    assert "there is no checkpoint" in message_of(capsys, "encode", [str(begun), digit], 1)


def test_results_of_a_file_are_beside_nobody_else_s(run, tmp_path, capsys, few):
    (tmp_path / "evaluation.json").write_text("mine")
    tinyinfogan.load(run).save(tmp_path / "a.npz")
    output_of(capsys, "evaluate", [str(tmp_path / "a.npz"), "--data", f"{run}/../digits.npz"])
    assert (tmp_path / "evaluation.json").read_text() == "mine"
    assert (tmp_path / "a" / "evaluation.png").exists()


def test_one_labelled_image_is_too_few(run, tmp_path, capsys):
    np.savez(tmp_path / "one.npz", images=data.load().images[:1], labels=[3])
    argv = [run, "--data", str(tmp_path / "one.npz")]
    assert "1 labelled images are too few" in message_of(capsys, "evaluate", argv, 1)


def test_a_dollar_in_a_name_begins_no_formula(run, tmp_path, capsys, few):
    full, path = data.load(), tmp_path / "p$_$q.npz"
    factor = {"price $_$": np.random.default_rng(0).random(120)}
    np.savez(path, images=full.images[:120], labels=full.labels[:120], **factor)
    assert "price $_$" in output_of(capsys, "evaluate", [run, "--data", str(path)])


def test_a_class_that_no_image_has_is_not_missed(run, tmp_path, capsys, few, monkeypatch):
    def found(*_):
        return {"classifier_accuracy": 1.0, "class_shares": [0, 0.9, 0, 0]}

    monkeypatch.setattr(evaluation, "_fidelity", found)
    full = data.load()
    two = [full.images[full.labels == k][:20] for k in (1, 3)]
    np.savez(tmp_path / "two.npz", images=np.concatenate(two), labels=np.repeat([1, 3], 20))
    model, _ = checkpoint.load_with_config(run, "cpu")
    failures = evaluation.evaluate(model, data.load(tmp_path / "two.npz"), tmp_path)["failures"]
    missing = [line for line in failures if "Modes are missing" in line]
    assert len(missing) == 1 and "class 3" in missing[0]
