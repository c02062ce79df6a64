"""Each lesson runs alone in an empty folder, as script and as notebook, and computes what it says.

Here with FAST = True; LESSONS=full in the environment runs the scripts as they are and asks for the
numbers that the texts name, too.
"""

import importlib
import inspect
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LESSONS = sorted((ROOT / "lessons").glob("[0-9ab]*_*.py"))
FULL_RUNS = os.environ.get("LESSONS") == "full"

# Numbers of a lesson: a `name: value` that it prints, and the least and largest it may be.
EXPECTED = {
    "01": [("dc/da, the tape", 4, 4)],
    "02": [("batch norm, variance forgotten: random u, relative error", 0.05, 2)],
    "03": [
        ("difference of the gradients", 0, 1e-12),
        ("by hand and by the tape, largest difference", 0, 1e-12),
        ("mean square of it", 1.5, 3),
    ],
    "04": [
        ("numbers that are learnt", 101_770, 101_770),
        ("started at 0, modules.0.weight moved by", 0, 0),
        ("sigma = 0.088, after layer 10", 0.3, 3),
        ("accuracy on unseen digits after", 85, 100),
    ],
    "05": [
        ("softmax twice, smallest possible loss for 10 classes", 1.4611, 1.4613),
        ("softmax once, pull on the right logit at t = 2", -0.94, -0.94),
        ("softmax once, pull on the right logit at t = 10", -1, -1),
        ("softmax twice, pull on the right logit at t = 2", -0.06, -0.058),
        ("softmax twice, pull on the right logit at t = 10", -5.5e-5, -5e-5),
    ],
    "06": [
        ("Adam, loss x 1000, steps to arrive", 50, 500),
        ("six lines and package after 50 steps, largest difference", 0, 1e-14),
        ("beta1 = 0.0, distance after 2000 steps", 0.55, 0.65),
        ("beta1 = 0.5, distance after 2000 steps", 1, 1.1),
        ("beta1 = 0.9, distance after 2000 steps", 2.5, 2.7),
    ],
    "07": [("largest difference", 1e-16, 1e-12)],
    "08": [("relative difference", 0, 1e-12)],
    "09": [
        ("by hand and package, largest difference", 0, 1e-12),
        ("weights x 10, the gradient is multiplied by", 0.0999, 0.1001),
    ],
    "10": [
        ("D's loss, best possible", 0.81, 0.812),
        ("D's loss, trained above best possible", -0.02, 0.1),
    ],
    "11": [
        ("together, mean logit of the fakes in D's step", -8.7, -8.5),
        ("together, mean logit of the fakes in G's step", 1.9, 2.1),
    ],
    "12": [
        ("D wins, D's loss at the end", 0, 0.01),
        ("D wins, categories that 1 % of the real digits or more get", 7, 7),
        ("D wins, share of the largest category, per cent", 78, 78),
        ("3x3, kinds of places, largest over smallest", 2, 3),
        ("weights that are finite after, per cent", 0, 30),
    ],
    "13": [
        ("sigma = 0.5, truth", 0.844, 0.846),
        ("sigma = 0.5, bound", 0.4, 0.846),
        ("truth less bound, the least of all", -0.001, 0.2),
        ("gap and mean KL divergence, difference", 0, 1e-5),
        ("lemma 5.1, left and right, difference", 0, 1e-12),
    ],
    "14": [
        ("blur 0.07, truth", 2.02, 2.04),
        ("blur 1.50, best sigma", -0.115, -0.1),
    ],
    "15": [
        ("losses, largest difference", 0, 1e-6),
        ("weights after a step, largest difference", 0, 1e-6),
        ("always the same category", 2.29, 2.31),
    ],
    "16": [
        ("code accuracy", 90, 100),
        ("slant read from all continuous codes together, correlation", 0.7, 1),
    ],
    "17": [
        ("ours and the package's, largest difference", 0, 1e-12),
        ("azimuth from the category, mean error", 13, 14.5),
        ("azimuth by a guess, mean error", 47, 48),
    ],
    "18": [("D's loss at the end", 0.5, 2), ("code accuracy", 33, 100)],
    "a": [
        ("Q's losses, difference from -L_I and a constant", 0, 1e-5),
        ("third step, L_I(c0) changes with lambda by", 0, 0),
    ],
    "b": [("operations of a step", 255, 270), ("matrix products of a step", 0.12, 0.135)],
}

# Those of a full run, besides these or in their place.
FULL = {
    "15": [
        ("code accuracy of the program above", 54.7, 54.7),
        ("lambda = 0, code accuracy", 34.6, 34.6),
        ("lambda = 0.2, 0.1, code accuracy", 64.9, 64.9),
        ("lambda and consistency, code accuracy", 97.7, 97.7),
        ("lambda = 1, code accuracy", 74.2, 74.2),
        ("lambda = 1, new noise changes a pixel by", 0.031, 0.031),
        ("lambda = 0.2, 0.1, new noise changes a pixel by", 0.082, 0.082),
        ("nothing moved, code accuracy", 27.6, 27.6),
    ],
    "02": [
        ("median error", 4e-5, 8e-5),
        ("seeds in which it hides, per cent", 3, 3.5),
    ],
    "14": [
        ("lambda = 0, truth", 0.2, 0.35),
        ("lambda = 0.05, truth", 1.25, 1.39),
        ("lambda = 20, mass not where the data are, per cent", 30, 45),
        ("fixed sigma, lambda = 3, mass not where the data are, per cent", 0, 5),
        ("learnt sigma, lambda = 3, mass not where the data are, per cent", 15, 25),
    ],
    "10": [
        ("a new G, D frozen, heaps found of 8", 1, 1),
        ("G faster than D, heaps found of 8", 0, 1),
        ("equally fast, heaps found of 8", 6.5, 8),
        ("G faster, with a code and a reader Q, heaps found of 8", 7.5, 8),
        ("D faster, seed 0, D's loss at the end", 0.55, 0.75),
    ],
    "16": [
        ("code accuracy", 98.7, 98.9),
        ("names from 30 labelled images, accuracy", 98.7, 98.9),
        ("correlation of c1 with slant", -0.87, -0.85),
        ("correlation of c2 with ink", 0.67, 0.69),
        ("categories that stay, per cent", 98.8, 99.2),
        ("c1 moves by", 0.12, 0.14),
    ],
    "a": [
        ("the paper's, L_I(c0) changes with lambda by", 0.1, 0.25),
        ("third step, lambda = 1, L_I(c0) at the end", 2.05, 2.15),
        ("third step, lambda = 1, rate 1e-3, L_I(c0) at the end", 2.25, 2.31),
    ],
    "b": [("matrix products of a step", 36, 38)],
    "04": [
        ("accuracy on unseen digits after", 95, 98),
        ("random answers, mean loss of the last hundred", 0.89, 0.9),
        ("random answers, accuracy on unseen digits", 8, 15),
    ],
    "05": [
        ("softmax once, accuracy on unseen digits", 0.9, 0.92),
        ("softmax twice, accuracy on unseen digits", 0.895, 0.91),
    ],
    "17": [
        ("MIG", 0.34, 0.37),
        ("MIG of principal components", 0.02, 0.03),
        ("MIG of the factors", 0.89, 0.9),
        ("MIG of perfect codes, turned by 45 degrees", 0.55, 0.57),
        ("x, places that c2 tells apart", 7, 8.5),
        ("x, the share for a perfect code", 0.845, 0.855),
    ],
}


def number_of(lesson):
    return lesson.stem.split("_")[0]


def run(arguments, folder, encoding):
    """Run Python in a folder, with figures saved there; return what it printed."""
    environment = os.environ | {
        "MPLBACKEND": "module://saving",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]),
        "PYTHONIOENCODING": encoding,
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding=encoding,
    )
    assert done.returncode == 0 and "Warning" not in done.stderr, done.stderr[-3000:]
    return done.stdout


def check_numbers(lesson, printed):
    expected = {name: bounds for name, *bounds in EXPECTED[number_of(lesson)]}
    if FULL_RUNS:
        expected |= {name: bounds for name, *bounds in FULL.get(number_of(lesson), [])}
    for name, (least, largest) in expected.items():
        found = re.search(rf"^{re.escape(name)}: ([-+\d.e,]+)", printed, re.MULTILINE)
        assert found, f"{lesson.name} prints no line {name!r}"
        assert least <= float(found[1].strip(",").replace(",", "")) <= largest, name


def set_switch(text, name, value):
    """Return the text of a lesson with FAST or TRAIN set."""
    text, found = re.subn(rf"^{name} = False\b", f"{name} = {value}", text, flags=re.MULTILINE)
    assert found == 1, f"the lesson has no line {name} = False"
    return text


each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


@each_lesson
def test_a_lesson_runs_alone_and_its_numbers_are_right(lesson, tmp_path):
    text = set_switch(lesson.read_text(encoding="utf-8"), "FAST", not FULL_RUNS)
    (tmp_path / "lesson.py").write_text(text, encoding="utf-8")
    check_numbers(lesson, run(["lesson.py"], tmp_path, "ascii"))
    figures = list(tmp_path.glob("*.png"))
    assert figures and all(figure.stat().st_size > 3000 for figure in figures)


@pytest.mark.parametrize(
    "lesson",
    [path for path in LESSONS if "\nTRAIN = False" in path.read_text(encoding="utf-8")],
    ids=lambda path: path.stem,
)
def test_a_lesson_with_stored_results_can_train_them_again(lesson, tmp_path):
    text = set_switch(lesson.read_text(encoding="utf-8"), "FAST", True)
    (tmp_path / "lesson.py").write_text(set_switch(text, "TRAIN", True), encoding="utf-8")
    run(["lesson.py"], tmp_path, "utf-8")
    name = lesson.stem.split("_", 1)[1] + ".npz"
    kept = np.load(ROOT / "tinyinfogan" / "results" / name).files
    assert sorted(np.load(tmp_path / name).files) == sorted(kept)


@each_lesson
def test_a_lesson_is_a_notebook_whose_cells_can_be_run_twice(lesson, tmp_path):
    pytest.importorskip("sphinx_gallery")
    from sphinx_gallery.gen_gallery import DEFAULT_GALLERY_CONF
    from sphinx_gallery.notebook import jupyter_notebook, save_notebook
    from sphinx_gallery.py_source_parser import split_code_and_text_blocks

    source = tmp_path / lesson.name
    text = set_switch(lesson.read_text(encoding="utf-8"), "FAST", True)
    source.write_text(text, encoding="utf-8")
    settings = runpy.run_path(ROOT / "docs" / "conf.py")["sphinx_gallery_conf"]
    blocks = split_code_and_text_blocks(source)[1]
    notebook = jupyter_notebook(blocks, DEFAULT_GALLERY_CONF | settings, tmp_path)
    source.unlink()
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert notebook["cells"][0]["source"][0] == settings["first_notebook_cell"]
    save_notebook(notebook, tmp_path / "lesson.ipynb")
    run([HERE / "notebook.py", "lesson.ipynb"], tmp_path, "cp1252")


def test_a_notebook_without_the_package_says_how_to_install_it(tmp_path):
    """In a folder with nothing but the notebook, and a Python that has no tinyinfogan."""
    pytest.importorskip("sphinx_gallery")
    cell = runpy.run_path(ROOT / "docs" / "conf.py")["sphinx_gallery_conf"]["first_notebook_cell"]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", cell], cwd=tmp_path, capture_output=True, text=True
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: ") and "%pip install FOLDER" in last


@each_lesson
def test_a_lesson_has_the_common_head(lesson):
    text = lesson.read_text(encoding="utf-8")
    predict, exercises = "\n# **Predict, then run.**", "\n# Exercises\n# ---"
    for part in ("*You will know*", "*Builds on*", predict, exercises):
        assert part in text, f"{lesson.name}: {part!r} is missing"
    assert re.search(r"^\*Time\*: \d+ minutes to read, \d+ (second|minute)s? to run\.", text, re.M)
    assert text.count("<details>") == text.count("</details>") > 0
    # A comment at the head of a code cell would be taken for text by sphinx-gallery.
    assert not re.search(r"^# %%\n#(?! ?%%)", text, re.MULTILINE)


@each_lesson
def test_code_is_narrow_enough_to_be_read_on_a_page(lesson):
    head, _, rest = lesson.read_text(encoding="utf-8").partition('\n"""\n\n')
    for line in head.splitlines() + rest.splitlines():
        assert len(line) <= (100 if line in head or line.startswith("#") else 84), line


@each_lesson
def test_package_code_that_a_lesson_prints_is_short_and_whole(lesson):
    text = lesson.read_text(encoding="utf-8")
    for line in re.findall(r".*getsource\(.*", text):
        found = re.fullmatch(r"print\(inspect\.getsource\(([\w.]+)\)\)", line)
        assert found, f"{lesson.name} does not print a function as it is: {line.strip()}"
        first, *others = found[1].split(".")
        imports = rf"^from (\S+) import (?:\([^)]*|.*)\b{first}\b"
        imported = re.search(imports, text, re.MULTILINE)
        function = getattr(importlib.import_module(imported[1]), first, None)
        function = function or importlib.import_module(f"{imported[1]}.{first}")
        for name in others:
            function = getattr(function, name)
        source = inspect.getsource(function)
        assert len(source.splitlines()) <= 15, f"{found[1]} has too many lines"


@pytest.mark.skipif(not (ROOT / "docs/_build/_downloads").exists(), reason="no site is built")
def test_the_sites_downloads_are_what_is_tested_here():
    found = {path.name: path for path in (ROOT / "docs/_build/_downloads").rglob("*.py")}
    for lesson in LESSONS:
        assert found[lesson.name].read_bytes() == lesson.read_bytes()


def test_the_whole_of_infogan_is_short():
    """Lesson 15 from the latents to the loop: what it says is all there is to it."""
    text = (ROOT / "lessons" / "15_infogan_on_digits.py").read_text(encoding="utf-8")
    program = text[text.index("NOISE, CATEGORIES, NUMBERS =") : text.index("# That is InfoGAN.")]
    assert sum(1 for line in program.splitlines() if line and line[0] != "#") <= 150
