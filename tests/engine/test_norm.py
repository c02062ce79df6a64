"""Batch normalisation: its statistics, its gradient through them, and its two modes."""

import numpy as np
import pytest
import references
from numpy.testing import assert_allclose, assert_array_equal
from references import host

from tinyinfogan.engine import grad_check, no_grad, ops
from tinyinfogan.engine.fast import threads as threads_room

SHAPES = [(6, 3), (2, 1), (3, 4, 2), (2, 3, 2, 4), (1, 2, 3, 2)]
each_shape = pytest.mark.parametrize("shape", SHAPES)


def draw(rng, shape):
    C = shape[-1]
    x = rng.standard_normal(shape) * rng.uniform(0.5, 2, C) + rng.standard_normal(C)
    return x, rng.uniform(0.5, 1.5, C), rng.standard_normal(C)


@each_shape
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_training_values(shape, eps, rng, tensor):
    x, gamma, beta = draw(rng, shape)
    result = ops.batch_norm(tensor(x), tensor(gamma), tensor(beta), eps=eps)
    assert_allclose(host(result), references.batch_norm(x, gamma, beta, eps=eps), atol=1e-12)


def test_every_axis_but_the_last_is_normalised(rng, tensor):
    x = rng.standard_normal((4, 3, 5, 2)) * 7 + 3
    y = host(ops.batch_norm(tensor(x), tensor(np.ones(2)), tensor(np.zeros(2))))
    assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-12)
    assert_allclose(y.var(axis=(0, 1, 2)), 1, rtol=1e-5)


@each_shape
def test_eval_values(shape, rng, tensor, array):
    x, gamma, beta = draw(rng, shape)
    mean, variance = rng.standard_normal(shape[-1]), rng.uniform(0.5, 2, shape[-1])
    running = array(mean), array(variance)
    result = ops.batch_norm(tensor(x), tensor(gamma), tensor(beta), *running, training=False)
    expected = references.batch_norm(x, gamma, beta, mean, variance)
    assert_allclose(host(result), expected, rtol=1e-12)
    assert_array_equal(host(running[0]), mean)
    assert_array_equal(host(running[1]), variance)


@each_shape
@pytest.mark.parametrize("training", [True, False])
def test_gradients(shape, training, rng, tensor, array):
    C = shape[-1]
    running = array(rng.standard_normal(C)), array(rng.uniform(0.5, 2, C))

    def function(x, gamma, beta):
        return ops.batch_norm(x, gamma, beta, *running, training=training, eps=1e-3)

    assert grad_check(function, [tensor(a) for a in draw(rng, shape)], rng=rng) <= 1e-6


class Halves:
    """Two processes with half a batch each, played by the second: it adds what the first has."""

    size = 2

    def __init__(self, sums):
        self.sums = list(sums)

    def sum(self, array):
        return array + self.sums.pop(0)


def test_a_shared_batch_is_normalised_as_a_whole(rng, tensor, array):
    x, gamma, beta = draw(rng, (6, 3, 2))
    cotangent = rng.standard_normal(x.shape)
    whole = [tensor(a) for a in (x, gamma, beta)]
    running = [array(rng.uniform(0.5, 2, 2)) for _ in range(2)]
    own = [statistic.copy() for statistic in running]
    y = ops.batch_norm(*whole, *running)
    y.backward(array(cotangent))
    rows, g = x[:3].reshape(-1, 2), cotangent[:3].reshape(-1, 2)
    mean, std = x.mean(axis=(0, 1)), np.sqrt(x.var(axis=(0, 1)) + 1e-5)
    z = (rows - mean) / std
    others = [rows.sum(axis=0), ((rows - mean) ** 2).sum(axis=0), [(g * z).sum(0), g.sum(0)]]
    group = Halves(map(array, others))
    half = [tensor(a) for a in (x[3:], gamma, beta)]
    part = ops.batch_norm(*half, *own, group=group)
    part.backward(array(cotangent[3:]))
    assert_allclose(host(part), host(y)[3:], atol=1e-12)
    assert_allclose(host(half[0].grad), host(whole[0].grad)[3:], atol=1e-12)
    assert_allclose(host(half[2].grad) + g.sum(axis=0), host(whole[2].grad), atol=1e-12)
    for ours, other in zip(running, own):
        assert_allclose(host(ours), host(other), rtol=1e-12)


def test_eval_mode_shares_nothing_and_keeps_what_it_used(rng, tensor, array):
    running = array(rng.standard_normal(2)), array(rng.uniform(0.5, 2, 2))
    inputs = [tensor(a) for a in draw(rng, (6, 2))]
    y = ops.batch_norm(*inputs, *running, training=False, group=Halves([]))
    running[0][...] = 99.0  # as a later step in training would
    before = [tensor(host(leaf)) for leaf in inputs]
    y.backward(array(np.ones((6, 2))))
    running[0][...] = 0.0
    std = np.sqrt(host(running[1]) + 1e-5)
    assert_allclose(host(inputs[0].grad), np.broadcast_to(host(before[1]) / std, (6, 2)))
    z = (host(y) - host(before[2])) / host(before[1])
    assert_allclose(host(inputs[1].grad), z.sum(axis=0), rtol=1e-9)


def test_gradients_element_by_element(rng, tensor, array):
    arrays = draw(rng, (5, 2))
    inputs = [tensor(a) for a in arrays]
    cotangent = rng.standard_normal((5, 2))
    ops.batch_norm(*inputs).backward(array(cotangent))
    expected = references.numeric_gradients(references.batch_norm, arrays, cotangent)
    for leaf, gradient in zip(inputs, expected, strict=True):
        assert_allclose(host(leaf.grad), gradient, rtol=1e-6, atol=1e-8)


def test_gradient_of_the_sum_is_zero(rng, tensor):
    # A batch's normalised values always sum to 0, whatever x is: the gradient goes through the
    # statistics too, or this would be gamma / std.
    x, gamma, beta = (tensor(a) for a in draw(rng, (6, 3)))
    ops.sum(ops.batch_norm(x, gamma, beta)).backward()
    assert_allclose(host(x.grad), 0, atol=1e-12)
    assert_allclose(host(beta.grad), 6)


@pytest.mark.parametrize("asking", [0, 1, 2])
@pytest.mark.parametrize("training", [True, False])
def test_only_what_asks_gets_a_gradient(asking, training, rng, tensor, array):
    arrays = draw(rng, (6, 3))
    every = [tensor(a) for a in arrays]
    one = [tensor(a, requires_grad=k == asking) for k, a in enumerate(arrays)]
    cotangent = array(rng.standard_normal((6, 3)))
    for inputs in (every, one):
        running = array(np.zeros(3)), array(np.ones(3))
        ops.batch_norm(*inputs, *running, training=training).backward(cotangent)
    assert [leaf.grad is not None for leaf in one] == [k == asking for k in range(3)]
    assert_array_equal(host(one[asking].grad), host(every[asking].grad))


# --- running statistics ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4, 3)])
@pytest.mark.parametrize("momentum", [0.1, 1.0])
def test_running_statistics_move_in_place(shape, momentum, rng, tensor, array):
    x, gamma, beta = draw(rng, shape)
    mean, variance = rng.standard_normal(3), rng.uniform(0.5, 2, 3)
    running = array(mean), array(variance)
    for _ in range(2):
        ops.batch_norm(tensor(x), tensor(gamma), tensor(beta), *running, momentum=momentum)
        rows = x.reshape(-1, 3)
        mean = (1 - momentum) * mean + momentum * rows.mean(axis=0)
        variance = (1 - momentum) * variance + momentum * rows.var(axis=0, ddof=1)
    assert_allclose(host(running[0]), mean, rtol=1e-12)
    assert_allclose(host(running[1]), variance, rtol=1e-12)


def test_no_grad_is_not_eval(rng, tensor, array):
    # The mode alone decides: a forward pass without a tape still normalises by its batch.
    inputs = [tensor(a) for a in draw(rng, (6, 3))]
    running = array(np.zeros(3)), array(np.ones(3))
    with no_grad():
        result = ops.batch_norm(*inputs, *running)
    assert_array_equal(host(result), host(ops.batch_norm(*inputs)))
    assert np.abs(host(running[0])).min() > 0


def test_running_statistics_take_part_in_no_gradient(rng, tensor, array):
    # Two steps through the same running arrays: the second must not disturb the first's backward.
    inputs = [tensor(a) for a in draw(rng, (6, 3))]
    cotangent = array(rng.standard_normal((6, 3)))
    running = array(np.zeros(3)), array(np.ones(3))
    first = ops.batch_norm(*inputs, *running)
    ops.batch_norm(tensor(rng.standard_normal((6, 3)) + 9), *inputs[1:], *running)
    first.backward(cotangent)
    alone = [tensor(host(leaf)) for leaf in inputs]
    ops.batch_norm(*alone).backward(cotangent)
    for leaf, other in zip(inputs, alone, strict=True):
        assert_array_equal(host(leaf.grad), host(other.grad))


# --- precision ------------------------------------------------------------------------------------


def test_a_large_mean_does_not_eat_the_variance(rng, tensor):
    # E[x²] - E[x]² in float32 would lose all digits of a variance of 1 beside a mean of 4000.
    x = (rng.standard_normal((256, 2)) + 4000).astype(np.float32)
    gamma, beta = np.ones(2, np.float32), np.zeros(2, np.float32)
    y = host(ops.batch_norm(tensor(x), tensor(gamma), tensor(beta)))
    expected = references.batch_norm(x.astype(np.float64), np.ones(2), np.zeros(2))
    assert y.dtype == np.float32
    assert_allclose(y, expected, atol=2e-3)


@pytest.mark.parametrize("threads", [1, 3])
def test_large_batches_in_float32(threads, rng, tensor, array, monkeypatch):
    # 100,000 values a channel: worked on in blocks, and summed with care for single precision.
    monkeypatch.setattr(threads_room, "count", threads)
    arrays = draw(rng, (100, 50, 20, 2))
    cotangent = rng.standard_normal(arrays[0].shape)
    results = []
    for dtype in (np.float32, np.float64):
        inputs = [tensor(a.astype(dtype)) for a in arrays]
        running = array(np.zeros(2, dtype)), array(np.ones(2, dtype))
        y = ops.batch_norm(*inputs, *running)
        y.backward(array(cotangent.astype(dtype)))
        results.append([host(a) for a in (y, *running, *(leaf.grad for leaf in inputs))])
    assert_allclose(results[1][0], references.batch_norm(*arrays), rtol=1e-9, atol=1e-11)
    for single, double in zip(*results, strict=True):
        assert single.dtype == np.float32
        assert_allclose(single, double, rtol=1e-4, atol=1e-4 * np.abs(double).max())


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 3), (1, 1, 1, 3)])
def test_one_value_a_channel_has_no_variance(shape, tensor, array):
    running = array(np.zeros(3)), array(np.ones(3))
    inputs = tensor(np.ones(shape)), tensor(np.ones(3)), tensor(np.zeros(3))
    with pytest.raises(ValueError, match="one value"):
        ops.batch_norm(*inputs, *running)
    assert_array_equal(host(running[0]), 0)
    assert_array_equal(host(running[1]), 1)
    # The running ones do have.
    assert ops.batch_norm(*inputs, *running, training=False).shape == shape


@pytest.mark.parametrize("given", [(), (0,), (1,)])
def test_eval_without_running_statistics(given, tensor, array):
    inputs = tensor(np.ones((4, 3))), tensor(np.ones(3)), tensor(np.zeros(3))
    names = "running_mean", "running_var"
    running = {names[k]: array(np.ones(3)) for k in given}
    with pytest.raises(ValueError, match="running_mean"):
        ops.batch_norm(*inputs, training=False, **running)


@pytest.mark.parametrize(
    "x, gamma, beta",
    [
        ((4, 3), (4,), (3,)),
        ((4, 3), (3,), (1,)),
        ((4, 3), (1, 3), (3,)),
        ((2, 2, 2, 3), (2,), (2,)),
    ],
)
def test_shapes_that_do_not_fit_are_named(x, gamma, beta, tensor):
    # Among them ones that NumPy would broadcast without a word.
    with pytest.raises(ValueError) as caught:
        ops.batch_norm(*(tensor(np.ones(shape)) for shape in (x, gamma, beta)))
    assert all(str(shape) in str(caught.value) for shape in (x, gamma, beta))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("which", [0, 1])
def test_running_statistics_that_could_not_move_are_refused(which, training, tensor, array):
    # A list would be left as it was, and a shape that broadcasts be used, without a word.
    inputs = tensor(np.ones((5, 3))), tensor(np.ones(3)), tensor(np.zeros(3))
    for wrong in ([1.0, 1.0, 1.0], tensor(np.ones(3)), array(np.ones(1)), array(np.ones((5, 3)))):
        running = [array(np.ones(3)), array(np.ones(3))]
        running[which] = wrong
        with pytest.raises(ValueError, match="running_mean"):
            ops.batch_norm(*inputs, *running, training=training)
