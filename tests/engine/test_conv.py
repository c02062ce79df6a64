"""Convolutions against loops, against each other, and against numeric gradients."""

import numpy as np
import pytest
import references
from numpy.testing import assert_allclose, assert_array_equal
from references import host

from tinyinfogan.engine import grad_check, ops
from tinyinfogan.engine.fast import conv
from tinyinfogan.engine.fast import threads as threads_room

#    (N, H, W, C), (KH, KW), C_out, stride, padding
CASES = [
    ((2, 5, 5, 2), (3, 3), 3, 1, 1),  # the size is kept
    ((1, 4, 4, 1), (1, 1), 1, 1, 0),  # 1×1, one image, one channel
    ((2, 4, 3, 3), (1, 1), 2, 2, 0),  # 1×1 that steps over pixels
    ((1, 3, 3, 1), (1, 1), 2, 1, 2),  # some outputs see padding only
    ((2, 4, 4, 2), (2, 2), 2, 2, 0),  # windows tile
    ((2, 5, 4, 2), (2, 2), 1, 1, 0),
    ((1, 5, 5, 2), (2, 2), 2, 2, 0),  # the last row and column are in no window
    ((1, 7, 6, 1), (2, 2), 2, 3, 0),  # nor are some between
    ((2, 6, 6, 2), (4, 4), 2, 2, 1),  # the paper's: overlapping, halves the size
    ((1, 5, 5, 1), (4, 4), 2, 1, 2),
    ((2, 6, 5, 1), (3, 3), 2, 2, 1),
    ((1, 8, 7, 2), (3, 3), 1, 3, 1),
    ((1, 6, 6, 1), (5, 5), 2, 1, 2),
    ((1, 5, 7, 2), (5, 5), 1, 2, 1),
    ((1, 5, 5, 1), (5, 5), 1, 1, 0),  # a single window
    ((2, 4, 6, 2), (2, 3), 2, 1, 0),  # not square, either way, where H and W could be mixed up
    ((1, 6, 4, 2), (3, 1), 2, 1, 1),
    ((1, 5, 6, 2), (1, 4), 3, 2, 1),
    ((1, 7, 5, 1), (5, 2), 2, 3, 2),
    ((3, 1, 1, 4), (1, 1), 2, 1, 0),  # a dense layer
    ((1, 2, 2, 2), (4, 4), 2, 1, 1),  # the kernel fits only thanks to the padding
    # With many channels patches are added up in longer runs, whole strides at a time.
    ((1, 4, 4, 8), (4, 4), 8, 2, 1),
    ((1, 5, 4, 8), (5, 3), 9, 2, 2),  # sides that are no multiple of the stride
    ((1, 5, 7, 6), (2, 4), 7, 3, 0),
    ((1, 5, 5, 8), (1, 1), 8, 2, 0),
    ((2, 3, 4, 16), (2, 3), 16, 1, 1),
]
OPERATIONS = {"conv2d": ops.conv2d, "conv_transpose2d": ops.conv_transpose2d}
each_operation = pytest.mark.parametrize("name", OPERATIONS)


def _comes_out(name, shape, kernel, channels, stride, padding):
    """Whether there is an output: a transposed convolution's padding can crop everything."""
    sides = zip(shape[1:3], kernel, strict=True)
    return name == "conv2d" or all((n - 1) * stride - 2 * padding + k >= 1 for n, k in sides)


each_case = pytest.mark.parametrize("shape, kernel, channels, stride, padding", CASES)
each_case_of_both = pytest.mark.parametrize(
    "name, shape, kernel, channels, stride, padding",
    [(name, *case) for name in OPERATIONS for case in CASES if _comes_out(name, *case)],
)


def draw(name, rng, shape, kernel, channels):
    """x, and the weight in the operation's own layout."""
    pair = (shape[3], channels) if name == "conv2d" else (channels, shape[3])
    return rng.standard_normal(shape), rng.standard_normal((*kernel, *pair))


@each_case_of_both
def test_values_against_loops(name, shape, kernel, channels, stride, padding, rng, tensor):
    x, weight = draw(name, rng, shape, kernel, channels)
    expected = getattr(references, name)(x, weight, stride, padding)
    for dtype, rtol in ((np.float64, 1e-12), (np.float32, 1e-4)):
        inputs = tensor(x.astype(dtype)), tensor(weight.astype(dtype))
        result = OPERATIONS[name](*inputs, stride=stride, padding=padding)
        assert result.dtype == dtype and result.shape == expected.shape
        assert_allclose(host(result), expected, rtol=rtol, atol=rtol)
        result.backward(result.data)
        for leaf in inputs:
            assert leaf.grad.dtype == dtype and leaf.grad.shape == leaf.shape


@each_case_of_both
def test_gradients(name, shape, kernel, channels, stride, padding, rng, tensor):
    inputs = [tensor(a) for a in draw(name, rng, shape, kernel, channels)]
    assert grad_check(lambda x, w: OPERATIONS[name](x, w, stride, padding), inputs, rng=rng) <= 1e-6


@each_operation
def test_gradients_element_by_element(name, rng, tensor, array):
    # Windows that overlap and do not tile, against loops alone.
    arrays = draw(name, rng, (1, 4, 3, 2), (3, 2), 2)
    inputs = [tensor(a) for a in arrays]
    result = OPERATIONS[name](*inputs, 2, 1)
    cotangent = rng.standard_normal(result.shape)
    result.backward(array(cotangent))
    expected = references.numeric_gradients(
        lambda x, w: getattr(references, name)(x, w, 2, 1), arrays, cotangent
    )
    for leaf, gradient in zip(inputs, expected, strict=True):
        assert_allclose(host(leaf.grad), gradient, rtol=1e-6, atol=1e-8)


@each_case
def test_each_is_the_adjoint_of_the_other(shape, kernel, channels, stride, padding, rng, tensor):
    # <conv(x, w), y> = <x, conv_transpose(y, w)> with the very same w: the weight layouts' point.
    N, H, W, C = shape
    # What no window reaches does not come back either: cut x to where the windows end.
    H, W = (
        (n + 2 * padding - k) // stride * stride + k - 2 * padding
        for n, k in zip((H, W), kernel, strict=True)
    )
    x = rng.standard_normal((N, H, W, C))
    w = tensor(rng.standard_normal((*kernel, C, channels)))
    there = ops.conv2d(tensor(x), w, stride, padding)
    y = rng.standard_normal(there.shape)
    back = ops.conv_transpose2d(tensor(y), w, stride, padding)
    assert back.shape == x.shape
    assert_allclose((host(there) * y).sum(), (x * host(back)).sum(), rtol=1e-10)


@pytest.mark.parametrize("stride, padding, more", [(2, 1, 1), (3, 0, 2), (3, 2, 1), (2, 0, 0)])
def test_output_padding_says_which_size(stride, padding, more, rng, tensor):
    # conv2d takes `stride` sizes to the same one: the adjoint of each.
    x, w = draw("conv_transpose2d", rng, (2, 4, 3, 2), (4, 3), 3)
    expected = references.conv_transpose2d(x, w, stride, padding, more)
    inputs = tensor(x), tensor(w)
    result = ops.conv_transpose2d(*inputs, stride, padding, more)
    assert_allclose(host(result), expected, rtol=1e-12, atol=1e-12)
    assert ops.conv2d(result, tensor(w), stride, padding).shape == x.shape

    def function(x, w):
        return ops.conv_transpose2d(x, w, stride, padding, more)

    assert grad_check(function, inputs, rng=rng) <= 1e-6


@pytest.mark.parametrize("more", [-1, 2, 3])
def test_output_padding_out_of_range(more, tensor):
    x, w = tensor(np.ones((1, 4, 4, 1))), tensor(np.ones((2, 2, 1, 1)))
    with pytest.raises(ValueError, match=f"output_padding is {more}, expected 0 to 1"):
        ops.conv_transpose2d(x, w, stride=2, output_padding=more)


@each_operation
def test_defaults_are_stride_1_and_no_padding(name, rng, tensor):
    x, w = draw(name, rng, (1, 4, 4, 2), (3, 3), 2)
    expected = getattr(references, name)(x, w, 1, 0)
    assert_allclose(host(OPERATIONS[name](tensor(x), tensor(w))), expected, rtol=1e-12, atol=1e-12)


@each_operation
def test_layouts_other_than_contiguous(name, rng, tensor):
    # The patches are views by strides, so a transposed or reversed input is where they could slip;
    # the gradient that comes back is transposed as well.
    def function(x, w):
        x, w = ops.transpose(x, (3, 2, 1, 0))[:, ::-1], ops.transpose(w, (1, 0, 3, 2))
        return ops.transpose(OPERATIONS[name](x, w, 2, 1), (0, 3, 1, 2))

    x, w = rng.standard_normal((2, 4, 5, 3)), rng.standard_normal((3, 2, 2, 2))
    expected = getattr(references, name)(x.T[:, ::-1], w.transpose(1, 0, 3, 2), 2, 1)
    inputs = tensor(x), tensor(w)
    assert_allclose(host(function(*inputs)), expected.transpose(0, 3, 1, 2), rtol=1e-12)
    assert grad_check(function, inputs, rng=rng) <= 1e-6


@each_operation
@pytest.mark.parametrize("asking", [0, 1])
def test_only_what_asks_gets_a_gradient(name, asking, rng, tensor):
    arrays = draw(name, rng, (2, 4, 4, 2), (3, 3), 2)
    both = [tensor(a) for a in arrays]
    one = [tensor(a, requires_grad=k == asking) for k, a in enumerate(arrays)]
    for inputs in (both, one):
        result = OPERATIONS[name](*inputs, 2, 1)
        result.backward(result.data)
    assert one[1 - asking].grad is None
    assert_array_equal(host(one[asking].grad), host(both[asking].grad))


@each_operation
def test_frozen_before_the_backward_pass(name, rng, tensor):
    inputs = [tensor(a) for a in draw(name, rng, (2, 4, 4, 2), (3, 3), 2)]
    result = OPERATIONS[name](*inputs, 2, 1)
    inputs[1].requires_grad = False
    result.backward(result.data)
    assert inputs[0].grad is not None
    assert inputs[1].grad is None


@each_operation
def test_frozen_during_the_forward_pass_only(name, rng, tensor):
    # What a frozen weight's gradient would need was not kept; x's must still be right.
    arrays = draw(name, rng, (2, 4, 4, 2), (3, 3), 2)
    x, w = (tensor(a) for a in arrays)
    w.requires_grad = False
    result = OPERATIONS[name](x, w, 2, 1)
    w.requires_grad = True
    result.backward(result.data)
    other = tensor(arrays[0])
    result = OPERATIONS[name](other, tensor(arrays[1]), 2, 1)
    result.backward(result.data)
    assert_array_equal(host(x.grad), host(other.grad))


@each_operation
def test_arrays_are_constant_inputs(name, rng, tensor, array):
    x, w = draw(name, rng, (1, 4, 4, 2), (2, 2), 2)
    expected = getattr(references, name)(x, w, 2, 0)
    for inputs in ((array(x), tensor(w)), (tensor(x), array(w))):
        result = OPERATIONS[name](*inputs, 2)
        assert_allclose(host(result), expected, rtol=1e-12)
        assert result.requires_grad


@each_operation
@pytest.mark.parametrize("threads, channels", [(1, 4), (3, 4), (3, 16)])
def test_large_batches_are_the_images_one_by_one(name, threads, channels, rng, tensor, monkeypatch):
    # Threads share the images, and each takes a few at a time.
    monkeypatch.setattr(threads_room, "count", threads)
    monkeypatch.setattr(conv, "COLUMNS", 2 * 20 * 20 * 9 * channels)
    x, w = draw(name, rng, (7, 20, 20, channels), (3, 3), channels)

    def run(images):
        leaf, weight = tensor(images), tensor(w)
        result = OPERATIONS[name](leaf, weight, 1, 1)
        result.backward(result.data)
        return host(result), host(leaf.grad), host(weight.grad)

    result, dx, dw = run(x)
    singles = [run(x[n : n + 1]) for n in range(len(x))]
    assert_allclose(result, np.concatenate([one[0] for one in singles]), rtol=1e-9, atol=1e-11)
    assert_allclose(dx, np.concatenate([one[1] for one in singles]), rtol=1e-9, atol=1e-10)
    assert_allclose(dw, sum(one[2] for one in singles), rtol=1e-9, atol=1e-8)


# --- wrong shapes ---------------------------------------------------------------------------------


@each_operation
@pytest.mark.parametrize(
    "x, weight",
    [
        ((1, 5, 5, 3), (3, 3, 2, 4)),  # channels differ, in either layout
        ((5, 5, 3), (3, 3, 3, 3)),  # one image without its N
        ((1, 5, 5, 3), (3, 3, 3)),
    ],
)
def test_shapes_that_do_not_fit_are_named(name, x, weight, tensor):
    with pytest.raises(ValueError) as caught:
        OPERATIONS[name](tensor(np.ones(x)), tensor(np.ones(weight)))
    assert str(x) in str(caught.value) and str(weight) in str(caught.value)


@pytest.mark.parametrize("name, axis", [("conv2d", 2), ("conv_transpose2d", 3)])
def test_the_input_channels_are_where_the_layout_says(name, axis, tensor):
    # conv2d takes (KH, KW, C_in, C_out) and conv_transpose2d (KH, KW, C_out, C_in).
    shape = [3, 3, 5, 5]
    shape[axis] = 2
    x, w = tensor(np.ones((1, 4, 4, 2))), tensor(np.ones(shape))
    assert OPERATIONS[name](x, w).shape[3] == 5
    other = {"conv2d": "conv_transpose2d", "conv_transpose2d": "conv2d"}[name]
    with pytest.raises(ValueError):
        OPERATIONS[other](x, w)


def test_sizes_that_leave_nothing(tensor):
    image, kernel = tensor(np.ones((1, 3, 4, 1))), tensor(np.ones((6, 2, 1, 1)))
    assert ops.conv2d(image, kernel, padding=2).shape == (1, 2, 7, 1)
    with pytest.raises(ValueError, match="6×2.*3×4.*padding 1"):
        ops.conv2d(image, kernel, padding=1)
    with pytest.raises(ValueError, match="3×4.*6×2"):
        ops.conv_transpose2d(image, kernel, padding=4)


@each_operation
def test_nothing_may_be_empty(name, tensor):
    for x, w in (((0, 4, 4, 1), (2, 2, 1, 1)), ((1, 4, 4, 0), (2, 2, 0, 0))):
        with pytest.raises(ValueError, match=f"{name}: .*neither may be empty"):
            OPERATIONS[name](tensor(np.ones(x)), tensor(np.ones(w)))


@each_operation
def test_the_wider_dtype_is_kept(name, tensor, rng):
    x, w = rng.random((1, 4, 4, 2), np.float32), rng.random((3, 3, 2, 2))
    mixed = OPERATIONS[name](tensor(x), tensor(w))
    assert mixed.dtype == np.float64
    np.testing.assert_allclose(mixed.numpy(), OPERATIONS[name](tensor(x + 0.0), tensor(w)).numpy())


@each_operation
@pytest.mark.parametrize("stride, padding", [(0, 0), (-1, 0), (1, -1)])
def test_stride_and_padding_out_of_range(name, stride, padding, tensor):
    x, w = tensor(np.ones((1, 4, 4, 1))), tensor(np.ones((2, 2, 1, 1)))
    with pytest.raises(ValueError, match=rf"stride {stride}\b.*padding {padding}\b"):
        OPERATIONS[name](x, w, stride, padding)
