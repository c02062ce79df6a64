"""The tape: what is recorded, how gradients meet, when memory goes."""

import gc
import threading
import weakref

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from references import host

from tinyinfogan.engine import Tensor, nn, no_grad, ops, optim
from tinyinfogan.engine.tensor import record

# --- making tensors -------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [1, 2.5, [1, 2], [[1.0], [2.0]], np.arange(3), np.arange(3) > 1])
def test_numbers_lists_and_integers_become_float32(data):
    x = Tensor(data)
    assert x.dtype == np.float32
    assert x.shape == np.shape(data) and x.ndim == np.ndim(data)
    assert_array_equal(x.numpy(), np.asarray(data, np.float32))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floating_arrays_keep_their_dtype_and_are_not_copied(array, dtype):
    data = array(np.ones((2, 3), dtype))
    x = Tensor(data)
    assert x.dtype == dtype and x.data is data


def test_item_and_numpy(tensor):
    assert tensor(np.array([[2.5]])).item() == 2.5
    assert type(tensor(np.array([[2.5]])).item()) is float
    assert type(tensor(np.ones(3)).numpy()) is np.ndarray


# --- a Tensor among NumPy's and Python's ----------------------------------------------------------


@pytest.mark.parametrize("asks", [False, True])
def test_numpy_takes_a_tensor_as_its_array(asks, rng, tensor):
    data = rng.standard_normal((3, 4)).astype(np.float32)
    x = tensor(data, asks)
    for convert in (np.asarray, np.array, np.ascontiguousarray):
        assert type(convert(x)) is np.ndarray and convert(x).dtype == np.float32
        assert_array_equal(convert(x), data)
    assert np.asarray(x, np.float64).dtype == np.float64
    assert_array_equal(np.stack([x, x]), np.stack([data, data]))
    assert_array_equal(np.concatenate([x, data]), np.concatenate([data, data]))
    assert_array_equal(np.array([x[0, 0], x[1, 1]]), data[[0, 1], [0, 1]])
    assert_array_equal(np.argsort(x), np.argsort(data))
    assert_allclose(np.linalg.norm(x), np.linalg.norm(data))
    assert_array_equal(x, data)
    for function in (np.sum, np.mean, np.max, np.transpose, np.argmax, np.ravel, np.median, np.std):
        assert_allclose(np.asarray(function(x)), function(data), rtol=1e-5)
    assert_allclose(np.asarray(np.max(x, axis=1, keepdims=True)), data.max(axis=1, keepdims=True))
    with pytest.raises(TypeError):
        np.exp(x)  # would lose the gradient in silence


def test_an_array_of_a_tensor_is_a_copy_if_asked(array):
    x = Tensor(np.ones(3))
    assert np.asarray(x) is x.data and np.asarray(x, copy=False) is x.data
    assert not np.shares_memory(np.array(x), x.data)
    assert not np.shares_memory(np.array(x, copy=True), x.data)


def test_a_list_of_tensors_is_not_cut_off_in_silence(tensor):
    x = tensor(np.ones(3))
    for data in (x, [x], [x, 1.0], (x, x), [[x[0], x[1]], [x[2], 0.0]]):
        with pytest.raises(TypeError, match=r"detach\(\).*concat"):
            Tensor(data)
    with pytest.raises(TypeError, match="concat"):
        ops.sum([x[0], x[1]])


@pytest.mark.parametrize("use", [Tensor, lambda none: Tensor([1.0]) + none])
def test_none_is_refused(use):
    # NumPy would make NaN of it; a function that forgot its `return` is enough.
    with pytest.raises(TypeError, match="None"):
        use(None)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_element_is_a_number(shape, tensor):
    x = tensor(np.full(shape, 2.5))
    assert float(x) == 2.5 and type(float(x)) is float and f"{float(x):.1f}" == "2.5"
    assert np.sqrt(float(x * x)) == 2.5
    assert bool(x) is True and bool(x * 0) is False and bool(Tensor(np.zeros((1, 1)))) is False


@pytest.mark.parametrize("convert", [bool, float, Tensor.item, lambda x: not x, lambda x: x and x])
@pytest.mark.parametrize("shape", [(2,), (1, 2), (0,), (3, 1)])
def test_several_elements_are_no_number(convert, shape, tensor):
    with pytest.raises(ValueError, match=rf"shape \({shape[0]},.*not one number: reduce"):
        convert(tensor(np.zeros(shape)))


COMPARISONS = {
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b, "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
}  # fmt: skip


@pytest.mark.parametrize("symbol", COMPARISONS)
def test_comparisons_are_arrays(symbol, tensor, array):
    compare, x = COMPARISONS[symbol], np.array([[1.0, 2.0, 3.0], [3.0, 2.0, np.nan]])
    others = [2.0, 2, np.float32(2), np.int64(2), np.array([1.0, 2.0, 2.5])]
    for y in others:
        on_device = array(y) if isinstance(y, np.ndarray) else y
        for found, expected in [
            (compare(tensor(x), on_device), compare(x, y)),
            (compare(on_device, tensor(x)), compare(y, x)),
        ]:
            assert type(found) is type(array(x)) and found.dtype == bool
            assert_array_equal(host(found), expected)
    assert_array_equal(host(compare(tensor(x), tensor(x[::-1].copy()))), compare(x, x[::-1]))
    assert_array_equal(host(tensor(x) * compare(tensor(x), 2)), x * compare(x, 2))


def test_tensors_are_told_apart_by_themselves_in_sets_and_dicts(tensor):
    one, same = tensor(np.ones(2)), tensor(np.ones(2))
    assert len({one, same}) == 2 and {one: 1, same: 2}[same] == 2
    assert one in {one} and same not in {one}


# --- the tape keeps what it saw -------------------------------------------------------------------


def images(rng):
    return rng.standard_normal((2, 4, 4, 3)), rng.standard_normal((3, 3, 3, 3))


def rows(rng):
    return rng.standard_normal((4, 3)), rng.standard_normal((4, 3))


# operation of two tensors, and what draws them
SEEN = {
    "+": (lambda x, w: x + w, rows),
    "-": (lambda x, w: x - w, rows),
    "*": (lambda x, w: x * w, rows),
    "/": (lambda x, w: x / w, rows),
    "broadcast": (lambda x, w: x * w[0] + w[1], rows),
    "**": (lambda x, w: (x * x) ** 1.5 + w**-1, rows),
    "@": (lambda x, w: x @ w.T, rows),
    "1-D @": (lambda x, w: x @ w[0], rows),
    "activations": (lambda x, w: ops.tanh(x) * ops.sigmoid(w) + ops.softplus(x), rows),
    "relu": (lambda x, w: ops.relu(x) + ops.leaky_relu(w) + ops.abs(x), rows),
    "exp and log": (lambda x, w: ops.exp(x) + ops.log(w * w), rows),
    "softmax": (lambda x, w: ops.softmax(x) * ops.log_softmax(w, axis=0), rows),
    "reductions": (lambda x, w: x.sum(0) + w.mean(0) + x.max(0), rows),
    "views": (lambda x, w: x.reshape(3, 4) * w.T + ops.concat([x, w])[:3, 1:5], rows),
    "batch_norm": (lambda x, w: ops.batch_norm(x, w[0], w[1]), rows),
    "batch_norm of running statistics": (
        lambda x, w: ops.batch_norm(x, w[0], w[1], np.ones(3), np.full(3, 2.0), training=False),
        rows,
    ),
    "conv2d": (ops.conv2d, images),
    "conv_transpose2d": (ops.conv_transpose2d, images),
}


def grads_of(name, rng, meanwhile):
    """Gradients of an operation of leaves x and w to which something happens before backward()."""
    function, draw = SEEN[name]
    leaves = [Tensor(a, requires_grad=True) for a in draw(rng)]
    y = function(*leaves)
    meanwhile(leaves)
    y.backward(np.arange(1.0, y.data.size + 1).reshape(y.shape))
    return [leaf.grad for leaf in leaves]


def assign_others(leaves):
    for leaf in leaves:
        leaf.data = leaf.data - 1.9


def assign_other_shapes(leaves):
    for leaf in leaves:
        leaf.data = np.zeros((1, 2, 5))


def take_a_step(leaves):
    for leaf in leaves:
        leaf.grad = np.ones_like(leaf.data)
    adam = optim.Adam(leaves, lr=0.5)
    for _ in range(3):
        adam.step()
    adam.zero_grad()


@pytest.mark.parametrize("meanwhile", [assign_others, assign_other_shapes, take_a_step])
@pytest.mark.parametrize("name", SEEN)
def test_what_becomes_of_a_leaf_later_changes_no_gradient(name, meanwhile):
    seed = 5
    expected = grads_of(name, np.random.default_rng(seed), lambda leaves: None)
    found = grads_of(name, np.random.default_rng(seed), meanwhile)
    for one, other in zip(found, expected, strict=True):
        assert_array_equal(one, other)


def test_two_backward_passes_with_a_step_between(tensor):
    w, x = tensor(np.array([2.0])), tensor(np.array([3.0]))
    y = (w * w * x).sum()
    y.backward()
    adam = optim.Adam([w], lr=0.5)
    adam.step()
    assert_allclose(host(w), 1.5)
    adam.zero_grad()
    y.backward()
    assert_array_equal(host(w.grad), [12.0])  # 2 w x at the w that the tape saw
    assert_array_equal(host(x.grad), [8.0])


@pytest.mark.parametrize("hold", [
    lambda w: w.data, lambda w: w.detach(), lambda w: w.data.reshape(-1)[1:], lambda w: w.numpy(),
    lambda w: np.asarray(w), lambda w: ops.reshape(w, -1), lambda w: w * w,
])  # fmt: skip
def test_a_step_leaves_alone_what_others_hold(hold):
    w = Tensor(np.full((2, 3), 2.0), requires_grad=True)
    w.grad = np.ones((2, 3))
    held = hold(w)
    before = np.array(held)
    optim.Adam([w], lr=0.5).step()
    assert_array_equal(held, before)
    assert_allclose(w.data, 1.5)


def test_a_step_is_in_place_if_nobody_looks(tensor):
    # Otherwise it would take new memory; and a CUDA graph knows arrays by their places.
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    adam = optim.Adam(module.parameters(), lr=0.1)
    for turn in range(4):
        loss = ops.mean(module(Tensor(np.ones((5, 3)))) ** 2)
        loss.backward(retain_graph=False)
        places = [p.data.ctypes.data for p in module.parameters()]
        adam.step()
        assert [p.data.ctypes.data for p in module.parameters()] == places, turn


# --- gradients meet -------------------------------------------------------------------------------


def test_a_tensor_used_twice_adds_up_its_gradients(tensor):
    a = tensor(np.array([3.0]))
    b = a + a
    c = b + b
    c.backward()
    assert_array_equal(host(a.grad), [4.0])


def test_diamond_visits_a_shared_node_once_and_after_all_its_users(tensor):
    # A long and a short way from x to the end: x's turn must wait for the long one.
    x = tensor(np.array([2.0]))
    square = x * x
    long = ((square * 3.0) + 1.0) * 2.0
    (long * square).backward()  # (6 x^2 + 2) x^2
    assert_allclose(host(x.grad), [24 * 2.0**3 + 4 * 2.0])


def test_a_fresh_graph_adds_to_the_gradient(tensor):
    x = tensor(np.array([1.0, 2.0]))
    ops.sum(x * 3.0).backward()
    ops.sum(x * x).backward()
    assert_allclose(host(x.grad), [3 + 2, 3 + 4])


def test_backward_twice_through_one_graph_doubles_every_leaf(tensor, rng):
    # micrograd's way, gradients kept in the nodes between, gives three times the gradient here.
    x, w = tensor(rng.standard_normal((4, 3))), tensor(rng.standard_normal((3, 2)))
    hidden = ops.tanh(x @ w)
    y = ops.sum(hidden * hidden + hidden)
    y.backward()
    once = [host(x.grad).copy(), host(w.grad).copy()]
    assert all(np.abs(gradient).min() > 0 for gradient in once)
    y.backward()
    assert_allclose(host(x.grad), 2 * once[0], rtol=1e-14)
    assert_allclose(host(w.grad), 2 * once[1], rtol=1e-14)


def test_backward_from_two_ends_of_one_graph(tensor):
    x = tensor(np.array([3.0]))
    shared = x * x
    first, second = shared * 2.0, shared * 5.0
    first.backward()
    second.backward()
    assert_array_equal(host(x.grad), [2 * 2 * 3 + 5 * 2 * 3])


def test_gradients_are_nobody_elses_memory(tensor, array):
    # The derivative of + is its own cotangent, handed on: writing to one gradient, as adding in
    # place would, must not reach another one, nor what the caller passed in.
    a, b = tensor(np.zeros(3)), tensor(np.zeros(3))
    cotangent = array(np.array([1.0, 2.0, 3.0]))
    c = a + b
    c.backward(cotangent)
    c.backward(cotangent)
    assert_array_equal(host(cotangent), [1, 2, 3])
    a.grad[...] = -1.0
    assert_array_equal(host(b.grad), [2, 4, 6])
    assert_array_equal(host(cotangent), [1, 2, 3])


@pytest.mark.parametrize("reduce", [ops.sum, ops.mean])
def test_a_gradient_can_be_written_to(reduce, tensor):
    # As for clipping it; that of a sum is one number repeated.
    x = tensor(np.ones((3, 4)))
    reduce(x).backward()
    once = host(x.grad).copy()
    x.grad *= 0.5
    assert_array_equal(host(x.grad), 0.5 * once)


def test_adding_to_a_gradient_leaves_what_it_was_alone(tensor):
    # A caller may have kept it, to compare with, say.
    x = tensor(np.array([1.0, 2.0]))
    ops.sum(x * 3.0).backward()
    kept = x.grad
    ops.sum(x * 3.0).backward()
    assert_array_equal(host(kept), [3.0, 3.0])
    assert_array_equal(host(x.grad), [6.0, 6.0])


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        lambda x: x.reshape((3, 2)),
        lambda x: x.transpose(),
        lambda x: x + 0.0,
        lambda x: x - 0.0,
        lambda x: ops.concat([x, x], axis=0),
        lambda x: x[:],
        lambda x: ops.sum(x),
    ],
)
def test_a_gradient_does_not_share_memory_with_the_cotangent(tensor, array, view):
    x = tensor(np.zeros((2, 3)))
    y = view(x)
    cotangent = array(np.ones(y.shape))
    y.backward(cotangent)
    expected = host(x.grad).copy()
    cotangent[...] = 7.0
    assert_array_equal(host(x.grad), expected)


def test_random_graphs_against_numbers(tensor, rng):
    # A hundred random nodes, each of two earlier ones: whatever the order of the walk gets wrong.
    picks = [rng.integers(0, 2 + k, 2) for k in range(100)]

    def build(x, y):
        nodes = [x, y]
        for k, (i, j) in enumerate(picks):
            a, b = nodes[i], nodes[j]
            nodes.append((a * b, a + b, a - b)[k % 3] * 0.7)
        return sum(nodes[1:], nodes[0])

    x, y = np.array([0.3]), np.array([-0.4])
    leaves = tensor(x), tensor(y)
    ops.sum(build(*leaves)).backward()
    step = 1e-6
    for leaf, (dx, dy) in zip(leaves, [(step, 0), (0, step)], strict=True):
        slope = (build(x + dx, y + dy) - build(x - dx, y - dy)) / (2 * step)
        assert_allclose(host(leaf.grad), slope, rtol=1e-6)


def test_a_chain_of_ten_thousand_operations(tensor):
    # Far past the interpreter's recursion limit: backward must not recurse, nor the release.
    x = tensor(np.array([1.0]))
    y = x
    for _ in range(10_000):
        y = y * 1.0001
    y.backward()
    assert_allclose(host(x.grad), [1.0001**10_000], rtol=1e-9)
    del y


def test_shared_nodes_are_walked_once(tensor):
    # There are 2**60 ways from the end to x.
    x = tensor(np.array([1.0]))
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert_array_equal(host(x.grad), [2.0**60])


# --- the shape of things --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4,), (1, 4), (3, 1), (1, 1), (), (3, 4), (1, 3, 4)])
def test_broadcast_gradients_are_summed_back_to_the_input_shape(tensor, rng, shape):
    x, y = rng.standard_normal(shape), rng.standard_normal((2, 3, 4))
    for swapped in (False, True):
        a, b = tensor(x), tensor(y)
        (b * a if swapped else a * b).backward(b.data)
        assert a.grad.shape == shape
        expected = np.zeros(shape)
        padded = expected.reshape((1,) * (3 - len(shape)) + shape)
        for index in np.ndindex(y.shape):
            at = tuple(i if n > 1 else 0 for i, n in zip(index, padded.shape, strict=True))
            padded[at] += y[index] ** 2
        assert_allclose(host(a.grad), expected)
        assert b.grad.shape == y.shape


@pytest.mark.parametrize("shape", [(2,), (1, 2), (2, 1, 1)])
def test_backward_of_several_elements_needs_a_cotangent(tensor, shape):
    y = tensor(np.ones(shape)) * 2.0
    with pytest.raises(ValueError, match="grad"):
        y.backward()


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_backward_of_a_single_element_needs_none(tensor, shape):
    x = tensor(np.ones(shape))
    (x * 2.0).backward()
    assert_array_equal(host(x.grad), np.full(shape, 2.0))


def test_a_cotangent_of_another_shape_is_refused(tensor, array):
    x = tensor(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"\(3,\).*\(2, 3\)"):
        (x * 2.0).backward(array(np.ones(3)))
    assert x.grad is None


def test_backward_from_a_leaf(tensor):
    x = tensor(np.array(5.0))
    x.backward()
    x.backward()
    assert_array_equal(host(x.grad), 2.0)
    assert type(x.grad) is type(x.data)  # not a scalar, although NumPy's sums of no axes are


# --- who gets a gradient --------------------------------------------------------------------------


def test_only_leaves_keep_a_gradient(tensor):
    x = tensor(np.array([2.0]))
    y = x * x
    z = y * 3.0
    z.backward()
    assert x.grad is not None
    assert y.grad is None and z.grad is None


def test_frozen_parameters_get_none_and_what_is_below_them_still_does(tensor, rng):
    x, w = tensor(rng.standard_normal((2, 3))), tensor(rng.standard_normal((3, 4)))
    w.requires_grad = False
    ops.sum(x @ w).backward()
    assert w.grad is None
    assert_allclose(host(x.grad), np.tile(host(w).sum(axis=1), (2, 1)))
    w.requires_grad = True  # and thawed again
    ops.sum(x @ w).backward()
    assert_allclose(host(w.grad), np.tile(host(x).sum(axis=0)[:, None], (1, 4)))


@pytest.mark.parametrize("operation", [ops.exp, lambda x: x[:1], lambda x: x * x, ops.sum])
def test_a_leaf_frozen_after_its_use_gets_none(operation, tensor):
    x = tensor(np.ones(2))
    y = ops.sum(operation(x))
    x.requires_grad = False
    y.backward()
    assert x.grad is None


def test_nothing_is_recorded_where_nothing_asks(tensor):
    x = tensor(np.ones(3), requires_grad=False)
    y = ops.sum(x * 2.0 + x)
    assert not y.requires_grad
    with pytest.raises(RuntimeError):
        y.backward()
    assert x.grad is None


def test_detach_cuts_the_tape_and_shares_the_data(tensor):
    x = tensor(np.array([3.0]))
    cut = (x * 2.0).detach()
    assert not cut.requires_grad
    assert x.detach().data is x.data
    (x * cut).backward()
    assert_array_equal(host(x.grad), [6.0])  # not 12: the cut factor is a constant


def test_no_grad_records_nothing_and_nests(tensor):
    x = tensor(np.array([2.0]))
    with no_grad():
        with no_grad():
            assert not (x * x).requires_grad
        assert not (x * x).requires_grad  # the inner exit must not switch recording on
    assert (x * x).requires_grad
    assert x.requires_grad


def test_no_grad_is_for_its_own_thread(tensor):
    x, inside, outside = tensor(np.array([2.0])), threading.Event(), threading.Event()

    def other():
        with no_grad():
            inside.set()
            outside.wait(9)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(9)
    with no_grad():
        outside.set()
        thread.join()
    assert (x * x).requires_grad


def test_no_grad_ends_with_an_exception(tensor):
    x = tensor(np.array([2.0]))
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert (x * x).requires_grad


def test_no_grad_results_are_constants_of_later_graphs(tensor):
    x = tensor(np.array([3.0]))
    with no_grad():
        constant = x * x
    (x * constant).backward()
    assert_array_equal(host(x.grad), [9.0])


def test_first_order_only(tensor):
    # A gradient carries no tape, so a second derivative cannot silently come out wrong.
    x = tensor(np.array([3.0]))
    y = x * x
    y.backward()
    assert not isinstance(x.grad, Tensor) and type(x.grad) is type(x.data)
    with pytest.raises(RuntimeError, match="second"):
        (x * x).backward(tensor(np.array([1.0])))


# --- memory ---------------------------------------------------------------------------------------


@pytest.fixture
def no_collector():
    """Reference counts alone must free the tape; a cycle would wait for the collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("walked", [False, True])
def test_the_tape_goes_with_the_last_name(tensor, no_collector, walked):
    x, w = tensor(np.ones((2, 3))), tensor(np.ones((3, 3)))
    gamma, beta = tensor(np.ones(3)), tensor(np.zeros(3))
    kernel = tensor(np.ones((1, 1, 3, 3)))

    first = ops.tanh(x @ w)
    second = ops.batch_norm(first * first + x, gamma, beta)
    third = ops.conv2d(second.reshape((2, 1, 1, 3)), kernel)
    third = ops.conv_transpose2d(third, kernel)[:, 0, 0, :]
    loss = ops.mean(ops.log_softmax(third) - ops.softplus(-third))
    alive = [weakref.ref(it) for t in (first, second, third, loss) for it in (t, t.data)]
    if walked:
        loss.backward()
    del first, second, third
    assert alive[-1]() is not None
    del loss
    assert [it() for it in alive] == [None] * len(alive)
    assert (x.grad is not None) == walked


def test_intermediate_gradients_are_dropped_during_the_walk(tensor, no_collector):
    # Otherwise the backward pass of a deep network holds every gradient on the way at once.
    seen = []

    def spy(x):
        def backward(grad):
            assert [ref() for ref in seen] == [None] * len(seen), "an old gradient is still held"
            seen.append(weakref.ref(grad))
            return (grad * 2.0,)

        return record(x.data * 2.0, (x,), backward)

    x = tensor(np.ones(3))
    ops.sum(spy(spy(spy(x)) * 3.0)).backward()
    assert len(seen) == 3
    assert_array_equal(host(x.grad), np.full(3, 24.0))


def test_a_result_in_use_is_never_overwritten(tensor, rng):
    # Large results may be written into memory that earlier ones left; a view counts as use.
    x = tensor(rng.standard_normal((512, 1024)).astype(np.float32), requires_grad=False)
    first = ops.relu(x)
    corner = first.data[3:5, 7:9]
    expected = host(corner).copy()
    del first
    for k in range(4):
        ops.relu(x * float(k) - 3.0).sum()
    assert_array_equal(host(corner), expected)


def test_memory_of_large_results_is_used_again(tensor, device):
    if device != "cpu":
        pytest.skip("CuPy keeps a pool of its own")
    x = tensor(np.ones((512, 1024), np.float32), requires_grad=False)
    places = {ops.relu(x).data.__array_interface__["data"][0] for _ in range(20)}
    assert len(places) <= 2


def test_a_graph_that_is_not_retained_is_freed(tensor):
    x = tensor(np.arange(3.0))
    y = x * x
    z = (y * 2).sum()
    z.backward(retain_graph=False)
    assert_array_equal(host(x.grad), 4 * np.arange(3.0))
    for result in (z, y):
        with pytest.raises(RuntimeError, match="has freed"):
            result.backward(result.data)
    assert_array_equal(host(x.grad), 4 * np.arange(3.0))


def test_operations_let_go_free_what_they_saved(tensor):
    """When a chain of squares has been walked back to its start, the later ones are gone."""
    seen, alive = [], []
    y = first = tensor(np.arange(3.0)) * 1.0
    for _ in range(4):
        y = y * y
        alive.append(weakref.ref(y))
    inner = first._backward
    first._backward = lambda g: (seen.append([r() is None for r in alive]), inner(g))[1]
    y.backward(np.ones(3), retain_graph=False)
    assert seen == [[True, True, True, False]]  # the last one has a name here
