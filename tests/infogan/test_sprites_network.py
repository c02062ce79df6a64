"""The networks for sprites: what is new in them is checked against its formula."""

import numpy as np
import pytest

from tinyinfogan.engine import Tensor, grad_check, ops
from tinyinfogan.infogan.latents import LatentSpec
from tinyinfogan.infogan.networks import Plan
from tinyinfogan.infogan.variants.sprites import Lines, SpectralConv2d, SpectralLinear, sprites


@pytest.fixture(params=["linear", "convolution"])
def layer_and_input(request, rng):
    """A spectral layer in float64 and an input that it takes."""
    if request.param == "linear":
        layer, x = SpectralLinear(5, 4, rng=rng), rng.standard_normal((3, 5))
    else:
        layer, x = SpectralConv2d(2, 4, 3, padding=1, rng=rng), rng.standard_normal((2, 3, 3, 2))
    layer.weight.data *= 50
    return layer.to(dtype=np.float64), Tensor(x, requires_grad=True)


def test_the_largest_singular_value_becomes_1(layer_and_input):
    layer, x = layer_and_input
    for _ in range(300):
        layer(x)
    normed = layer.normed().data.reshape(-1, 4)
    assert np.linalg.norm(normed, 2) == pytest.approx(1, abs=1e-6)
    ratio = normed / layer.weight.data.reshape(-1, 4)
    np.testing.assert_allclose(ratio, ratio[0, 0])


def test_gradients_go_through_sigma(layer_and_input):
    """With v held still, as in evaluation; in training v has moved before σ is taken."""
    layer, x = layer_and_input
    for _ in range(3):
        layer(x)  # v not yet the singular vector: the gradient does not rely on it
    layer.eval()
    assert grad_check(lambda *_: layer(x), [x, layer.weight, layer.bias]) < 1e-6


def test_a_second_pass_changes_no_gradient_of_the_first(layer_and_input):
    """D sees the generated images before the gradient of the real ones is taken."""
    layer, x = layer_and_input
    gradients, v = [], layer.state_dict()["direction"]
    for again in (False, True):
        v[...] = 1 / len(v) ** 0.5
        layer.weight.grad, y = None, layer(x)
        if again:
            layer(x)
        ops.sum(y * np.cos(np.arange(y.data.size)).reshape(y.shape)).backward()
        gradients.append(layer.weight.grad)
    np.testing.assert_array_equal(*gradients)


def test_v_moves_in_training_only_and_is_part_of_the_state(layer_and_input):
    layer, x = layer_and_input
    v = layer.state_dict()["direction"]
    before = v.copy()
    layer(x)
    assert np.abs(v - before).max() > 1e-3 and np.linalg.norm(v) == pytest.approx(1)
    before[...] = v
    layer.eval()(x)
    np.testing.assert_array_equal(v, before)


def test_lines_are_planes_over_rows_and_columns(rng):
    """Those of an example are all moved by its own r and s."""
    x = Tensor(rng.standard_normal((2, 11)), requires_grad=True)
    planes = Lines(5, 7)(x).data
    assert planes.shape == (2, 5, 7, 3)
    for n, h, w, c in np.ndindex(planes.shape):
        r, s = x.data[n, 9:]
        slopes = x.data[n, :9].reshape(3, 3)[:, c]
        assert planes[n, h, w, c] == pytest.approx(slopes @ [h / 2 - 1 - r, w / 3 - 1 - s, 1])
    assert grad_check(lambda x: Lines(5, 7)(x), [x]) < 1e-6


def test_first_weights_keep_the_size_of_what_passes_through_them():
    """Mean square before a dense layer of G and after its ReLU, on average over first weights."""
    rng, ratios = np.random.default_rng(0), []
    for _ in range(5):
        generator, _ = sprites(Plan(LatentSpec(5, (), 5), (64, 64, 1), 32, 128, 5, rng))
        for layer in generator.modules[5:10:2]:
            x = Tensor(rng.standard_normal((8, 3, 3, 64)))
            ratios.append(np.mean(ops.relu(layer(x)).data ** 2))
    assert np.mean(ratios) == pytest.approx(1, abs=0.1)
