"""Layers: what they compute, what their arrays are called, saving, moving and freezing."""

from collections import OrderedDict, deque, namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import references
from numpy.testing import assert_allclose, assert_array_equal
from references import away_from_kinks, host

from tinyinfogan.engine import Tensor, grad_check, nn, ops, plain, primitives
from tinyinfogan.engine.device import array_module


def network(seed=0):
    """One of each layer with parameters: images (N, 6, 6, 2) to (N, 6, 6, 1)."""
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 4, stride=2, padding=1, bias=False, rng=rng),
        nn.BatchNorm(4),
        nn.LeakyReLU(),
        nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1, rng=rng),
        nn.Tanh(),
        nn.Linear(3, 1, rng=rng),
    )


def trained_state(module, rng):
    """Arrays of the module's names and shapes, of no particular values."""
    state = module.state_dict().items()
    return {name: rng.uniform(0.5, 2, a.shape).astype(a.dtype) for name, a in state}


def snapshot(module):
    return {name: host(array).copy() for name, array in module.state_dict().items()}


def assert_same_state(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert_array_equal(one[name], other[name], err_msg=name)


# --- what they compute ----------------------------------------------------------------------------

# layer, input shape, what it should compute from the input and its state's arrays by name
LAYERS = {
    "Linear": (
        lambda rng: nn.Linear(3, 5, rng=rng), (4, 3),
        lambda x, weight, bias: x @ weight + bias,
    ),
    "Linear without bias": (
        lambda rng: nn.Linear(3, 5, bias=False, rng=rng), (4, 3), lambda x, weight: x @ weight,
    ),
    "Conv2d": (
        lambda rng: nn.Conv2d(2, 3, 4, stride=2, padding=1, rng=rng), (2, 6, 6, 2),
        lambda x, weight, bias: references.conv2d(x, weight, 2, 1) + bias,
    ),
    "Conv2d without bias": (
        lambda rng: nn.Conv2d(2, 3, 3, bias=False, rng=rng), (1, 4, 5, 2),
        lambda x, weight: references.conv2d(x, weight),
    ),
    "Conv2d of two sides": (
        lambda rng: nn.Conv2d(1, 2, (3, 2), rng=rng), (1, 4, 4, 1),
        lambda x, weight, bias: references.conv2d(x, weight) + bias,
    ),
    "ConvTranspose2d": (
        lambda rng: nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1, rng=rng), (2, 3, 3, 2),
        lambda x, weight, bias: references.conv_transpose2d(x, weight, 2, 1) + bias,
    ),
    "ConvTranspose2d with output_padding": (
        lambda rng: nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, rng=rng, output_padding=1),
        (2, 3, 3, 2),
        lambda x, weight, bias: references.conv_transpose2d(x, weight, 2, 1, 1) + bias,
    ),
    "ConvTranspose2d without bias": (
        lambda rng: nn.ConvTranspose2d(3, 1, 2, bias=False, rng=rng), (1, 3, 2, 3),
        lambda x, weight: references.conv_transpose2d(x, weight),
    ),
    "BatchNorm": (
        lambda rng: nn.BatchNorm(3), (4, 2, 2, 3),
        lambda x, gamma, beta, **_: references.batch_norm(x, gamma, beta),
    ),
    "BatchNorm in eval": (
        lambda rng: nn.BatchNorm(3).eval(), (4, 3),
        lambda x, gamma, beta, running_mean, running_var: references.batch_norm(
            x, gamma, beta, running_mean, running_var
        ),
    ),
    "ReLU": (lambda rng: nn.ReLU(), (3, 4), lambda x: np.where(x > 0, x, 0)),
    "LeakyReLU": (lambda rng: nn.LeakyReLU(), (3, 4), lambda x: np.where(x > 0, x, 0.1 * x)),
    "LeakyReLU slope": (
        lambda rng: nn.LeakyReLU(slope=0.3), (3, 4), lambda x: np.where(x > 0, x, 0.3 * x),
    ),
    "Tanh": (lambda rng: nn.Tanh(), (3, 4), np.tanh),
    "Sigmoid": (lambda rng: nn.Sigmoid(), (3, 4), lambda x: 1 / (1 + np.exp(-x))),
    "Sequential": (
        lambda rng: nn.Sequential(nn.Tanh(), nn.Sigmoid()), (3, 4),
        lambda x: 1 / (1 + np.exp(-np.tanh(x))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_values_and_gradients_of_a_layer(name, rng, tensor, device):
    build, shape, reference = LAYERS[name]
    layer = build(rng).to(device, np.float64)
    layer.load_state_dict(trained_state(layer, rng))
    x = away_from_kinks(rng, shape)
    expected = reference(x, **snapshot(layer))
    assert_allclose(host(layer(tensor(x))), expected, rtol=1e-10, atol=1e-12)

    inputs = [tensor(x), *layer.parameters()]
    assert grad_check(lambda x, *parameters: layer(x), inputs, rng=rng) <= 1e-6


def test_gradients_through_a_whole_network(rng, tensor, device):
    module = network().to(device, np.float64)
    module.load_state_dict(trained_state(module, rng))
    inputs = [tensor(rng.standard_normal((2, 6, 6, 2))), *module.parameters()]
    assert len(inputs) == 1 + 7
    assert grad_check(lambda x, *parameters: module(x), inputs, rng=rng) <= 1e-6


# --- parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build, shape",
    [
        (lambda rng: nn.Linear(70, 80, rng=rng), (70, 80)),
        (lambda rng: nn.Conv2d(12, 24, 5, rng=rng), (5, 5, 12, 24)),
        (lambda rng: nn.ConvTranspose2d(12, 24, 5, rng=rng), (5, 5, 24, 12)),
    ],
)
def test_initial_weights(build, shape):
    layer = build(np.random.default_rng(3))
    weight = host(layer.weight)
    assert weight.shape == shape and weight.dtype == np.float32
    # More than 5,000 draws: their mean and spread are known to a few per cent.
    assert abs(weight.mean()) < 0.001
    assert weight.std() == pytest.approx(0.02, rel=0.05)
    assert 0.04 < np.abs(weight).max() < 0.12  # normal, neither cut off nor uniform
    assert_array_equal(host(layer.bias), np.zeros(len(host(layer.bias)), np.float32))
    # The generator decides, and moves on.
    same, other = build(np.random.default_rng(3)), build(np.random.default_rng(4))
    assert_array_equal(host(same.weight), weight)
    assert np.abs(host(other.weight) - weight).max() > 0.01
    rng = np.random.default_rng(3)
    assert_array_equal(host(build(rng).weight), weight)
    assert np.abs(host(build(rng).weight) - weight).max() > 0.01


def test_layers_without_a_generator_differ():
    assert np.abs(host(nn.Linear(8, 8).weight) - host(nn.Linear(8, 8).weight)).max() > 0


def test_parameters_are_leaves_each_once_in_a_fixed_order():
    module = network()
    shapes = [(4, 4, 2, 4), (4,), (4,), (4, 4, 3, 4), (3,), (3, 1), (1,)]
    assert [p.shape for p in module.parameters()] == shapes
    assert all(isinstance(p, Tensor) and p.requires_grad for p in module.parameters())
    assert all(a is b for a, b in zip(module.parameters(), module.parameters(), strict=True))
    shared = nn.Linear(2, 2)
    assert len(nn.Sequential(shared, nn.ReLU(), shared).parameters()) == 2


def test_a_module_of_ones_own():
    class Two(nn.Module):
        def __init__(self):
            self.scale = Tensor([3.0], requires_grad=True)
            self.heads = [nn.Linear(2, 1, bias=False), nn.Linear(2, 2, bias=False)]
            self.trunk = nn.Sequential(nn.BatchNorm(2))

        def forward(self, x):
            return self.scale * self.heads[0](self.trunk(x))

    module = Two()
    assert len(module.parameters()) == 1 + 2 + 2
    assert len(module.state_dict()) == 1 + 2 + 4
    assert module(Tensor(np.ones((4, 2)))).shape == (4, 1)
    module.eval()
    assert not module.trunk.modules[0].training


Pair = namedtuple("Pair", "first second")


def with_attribute(make):
    """A module whose attribute `held` is what `make` makes of two Linear layers and a Tensor."""
    one, two, scale = nn.Linear(2, 3), nn.Linear(3, 4), Tensor(np.ones(5), requires_grad=True)
    module = nn.Module()
    module.held = make(one, two, scale)
    return module


HOLDERS = {
    "list": lambda *parts: list(parts),
    "tuple": lambda *parts: parts,
    "dict": lambda *parts: dict(zip("abc", parts)),
    "dict of numbers": lambda *parts: dict(enumerate(parts)),
    "OrderedDict": lambda *parts: OrderedDict(zip("abc", parts)),
    "named tuple": lambda one, two, scale: Pair(one, [two, scale]),
    "list of lists": lambda one, two, scale: [[one], [[two]], [scale]],
    "dict of lists": lambda one, two, scale: {"layers": [one, two], "scale": (scale,)},
    "tuple of dicts": lambda one, two, scale: ({"one": one}, {"two": two, "scale": scale}),
    "modules in modules": lambda one, two, scale: (with_attribute(lambda *_: (one, two, scale)),),
    "with other things": lambda *parts: [*parts, None, "text", 3, 1.5, np.float32(2), print],
}


@pytest.mark.parametrize("name", HOLDERS)
def test_parameters_are_found_wherever_they_are_kept(name, device):
    module, other = with_attribute(HOLDERS[name]), with_attribute(HOLDERS[name])
    assert sorted(p.shape for p in module.parameters()) == [(2, 3), (3,), (3, 4), (4,), (5,)]
    state = module.state_dict()
    assert len(state) == 5 and all(key.startswith("held.") for key in state)
    for parameter in module.parameters():
        parameter.data += 1
    other.load_state_dict(snapshot(module))
    assert_same_state(snapshot(other), snapshot(module))
    with nn.frozen(module):
        assert not any(p.requires_grad for p in module.parameters())
    assert len([part for _, part in module.eval().named_modules() if not part.training]) >= 3
    assert all(a.dtype == np.float64 for a in module.to(device, np.float64).state_dict().values())


def test_running_statistics_in_a_list_or_dict_are_found_and_moved(device):
    module = nn.Module()
    module.counts = [np.zeros(2, np.float32), {"more": np.ones(3, np.float32)}]
    assert list(module.state_dict()) == ["counts.0", "counts.1.more"]
    module.to(device, np.float64)
    assert all(array.dtype == np.float64 for array in module.state_dict().values())
    module.load_state_dict({"counts.0": np.full(2, 7.0), "counts.1.more": np.full(3, 8.0)})
    assert_array_equal(host(module.counts[1]["more"]), [8, 8, 8])


def kept_in_an_object(one, two, scale):
    return SimpleNamespace(layer=one)


@pytest.mark.parametrize("make", [
    lambda *parts: set(parts), lambda *parts: frozenset(parts), lambda *parts: deque(parts),
    lambda *parts: dict(enumerate(parts)).values(), kept_in_an_object, lambda *parts: [set(parts)],
])  # fmt: skip
def test_parameters_are_refused_where_they_are_not_found(make):
    module = with_attribute(make)
    for look in (module.parameters, module.state_dict, module.eval, lambda: module.to("cpu")):
        with pytest.raises(TypeError, match=r"held.*parameters in a.*use list or dict"):
            look()


def test_the_names_of_a_networks_arrays_are_as_they_were():
    # Checkpoints are by these names, and Adam's moments by their order.
    class Net(nn.Module):
        def __init__(self):
            self.blocks = [nn.Linear(2, 2), nn.Sequential(nn.BatchNorm(2))]
            self.scale = Tensor(np.ones(1), requires_grad=True)

    assert list(Net().state_dict()) == [
        "scale", "blocks.0.weight", "blocks.0.bias", "blocks.1.modules.0.gamma",
        "blocks.1.modules.0.beta", "blocks.1.modules.0.running_mean",
        "blocks.1.modules.0.running_var",
    ]  # fmt: skip


# --- saving and loading ---------------------------------------------------------------------------


def test_state_dict_holds_parameters_and_running_statistics(rng, tensor, device):
    module = network().to(device)
    state = module.state_dict()
    assert len(state) == 7 + 2
    assert [name.rpartition(".")[2] for name in state if "running" in name] == [
        "running_mean",
        "running_var",
    ]
    arrays = list(state.values())
    assert all(any(p.data is array for array in arrays) for p in module.parameters())


def test_round_trip(rng, tensor, device):
    one, other = network(seed=1).to(device), network(seed=2).to(device)
    x = tensor(rng.standard_normal((2, 6, 6, 2)).astype(np.float32))
    one(x)  # in training, so that the running statistics are not the initial ones
    other_parameters = other.parameters()
    other.load_state_dict(snapshot(one))
    assert_same_state(snapshot(one), snapshot(other))
    assert_array_equal(host(one.eval()(x)), host(other.eval()(x)))
    # The very tensors an optimiser holds, filled with copies.
    assert all(a is b for a, b in zip(other.parameters(), other_parameters, strict=True))
    before = snapshot(other)
    one.train()(x)
    one.parameters()[0].data[...] = 7.0
    assert_same_state(snapshot(other), before)


def _without(name):
    return lambda state: {k: v for k, v in state.items() if not k.endswith(name)}


@pytest.mark.parametrize(
    "spoil, named",
    [
        (_without("running_var"), "running_var"),
        (_without("gamma"), "gamma"),
        (lambda state: state | {"stranger": np.zeros(3)}, "stranger"),
        (lambda state: state | {list(state)[-1]: np.zeros((9, 9))}, r"\(9, 9\)"),
        (lambda state: state | {list(state)[0]: np.zeros(1)}, r"\(1,\).*\(4, 4, 2, 4\)"),
        (lambda state: {}, "weight"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(spoil, named, rng, device):
    # Among the spoilt: a last array of the wrong shape, when all others could be in already, and a
    # shape that NumPy would broadcast.
    module = network().to(device)
    before = snapshot(module)
    with pytest.raises(ValueError, match=named):
        module.load_state_dict(spoil(trained_state(module, rng)))
    assert_same_state(snapshot(module), before)


def test_wrong_shapes_name_the_array(rng):
    module = network()
    state = trained_state(module, rng)
    for name in state:
        with pytest.raises(ValueError, match=name):
            module.load_state_dict(state | {name: np.zeros((1, 2, 3))})


# --- modes, devices, freezing ---------------------------------------------------------------------


def test_train_and_eval_reach_every_batch_norm(rng, tensor, device):
    module = nn.Sequential(nn.Sequential(nn.BatchNorm(2)), nn.BatchNorm(2)).to(device)
    x = tensor(rng.standard_normal((8, 2)).astype(np.float32) * 3 + 5)
    start = snapshot(module)
    assert module.eval() is module
    in_eval = host(module(x))
    assert_same_state(snapshot(module), start)
    assert_allclose(in_eval, host(x), rtol=1e-4)  # the initial running statistics are 0 and 1
    assert module.train() is module
    in_training = host(module(x))
    assert_allclose(in_training.mean(axis=0), 0, atol=1e-5)
    moved = snapshot(module)
    assert sum(not np.array_equal(moved[name], start[name]) for name in start) == 4


def test_eval_takes_single_examples(rng, tensor, device):
    module = nn.Sequential(nn.BatchNorm(3)).to(device)
    one = tensor(rng.standard_normal((1, 3)).astype(np.float32))
    with pytest.raises(ValueError):
        module(one)
    assert module.eval()(one).shape == (1, 3)


def test_running_statistics_become_those_of_the_data(rng, tensor, device):
    layer = nn.BatchNorm(2).to(device)
    for _ in range(200):
        layer(tensor((rng.standard_normal((64, 2)) * [0.5, 3] + [1, -2]).astype(np.float32)))
    state = snapshot(layer)
    assert_allclose(state["running_mean"], [1, -2], atol=0.5)
    assert_allclose(state["running_var"], [0.25, 9], rtol=0.2)


def test_to_moves_arrays_and_keeps_the_tensors(device):
    module = network()
    before, parameters = snapshot(module), module.parameters()
    assert module.to(device) is module
    assert all(a is b for a, b in zip(module.parameters(), parameters, strict=True))
    library = "cupy" if device == "cuda" else "numpy"
    for array in module.state_dict().values():
        assert array_module(array).__name__ == library
    module.to("cpu")
    assert all(type(array) is np.ndarray for array in module.state_dict().values())
    assert_same_state(snapshot(module), before)


def test_float32_through_the_network(rng, tensor, device):
    module = network().to(device)
    for mode in (True, False):
        y = module.train(mode)(tensor(rng.standard_normal((2, 6, 6, 2)).astype(np.float32)))
        ops.mean(y).backward()
        assert y.dtype == np.float32
    assert all(p.grad.dtype == np.float32 for p in module.parameters())
    assert all(array.dtype == np.float32 for array in module.state_dict().values())


def test_frozen_layers_hand_the_gradient_on(rng, tensor, device):
    # The generator's step: through the discriminator, whose own weights get none.
    module = network().to(device, np.float64)
    x, same = (tensor(a) for a in [rng.standard_normal((2, 6, 6, 2))] * 2)
    ops.sum(module(x) ** 2).backward()
    for p in module.parameters():
        p.grad = None
    with nn.frozen(module):
        ops.sum(module(same) ** 2).backward()
    assert all(p.grad is None and p.requires_grad for p in module.parameters())
    assert_allclose(host(same.grad), host(x.grad), rtol=1e-12)
    assert np.abs(host(same.grad)).max() > 0


@pytest.mark.parametrize(
    "build, shape",
    [
        (lambda: nn.Linear(3, 2, bias=False), (4, 3)),
        (lambda: nn.Conv2d(3, 2, 2, bias=False), (2, 4, 4, 3)),
        (lambda: nn.ConvTranspose2d(3, 2, 2, bias=False), (2, 4, 4, 3)),
    ],
)
@pytest.mark.parametrize("input_asks, weight_asks", [(True, True), (True, False), (False, True)])
def test_a_gradient_not_asked_for_costs_no_product(
    build, shape, input_asks, weight_asks, tensor, device, monkeypatch
):
    # Matrix products are what a step's time goes into: one forward, and one for each gradient.
    products, matmul = [], primitives.matmul.plain

    def counting(a, b):
        products.append((a.shape, b.shape))
        return matmul(a, b)

    layer = build().to(device)
    monkeypatch.setattr(primitives, "matmul", counting)
    layer.weight.requires_grad = weight_asks
    with plain():
        y = layer(tensor(np.ones(shape, np.float32), input_asks))
        assert len(products) == 1
        y.backward(y.data)
    assert len(products) == 1 + input_asks + weight_asks


def test_frozen_ends_with_an_exception_and_leaves_what_was_frozen():
    module = network()
    first, *others = module.parameters()
    first.requires_grad = False
    with pytest.raises(KeyError), nn.frozen(module):
        assert not any(p.requires_grad for p in module.parameters())
        raise KeyError
    assert not first.requires_grad and all(p.requires_grad for p in others)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Linear(0, 3),
        lambda: nn.Linear(3, -1),
        lambda: nn.Conv2d(0, 3, 3),
        lambda: nn.Conv2d(2, 0, 3),
        lambda: nn.Conv2d(2, 3, 0),
        lambda: nn.Conv2d(2, 3, 3, stride=0),
        lambda: nn.ConvTranspose2d(2, 3, (3, 0)),
        lambda: nn.BatchNorm(0),
        lambda: nn.Linear(2.5, 3),
        lambda: nn.Linear((2, 3), 3),
        lambda: nn.Conv2d(2, 3, (2.0, 2)),
        lambda: nn.Conv2d(2, 3, 3, stride=(2, 2)),
        lambda: nn.BatchNorm(np.float32(2)),
    ],
)
def test_sizes_below_one(build):
    with pytest.raises(ValueError, match="expected an integer, at least 1"):
        build()


@pytest.mark.parametrize("integer", [int, np.int64, np.int8, np.uint8, np.uint32])
def test_numpys_integers_are_integers(integer, rng):
    k = integer
    for layer, shape, expected in [
        (nn.Linear(k(3), k(2), rng=rng), (4, 3), (4, 2)),
        (nn.Conv2d(k(1), k(2), k(3), k(2), k(1), rng=rng), (1, 8, 8, 1), (1, 4, 4, 2)),
        (nn.Conv2d(k(1), k(2), (k(3), k(1)), rng=rng), (1, 8, 8, 1), (1, 6, 8, 2)),
        (
            nn.ConvTranspose2d(k(1), k(2), k(3), k(2), k(1), rng=rng, output_padding=k(1)),
            (1, 100, 100, 1),
            (1, 200, 200, 2),
        ),
        (nn.Sequential(nn.Reshape(k(2), k(3)), nn.BatchNorm(k(3))), (4, 6), (4, 2, 3)),
    ]:
        assert layer(Tensor(np.ones(shape, np.float32))).shape == expected


def test_14_pixels_from_7_with_a_kernel_of_3(rng):
    layer = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, rng=rng, output_padding=1)
    assert layer(Tensor(np.ones((1, 7, 7, 2), np.float32))).shape == (1, 14, 14, 3)
    with pytest.raises(ValueError, match="output_padding is 2, expected 0 to 1"):
        nn.ConvTranspose2d(2, 3, 3, 2, output_padding=2)(Tensor(np.ones((1, 7, 7, 2))))


@pytest.mark.parametrize(
    "layer, shape",
    [
        (nn.Linear(3, 2), (4, 5)),
        (nn.Conv2d(3, 2, 2), (1, 4, 4, 5)),
        (nn.ConvTranspose2d(3, 2, 2), (1, 4, 4, 2)),
        (nn.BatchNorm(3), (4, 2)),
    ],
)
def test_inputs_of_another_width(layer, shape):
    with pytest.raises(ValueError) as caught:
        layer(Tensor(np.ones(shape, np.float32)))
    assert str(shape) in str(caught.value)
