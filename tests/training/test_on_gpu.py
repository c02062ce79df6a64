"""Training on a GPU, or on its stand-in, is training on the CPU, without copies to the host."""

import gc
import os
import re
import sys
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import stand_in
from references import host
from test_train import TINY, run

import tinyinfogan
from tinyinfogan import data
from tinyinfogan.cli import sweep, train
from tinyinfogan.cli.train import main
from tinyinfogan.engine import Tensor, nn, optim, primitives
from tinyinfogan.engine.device import to_device
from tinyinfogan.engine.fast.cuda import cublas, graph, kernels
from tinyinfogan.evaluation import clustering
from tinyinfogan.infogan import losses
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.settings import PRESETS
from tinyinfogan.infogan.variants.step import optimisers
from tinyinfogan.training import checkpoint, memory, ranks, report
from tinyinfogan.training.finite import TrainingError, finite_values
from tinyinfogan.training.step import SharedAdam, step_of_run
from tinyinfogan.view import traversals


@pytest.fixture
def digits(rng):
    """Not digits, but of their shape."""
    images, labels = rng.integers(0, 256, (300, 28, 28, 1), np.uint8), rng.integers(10, size=300)
    return data.Dataset(images[:200], labels[:200], images[200:], labels[200:], "noise")


PLAIN = replace(TINY, shift=0.0, rotation=0.0, zoom=0.0)
VARIANTS = {
    "plain": PLAIN,
    "augmented": TINY,
    "learnt sigma": replace(PLAIN, q_sigma="learnt", lambda_consistency=0.0),
    "information in a third step": replace(PLAIN, info_step="separate"),
    "spectral norm": replace(PLAIN, network="sprites"),
}


def replace_to_device(monkeypatch, function):
    """Put function in the place of to_device in all modules that have imported it."""
    for name, module in list(sys.modules.items()):
        if name.startswith("tinyinfogan.") and getattr(module, "to_device", None) is to_device:
            monkeypatch.setattr(module, "to_device", function)


def shape_for(settings):
    """Small images that a network takes."""
    return (32, 32, 1) if settings.network == "sprites" else (12, 8, 1)


def steps(settings, device, dtype, number=3):
    """Return ([{name: value} of each step], state) of a model trained on random images."""
    shape = shape_for(settings)
    model = InfoGAN(settings, shape, np.random.default_rng(0))
    for part in (model.generator, model.discriminator):
        part.to(device, dtype)
    adams = optimisers(model)
    images = np.random.default_rng(1).random((20, *shape)).astype(dtype)
    real, values = to_device(images, device), []
    take_step = step_of_run(model, adams, replay=False)
    with stand_in.no_host_copies():
        for step in range(number):
            values.append(take_step(real, np.random.default_rng(step)))
    values = [{name: host(value) for name, value in row.items()} for row in values]
    return values, {name: host(array) for name, array in model.state_dict().items()}


@pytest.mark.parametrize("name", VARIANTS)
def test_steps_are_those_of_the_cpu_and_copy_nothing_to_the_host(name, gpu):
    """In float64, where rounding cannot hide a difference; augmentation's maps are float32."""
    tolerance = 1e-3 if name == "augmented" else 1e-8
    (ours, state), (expected, other) = (
        steps(VARIANTS[name], device, np.float64) for device in ("cuda", "cpu")
    )
    for a, b in zip(ours, expected, strict=True):
        assert a.keys() == b.keys()
        assert all(abs(a[key] - b[key]) <= tolerance * max(1, abs(b[key])) for key in a), (a, b)
    if name != "augmented":
        for key in other:
            np.testing.assert_allclose(state[key], other[key], atol=1e-6, err_msg=key)


def test_a_step_in_float32(gpu):
    (ours, state), (expected, _) = (steps(TINY, at, np.float32, 1) for at in ("cuda", "cpu"))
    for key, value in expected[0].items():
        assert abs(ours[0][key] - value) <= 1e-4 * max(1, abs(value))
    assert all(array.dtype == np.float32 for array in state.values())


@pytest.mark.parametrize("name", VARIANTS)
def test_a_graph_gives_the_numbers_of_the_plain_loop(name, gpu, monkeypatch):
    """To the last bit, with learning rates that change, from the third of six steps on.

    One more launch does the second one again, to compare.
    """
    launched, results = [], []
    launch = stand_in.Graph.launch
    monkeypatch.setattr(stand_in.Graph, "launch", lambda self: launched.append(launch(self)))
    settings, shape = VARIANTS[name], shape_for(VARIANTS[name])
    images = gpu.asarray(np.random.default_rng(1).random((6, 20, *shape), np.float32))
    for replay in (True, False):
        model = InfoGAN(settings, shape, np.random.default_rng(0)).to("cuda")
        adams, values = optimisers(model), []
        step = step_of_run(model, adams, replay)
        for index in range(6):
            for adam in (adams["d_adam"], adams["g_adam"]):
                adam.lr = 1e-3 / (1 + index)
            values.append(step(images[index], np.random.default_rng(index)))
        results.append([row | model.state_dict() for row in values])
        assert adams["d_adam"].steps == adams["g_adam"].steps == 6
    for a, b in zip(*results, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(host(a[key]), host(b[key]), err_msg=key)
    assert len(launched) == 5 or gpu.__version__ != "stand-in"


def test_the_norm_of_no_gradients_is_0(gpu):
    for ones in (np.ones(3), gpu.ones(3)):
        adam = SharedAdam(optim.Adam([Tensor(ones, requires_grad=True)], lr=0.1))
        adam.step()
        assert adam.norm == 0


def test_a_step_of_the_papers_networks_is_few_kernels(gpu, monkeypatch):
    """Of a batch of 128, whose rows take as many parts as those of wider networks."""
    if gpu.__version__ != "stand-in":
        pytest.skip("the stand-in counts what is noted down")
    graphs, noted = [], stand_in.Graph
    monkeypatch.setattr(stand_in, "Graph", lambda tape: graphs.append(noted(tape)) or graphs[-1])
    settings = replace(PRESETS["paper-mnist"], channels=2, hidden=8)
    model = InfoGAN(settings, (28, 28, 1), np.random.default_rng(0)).to("cuda")
    step, real = step_of_run(model, optimisers(model)), gpu.zeros((128, 28, 28, 1), np.float32)
    for seed in range(3):
        step(real, np.random.default_rng(seed))
    assert len(graphs) == 1 and graphs[0].debug_dot_str().count("[style=") - 1 <= 315


def test_what_a_graph_cannot_do_is_refused_where_it_is_captured(gpu):
    if gpu.__version__ != "stand-in":
        pytest.skip("CuPy's own refusals are left to CuPy")
    x = gpu.ones((2, 2))
    for work, error in (
        (lambda: x.get(), "copy to the host"),
        (lambda: gpu.asarray(np.ones(2)), "from the host"),
        (lambda: x.set(np.ones((2, 2))), "from the host"),
        (lambda: x @ x, "cuBLAS"),
        (lambda: gpu.stack([x] * 9), "more than 8"),
    ):
        with pytest.raises((RuntimeError, NotImplementedError), match=error):
            graph.capture(work)
        assert (x + 1).get().sum() == 8  # work is done again


def taken(settings, replay, number=4, batch=64):
    """Return the bytes that a model and some steps have taken on the stand-in at the most."""
    before = [gc.collect(), stand_in._pool.free_all_blocks()] and stand_in._pool.total
    others = sum(pool.total for pool in stand_in.MemoryPool.every) - before
    model = InfoGAN(settings, (12, 8, 1), np.random.default_rng(0)).to("cuda")
    step = step_of_run(model, optimisers(model), replay)
    real = to_device(np.random.default_rng(1).random((batch, 12, 8, 1), np.float32), "cuda")
    for index in range(number):
        step(real, np.random.default_rng(index))
    return sum(pool.total for pool in stand_in.MemoryPool.every) - before - others


WIDE = replace(PLAIN, channels=8, lambda_consistency=0.0)


def test_a_graph_takes_hardly_more_memory_than_the_steps_it_replays(gpu, monkeypatch):
    if gpu.__version__ != "stand-in":
        pytest.skip("counted in the stand-in's pools")
    monkeypatch.setattr(cublas, "WORKSPACE", 512)  # of which a graph has one more
    without = taken(WIDE, replay=False)
    assert taken(WIDE, replay=True) <= 1.1 * without


@pytest.mark.parametrize(
    "preset, batch, megabytes, least",
    [("paper-mnist", 128, 450, 1), ("paper-mnist", 512, 1015, 1), ("paper-chairs", 128, 2355, 0.9)],
)
def test_the_estimate_on_a_gpu_is_near_what_is_taken(preset, batch, megabytes, least):
    """By the pools of CuPy 14.2, with a graph, as they were counted once."""
    model = InfoGAN(PRESETS[preset], PRESETS[preset].image_shape)
    weights = sum(array.nbytes for array in model.state_dict().values())
    estimate = (3 * weights + memory.training_memory(model, batch, "cuda")) / 1e6
    assert least * megabytes <= estimate <= 1.25 * megabytes


@pytest.mark.parametrize("where", ["malloc", "instantiation", "cuBLAS"])
def test_without_memory_for_a_graph_the_steps_go_on(where, gpu, monkeypatch, capsys):
    """One line says so; no block is freed while recorded work may use it, no gradient is left."""
    if gpu.__version__ != "stand-in":
        pytest.skip("only the stand-in's memory runs out at will")
    plain, begin = stand_in.Stream.end_capture, stand_in.Stream.begin_capture
    library = type("Library", (stand_in.Cublas,), {})()

    def out_of_memory(self):
        plain(self)
        raise stand_in.CUDARuntimeError(2)

    def free_again(self):
        monkeypatch.setattr(stand_in.MemoryPool, "capacity", 1 << 33)
        return plain(self)

    def then_full(self, mode=None):
        begin(self)
        total = sum(pool.total for pool in stand_in.MemoryPool.every)
        monkeypatch.setattr(stand_in.MemoryPool, "capacity", total + (20 << 10))

    results = []
    for replay in (False, True):
        if replay and where == "malloc":
            monkeypatch.setattr(stand_in.Stream, "begin_capture", then_full)
            monkeypatch.setattr(stand_in.Stream, "end_capture", free_again)
        elif replay and where == "instantiation":
            monkeypatch.setattr(stand_in.Stream, "end_capture", out_of_memory)
        elif replay:
            monkeypatch.setattr(cublas, "_library", lambda: library)
            monkeypatch.setattr(
                library, "cublasSgemm_v2", lambda *args: _gemm_or_3(*args), raising=False
            )
        model = InfoGAN(PLAIN, (12, 8, 1), np.random.default_rng(0)).to("cuda")
        step = step_of_run(model, optimisers(model), replay)
        real = to_device(np.random.default_rng(1).random((20, 12, 8, 1), np.float32), "cuda")
        for index in range(4):
            values = step(real, np.random.default_rng(index))
        results.append(values | model.state_dict())
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and told[0].startswith("no CUDA graph, for lack of memory")
    for key, array in results[0].items():
        np.testing.assert_array_equal(host(results[1][key]), host(array), err_msg=key)


def _gemm_or_3(*args):
    """A product; while a graph is captured, CUBLAS_STATUS_ALLOC_FAILED."""
    return 3 if stand_in._tape is not None else stand_in.Cublas().cublasSgemm_v2(*args)


def test_what_was_refused_is_told_though_the_capture_ends_in_an_error_too(gpu, monkeypatch):
    if gpu.__version__ != "stand-in":
        pytest.skip("CuPy's own refusals are left to CuPy")
    plain = stand_in.Stream.end_capture

    def invalidated(self):
        plain(self)
        raise stand_in.CUDARuntimeError(901)

    monkeypatch.setattr(stand_in.Stream, "end_capture", invalidated)
    with pytest.raises(RuntimeError, match="copy to the host"):
        graph.capture(lambda: gpu.ones(2).get())


@pytest.mark.parametrize("name", ["steps", "lr"])
def test_what_adam_counts_is_not_read_while_a_graph_is_captured(name, gpu):
    """It would stay what it was in that step: a λ that rises by it would rise no more."""
    adam = optim.Adam([Tensor(gpu.ones(2), requires_grad=True)], lr=0.1)
    step = graph.replayed(lambda x: {"y": getattr(adam, name) * x}, {"adam": adam}, warm=1)
    step(gpu.ones(2))
    with pytest.raises(RuntimeError, match=f"Adam's {name} as it is now.*--no-graph"):
        step(gpu.ones(2))
    assert adam.lr == 0.1 and "count" not in vars(adam)


class Counting(nn.Module):
    """y = weight · x, and what a graph would go wrong with."""

    def __init__(self):
        self.weight, self.mean = (np.ones(3, np.float32) for _ in range(2))
        self.calls = 0

    def scaled(self, x):  # as λ that rises by a count of its own
        self.calls += 1
        return {"y": (self.weight * x * (self.calls / 100)).sum()}

    def kept(self, x):  # seen in no result of the step itself
        self.calls += 1
        self.mean[...] = self.mean + x / self.calls
        return {"y": self.weight.sum()}

    def elsewhere(self, x):  # as u and v of spectral norm, if they are not written in place
        self.weight = self.weight * x
        return {"y": self.weight.sum()}

    def fine(self, x):
        self.mean[...] = self.mean * x
        return {"y": self.mean.sum()}


@pytest.mark.parametrize("name", ["scaled", "kept", "elsewhere", "fine"])
def test_what_a_graph_would_keep_is_found(name, gpu, capsys):
    """Whatever it is, a line says so and all steps are those without a graph."""
    results = []
    for replay in (False, True):
        module = Counting().to("cuda")
        step = getattr(module, name)
        step = graph.replayed(step, {"model": module}) if replay else step
        for index in range(6):
            results.append(host(step(gpu.ones(3, np.float32) * (index + 1) / 3)["y"]))
        results += [host(array) for array in module.state_dict().values()]
    half = len(results) // 2
    np.testing.assert_equal(results[half:], results[:half])
    told, kept = capsys.readouterr().err, {"scaled": "y", "kept": "model.mean"}
    if name == "fine":
        assert told == ""
    else:
        what = f"no CUDA graph, as {kept.get(name, 'model.weight')} hangs on what it would keep as"
        assert told.startswith(what) and told.count("\n") == 1


def test_a_batch_of_4096_on_a_small_card_is_one_line_and_what_it_says_fits(
    gpu, tmp_path, monkeypatch, capsys
):
    if gpu.__version__ != "stand-in":
        pytest.skip("only the stand-in's memory runs out at will")
    cublas._handle.cache_clear()  # with the workspaces of tests before
    gc.collect()
    stand_in._pool.free_all_blocks()
    total = sum(pool.total for pool in stand_in.MemoryPool.every)
    monkeypatch.setattr(stand_in.MemoryPool, "capacity", total + (200 << 20))
    monkeypatch.setattr(report, "finish", lambda *_: None)
    argv = "--device cuda --neighbours 1 --steps 4 --channels 4 --hidden 16".split()
    assert main([*argv, "--batch-size", "4096", "--out", str(tmp_path / "run")]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("train: not")]
    assert len(lines) == 1 and (fits := re.search(r"(--batch-size) (\d+) should fit", lines[0]))
    assert 100 < int(fits[2]) < 4096
    gc.collect()
    assert main([*argv, *fits.groups(), "--out", str(tmp_path / "again")]) == 0  # as told
    assert "no CUDA graph" not in capsys.readouterr().err


def test_a_rank_takes_its_gpu_before_one_is_looked_for(gpu, monkeypatch):
    order, here = [], SimpleNamespace(rank=3)
    group = SimpleNamespace(size=4, communicator=SimpleNamespace(Split_type=lambda kind: here))
    mpi = SimpleNamespace(MPI=SimpleNamespace(COMM_TYPE_SHARED=0))
    monkeypatch.setitem(sys.modules, "mpi4py", mpi)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    monkeypatch.setattr(gpu.cuda.runtime, "getDeviceCount", lambda: 2)
    monkeypatch.setattr(
        gpu.cuda, "Device", lambda n: SimpleNamespace(use=lambda: order.append(n)), raising=False
    )
    ranks.take_gpu(group)
    assert order == [1] and os.environ["CUDA_VISIBLE_DEVICES"] == "7"  # what it starts sees that
    order.clear()
    monkeypatch.setattr(train, "resolve_device", lambda name: order.append("looked") or 1 / 0)
    monkeypatch.setattr(ranks, "take_gpu", lambda group: order.append("taken"))
    with pytest.raises(ZeroDivisionError):
        train.main(["--device", "cuda"])
    assert order == ["taken", "looked"]


def test_a_sweep_gives_each_rank_a_gpu(monkeypatch, tmp_path):
    """Before it starts runs, which see that one only."""
    order, group = [], SimpleNamespace(size=1, rank=0)
    monkeypatch.setattr(ranks, "share_gpus", lambda group: order.append("shared"))
    monkeypatch.setattr(sweep, "train_one", lambda job: order.append(job[1]) or "failed")
    args = SimpleNamespace(jobs=1, out=str(tmp_path), views=(0, 0, 0))
    assert sweep._train_all([("", "a", []), ("", "b", [])], args, group) == 1
    assert order == ["shared", "a", "b"]


def test_a_rollback_lets_the_first_run_go(monkeypatch, tmp_path):
    """Its arrays would take memory beside those of the second."""

    class Arrays:
        pass

    def first_and_second(*inputs, **how):
        if not seen:
            arrays = Arrays()
            seen.append(weakref.ref(arrays))
            raise TrainingError("a number is not finite")
        gc.collect()
        seen.append(seen[0]() is None)

    seen = []
    monkeypatch.setattr(train, "train", first_and_second)
    monkeypatch.setattr(train, "roll_back", lambda *inputs: {})
    out = str(tmp_path / "run")
    assert main(["--device=cpu", "--on-nan=rollback", "--out", out, "--neighbours=1"]) == 0
    assert seen[1] is True


def test_capturing_does_nothing_and_launching_does_it_each_time(gpu):
    x = gpu.zeros(3)

    def work():
        nonlocal x
        x += 1
        return (2 * x).sum()

    work()  # compiles what it needs
    launch, total = graph.capture(work)
    assert host(x).sum() == 3
    for count in (2, 3, 4):
        launch()
        assert host(x).sum() == 3 * count and float(host(total)) == 6 * count


def test_arrays_that_are_not_finite_are_found_in_few_kernels(gpu, monkeypatch):
    """Wherever in an array the number is, and whatever it is; a kernel looks at 64 arrays."""
    started, plain = [], kernels.start
    monkeypatch.setattr(
        kernels, "start", lambda *a, **how: started.append(a[0]) or plain(*a, **how)
    )
    sizes = [1, 3, 256, 257, 1024 * kernels.THREADS + 1]
    arrays = [gpu.ones(sizes[index % 5], np.float32) for index in range(300)]
    assert not host(kernels.not_finite(arrays)).any() and started == ["not_finite"] * 5
    wrong = {0: np.nan, 3: np.inf, 4: -np.inf, 63: np.nan, 64: np.inf, 299: np.nan}
    for index, value in wrong.items():
        arrays[index][-1] = value
    arrays[5][...] = np.finfo(np.float32).max  # which is finite
    assert np.flatnonzero(host(kernels.not_finite(arrays))).tolist() == [*wrong]


def test_the_look_for_numbers_that_are_not_finite_is_one_kernel_and_one_copy(gpu, monkeypatch):
    """One for 64 arrays, and a copy of all flags and values; it names the first array concerned."""
    if gpu.__version__ != "stand-in":
        pytest.skip("only the stand-in counts copies")
    started, plain = [], kernels.start
    monkeypatch.setattr(
        kernels, "start", lambda *a, **how: started.append(a[0]) or plain(*a, **how)
    )
    model = InfoGAN(PLAIN, (12, 8, 1), np.random.default_rng(0)).to("cuda")
    parts = {"G": model.generator, "g_adam": optimisers(model)["g_adam"]}
    history = [{"d_loss": gpu.ones(()), "g_loss": gpu.ones(()) * step} for step in range(4)]
    before = stand_in.host_copies
    found = finite_values(history, 4, parts, str)
    assert stand_in.host_copies == before + 1 and started == ["not_finite"]
    assert found["g_loss"].tolist() == [0, 1, 2, 3]
    parts["g_adam"].first_moments[2][-1] = np.inf
    parts["g_adam"].second_moments[3][0] = np.nan
    with pytest.raises(TrainingError, match=r"^g_adam.first_moment.2 is not finite after step 4"):
        finite_values(history, 4, parts, str)


def test_a_copy_in_a_step_would_be_seen(gpu, monkeypatch):
    if gpu.__version__ != "stand-in":
        pytest.skip("only the stand-in counts copies")
    loss = losses.discriminator_loss

    def looking(real_logits, fake_logits):
        real_logits.numpy()
        return loss(real_logits, fake_logits)

    monkeypatch.setattr(losses, "discriminator_loss", looking)
    with pytest.raises(AssertionError, match="copy to the host"):
        steps(PLAIN, "cuda", np.float32)


def test_a_run_resumes_and_its_checkpoint_is_for_the_cpu_too(gpu, digits, tmp_path):
    settings = replace(TINY, steps=6)
    before = stand_in.host_copies
    run(digits, settings, tmp_path, device="cuda")
    copies = stand_in.host_copies - before
    arrays = checkpoint.read(tmp_path)
    longer = replace(settings, steps=8)
    run(digits, longer, tmp_path, device="cuda", resume=arrays)
    model, other = tinyinfogan.load(tmp_path, "cpu"), tinyinfogan.load(tmp_path, "cuda")
    codes = {"c0": np.arange(10)}
    images = [m.generate(10, codes, np.random.default_rng(0)) for m in (model, other)]
    np.testing.assert_allclose(*images, atol=1e-4)
    assert isinstance(images[1], np.ndarray) and copies > 0 or gpu.__version__ != "stand-in"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_all_layouts(dtype, gpu, rng):
    layouts = (lambda x: x, lambda x: x.T.copy().T, lambda x: x[::-1], lambda x: x[:, ::2])
    for M, K, N in [(1, 1, 1), (1, 5, 1), (5, 1, 3), (2, 3, 4), (7, 6, 5), (0, 3, 2), (3, 0, 2)]:
        for first in layouts:
            for second in layouts:
                a, b = first(rng.standard_normal((M, 2 * K))), rng.standard_normal((2 * K, N))
                b = second(b)[: a.shape[1]]
                a = a[:, : len(b)]
                ours = [gpu.asarray(x.astype(dtype)) for x in (a, b)]
                turned = [gpu.asarray(x.astype(dtype).T.copy()).T for x in (a, b)]
                for x, y in (ours, turned, (ours[0], turned[1]), (turned[0], ours[1])):
                    found = primitives.matmul(x, y)
                    assert found.dtype == dtype
                    np.testing.assert_allclose(host(found), a @ b, rtol=1e-4, atol=1e-5)


def test_each_gpu_has_a_handle_of_its_own(gpu, monkeypatch):
    if gpu.__version__ != "stand-in":
        pytest.skip("needs the stand-in's cuBLAS, and two GPUs")
    made = []
    library = type(
        "Library", (stand_in.Cublas,), {"cublasCreate_v2": lambda self, handle: made.append(handle)}
    )()
    monkeypatch.setattr(cublas, "_library", lambda: library)
    for device in (0, 1, 0, 1):
        monkeypatch.setattr(gpu.cuda.runtime, "getDevice", lambda device=device: device)
        cublas.matmul(*[gpu.ones((2, 2), np.float32)] * 2)
    assert len(made) == 2


def test_a_failure_of_cublas_is_reported(gpu, monkeypatch):
    library = type("Library", (), {"__getattr__": lambda self, name: lambda *args: 13})()
    monkeypatch.setattr(cublas, "_library", lambda: library)
    with pytest.raises(RuntimeError, match="cublasCreate failed with status 13"):
        cublas.matmul(*[gpu.ones((2, 2), np.float32)] * 2)


@pytest.mark.parametrize("tf32", [False, True])
def test_tf32_is_off_unless_asked_for(tf32, gpu, monkeypatch):
    if gpu.__version__ != "stand-in":
        pytest.skip("needs the stand-in's cuBLAS")
    modes = []
    library = type(
        "Library",
        (stand_in.Cublas,),
        {"cublasSetMathMode": lambda self, handle, mode: modes.append(mode)},
    )()
    monkeypatch.setattr(cublas, "_library", lambda: library)
    ones = gpu.ones((2, 2), np.float32)
    cublas.matmul(ones, ones)  # as when the device is tried, before the arguments are read
    monkeypatch.setattr(cublas, "tf32", tf32)
    cublas.matmul(ones, ones)
    assert modes == ([3] if tf32 else [])


def test_the_data_stays_on_the_device(gpu, digits, tmp_path, monkeypatch):
    """What a step takes to the device are latents, maps and indices: no images."""
    if gpu.__version__ != "stand-in":
        pytest.skip("seen on the stand-in only")
    taken = []

    def spy(array, device):
        if isinstance(array, np.ndarray):
            taken.append(array.nbytes)
        return to_device(array, device)

    replace_to_device(monkeypatch, spy)
    monkeypatch.setattr(traversals, "samples", lambda *args: np.zeros((1, 28, 28, 1)))
    table = clustering.CodeTable(None, None, 0.0)
    monkeypatch.setattr(report, "finish", lambda *_: None)
    monkeypatch.setattr(clustering, "code_table", lambda *args, **options: table)
    settings = replace(TINY, steps=6, lambda_consistency=0.0)  # which is more, before the steps
    run(digits, settings, tmp_path, device="cuda")
    taken.remove(digits.images.nbytes)
    model = sum(array.nbytes for array in InfoGAN(TINY, (28, 28, 1)).state_dict().values())
    assert sum(taken) <= model + 6 * 4096


@pytest.mark.parametrize(
    "free, hint",
    [
        (250 << 20, r"--batch-size \d+ should fit"),
        (0, "no batch fits"),
        (1 << 40, "--batch-size 2048 should fit"),
    ],
)
def test_too_little_memory_on_the_gpu(free, hint, gpu, digits, tmp_path, monkeypatch, capsys):
    """One line has the need and a batch that fits."""

    def full(array, device):
        if array.dtype == np.uint8 and device == "cuda":
            raise MemoryError("out of memory allocating 1 byte")  # what CuPy raises is one
        return to_device(array, device)

    replace_to_device(monkeypatch, full)
    monkeypatch.setattr(memory, "free_memory", lambda device, ended=False: free)
    argv = ["--device", "cuda", "--out", str(tmp_path / "run"), "--batch-size", "4096"]
    assert main([*argv, "--channels", "2", "--hidden", "16"]) == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("train: not enough memory (out of memory allocating 1 byte); batches")
    assert "of 4096 need about" in message and re.search(hint, message)
    if "should fit" in hint:
        assert 2 <= int(re.search(r"--batch-size (\d+)", message)[1]) < 4096
