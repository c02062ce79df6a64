"""Operations where they are hard: dtypes, the ends of the range, shapes that do not fit."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from references import host

from tinyinfogan.engine import ops, plain

# --- dtypes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [2, 2.0, True, np.float64(2.0), np.int64(2)])
def test_a_number_changes_no_dtype(number, tensor):
    # np.float64 is a float too, and what NumPy's own functions return: 1 / np.sqrt(n), say.
    x = tensor(np.array([1.5, 3.0], np.float32))
    results = [x + number, number + x, x - number, number - x, x * number, number * x, x / number]
    for result in [*results, number / x, x**number, ops.leaky_relu(x, number / 4)]:
        assert result.dtype == np.float32


def test_options_that_are_numpy_numbers_change_no_dtype(tensor, array):
    x, ones = tensor(np.array([[1.5, 3.0], [2.0, 1.0]], np.float32)), array(np.ones(2, np.float32))
    for slope in (0.0, 0.1):
        with plain():
            assert ops.leaky_relu(x, np.float64(slope)).dtype == np.float32
    for training in (True, False):
        statistics = array(np.zeros(2, np.float32)), array(np.ones(2, np.float32))
        how = {"momentum": np.float64(0.1), "eps": np.float64(1e-5), "training": training}
        y = ops.batch_norm(x, ones, ones, *statistics, **how)
        assert y.dtype == statistics[0].dtype == np.float32


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


# --- every elementary operation in all of its range, against long doubles -------------------------

LONG = np.longdouble
longer = pytest.mark.skipif(np.finfo(LONG).nmant < 60, reason="no long double longer than double")


def _power(p):
    return (
        lambda x: x**p,
        lambda x: x ** LONG(p),
        lambda x: LONG(p) * x ** (LONG(p) - 1) if p else np.zeros_like(x),
        "positive" if p % 1 else "any",
    )


def _logistic(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


# operation, value, slope, which numbers it takes
ELEMENTARY = {
    "exp": (ops.exp, np.exp, np.exp, "any"),
    "log": (ops.log, np.log, lambda x: 1 / x, "positive"),
    "tanh": (ops.tanh, np.tanh, lambda x: 1 / np.cosh(x) ** 2, "any"),
    "sigmoid": (ops.sigmoid, _logistic, lambda x: _logistic(x) * _logistic(-x), "any"),
    "softplus": (ops.softplus, lambda x: np.logaddexp(x, LONG(0)), _logistic, "any"),
    "relu": (ops.relu, lambda x: np.maximum(x, 0), lambda x: x > 0, "any"),
    "leaky_relu": (
        lambda x: ops.leaky_relu(x, 0.25),
        lambda x: np.maximum(x, x / 4),
        lambda x: np.where(x > 0, 1, LONG(0.25)),
        "any",
    ),
    "abs": (ops.abs, np.abs, np.sign, "any"),
    "-x": (lambda x: -x, lambda x: -x, lambda x: -1 + 0 * x, "finite"),
    "1 / x": (lambda x: 1 / x, lambda x: 1 / x, lambda x: -1 / x / x, "any"),
    "x / 3": (lambda x: x / 3, lambda x: x / LONG(3), lambda x: 1 / LONG(3) + 0 * x, "finite"),
    "x * x": (lambda x: x * x, lambda x: x * x, lambda x: 2 * x, "any"),
    **{f"x ** {p}": _power(p) for p in (2, 3, 1, 0, 0.5, 1.5, 2.5, -0.5, -1, -1.5, -2)},
}


def numbers_of(dtype, kind, rng, count=10_000):
    """Numbers of all sizes, those where exponentials are neither 0 nor inf, and the ends."""
    info = np.finfo(dtype)
    low, high = (np.log(float(n)) for n in (info.smallest_subnormal, info.max))
    sizes = np.exp(rng.uniform(low, high, count // 2)), np.abs(rng.uniform(low, high, count // 4))
    sizes = np.concatenate([*sizes, np.abs(rng.standard_normal(count // 4))])
    ends = [
        info.smallest_subnormal,
        info.tiny,
        info.eps,
        1,
        1 + info.eps,
        1 - info.epsneg,
        info.max,
    ]
    ends += [] if kind == "finite" else [0, np.inf]
    x = np.concatenate([np.minimum(sizes, info.max), ends]).astype(dtype)
    return np.concatenate([x, -x]) if kind != "positive" else x


def units_in_the_last_place(found, exact):
    """How far off numbers are; none of those where the exact one has no size or is no number."""
    rounded = exact.astype(found.dtype)
    size = np.spacing(np.abs(rounded)).astype(LONG)
    with np.errstate(all="ignore"):
        off = np.abs(found.astype(LONG) - exact) / size
    same = (found == rounded) | (np.isnan(found) & np.isnan(rounded))
    return np.where(same, 0, np.where(np.isfinite(rounded) & np.isfinite(found), off, np.inf))


@longer
@both_dtypes
@pytest.mark.parametrize("name", ELEMENTARY)
def test_value_and_slope_to_a_few_units_in_the_last_place(name, dtype, rng, tensor, array):
    operation, value, slope, kind = ELEMENTARY[name]
    numbers = numbers_of(dtype, kind, rng)
    x, exact = tensor(numbers), numbers.astype(LONG)
    with np.errstate(all="ignore"):
        y = operation(x)
        y.backward(array(np.ones(numbers.shape, dtype)))
        for what, found, right in (("value", y, value(exact)), ("slope", x.grad, slope(exact))):
            off = units_in_the_last_place(host(found), np.asarray(right, LONG))
            worst = np.argmax(off)
            assert off[worst] <= 6, f"{what} at {numbers[worst]!r}: {off[worst]:.3g} units off"


@longer
@both_dtypes
def test_both_slopes_of_a_quotient(dtype, rng, tensor, array):
    a, b = numbers_of(dtype, "finite", rng), rng.permutation(numbers_of(dtype, "finite", rng))
    u, v, (x, z) = tensor(a), tensor(b), (a.astype(LONG), b.astype(LONG))
    with np.errstate(all="ignore"):
        (u / v).backward(array(np.ones_like(a)))
        normal = np.abs(x / z) >= np.finfo(dtype).tiny  # y itself has lost no digits
        normal &= np.abs(x / z) <= np.finfo(dtype).max
        assert units_in_the_last_place(host(u.grad), 1 / z).max() <= 2
        assert units_in_the_last_place(host(v.grad), -x / z / z)[normal].max() <= 3
        assert normal.sum() > 5000


@both_dtypes
@pytest.mark.parametrize("gap", [0.5, 5.0, 20.0, 60.0])
@pytest.mark.parametrize("operation", ["softmax", "log_softmax"])
def test_softmax_keeps_what_is_left_of_1(operation, gap, dtype, tensor, array):
    # One class far above two others: its log-probability, and 1 - p in the gradients.
    logits = np.array([[gap, 0.0, -1.0]], dtype)
    exact = logits.astype(LONG)
    others = np.exp(exact[:, 1:] - exact[:, :1]).sum()
    p = np.exp(exact - exact[:, :1]) / (1 + others)
    rest = np.concatenate([(others / (1 + others)).reshape(1, 1), 1 - p[:, 1:]], axis=1)
    for k in range(3):
        x = tensor(logits)
        y = getattr(ops, operation)(x)
        y.backward(array(np.eye(3, dtype=dtype)[[k]]))
        slope = np.where(np.arange(3) == k, rest, -p)
        right, log_p = (slope, np.log(p)) if operation == "log_softmax" else (p[:, [k]] * slope, p)
        if operation == "log_softmax":
            log_p[:, 0] = -np.log1p(others)
        tolerance = 20 * np.finfo(dtype).eps
        assert_allclose(host(y), log_p.astype(dtype), rtol=tolerance)
        assert_allclose(host(x.grad), right.astype(dtype), rtol=tolerance)


# --- a case distinction chooses; 0 times inf would not be a number --------------------------------

CHOICES = {
    "relu": (ops.relu, [-1.0, 0.0, 2.0], [0, 0, 1]),
    "leaky_relu": (lambda x: ops.leaky_relu(x, 0.5), [-1.0, 0.0, 2.0], [0.5, 0.5, 1]),
    "abs": (ops.abs, [-1.0, 0.0, 2.0], [-1, 0, 1]),
    "max": (ops.max, [-1.0, 0.0, 2.0], [0, 0, 1]),
    "x ** 0": (lambda x: x**0, [-1.0, 0.0, 2.0], [0, 0, 0]),
    "x[1:]": (lambda x: x[1:], [-1.0, 0.0, 2.0], [0, 1, 1]),
    "concat": (lambda x: ops.concat([x, x[1:]])[:2], [-1.0, 0.0, 2.0], [1, 1, 0]),
}


@both_dtypes
@pytest.mark.parametrize("g", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("formulas", [False, True])
def test_a_gradient_that_is_not_chosen_does_not_count(name, g, formulas, dtype, tensor, array):
    function, numbers, slopes = CHOICES[name]
    x = tensor(np.array(numbers, dtype))
    with plain() if formulas else np.errstate():
        y = function(x)
        y.backward(array(np.full(y.shape, g, dtype)))
    expected = np.array([0.0 if slope == 0 else g * slope for slope in slopes], dtype)
    assert_array_equal(host(x.grad), expected)


def test_a_root_of_what_relu_has_cut_off(tensor):
    x = tensor(np.array([-1.0, 4.0]))
    with np.errstate(divide="ignore"):
        (ops.relu(x) ** 0.5).sum().backward()
    assert_array_equal(host(x.grad), [0, 0.25])


@pytest.mark.parametrize("large", [False, True])
def test_gradients_of_another_dtype_reach_relu(large, tensor, array):
    # A float64 constant makes the gradient of a float32 tensor float64.
    shape = (300, 900) if large else (3,)
    x = tensor(np.full(shape, 2, np.float32))
    (ops.relu(x) * array(np.ones(shape))).backward(array(np.full(shape, 3.0)))
    assert x.grad.dtype == np.float32 and (host(x.grad) == 3).all()


# --- reductions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("axis", [None, 0, -1, np.int64(1), (0, 1)])
def test_reductions_overflow_only_if_their_result_does(dtype, axis, tensor):
    high = np.finfo(dtype).max
    x = tensor(np.full((3, 4), high, dtype))
    with strict():
        mean = ops.mean(x, axis)
    assert_array_equal(host(mean), np.full(mean.shape, high))
    mixed = np.tile(np.array([high, high, -high, -high / 2], dtype), (4, 1)) + 0 * high
    mixed[1], mixed[3] = -mixed[0], -mixed[2]
    with strict():
        total = ops.sum(tensor(mixed[:1]), axis=1)
        both = ops.sum(tensor(mixed))
    assert_array_equal(host(total), [high / 2])
    assert_array_equal(host(both), 0)
    with np.errstate(over="ignore"):
        assert np.isinf(host(ops.sum(x)))


def test_a_broadcast_gradient_is_summed_as_carefully(tensor, array):
    for dtype in (np.float32, np.float64):
        high = np.finfo(dtype).max
        x = tensor(np.ones((1, 3), dtype))
        with strict():
            (x + array(np.zeros((3, 3), dtype))).backward(
                array(np.array([[high], [high], [-high]], dtype) * np.ones((1, 3), dtype))
            )
        assert_array_equal(host(x.grad), np.full((1, 3), high))


@pytest.mark.parametrize("function", [ops.sum, ops.mean, ops.max])
def test_what_is_no_number_stays_so(function, tensor):
    for numbers in ([np.inf, 1.0], [np.nan, 1.0], [-np.inf, np.inf], [5e-324, 5e-324], [0.0, -0.0]):
        for dtype in (np.float32, np.float64):
            x = np.array(numbers, dtype)
            with np.errstate(invalid="ignore"):
                expected = getattr(np, function.__name__)(x)
                found = host(function(tensor(x)))
            assert_array_equal(found, expected)


def test_sums_of_nothing(tensor):
    for dtype in (np.float32, np.float64):
        x = tensor(np.zeros((0, 3), dtype))
        y = ops.sum(x, axis=0)
        assert_array_equal(host(y), np.zeros(3))
        y.backward(y.data)
        assert x.grad.shape == (0, 3)


def test_equal_ones_share_the_gradient_of_max(tensor, array):
    x = tensor(np.array([[3.0, 3.0, 1.0], [0.0, -1.0, 5.0]]))
    ops.max(x, axis=1).backward(array(np.array([4.0, 7.0])))
    assert_array_equal(host(x.grad), [[2, 2, 0], [0, 0, 7]])


# --- wrong shapes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function, shapes",
    [
        (ops.matmul, ((2, 3), (4, 5))),
        (lambda a, b: a @ b, ((2, 3), (2, 3))),
        (lambda a, b: a @ b, ((3,), (4,))),
        (lambda a, b: a @ b, ((2, 3), (2,))),
        (lambda a, b: a @ b, ((2,), (3, 2))),
        (lambda a, b: a @ b, ((), (3,))),
        (lambda a, b: a @ b, ((3,), ())),
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


@pytest.mark.parametrize("wrong", [
    lambda x, w: ops.conv2d(x, w, stride=(2, 2)), lambda x, w: ops.conv2d(x, w, padding=(1, 1)),
    lambda x, w: ops.conv2d(x, w, stride=1.0), lambda x, w: ops.conv2d(x, w, padding="same"),
    lambda x, w: ops.conv_transpose2d(x, w, stride=(2, 2)),
    lambda x, w: ops.conv_transpose2d(x, w, stride=2, output_padding=(1, 1)),
    lambda x, w: ops.conv_transpose2d(x, w, stride=2, output_padding=0.5),
])  # fmt: skip
def test_a_stride_or_padding_that_is_no_integer_is_refused_clearly(wrong, tensor):
    x, w = tensor(np.ones((1, 4, 4, 1))), tensor(np.ones((3, 3, 1, 1)))
    with pytest.raises(ValueError, match=r"(stride|padding).*(\(|\.|same).*expected"):
        wrong(x, w)


def test_axes_and_indices_of_numpys_integers(tensor):
    x = tensor(np.arange(6.0).reshape(2, 3))
    for k in (np.int64, np.int8, np.uint8):
        assert_array_equal(host(ops.mean(x, k(1))), [1, 4])
        assert_array_equal(host(ops.sum(x, (k(0), k(1)))), 15)
        assert_array_equal(host(x[k(1), : k(2)]), [3, 4])
        assert x.reshape(k(3), k(2)).shape == (3, 2)
        assert x.transpose(k(1), k(0)).shape == (3, 2)
        assert ops.concat([x, x], axis=k(1)).shape == (2, 6)
        assert_array_equal(host(ops.max(x, axis=k(0))), [3, 4, 5])


def test_an_exponent_that_is_a_tensor_is_refused(tensor):
    with pytest.raises(TypeError):
        tensor(np.ones(2)) ** tensor(np.ones(2))
