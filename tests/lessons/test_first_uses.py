"""No lesson uses a name before one has introduced it: each is bold once, where it first serves."""

import re
from pathlib import Path

import pytest

LESSONS = sorted((Path(__file__).resolve().parents[2] / "lessons").glob("[0-9]*_*.py"))
TEXTS = {path.stem[:2]: path.read_text(encoding="utf-8") for path in LESSONS}
APPENDICES = {
    path.stem[0]: path.read_text(encoding="utf-8") for path in LESSONS[0].parent.glob("[ab]_*.py")
}

# A term, and the lesson in which it stands in bold first.
TERMS = {
    "reverse mode": "01",
    "backpropagation": "01",
    "depth-first": "01",
    "broadcasting": "03",
    "Jacobian": "03",
    "vector–Jacobian product": "03",
    "one-hot": "04",
    "saddle point": "06",
    "im2col": "07",
    "Nash equilibrium": "10",
    "DCGAN": "11",
    "variational": "13",
    "disentangled": "17",
    "roofline": "b",
    "arithmetic intensity": "b",
}

# A name in code, and the lesson that first uses it and says what it is.
NAMES = {
    "Tensor": "01",
    "grad_check": "02",
    "record": "02",
    "nn": "04",
    "item": "04",
    "state_dict": "04",
    "no_grad": "05",
    "softmax": "02",
    "log_softmax": "05",
    "conv2d": "07",
    "conv_transpose2d": "08",
    "BatchNorm": "09",
    "detach": "10",
    "frozen": "10",
    "PAPER_MNIST": "12",
    "train_step": "12",
    "LatentSpec": "13",
    "mutual_information": "13",
    "with_best_sigma": "14",
}


def body(text):
    """Return a lesson without its head, which may name what is to come."""
    return text.split('"""', 2)[2]


@pytest.mark.parametrize("term, lesson", TERMS.items())
def test_a_term_is_bold_where_it_first_serves(term, lesson):
    introduces = body((TEXTS | APPENDICES)[lesson])
    words = re.escape(term).replace(r"\ ", r"\s+(?:# )?").replace("–", "[-–]")
    assert len(re.findall(rf"\*\*{words}s?\*\*", introduces, re.I)) == 1
    for number, text in TEXTS.items():
        if number < lesson or not lesson.isdigit():
            assert not re.search(rf"\b{words}", body(text), re.I), f"in lesson {number}"


@pytest.mark.parametrize("name, lesson", NAMES.items())
def test_a_name_is_explained_where_it_is_first_used(name, lesson):
    comments = "\n".join(line for line in TEXTS[lesson].splitlines() if line.startswith("#"))
    named = " ".join(re.findall(r"``([^`]+)``", comments))
    assert re.search(rf"\b{name}\b", named), "its first lesson says nothing"
    for number, text in TEXTS.items():
        code = "\n".join(line for line in body(text).splitlines() if not line.startswith("#"))
        if number < lesson:
            assert not re.search(rf"\b{name}\b", code), f"in lesson {number}"
