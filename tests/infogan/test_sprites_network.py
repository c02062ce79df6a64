"""The networks for sprites: what is new in them is checked against its formula."""

import numpy as np
import pytest

from tinyinfogan.engine import Tensor, grad_check
from tinyinfogan.infogan.variants.sprites import Places, SpectralConv2d, SpectralLinear, Tile


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


def test_v_moves_in_training_only_and_is_part_of_the_state(layer_and_input):
    layer, x = layer_and_input
    v = layer.state_dict()["direction"]
    before = v.copy()
    layer(x)
    assert np.abs(v - before).max() > 1e-3 and np.linalg.norm(v) == pytest.approx(1)
    before[...] = v
    layer.eval()(x)
    np.testing.assert_array_equal(v, before)


def test_places_are_told_apart_by_their_coordinates(rng):
    """Each channel's bias is a plane over the rows and columns; all latents are everywhere."""
    tiled = Tile(5, 7)(Tensor(rng.standard_normal((2, 3))))
    assert tiled.shape == (2, 5, 7, 3) and np.ptp(tiled.data, axis=(1, 2)).max() == 0
    places = Places(5, 7, 3, rng)
    np.testing.assert_allclose(places(tiled).data - tiled.data,
                               np.broadcast_to(places.bias.data, tiled.shape))  # fmt: skip
    bias = places.bias.data
    np.testing.assert_allclose(np.diff(bias, 2, axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.diff(bias, 2, axis=1), 0, atol=1e-6)
    assert np.abs(np.diff(bias, axis=0)).min() > 0 < np.abs(np.diff(bias, axis=1)).min()
    x = Tensor(rng.standard_normal((2, 3)), requires_grad=True)
    places.to(dtype=np.float64)
    assert grad_check(lambda x, _: places(Tile(5, 7)(x)), [x, places.bias]) < 1e-6
