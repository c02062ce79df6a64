"""Every operation and operator: values and gradients."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from references import away_from_kinks, host, numeric_gradients, softmax

from tinyinfogan.engine import Tensor, grad_check, ops
from tinyinfogan.engine.fast import threads as threads_room


class Case(NamedTuple):
    name: str
    function: callable  # of Tensors
    reference: callable  # the same of NumPy arrays
    shapes: tuple
    positive: bool = False  # needs positive inputs


def _binary(symbol, function, positive=False):
    """An operator on equal shapes, and on shapes that broadcast one way, the other, and both."""
    pairs = [
        ((3, 4), (3, 4)),
        ((3, 4), (4,)),
        ((4,), (3, 4)),
        ((3, 1), (1, 4)),
        ((2, 3, 4), (3, 1)),
        ((), (2, 2)),
        ((), ()),
        ((2, 2), (1, 1)),
    ]
    for a, b in pairs:
        yield Case(f"{symbol} {a} {b}", function, function, (a, b), positive)


def _unary(name, function, reference, shape=(3, 4), positive=False):
    """A function of one tensor."""
    return Case(name, function, reference, (shape,), positive)


def _power(exponent, positive):
    return _unary(f"** {exponent}", lambda x: x**exponent, lambda x: x**exponent, positive=positive)


def _index(name, index):
    return _unary(f"x[{name}]", lambda x: x[index], lambda x: x[index], (4, 3, 5))


def _reduction(name, axis, keepdims, method):
    def function(x):
        if method:
            return getattr(x, name)(axis=axis, keepdims=keepdims)
        return getattr(ops, name)(x, axis=axis, keepdims=keepdims)

    def reference(x):
        return getattr(np, name)(x, axis=axis, keepdims=keepdims)

    return _unary(f"{name} {axis} {keepdims} {method}", function, reference, (2, 3, 4))


def _softmax(axis):
    yield _unary(f"softmax {axis}", lambda x: ops.softmax(x, axis), lambda x: softmax(x, axis))
    yield _unary(
        f"log_softmax {axis}",
        lambda x: ops.log_softmax(x, axis=axis),
        lambda x: np.log(softmax(x, axis)),
    )


def _concat(shapes, axis):
    return Case(
        f"concat {axis}",
        lambda *xs: ops.concat(list(xs), axis=axis),
        lambda *xs: np.concatenate(xs, axis),
        shapes,
    )


CONSTANT = np.linspace(0.5, 2.0, 12).reshape(3, 4)

CASES = [
    *_binary("+", lambda a, b: a + b),
    *_binary("-", lambda a, b: a - b),
    *_binary("*", lambda a, b: a * b),
    *_binary("/", lambda a, b: a / b),
    # Scalars stand on either side; so do arrays, whose own operators must not take over.
    _unary("x + 2", lambda x: x + 2, lambda x: x + 2),
    _unary("2 + x", lambda x: 2.5 + x, lambda x: 2.5 + x),
    _unary("x - 2", lambda x: x - 2.5, lambda x: x - 2.5),
    _unary("2 - x", lambda x: 2 - x, lambda x: 2 - x),
    _unary("x * 2", lambda x: x * 2.5, lambda x: x * 2.5),
    _unary("2 * x", lambda x: 2.5 * x, lambda x: 2.5 * x),
    _unary("x / 2", lambda x: x / 2.5, lambda x: x / 2.5),
    _unary("2 / x", lambda x: 2.5 / x, lambda x: 2.5 / x),
    _unary("-x", lambda x: -x, lambda x: -x),
    _power(2, positive=False),
    _power(3, positive=False),
    _power(1, positive=False),
    _power(-1, positive=False),
    _power(-2, positive=False),
    _power(0.5, positive=True),
    _power(-1.5, positive=True),
    Case("@", lambda a, b: a @ b, lambda a, b: a @ b, ((3, 4), (4, 2))),
    Case("matmul row", ops.matmul, lambda a, b: a @ b, ((1, 4), (4, 3))),
    Case("matmul outer", ops.matmul, lambda a, b: a @ b, ((3, 1), (1, 2))),
    *[
        Case(f"@ {a} {b}", lambda a, b: a @ b, lambda a, b: a @ b, (a, b))
        for a, b in [
            ((3,), (3,)),
            ((2, 3), (3,)),
            ((3,), (3, 2)),
            ((4, 2, 3), (3,)),
            ((3,), (4, 3, 2)),
            ((1,), (1,)),
            ((1, 3), (3,)),
            ((3,), (3, 1)),
            ((4, 2, 3), (3, 5)),
            ((2, 3), (4, 3, 5)),
        ]
    ],
    _unary("relu", ops.relu, lambda x: np.where(x > 0, x, 0.0)),
    _unary("leaky_relu", ops.leaky_relu, lambda x: np.where(x > 0, x, 0.1 * x)),
    _unary(
        "leaky_relu slope",
        lambda x: ops.leaky_relu(x, slope=0.3),
        lambda x: np.where(x > 0, x, 0.3 * x),
    ),
    _unary("tanh", ops.tanh, np.tanh),
    _unary("sigmoid", ops.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    _unary("softplus", ops.softplus, lambda x: np.log(1 + np.exp(x))),
    _unary("exp", ops.exp, np.exp),
    _unary("abs", ops.abs, np.abs),
    _unary("abs()", abs, np.abs),
    _unary("log", ops.log, np.log, positive=True),
    # Of no axes: where NumPy's own results are scalars rather than arrays.
    *[
        _unary(f"{name} of ()", function, reference, ())
        for name, function, reference in [
            ("-x * x", lambda x: -x * x, lambda x: -x * x),
            ("x ** 2", lambda x: x**2, lambda x: x**2),
            ("tanh", ops.tanh, np.tanh),
            ("leaky_relu", ops.leaky_relu, lambda x: np.where(x > 0, x, 0.1 * x)),
            ("softplus", ops.softplus, lambda x: np.log(1 + np.exp(x))),
            ("abs", ops.abs, np.abs),
            ("sum", ops.sum, np.sum),
            ("max", ops.max, np.max),
            ("mean", ops.mean, np.mean),
            ("reshape", lambda x: ops.reshape(x, (1, 1)), lambda x: np.reshape(x, (1, 1))),
        ]
    ],
    *[
        _reduction(name, axis, keepdims, method)
        for name in ("sum", "mean", "max")
        for axis, keepdims, method in [
            (None, False, False),
            (None, True, True),
            (0, False, True),
            (1, True, False),
            (-1, False, False),
            ((0, 2), False, False),
            ((-1, 0), True, True),
            ((0, 1, 2), False, False),
        ]
    ],
    _unary("reshape", lambda x: ops.reshape(x, (2, 6)), lambda x: x.reshape(2, 6)),
    _unary("reshape -1", lambda x: x.reshape((-1, 2, 3)), lambda x: x.reshape(-1, 2, 3)),
    _unary("reshape(2, 6)", lambda x: x.reshape(2, 6), lambda x: x.reshape(2, 6)),
    _unary("reshape(2, -1, 3)", lambda x: x.reshape(2, -1, 3), lambda x: x.reshape(2, -1, 3)),
    _unary("reshape(-1)", lambda x: x.reshape(-1), lambda x: x.reshape(-1)),
    _unary("reshape(())", lambda x: x.reshape(()), lambda x: x.reshape(()), (1, 1)),
    _unary("T", lambda x: x.T, lambda x: x.T),
    _unary("T of three axes", lambda x: x.T, lambda x: x.T, (2, 3, 4)),
    _unary("T of one axis", lambda x: x.T, lambda x: x.T, (3,)),
    _unary("T of ()", lambda x: x.T, lambda x: x.T, ()),
    _unary("transpose", ops.transpose, np.transpose, (2, 3, 4)),
    _unary("transpose None", lambda x: x.transpose(None), np.transpose, (2, 3, 4)),
    _unary(
        "transpose(2, 0, 1)",
        lambda x: x.transpose(2, 0, 1),
        lambda x: np.transpose(x, (2, 0, 1)),
        (2, 3, 4),
    ),
    # A cycle of three axes: its inverse is another permutation, unlike a swap's.
    _unary(
        "transpose axes",
        lambda x: ops.transpose(x, (1, 2, 0)),
        lambda x: np.transpose(x, (1, 2, 0)),
        (2, 3, 4),
    ),
    _unary(
        "transpose method",
        lambda x: x.transpose((-1, 0, 1)),
        lambda x: np.transpose(x, (-1, 0, 1)),
        (2, 3, 4),
    ),
    _concat(((2, 3), (2, 1), (2, 2)), -1),
    _concat(((2, 3), (1, 3)), 0),
    _concat(((2, 3, 2), (2, 1, 2)), 1),
    *_softmax(-1),
    *_softmax(0),
    *_softmax(np.int64(1)),
    _index("np.int64(1)", np.int64(1)),
    _index("np.int8(-1), np.uint8(2)", (np.int8(-1), np.uint8(2))),
    _index("1", 1),
    _index("-1, 2", (-1, 2)),
    _index("1:3", slice(1, 3)),
    _index("..., 0", (..., 0)),
    _index(":, 1:, ::2", (slice(None), slice(1, None), slice(None, None, 2))),
    _index("::-1", slice(None, None, -1)),
    _index("None, :, 0", (None, slice(None), 0)),
    _index("1, 2, 3", (1, 2, 3)),
]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def draw(case, rng):
    arrays = [np.asarray(away_from_kinks(rng, shape)) for shape in case.shapes]
    return [np.abs(a) for a in arrays] if case.positive else arrays


@each_case
def test_values(case, rng, tensor):
    arrays = draw(case, rng)
    result = case.function(*map(tensor, arrays))
    expected = case.reference(*arrays)
    assert isinstance(result, Tensor) and result.shape == np.shape(expected)
    assert_allclose(host(result), expected, rtol=1e-12, atol=1e-14)


@each_case
def test_gradients(case, rng, tensor):
    assert grad_check(case.function, [tensor(a) for a in draw(case, rng)], rng=rng) <= 1e-6


@each_case
def test_gradients_element_by_element(case, rng, tensor, array):
    # Against the reference's slope and with none of the engine's own machinery for checking.
    arrays = draw(case, rng)
    leaves = [tensor(a) for a in arrays]
    result = case.function(*leaves)
    cotangent = rng.standard_normal(result.shape)
    result.backward(array(cotangent))
    expected = numeric_gradients(case.reference, arrays, cotangent)
    for leaf, gradient in zip(leaves, expected, strict=True):
        assert isinstance(leaf.grad, type(leaf.data)), "a gradient is an array, also of no axes"
        assert_allclose(host(leaf.grad), gradient, rtol=1e-6, atol=1e-8)


@each_case
def test_float32_stays_float32(case, rng, tensor):
    arrays = draw(case, rng)
    exact, single = (
        [tensor(a.astype(dtype)) for a in arrays] for dtype in (np.float64, np.float32)
    )
    for leaves in (exact, single):
        result = case.function(*leaves)
        result.backward(result.data)
    assert result.dtype == np.float32
    for leaf, reference in zip(single, exact, strict=True):
        assert leaf.grad.dtype == np.float32
        assert_allclose(host(leaf.grad), host(reference.grad), rtol=1e-4, atol=1e-5)


@each_case
def test_inputs_and_cotangents_are_not_written_to(case, rng, tensor, array):
    arrays = draw(case, rng)
    leaves = [tensor(a) for a in arrays]
    result = case.function(*leaves)
    values = host(result).copy()
    cotangent = array(np.ones(result.shape))
    result.backward(cotangent)
    assert_array_equal(host(cotangent), np.ones(result.shape))
    assert_array_equal(host(result), values)
    for leaf, original in zip(leaves, arrays, strict=True):
        assert_array_equal(host(leaf), original)


@each_case
def test_only_inputs_that_ask_get_a_gradient(case, rng, tensor):
    arrays = draw(case, rng)
    for asking in range(len(arrays)):
        asks = [k == asking for k in range(len(arrays))]
        leaves = [tensor(a, ask) for a, ask in zip(arrays, asks, strict=True)]
        result = case.function(*leaves)
        result.backward(result.data)
        assert [leaf.grad is not None for leaf in leaves] == asks


@pytest.mark.parametrize(
    "function",
    [
        ops.relu, ops.leaky_relu, ops.tanh, ops.sigmoid, ops.softplus, ops.exp, ops.sum, ops.mean,
        ops.transpose, ops.softmax, ops.log_softmax,
        lambda x: ops.reshape(x, (-1,)), lambda x: ops.concat([x, x]), lambda x: ops.matmul(x, x),
    ],
)  # fmt: skip
def test_an_array_is_a_constant_input(function, rng, array, tensor):
    x = rng.standard_normal((3, 3))
    result = function(array(x))
    assert isinstance(result, Tensor) and not result.requires_grad
    assert_array_equal(host(result), host(function(tensor(x))))


OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "@": lambda a, b: a @ b,
    "matmul": ops.matmul,
}


@pytest.mark.parametrize("symbol", OPERATORS)
def test_an_array_beside_a_tensor_on_either_side(symbol, rng, array, tensor):
    # NumPy's own operators must leave the left-hand side's case to the tensor.
    function, x, y = OPERATORS[symbol], away_from_kinks(rng, (3, 3)), away_from_kinks(rng, (3, 3))
    reference = OPERATORS["@" if symbol == "matmul" else symbol]
    constant = array(y)
    for swapped in (False, True):

        def once(t, swapped=swapped):
            return function(constant, t) if swapped else function(t, constant)

        result = once(tensor(x))
        assert isinstance(result, Tensor)
        assert_allclose(host(result), reference(y, x) if swapped else reference(x, y), rtol=1e-12)
        assert grad_check(once, [tensor(x)], rng=rng) <= 1e-6


@pytest.mark.parametrize("with_array", [False, True])
def test_concat_passes_over_constants(rng, tensor, array, with_array):
    # Images with noise, labels or codes beside them: only one of the parts is trained.
    x = tensor(rng.standard_normal((2, 3)))
    other = array(np.zeros((2, 2))) if with_array else tensor(np.zeros((2, 2)), False)
    result = ops.concat([other, x, other], axis=1)
    result.backward(array(np.arange(14.0).reshape(2, 7)))
    assert_array_equal(host(x.grad), [[2, 3, 4], [9, 10, 11]])


@pytest.mark.parametrize("shapes", [((2, 3, 4), (2, 4, 5)), ((2, 3, 4), (4, 5))])
def test_matmul_of_stacks_is_right_or_refused(shapes, rng, tensor):
    a, b = (rng.standard_normal(shape) for shape in shapes)
    try:
        result = ops.matmul(tensor(a), tensor(b))
    except ValueError:
        return
    assert_allclose(host(result), a @ b, rtol=1e-12)
    assert grad_check(ops.matmul, [tensor(a), tensor(b)], rng=rng) <= 1e-6


def test_layouts_other_than_contiguous(rng, tensor):
    # Views with strange strides, in and out: what a kernel that assumes C order gets wrong.
    def function(x):
        x = ops.transpose(x)[::-1, 1:]
        x = ops.relu(x) + ops.leaky_relu(-x) * ops.tanh(x)
        return ops.softmax(ops.transpose(x)) @ x

    x = away_from_kinks(rng, (4, 3))
    y = x.T[::-1, 1:]
    z = np.where(y > 0, y, 0) + np.where(y < 0, -y, -0.1 * y) * np.tanh(y)
    assert_allclose(host(function(tensor(x))), softmax(z.T) @ z, rtol=1e-12)
    assert grad_check(function, [tensor(x)], rng=rng) <= 1e-6


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_large_arrays(threads, slope, rng, tensor, array, monkeypatch):
    # Worked on in blocks of rows by several threads, the last ones shorter than the others.
    monkeypatch.setattr(threads_room, "count", threads)
    x, cotangent = away_from_kinks(rng, (401, 301)), rng.standard_normal((401, 301))
    leaf = tensor(x)
    y = ops.leaky_relu(leaf, slope) if slope else ops.relu(leaf)
    (y + leaf * 2.0 - y * 3.0).backward(array(cotangent))  # sums of gradients are large as well
    assert_allclose(host(y), np.where(x > 0, x, slope * x), rtol=1e-14)
    assert_allclose(host(leaf.grad), cotangent * (2 - 2 * np.where(x > 0, 1, slope)), atol=1e-12)


def test_a_number_is_a_first_operand_too(tensor):
    assert_array_equal(host(ops.add(1.0, tensor(np.array([1.0, 2.0])))), [2.0, 3.0])


@pytest.mark.parametrize("misfit", [[], [1.0, 2.0], [np.ones((2, 3)), np.ones((2, 4))]])
def test_what_concat_cannot_join_is_a_value_error(misfit, array):
    with pytest.raises(ValueError, match=r"."):
        ops.concat([array(np.asarray(x)) for x in misfit], axis=0)
