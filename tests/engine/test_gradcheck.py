"""The check itself: it must pass what is right, and above all fail what is wrong."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from references import away_from_kinks, host

from tinyinfogan.engine import grad_check, nn, ops
from tinyinfogan.engine.gradcheck import GradientError
from tinyinfogan.engine.tensor import record


def wrong(function, backward):
    """An operation of one tensor with the right values and `backward(x, g)` for a derivative."""
    return lambda x: record(function(x.data), (x,), lambda g: (backward(x.data, g),))


def test_a_network_passes_and_the_error_comes_back(rng, tensor, device):
    convolution, dense = nn.Conv2d(2, 3, 3, stride=2, rng=rng), nn.Linear(12, 2, rng=rng)
    for layer in (convolution, dense):
        layer.to(device, np.float64)

    def function(x, *parameters):
        h = ops.tanh(convolution(x))
        return ops.log_softmax(dense(ops.reshape(h, (3, 12))))

    inputs = [tensor(rng.standard_normal((3, 5, 5, 2)))]
    inputs += convolution.parameters() + dense.parameters()
    error = grad_check(function, inputs, rng=rng)
    assert type(error) is float and 0 < error <= 1e-6  # 0 would mean that nothing was compared


# Each wrong in its own way: the sign, a factor, a single element, the axes, another slope.
WRONG = {
    "half": lambda x: x * x.detach(),
    "sign": wrong(lambda x: 3 * x, lambda x, g: -3 * g),
    "ten times": wrong(lambda x: 3 * x, lambda x, g: 30 * g),
    "nothing": wrong(lambda x: 3 * x, lambda x, g: 0 * g),
    "not a number": wrong(lambda x: 3 * x, lambda x, g: np.nan * g),
    "a millionth off": wrong(lambda x: 3 * x, lambda x, g: (3 + 2e-5) * g),
    "one element": wrong(lambda x: 3 * x, lambda x, g: 3 * g * (x > x.min())),
    "transposed": wrong(lambda x: x.T * 1.0, lambda x, g: g),
    "other activation": wrong(lambda x: ops.tanh(x).data, lambda x, g: g * (1 - x * x)),
    "plain softmax": lambda x: ops.exp(x) / ops.sum(ops.exp(x), axis=-1, keepdims=True).detach(),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_a_wrong_backward_is_caught(name, seed, rng, tensor):
    # With whatever directions are drawn, the default ones among them.
    x = tensor(rng.uniform(0.3, 1.2, (3, 3)))
    generator = None if seed is None else np.random.default_rng(seed)
    with pytest.raises(AssertionError) as caught:
        grad_check(WRONG[name], [x], rng=generator)
    assert isinstance(caught.value, GradientError)


def _constant_statistics(x):
    """Batch norm whose backward takes mean and variance for constants."""
    mean = ops.mean(x, axis=0)
    variance = ops.mean((x - mean) ** 2, axis=0)
    return (x - mean.detach()) / ((variance + 1e-5) ** 0.5).detach()


def _normalised(x):
    zeros = x.detach()[0] * 0
    return ops.batch_norm(x, zeros + 1, zeros)


BLIND_SPOTS = {
    "batch norm, no gradient": lambda x: _normalised(x.detach()) + 0 * x,
    "softmax, no gradient": lambda x: ops.softmax(x).detach() + 0 * x,
    "batch norm, constant statistics": _constant_statistics,
}


@pytest.mark.parametrize("name", BLIND_SPOTS)
def test_what_a_plain_sum_would_not_see(name, rng, tensor):
    # The sum of a softmax or of normalised values is constant, so that a check of
    # function(x).sum() compares 0 with 0 and passes a backward that returns nothing.
    x = tensor(rng.standard_normal((6, 3)))
    with pytest.raises(GradientError):
        grad_check(BLIND_SPOTS[name], [x], rng=rng)


def test_the_message_names_the_input_and_both_numbers(tensor):
    # d(x y)/dy = x is lost here, and only here; with one element, direction and cotangent cancel.
    x, y = tensor(np.full((1, 1), 2.0)), tensor(np.full((1, 1), 5.0))
    with pytest.raises(GradientError, match=r"input 1\b") as caught:
        grad_check(lambda x, y: x * y.detach() + y * 0.5, [x, y], rng=_Ones())
    assert "0.5" in str(caught.value) and "2" in str(caught.value)
    with pytest.raises(GradientError, match=r"input 0\b"):
        grad_check(lambda x, y: x.detach() * y, [x, y])


class _Ones:
    """In place of a generator: every direction is 1, which makes the numbers known."""

    def standard_normal(self, shape=()):
        return np.ones(shape)


def test_a_kink_is_named_as_one(tensor):
    # Half of each difference lies beyond the corner of relu: neither 0 nor 1 is the numeric slope,
    # and it is another one with half the step.
    near = tensor(np.linspace(1e-6, 8e-6, 8))
    with pytest.raises(GradientError, match="kink"):
        grad_check(ops.relu, [near])
    with pytest.raises(GradientError) as caught:  # a plain error is no kink
        grad_check(WRONG["half"], [tensor(np.array([[1.0, 2.0]]))])
    assert "kink" not in str(caught.value)


def test_tolerance_and_step(rng, tensor):
    x = tensor(rng.uniform(0.5, 1.0, 4))
    slightly = wrong(lambda x: 3 * x, lambda x, g: 3.003 * g)
    assert 5e-4 < grad_check(slightly, [x], tolerance=1e-2) < 2e-3
    with pytest.raises(GradientError):
        grad_check(slightly, [x], tolerance=1e-4)
    # A step so large that e ** x is no polynomial over it shows.
    assert grad_check(ops.exp, [x], step=1.0, tolerance=1.0, rng=_Ones()) > 1e-4


def test_a_gradient_that_is_zero_passes(rng, tensor):
    x, y = tensor(rng.standard_normal((4, 3))), tensor(rng.standard_normal(3))
    assert grad_check(lambda x: x - x, [x]) == 0.0
    # A bias before batch norm has no effect: noise of 1e-11 on either side is not an error.
    grad_check(lambda x, y: _normalised(x + y), [x, y], rng=rng)


def test_only_inputs_that_ask_are_checked_and_none_is_changed(rng, tensor):
    values = rng.standard_normal(5), rng.standard_normal(5)
    x, y = tensor(values[0]), tensor(values[1], requires_grad=False)
    # Wrong for y, right for x.
    grad_check(lambda x, y: x * 2.0 + WRONG["half"](y), [x, y])
    y.requires_grad = True
    with pytest.raises(GradientError, match="input 1"):
        grad_check(lambda x, y: x * 2.0 + WRONG["half"](y), [x, y])
    assert_array_equal(host(x), values[0])
    assert_array_equal(host(y), values[1])


def test_the_cotangent_has_the_results_shape(rng, tensor):
    # Of any shape: none, one, several axes.
    x = tensor(away_from_kinks(rng, (2, 3)))
    for function in (ops.sum, lambda x: x[0], lambda x: ops.reshape(x * x, (1, 3, 2, 1))):
        grad_check(function, [x], rng=rng)


def test_inputs_that_cannot_be_checked(tensor):
    with pytest.raises(ValueError, match="input 1.*float64"):
        grad_check(lambda x, y: x * y, [tensor(np.ones(2)), tensor(np.ones(2, np.float32))])
    with pytest.raises(ValueError, match="requires_grad"):
        grad_check(lambda x: x * 2.0, [tensor(np.ones(2), requires_grad=False)])
    for no_leaves in ([tensor(np.ones(2)) * 2.0], tensor(np.ones((1, 3)))):
        with pytest.raises(ValueError, match="leaf"):
            grad_check(ops.exp, no_leaves)
