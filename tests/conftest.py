"""Fixtures for all tests: the device they run on, a seeded generator, tensors on that device."""

import numpy as np
import pytest

from tinyinfogan.engine import Tensor, backend


def pytest_addoption(parser):
    parser.addoption(
        "--device",
        default="cpu",
        choices=("cpu", "cuda"),
        help="where the tests run; cuda skips, with the reason, where there is none",
    )
    faults = parser.getgroup("faults", "how much pytest -m faults does")
    faults.addoption("--kills", type=int, default=100, help="runs killed at a random moment")
    faults.addoption("--cases", type=int, default=10_000, help="broken files for each reader")
    faults.addoption("--soak", type=float, default=3600, help="seconds of training steps")
    faults.addoption("--fault-seed", type=int, default=0, help="seed of all that is random")


@pytest.fixture(scope="session")
def device(request):
    try:
        return backend.resolve_device(request.config.getoption("--device"))
    except backend.DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture
def rng():
    """A generator of float64 numbers, the same ones in every test."""
    return np.random.default_rng(1606_03657)


@pytest.fixture
def array(device):
    """array(values): a NumPy array's copy on the device under test."""
    return lambda values: backend.to_device(np.array(values), device)


@pytest.fixture
def tensor(array):
    """tensor(values): a leaf on the device under test which asks for its gradient."""
    return lambda values, requires_grad=True: Tensor(array(values), requires_grad)
