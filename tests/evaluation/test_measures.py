"""The numbers that describe a model, on models for which they are known, and failures by name."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from tinyinfogan.evaluation import measures
from tinyinfogan.infogan.latents import LatentSpec

# --- numbers of a model that is known -------------------------------------------------------------


class Known:
    """A model whose image is its codes: pixel 0 is c0's category, pixel 1 c1, pixel 2 noise."""

    def __init__(self, noise=1.0, sigma="fixed", error=0.1):
        self.spec, self.image_shape = LatentSpec(1, (4,), 1), (1, 3, 1)
        self.settings = SimpleNamespace(q_sigma=sigma)
        self.noise, self.error = noise, error

    def decode(self, latents):
        category = latents[:, 1:5].argmax(axis=1) / 4
        values = [category, (latents[:, 5] + 1) / 2, self.noise * (latents[:, 0] + 1) / 2]
        return np.stack(values, axis=1)[:, None, :, None].astype(np.float32)

    def encode(self, images):
        category = np.rint(4 * images[:, 0, 0, 0]).astype(int)
        return SimpleNamespace(
            probabilities=[np.where(np.arange(4) == category[:, None], 0.7, 0.1)]
        )

    def q_output(self, images):
        logits = np.log(self.encode(images).probabilities[0])
        means = 2 * images[:, 0, 1] - 1 + self.error
        log_sigmas = np.full_like(means, np.log(self.error))
        learnt = self.settings.q_sigma == "learnt"
        return np.concatenate([logits, means, log_sigmas] if learnt else [logits, means], axis=1)


@pytest.mark.parametrize("sigma", ["fixed", "learnt"])
def test_information_by_hand(rng, sigma):
    nats = measures.information(Known(sigma=sigma), 50, rng)
    assert nats["c0"] == pytest.approx(np.log(4) + np.log(0.7))
    # The reading is off by 0.1 each time: σ = 0.1 fits best.
    expected = np.log(2) - 0.5 * np.log(2 * np.pi * np.e * 0.01)
    assert nats["c1"] == pytest.approx(expected, abs=1e-4)


def test_changes_by_hand(rng):
    change = measures.changes(Known(), 20_000, rng)
    # Two independent draws from U(0, 1) differ by 1/3; two other categories by 5/3 quarters.
    assert change["c1"] == pytest.approx(1 / 9, rel=0.03)
    assert change["noise"] == pytest.approx(1 / 9, rel=0.03)
    assert change["c0"] == pytest.approx(5 / 12 / 3, rel=0.03)
    assert change["everything"] == pytest.approx(2 / 9 + 5 / 16 / 3, rel=0.03)
    assert measures.changes(Known(noise=0.0), 100, rng)["noise"] == 0


def test_shares_and_balance(rng):
    images = np.zeros((40, 1, 3, 1), np.float32)
    images[30:, 0, 0, 0] = 0.25
    found = measures.measure(Known(), images, rng)
    assert found["categories"].keys() == {"c0"}
    assert found["categories"]["c0"]["shares"] == [0.75, 0.25, 0, 0]
    assert measures.balance([0.25] * 4) == pytest.approx(1)
    assert f"{measures.balance([1, 0, 0, 0]):.3f}" == "0.000"  # and not minus 0


# --- failures by name -----------------------------------------------------------------------------


def found(**changed):
    values = {
        "information": {"c0": 1.3, "c1": 0.9},
        "shares": {"c0": [0.25] * 4},
        "changes": {"c0": 0.1, "c1": 0.05, "noise": 0.05, "everything": 0.15},
        "real_difference": 0.16,
    }
    values |= changed
    nats, change = values["information"], values["changes"]
    return {
        "codes": {k: {"information_nats": nats[k], "change": change[k]} for k in ("c0", "c1")},
        "categories": {"c0": {"shares": values["shares"]["c0"]}},
        "noise_change": change["noise"],
        "everything_change": change["everything"],
        "real_difference": values["real_difference"],
    }


def failures(table=None, assignment=None, **changed):
    spec = LatentSpec(1, (4,), 1)
    return measures.failures(spec, found(**changed), table, assignment)


def test_a_good_model_shows_no_failure():
    table = np.diag([100] * 4) + 1
    assert failures(table, np.arange(4)) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"shares": {"c0": [0.5, 0.3, 0.2, 0.0]}}, "Dead category: .*c0=3"),
        (
            {"changes": {"c0": 0.1, "c1": 0.05, "noise": 0.01, "everything": 0.15}},
            "noise is ignored",
        ),
        ({"changes": {"c0": 0.03, "c1": 0.03, "noise": 0.03, "everything": 0.05}}, "Collapse"),
        (
            {
                "changes": {"c0": 0.1, "c1": 0.001, "noise": 0.05, "everything": 0.15},
                "information": {"c0": 1.3, "c1": -0.1},
            },
            "c1 is ignored",
        ),
        ({"information": {"c0": 0.0, "c1": 0.9}}, "c0 cannot be read"),
    ],
)
def test_each_failure_is_named_alone(changed, words):
    (sentence,) = failures(**changed)
    assert re.search(words, sentence)


def mixed(table, assignment):
    return measures.mixed_classes(np.array(table), np.array(assignment))


def test_classes_that_share_and_classes_that_are_split_are_named():
    shared = mixed([[90, 80, 0], [10, 15, 0], [0, 5, 100]], [0, 1, 2])
    assert shared == ["Classes share a category: c0=0 holds 90 % of 0 and 80 % of 1."]
    split = mixed([[60, 0], [40, 0], [0, 100]], [0, -1, 1])
    assert split == ["A class is split: images of 0 are read as c0=0 (60 %) and c0=1 (40 %)."]
    swapped = mixed([[90, 12, 0], [10, 88, 0], [0, 0, 100]], [0, 1, 2])
    assert swapped == ["Classes are mixed, images of each read as the other: 0 and 1 (11 %)."]


def test_classes_that_are_never_drawn_are_named():
    assert measures.missing_classes([0.5, 0.5]) == []
    assert "class 1 (0.5 %)" in measures.missing_classes([0.5, 0.005, 0.495])[0]
