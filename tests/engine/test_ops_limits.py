"""Operations where they are hard: dtypes, the ends of the range, shapes that do not fit."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from references import host

from tinyinfogan.engine import ops

# --- dtypes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [2, 2.0, True, np.float64(2.0), np.int64(2)])
def test_a_number_changes_no_dtype(number, tensor):
    # np.float64 is a float too, and what NumPy's own functions return: 1 / np.sqrt(n), say.
    x = tensor(np.array([1.5, 3.0], np.float32))
    results = [x + number, number + x, x - number, number - x, x * number, number * x, x / number]
    for result in [*results, number / x, x**number]:
        assert result.dtype == np.float32


def test_integers_change_no_dtype(tensor, array):
    x = tensor(np.array([1.5, 3.0], np.float32))
    for result in (x * array([1, 2]), array([1, 2]) + x):
        assert result.dtype == np.float32


def test_float32_through_a_loss(tensor, rng):
    x = tensor(rng.standard_normal((6, 4)).astype(np.float32))
    w = tensor(rng.standard_normal((4, 3)).astype(np.float32))
    logits = ops.leaky_relu(x @ w)
    loss = ops.mean(ops.softplus(-logits)) * 0.5 - 0.1 * ops.log_softmax(logits)[:, 0].mean()
    loss = loss + math.log(2 * math.pi) / 2 + 1.0 * ops.mean((1 - ops.sigmoid(logits)) ** 2)
    loss.backward()
    assert loss.dtype == x.grad.dtype == w.grad.dtype == np.float32
    assert loss.shape == ()


# --- the far ends of the range --------------------------------------------------------------------


# Underflow is not an error here: e ** -10000 is 0, and 0 is the right answer.
def strict():
    return np.errstate(divide="raise", over="raise", invalid="raise")


both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@both_dtypes
@pytest.mark.parametrize(
    "function, values, slopes",
    [
        (ops.sigmoid, [0, 0.5, 1], [0, 0.25, 0]),
        (ops.softplus, [0, math.log(2), 1e4], [0, 0.5, 1]),
        (ops.tanh, [-1, 0, 1], [0, 1, 0]),
    ],
)
def test_activations_far_out(function, values, slopes, dtype, tensor):
    x = tensor(np.array([-1e4, 0, 1e4], dtype))
    with strict():
        y = function(x)
        ops.sum(y).backward()
    assert_allclose(host(y), np.array(values, dtype), rtol=1e-6)
    assert_allclose(host(x.grad), np.array(slopes, dtype), rtol=1e-6)


@both_dtypes
def test_softmax_and_log_softmax_far_out(dtype, tensor, array):
    logits = np.array([[1e4, 0, -1e4], [-1e4, -1e4, -1e4], [1e4, 1e4, -1e4]], dtype)
    third, half = 1 / 3, 0.5
    probabilities = np.array([[1, 0, 0], [third, third, third], [half, half, 0]])
    logs = [[0, -1e4, -2e4], [math.log(third)] * 3, [math.log(half)] * 2 + [-2e4 + math.log(half)]]
    pick = np.eye(3)[[2, 0, 1]]  # the cross-entropy of one class of each row
    x, z = tensor(logits), tensor(logits)
    with strict():
        y = ops.softmax(x)
        y.backward(array(pick.astype(dtype)))
        log_y = ops.log_softmax(z)
        log_y.backward(array(pick.astype(dtype)))
    assert_allclose(host(y), probabilities, rtol=1e-6)
    assert_allclose(host(log_y), logs, rtol=1e-6)
    slopes = probabilities * (pick - (pick * probabilities).sum(axis=1, keepdims=True))
    assert_allclose(host(x.grad), slopes, rtol=1e-6, atol=1e-12)
    assert_allclose(host(z.grad), pick - probabilities, rtol=1e-6, atol=1e-7)


def test_small_tails_keep_their_digits(tensor):
    # In float32 log(1 + e ** -20) is 0 unless it is computed as log1p.
    x = np.array([-60.0, -20.0, -5.0, 5.0], np.float32)
    exact = np.log1p(np.exp(x.astype(np.float64)))
    assert_allclose(host(ops.softplus(tensor(x))), exact, rtol=1e-6)
    logits = np.array([[0.0, 30.0], [0.0, -30.0]], np.float32)
    tail = math.log1p(math.exp(-30))
    expected = [[-30 - tail, -tail], [-tail, -30 - tail]]
    assert_allclose(host(ops.log_softmax(tensor(logits))), expected, rtol=1e-6, atol=1e-12)


# --- wrong shapes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function, shapes",
    [
        (ops.matmul, ((2, 3), (4, 5))),
        (lambda a, b: a @ b, ((2, 3), (2, 3))),
        (lambda a, b: a + b, ((2, 3), (4,))),
        (lambda a, b: a * b, ((2, 3), (3, 2))),
    ],
)
def test_shapes_that_do_not_fit_are_named(function, shapes, tensor):
    a, b = (tensor(np.ones(shape)) for shape in shapes)
    with pytest.raises(ValueError) as caught:
        function(a, b)
    message = str(caught.value).replace(" ", "")
    assert all(str(shape).replace(" ", "") in message for shape in shapes)


def test_other_shapes_that_do_not_fit(tensor):
    x = tensor(np.ones((2, 3)))
    for wrong in (
        lambda: ops.reshape(x, (4, 2)),
        lambda: ops.concat([x, tensor(np.ones((3, 4)))], axis=0),
        lambda: ops.sum(x, axis=2),
        lambda: ops.transpose(x, (0, 0)),
        lambda: ops.transpose(x, (0, 3)),
        lambda: ops.mean(tensor(np.ones((0, 3)))),
    ):
        with pytest.raises(ValueError):
            wrong()


def test_the_power_0_has_a_derivative_at_0(tensor):
    x = tensor(np.array([0.0, 2.0]))
    ops.sum(x**0).backward()
    assert_array_equal(host(x.grad), [0, 0])


@pytest.mark.parametrize("index", [[0, 0], np.array([0, 0]), np.array([True, False])])
def test_fancy_indexing_is_refused(index, tensor):
    # Its derivative must add where an index repeats; assigning would give a wrong number.
    with pytest.raises(TypeError, match="slices"):
        tensor(np.ones((2, 3)))[index]


def test_an_exponent_that_is_a_tensor_is_refused(tensor):
    with pytest.raises(TypeError):
        tensor(np.ones(2)) ** tensor(np.ones(2))
