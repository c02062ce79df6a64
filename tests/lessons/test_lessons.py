"""Each lesson runs with --fast, draws its figures without a screen, and computes what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "lessons").glob("[0-9][0-9]_*.py"))

# Numbers of a lesson: a `name: value` that it prints, and the least and largest it may be.
EXPECTED = {
    "01": [("dc/da, the tape", 4, 4)],
    "02": [("batch norm, variance forgotten: random u, relative error", 0.05, 2)],
    "03": [("largest difference", 1e-16, 1e-12)],
    "04": [("relative difference", 0, 1e-12)],
    "05": [("mixed, the logit moves by", 1, 20)],
    "06": [("softmax twice, smallest possible loss for 10 classes", 1.4611, 1.4613)],
    "07": [("Adam, loss × 1000, steps to arrive", 50, 500)],
    "08": [
        ("D's loss, best possible", 0.81, 0.812),
        ("D's loss, trained above best possible", -0.02, 0.1),
    ],
    "09": [
        ("σ = 0.5, truth", 0.844, 0.846),
        ("σ = 0.5, bound", 0.4, 0.846),
        ("truth less bound, the least of all", -0.001, 0.2),
        ("gap and mean KL divergence, difference", 0, 1e-5),
        ("lemma 5.1, left and right, difference", 0, 1e-12),
    ],
    "10": [("code accuracy with λ", 5, 60), ("code accuracy with λ = 0", 5, 60)],
    "11": [
        ("code accuracy", 90, 100),
        ("slant read from all continuous codes together, correlation", 0.7, 1),
    ],
    "12": [
        ("Q's losses, difference from -L_I and a constant", 0, 1e-5),
        ("third step, L_I(c0) changes with λ by", 0, 0),
    ],
    "13": [("operations of a step", 267, 267), ("matrix products of a step", 0.12, 0.135)],
    "14": [("D's loss at the end", 0.5, 2), ("code accuracy", 33, 100)],
}


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_and_its_number_is_right(lesson, tmp_path):
    environment = os.environ | {
        "MPLBACKEND": "Agg",
        "PYTHONPATH": str(ROOT),
        "PYTHONIOENCODING": "utf-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", str(lesson), "--fast"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for name, least, largest in EXPECTED[lesson.name[:2]]:
        found = re.search(rf"^{re.escape(name)}: ([-+\d.e,]+)", done.stdout, re.MULTILINE)
        assert found, f"{lesson.name} prints no line {name!r}"
        assert least <= float(found[1].strip(",").replace(",", "")) <= largest, name
    figures = list(tmp_path.glob(f"{lesson.name[:2]}_*.png"))
    assert figures and all(figure.stat().st_size > 5000 for figure in figures)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_has_the_common_head(lesson):
    text = lesson.read_text(encoding="utf-8")
    for part in ("*You will know*", "*Time*", "*Builds on*", "\n# Exercises\n# ---"):
        assert part in text, f"{lesson.name}: {part!r} is missing"
    # A comment at the head of a code cell would be taken for text by sphinx-gallery.
    assert not re.search(r"^# %%\n#(?! ?%%)", text, re.MULTILINE)
