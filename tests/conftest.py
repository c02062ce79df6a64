"""Fixtures for all tests: the device they run on, a seeded rng, tensors on that device."""

import importlib
import os
from pathlib import Path

import numpy as np
import on_cpu
import pytest
import stand_in

from tinyinfogan.engine import Tensor
from tinyinfogan.engine.device import DeviceError, resolve_device, to_device


def pytest_addoption(parser):
    parser.addoption(
        "--device",
        default="cpu",
        choices=("cpu", "cuda", "stand-in"),
        help="where the tests run; cuda skips, with the reason, if there is none; stand-in runs "
        "them as on a GPU, but on the CPU (see stand_in.py)",
    )
    faults = parser.getgroup("faults", "how much pytest -m faults does")
    faults.addoption("--kills", type=int, default=100, help="runs killed at a random moment")
    faults.addoption("--cases", type=int, default=10_000, help="broken files for each reader")
    faults.addoption("--soak", type=float, default=3600, help="seconds of training steps")
    faults.addoption("--fault-seed", type=int, default=0, help="seed of all that is random")


def pytest_configure(config):
    os.environ.pop("TQDM_DISABLE", None)  # some tests read what is printed beside the bar
    if config.getoption("--device") == "stand-in":
        if on_cpu.COMPILER is None:
            raise pytest.UsageError("--device stand-in needs a C++ compiler for the kernels")
        stand_in.install()
        folder = Path(__file__).parent / "fake_gpu"
        paths = [str(folder / "as_cupy"), str(folder), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))  # of processes we start


@pytest.fixture(scope="session")
def device(request):
    asked = request.config.getoption("--device")
    try:
        return resolve_device("cuda" if asked == "stand-in" else asked)
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture
def gpu(device):
    """CuPy, or its stand-in if the tests do not run on a GPU."""
    if device == "cuda":
        yield importlib.import_module("cupy")
        return
    if on_cpu.COMPILER is None:
        pytest.skip("running CUDA kernels on the CPU needs a C++ compiler")
    with stand_in.installed() as cupy:
        yield cupy


@pytest.fixture
def rng():
    """A NumPy Generator, which draws the same numbers in every test."""
    return np.random.default_rng(1606_03657)


@pytest.fixture
def array(device):
    """array(values): a NumPy array's copy on the device under test."""
    return lambda values: to_device(np.array(values), device)


@pytest.fixture
def tensor(array):
    """tensor(values): a leaf on the device under test which asks for its gradient."""
    return lambda values, requires_grad=True: Tensor(array(values), requires_grad)
