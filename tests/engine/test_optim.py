"""Adam against the algorithm as printed."""

import numpy as np
import pytest
import references
from numpy.testing import assert_allclose, assert_array_equal
from references import host

from tinyinfogan.engine import Tensor, nn, ops, optim
from tinyinfogan.engine.fast import threads as threads_room

SHAPES = [(1,), (), (3, 4), (2, 3, 1, 2), (401, 300)]  # the last is worked on in blocks


def gradients(rng, shape, steps=50):
    """Of sizes from 1e-9, where eps decides, to 1e3, with zeros and changing signs."""
    scale = 10 ** rng.uniform(-9, 3, shape) if np.prod(shape) > 1 else 1e-4
    return [scale * rng.standard_normal(shape) * (rng.random(shape) < 0.9) for _ in range(steps)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 2e-5)])
@pytest.mark.parametrize("settings", [{}, {"betas": (0.9, 0.99), "eps": 1e-4}])
def test_fifty_steps(shape, dtype, tolerance, settings, rng, tensor, array):
    start = np.asarray(rng.standard_normal(shape)).astype(dtype)
    series = [np.asarray(g).astype(dtype) for g in gradients(rng, shape)]
    parameter = tensor(start)
    adam = optim.Adam([parameter], lr=0.01, **settings)
    for gradient in series:
        parameter.grad = array(gradient)
        adam.step()
        assert_array_equal(host(parameter.grad), gradient)
    expected = references.adam(
        start.astype(np.float64), [g.astype(np.float64) for g in series], 0.01, **settings
    )
    assert parameter.dtype == dtype and parameter.shape == shape
    assert np.abs(expected - start).max() > 0.001  # there is something to get wrong
    assert_allclose(host(parameter), expected, rtol=tolerance, atol=tolerance)


def test_the_first_step_is_lr_long(tensor, array):
    # Bias correction's point: without it the first steps are (1 - beta1) / sqrt(1 - beta2) long.
    parameter = tensor(np.zeros(3))
    adam = optim.Adam([parameter], lr=0.1)
    parameter.grad = array(np.array([5.0, -0.01, 300.0]))
    adam.step()
    assert_allclose(host(parameter), [-0.1, 0.1, -0.1], rtol=1e-5)


@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_do_not_depend_on_threads(threads, rng, tensor, array, monkeypatch):
    start, gradient = rng.standard_normal((401, 300)), rng.standard_normal((401, 300))
    monkeypatch.setattr(threads_room, "count", threads)
    parameter = tensor(start)
    parameter.grad = array(gradient)
    adam = optim.Adam([parameter], lr=0.01)
    adam.step()
    assert_allclose(host(parameter), references.adam(start, [gradient], 0.01), rtol=1e-12)


def test_several_parameters_each_with_its_own_moments(rng, tensor, array):
    starts = [rng.standard_normal(shape) for shape in ((2, 3), (4,), (1, 1))]
    series = [gradients(rng, start.shape, 10) for start in starts]
    parameters = [tensor(start) for start in starts]
    adam = optim.Adam(iter(parameters), lr=0.01)
    for step in range(10):
        for parameter, own in zip(parameters, series, strict=True):
            parameter.grad = array(own[step])
        adam.step()
    for parameter, start, own in zip(parameters, starts, series, strict=True):
        expected = references.adam(start, own, 0.01)
        assert_allclose(host(parameter), expected, rtol=1e-12, atol=1e-12)


def test_parameters_without_a_gradient_are_left_alone(rng, tensor, array):
    with_one, without = tensor(rng.standard_normal(3)), tensor(rng.standard_normal(3))
    adam = optim.Adam([with_one, without], lr=0.1)
    for parameter in (with_one, without):
        parameter.grad = array(np.ones(3))
    adam.step()
    before = [host(with_one).copy(), host(without).copy()]
    moments = {name: host(a).copy() for name, a in adam.state_dict().items()}
    with_one.grad, without.grad = array(np.ones(3)), None
    adam.step()
    # Its momentum does not carry it on either, and no moment decays.
    assert_array_equal(host(without), before[1])
    assert (host(with_one) < before[0]).all()
    after = {name: host(a) for name, a in adam.state_dict().items() if a.ndim}
    assert sorted(np.array_equal(after[name], moments[name]) for name in after) == [
        False, False, True, True,
    ]  # fmt: skip


def test_zero_grad_forgets(tensor):
    x = tensor(np.array([2.0]))
    adam = optim.Adam([x], lr=0.1)
    (x * x).backward()
    adam.zero_grad()
    (x * 3.0).backward()
    assert_array_equal(host(x.grad), [3.0])


def test_it_descends(tensor, array):
    x = tensor(np.array([3.0, -2.0]))
    adam = optim.Adam([x], lr=0.1, betas=(0.9, 0.999))
    target = array(np.array([1.0, 0.5]))
    for _ in range(300):
        adam.zero_grad()
        ops.sum((x - target) ** 2).backward()
        adam.step()
    assert_allclose(host(x), [1.0, 0.5], atol=1e-2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_saved_state_continues_bit_for_bit(dtype, rng, tensor, array):
    shapes = (3, 2), (4,)
    starts = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    series = [[rng.standard_normal(shape).astype(dtype) for shape in shapes] for _ in range(10)]

    def run(adam, steps):
        for gradients in steps:
            for parameter, gradient in zip(adam.parameters, gradients, strict=True):
                parameter.grad = array(gradient)
            adam.step()

    straight = optim.Adam([tensor(start) for start in starts], lr=0.01)
    run(straight, series[:5])
    # As on disk: copies on the host.  The state itself shares memory with the running optimiser.
    state = {name: host(a).copy() for name, a in straight.state_dict().items()}
    halfway = [host(parameter).copy() for parameter in straight.parameters]
    run(straight, series[5:])

    resumed = optim.Adam([tensor(value) for value in halfway], lr=0.01)
    resumed.load_state_dict(state)
    run(resumed, series[5:])
    for one, other in zip(straight.parameters, resumed.parameters, strict=True):
        assert_array_equal(host(one), host(other))
    # The saved arrays were copied in, not adopted.
    again = {name: host(a) for name, a in resumed.state_dict().items()}
    assert not any(np.array_equal(again[name], state[name]) for name in state)


def test_a_state_of_other_parameters_is_refused(tensor, array):
    def state_of(*shapes):
        parameters = [tensor(np.ones(shape)) for shape in shapes]
        adam = optim.Adam(parameters, lr=0.1)
        for parameter in parameters:
            parameter.grad = array(np.ones(parameter.shape))
        adam.step()
        return adam.state_dict()

    adam = optim.Adam([tensor(np.ones(2)), tensor(np.ones(3))], lr=0.1)
    for other in (state_of((2,)), state_of((2,), (4,)), state_of((2,), (3,), (1,))):
        with pytest.raises(ValueError):
            adam.load_state_dict(other)
        # Nothing came in before the mistake was seen.
        assert all(not host(a).any() for a in adam.state_dict().values())


def test_lr_can_be_set(tensor, array):
    parameter = tensor(np.zeros(1))
    adam = optim.Adam([parameter], lr=0.1)
    assert adam.lr == 0.1
    positions = [0.0]
    for lr in (0.1, 0.05):
        adam.lr = lr
        parameter.grad = array(np.ones(1))  # of constant gradients every step is lr long
        adam.step()
        positions.append(host(parameter)[0])
    assert_allclose(np.diff(positions), [-0.1, -0.05], rtol=1e-6)


@pytest.mark.parametrize("lr", [0, 0.0, -1e-3, float("nan"), float("inf")])
def test_a_rate_that_is_not_positive_is_refused(lr):
    with pytest.raises(ValueError, match="lr"):
        optim.Adam([Tensor([1.0], requires_grad=True)], lr=lr)


@pytest.mark.parametrize("eps", [-1.0, float("nan"), float("inf")])
def test_an_eps_that_cannot_be_is_refused(eps):
    with pytest.raises(ValueError, match="eps"):
        optim.Adam([Tensor([1.0], requires_grad=True)], lr=0.1, eps=eps)


def test_no_parameters_are_refused():
    with pytest.raises(ValueError, match="parameters"):
        optim.Adam([], lr=0.1)
    with pytest.raises(ValueError, match="parameters"):
        optim.Adam(iter(()), lr=0.1)


def test_what_would_never_be_trained_is_refused():
    w = Tensor(np.ones(3), requires_grad=True)
    for parameters in ([w * 2], w, [w, np.ones(3)], [w, 3.0], [[w]], nn.Linear(2, 2).state_dict()):
        with pytest.raises(TypeError, match="list of Tensors"):
            optim.Adam(parameters, lr=0.1)


def test_a_parameter_given_twice_moves_once(array):
    w = Tensor(array(np.zeros(1)), requires_grad=True)
    adam = optim.Adam([w, w], lr=0.1)
    w.grad = array(np.ones(1))
    adam.step()
    assert_allclose(host(w), [-0.1], rtol=1e-6)


@pytest.mark.parametrize("betas", [(1.0, 0.9), (0.5, 1.0), (-0.1, 0.9), (0.5,)])
def test_betas_out_of_range_are_refused(betas):
    with pytest.raises(ValueError, match="betas"):
        optim.Adam([Tensor([1.0], requires_grad=True)], lr=0.1, betas=betas)
