"""The benchmarks: all sides compute the same; the work is counted right; tables are printed."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_architecture import borrowed_private_names, circles

import benchmarks
from benchmarks import (
    ablation,
    agreement,
    changes,
    checkerboard,
    checkpoints,
    common,
    networks,
    on_gpu,
    profile,
    scaling,
    sides,
    step,
    table,
)
from benchmarks import run as run_benchmark
from benchmarks.problem import PRESETS, Problem, draw_batches, mnist, model
from tinyinfogan.cli.options import parser
from tinyinfogan.cli.train import main
from tinyinfogan.engine import Tensor, fast, grad_check, nn, ops, primitives, seam
from tinyinfogan.engine.fast import conv, cpu, threads
from tinyinfogan.infogan.networks import FAMILIES
from tinyinfogan.infogan.variants import step as variants
from tinyinfogan.training import checkpoint, folder, report

# What needs a library that is not installed is skipped; the rest runs with NumPy alone.
OTHERS = [
    pytest.param(side, variant, library, id=sides.title(side, variant))
    for side, library in (("pytorch", "torch"), ("jax", "jax"))
    for variant in sides.VARIANTS["cpu"][side]
]

SMALL = "--batch-size=20 --neighbours=1 --channels=4 --hidden=64 --log-every=1 --decay=0".split()
ROOT = Path(benchmarks.__file__).parents[1]


def tiny(preset, dtype="float64", **changes):
    """A Problem of four batches of 8 images which are not square."""
    sizes = {"channels": 4, "hidden": 16, "batch_size": 8}
    images = np.random.default_rng(0).integers(0, 256, (32, 12, 8, 1), np.uint8)
    return Problem(replace(PRESETS[preset], **sizes, **changes), images, dtype)


def run(side, variant, problem, steps=agreement.CHECK_STEPS):
    return sides.prepare(side, variant, problem)("agree", steps)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("side, variant, library", OTHERS)
def test_all_sides_take_the_same_steps(side, variant, library, preset):
    pytest.importorskip(library)
    problem = tiny(preset)
    passed, words = agreement.in_float64(run("ours", {}, problem), run(side, variant, problem))
    assert passed, words


@pytest.mark.parametrize("preset", PRESETS)
def test_pytorch_agrees_in_float32(preset):
    pytest.importorskip("torch")
    problem = tiny(preset, "float32")
    initial = model(problem).state_dict()
    variant = sides.VARIANTS["cpu"]["pytorch"][-1]
    passed, words = agreement.in_float32(
        initial, run("ours", {}, problem, steps=1), run("pytorch", variant, problem, steps=1)
    )
    assert passed, words


@pytest.mark.parametrize(
    "change",
    [{"lambda_consistency": 0.33}, {"lambda_categorical": 0.101}, {"g_lr": 1.01e-3}],
    ids=lambda change: next(iter(change)),
)
def test_the_check_sees_a_small_difference(change):
    reference = run("ours", {}, tiny("mnist"))
    assert agreement.in_float64(reference, run("ours", {}, tiny("mnist")))[0]
    assert not agreement.in_float64(reference, run("ours", {}, tiny("mnist", **change)))[0]


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_the_check_in_float32_sees_a_missing_update(player):
    problem = tiny("mnist", "float32")
    initial = model(problem).state_dict()
    losses, state = run("ours", {}, problem, steps=1)
    assert agreement.in_float32(initial, (losses, state), (losses, state))[0]
    stays = {name: initial[name] if name.startswith(player) else state[name] for name in state}
    assert not agreement.in_float32(initial, (losses, state), (losses, stays))[0]


def test_the_checks_do_not_pass_what_is_not_finite():
    problem = tiny("paper-mnist")
    initial = model(problem).state_dict()
    reference = run("ours", {}, problem)
    losses, state = run("ours", {}, problem)
    name = next(iter(state))
    state[name][0, 0] = np.nan
    assert not agreement.in_float64(reference, (losses, state))[0]
    assert not agreement.in_float32(initial, reference, (losses, state))[0]
    losses["g_loss"] = np.nan
    assert not agreement.in_float32(initial, reference, (losses, reference[1]))[0]


@pytest.mark.parametrize("preset", PRESETS)
def test_the_plain_side_takes_the_same_steps(preset):
    problem = tiny(preset)
    passed, words = agreement.in_float64(run("ours", {}, problem), run("plain", {}, problem))
    assert passed, words


def test_the_plain_side_takes_no_quick_version(monkeypatch):
    asked = []
    monkeypatch.setattr(seam, "is_plain", False)  # with TINYINFOGAN_PLAIN=1 ours is plain, too
    monkeypatch.setattr(fast, "version", lambda name, arguments: asked.append(name))
    run("plain", {}, tiny("mnist"), steps=1)
    assert not asked
    run("ours", {}, tiny("mnist"), steps=1)
    assert {"conv_forward", "matmul", "adam_update", "warp"} <= set(asked)


def test_another_checkout_takes_the_same_steps():
    problem, steps = mnist("mnist", 4, "float64"), 2
    with sides.worker("before", {"path": str(ROOT)}, problem) as ask:
        passed, words = agreement.in_float64(run("ours", {}, problem, steps), ask("agree", steps))
        assert passed, words
        assert 0 < ask("time", 1) < 1e5


def test_what_another_checkout_is_compared_in(tmp_path, capsys):
    wrong = (
        (["--against", str(tmp_path)], "no benchmarks/"),
        (["--against", "x", "--memory"], "CPU"),
    )
    for arguments, message in wrong:
        with pytest.raises(SystemExit):
            step.main(arguments)
        assert message in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="failed; see above"):
        with sides.worker("before", {"path": str(tmp_path)}, tiny("mnist")) as ask:
            ask("time", 1)


@pytest.mark.parametrize("preset", PRESETS)
def test_work_is_counted_as_it_is_done(preset):
    problem = tiny(preset, "float32")
    step, _ = sides.loader("ours")(problem, draw_batches(problem), "threads")
    record = profile.Record()
    with profile.timers(record):
        step(0)
    done = 0
    for (rows, inner, columns), calls in record.products.items():
        done += 2 * rows * inner * columns * len(calls)
    assert done == networks.product_flops(problem.settings, problem.image_shape, 8)


def test_work_of_layers_counted_by_hand():
    conv = networks.Layer("conv", (28, 28, 1), (14, 14, 64))
    assert conv.flops == 14 * 14 * 64 * 16 * 2
    spread = networks.Layer("conv_transpose", (14, 14, 64), (28, 28, 1))
    assert spread.flops == conv.flops  # one is the adjoint of the other
    assert networks.Layer("linear", (1024,), (10,), bias=True).flops == 2 * 1024 * 10
    assert networks.Layer("relu", (1024,), (1024,)).flops == 0


def test_the_tables_have_the_arrays_of_our_state():
    problem = tiny("paper-mnist")
    parts = networks.tables(problem.settings, problem.image_shape).values()
    assert sum(layer.arrays for part in parts for layer in part) == len(model(problem).state_dict())


def test_timers_leave_no_trace():
    before = ops.matmul, ops.Tensor.__add__
    with profile.timers(profile.Record()):
        assert ops.matmul is not before[0]
    assert (ops.matmul, ops.Tensor.__add__) == before


def test_profile_adds_up():
    found = profile.measure(tiny("mnist", "float32"), steps=2)
    parts = sum(sum(kinds.values()) for kinds in found["operations"].values())
    assert parts == pytest.approx(found["sum ms"])
    assert {"conv2d forward", "matmul backward", "Adam step"} <= found["operations"].keys()
    assert 0 < found["products"]["share of the step"] < 1


def test_growth_is_that_of_time_per_work():
    def result(ms, flops):
        return {"ms": {"median": ms}, "flops": flops}

    assert scaling.growth({1: result(3, 1), 2: result(4, 2), 3: result(9, 3)}) == 1.5


def test_worker_answers_and_reports_failures():
    with common.worker(divider, 6) as ask:
        assert ask(3) == 2
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            ask(0)


def divider(number):
    return lambda divisor: number // divisor


def test_alternating_sides_start_in_turn():
    calls = []
    turns = {name: lambda name=name: calls.append(name) or len(calls) for name in "ab"}
    assert common.alternate(turns, 2) == {"a": [1, 4], "b": [2, 3]}


def test_results_are_kept_and_become_tables(tmp_path):
    assert table.markdown(tmp_path) == ""
    side = {"variant": "", "ms": common.spread([10, 12, 14]), "ours / it": common.spread([1.0])}
    common.save("step", {"mnist/32": {"ours": side}}, tmp_path)
    common.save("step", {"mnist/128": {"ours": side, "jax": side}}, tmp_path)
    common.save("start", {"help": common.spread([0.25])}, tmp_path)
    text = table.markdown(tmp_path)
    assert "| `mnist`, batch 32 | 12 |  |  |" in text
    assert "| `mnist`, batch 128 | 12 | 12 | 1.00 (1.00–1.00) |" in text
    assert "| `--help` answers | 0.25 (0.25–0.25) |" in text
    assert text.count(np.__version__) == 1  # one machine, named once


@pytest.mark.parametrize("name", ["run", "memory", "ops", "profile", "scaling", "study"])
def test_each_result_has_its_table(name, tmp_path):
    amounts = {"total": 3e8, "training": 2e8}
    case = {"ms": [1.0, 2.0], "of the machine's rate": [0.5, None]}
    results = {
        "run": {"mnist, 9 steps": {"ours": {"training": common.spread([338.7])}}},
        "memory": {"mnist/128": {"ours": amounts}},
        "ops": {"128": {"rates": {}, "cases": {"Adam": {"ours": case, "pytorch": case}}}},
        "profile": {
            "mnist/64": {
                "step ms": 60,
                "products": {"share of the step": 0.7, "of the best rate": 0.9},
            }
        },
        "scaling": {"batch": {64: {"ms": common.spread([2]), "flops": 1e9, "memory": amounts}}},
        "study": {
            "9 steps": {
                "a": common.spread([0.5, 0.75]) | {"accuracies": [0.5, 0.75], "options": "--b=1"}
            }
        },
    }
    common.save(name, results[name], tmp_path)
    expected = {
        "run": "| mnist, 9 steps, ours | 338.7 |  |",
        "memory": "| 300 | 200 |",
        "ops": "| 1.00 (50%) |  |",
        "profile": "| 70% | 90% |",
        "scaling": "| batch 64 | 2 | 1.0 | 2.0 | 300 |",
        "study": "| a | `--b=1` | 62.5 | 50.0 | 75.0 | 50.0, 75.0 |",
    }
    assert expected[name] in table.markdown(tmp_path)


def test_ablation_takes_away_one_thing_at_a_time():
    before = dict(vars(cpu)), dict(vars(conv)), threads.count
    results = ablation.measure(tiny("mnist", "float32"), ablation.MEASURES, rounds=1)
    assert results.keys() == {"everything", *ablation.MEASURES}
    assert (dict(vars(cpu)), dict(vars(conv)), threads.count) == before
    for name in cpu.VERSIONS:
        assert all(ratio > 0 for ratio in results[f"quick {name}"]["of the whole"].values())


@pytest.mark.parametrize("name", cpu.VERSIONS)
def test_ablation_takes_a_version_away_wherever_it_is_used(name):
    quick, formula = cpu.VERSIONS[name], getattr(primitives, name).plain
    with ExitStack() as stack:
        for patch in ablation.MEASURES[f"quick {name}"]:
            stack.enter_context(patch)
        assert name not in cpu.VERSIONS and len(cpu.VERSIONS) == len(ablation.VERSIONS) - 1
        assert all(getattr(module, name, formula) is formula for module in (cpu, conv))
    assert cpu.VERSIONS[name] is quick


def test_what_ablation_finds_worth_too_little():
    def measured(**ratios):
        return {name: {"of the whole": {"median": ratio}} for name, ratio in ratios.items()}

    results = {"mnist/64": measured(everything=1.0, a=1.02, b=1.02, c=1.5)}
    results["paper-mnist/128"] = measured(everything=1.0, a=1.01, b=1.04, c=0.9)
    assert ablation.worth_too_little(results) == ["a"]


def test_spectral_norm(rng):
    """It divides by the largest singular value, and its gradient knows."""
    layer = nn.Conv2d(3, 4, 2, bias=False, rng=rng)
    layer.weight.data *= 10
    norm = changes.SpectralNorm(layer).to(dtype=np.float64)
    x = Tensor(rng.standard_normal((2, 5, 5, 3)), requires_grad=True)
    for _ in range(100):
        y = norm(x)
    largest = np.linalg.svd(layer.weight.data.reshape(-1, 4), compute_uv=False)[0]
    np.testing.assert_allclose(y.data * largest, layer(x).data)
    norm.eval()
    assert grad_check(lambda x, *_: norm(x), [x, *norm.parameters()]) < 1e-6


def test_a_rising_lambda():
    seen, lambdas = [], PRESETS["mnist"].lambdas
    step = changes.rising_lambda(lambda *inputs, lambdas, real_term: seen.append(lambdas))
    for steps in (0, changes.RISE // 2 - 1, changes.RISE, 9 * changes.RISE):
        d_adam = SimpleNamespace(adam=SimpleNamespace(steps=steps))
        step(None, d_adam, None, lambdas=lambdas, real_term=None)
    shares = np.array(seen) / lambdas
    np.testing.assert_allclose(shares.T, [[1 / changes.RISE, 0.5, 1, 1]] * 2)


@pytest.fixture(scope="module")
def default_run(tmp_path_factory):
    """The last record of a run of four steps without a change, and no pictures at its end."""
    out = str(tmp_path_factory.mktemp("runs") / "default")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "finish", lambda *inputs: None)
        assert main(["--steps=4", "--out", out, *SMALL]) == 0
    return folder.read_log(out)[-1]


@pytest.mark.parametrize("name", changes.CHANGES)
def test_each_change_of_the_study(name, default_run, tmp_path, monkeypatch):
    """It changes what is learnt, and a run goes on exactly where it was cut off."""

    def records(out, *options):
        with monkeypatch.context() as patch:
            patch.setattr(report, "finish", lambda *inputs: None)
            patch.setattr(variants, "train_step", variants.train_step)
            patch.setitem(FAMILIES, "mnist", FAMILIES["mnist"])
            assert changes.main([name, *options, *([] if "--resume" in options else SMALL)]) == 0
        return [(r["d_loss"], r["g_loss"], r["mi_nats"]) for r in folder.read_log(out)]

    whole, parts = (str(tmp_path / run) for run in ("whole", "parts"))
    found = records(whole, "--steps=4", "--out", whole)
    assert found[-1][-1] != default_run["mi_nats"]
    records(parts, "--steps=2", "--out", parts)
    assert records(parts, "--steps=4", "--resume", parts) == found


@pytest.mark.parametrize("name", changes.CHANGES)
def test_each_change_of_the_study_on_a_gpu(name, gpu, tmp_path, monkeypatch):
    """Its steps are those of the CPU, from first to last: none is repeated from a graph."""
    monkeypatch.setattr(report, "finish", lambda *inputs: None)
    found = []
    for device in ("cpu", "cuda"):
        out = str(tmp_path / device)
        with monkeypatch.context() as patch:
            patch.setattr(variants, "train_step", variants.train_step)
            patch.setitem(FAMILIES, "mnist", FAMILIES["mnist"])
            assert changes.main([name, "--steps=5", "--out", out, "--device", device, *SMALL]) == 0
        found.append([(r["d_loss"], r["g_loss"]) for r in folder.read_log(out)])
    np.testing.assert_allclose(*found, rtol=0.01)


def test_a_change_that_there_is_not(capsys, monkeypatch):
    assert changes.main(["orthogonal weights"]) == 2
    assert "'orthogonal weights', expected one of spectral norm" in capsys.readouterr().err
    monkeypatch.setitem(FAMILIES, "mnist", FAMILIES["mnist"])
    assert changes.main(["linear Q head", "--seeds=2"]) == 2
    assert "leave it out" in capsys.readouterr().err


def test_peak_memory_is_not_that_of_the_process_which_started_it():
    ballast = np.ones(1 << 25)  # 256 MB
    with common.worker(memory_now) as ask:
        now, peak = ask()
    assert now <= peak < ballast.nbytes


def memory_now():
    return common.memory


def test_benchmarks_import_without_a_circle_and_no_private_names():
    files = (ROOT / "benchmarks").glob("*.py")
    sources = {p.stem: p.read_text("utf-8").replace("benchmarks", "tinyinfogan") for p in files}
    assert "sides" in sources and circles(sources) + borrowed_private_names(sources) == []


def test_importing_a_benchmark_imports_no_other_library():
    names = ("step", "ops", "profile", "scaling", "study", "ablation")
    modules = ", ".join(f"benchmarks.{name}" for name in names)
    code = f"import sys, {modules}; print({{'torch', 'jax', 'matplotlib'}} & sys.modules.keys())"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert answer.stdout.strip() == "set()", answer.stderr


def test_parts_on_a_gpu_that_hang_or_fail_leave_the_others_whole(gpu, tmp_path, monkeypatch):
    """Each keeps what it had written, and what it started ends with it."""
    write = "import json, sys, time, subprocess; open(sys.argv[1], 'w').write(json.dumps({'a': 1}))"
    hang = "; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    hang += "; print(child.pid, flush=True); time.sleep(60)"
    codes = {
        "doctor": r"import sys; sys.stdout.buffer.write(b'fine \xff')",
        "step": write + "; 1 / 0",
        "kernels": write + hang,
    }
    codes["resume"] = write

    def commands(folder, dry):
        return {n: ["-c", code, str(Path(folder, f"{n}.json"))] for n, code in codes.items()}

    monkeypatch.setattr(on_gpu, "commands", commands)
    monkeypatch.setattr(on_gpu, "CAPS", dict.fromkeys(codes, 30) | {"kernels": 3})
    out = tmp_path / "results.json"
    assert on_gpu.main(["--out", str(out)]) == 1
    found = json.loads(out.read_text())
    assert list(found) == ["machine", *codes]
    assert [name for name in codes if "failed" in found[name]] == ["step", "kernels"]
    assert all(found[name]["result"] == {"a": 1} for name in ("step", "kernels", "resume"))
    assert "ZeroDivisionError" in found["step"]["lines"][-1]
    assert found["kernels"]["lines"][-1] == "stopped after 3 s" and found["kernels"]["seconds"] < 20
    child = Path("/proc", found["kernels"]["lines"][0], "stat")
    assert not child.exists() or child.read_text().split()[2] == "Z"


def test_the_caps_of_a_run_on_a_gpu_are_nine_minutes(tmp_path):
    assert sum(on_gpu.CAPS.values()) <= 540
    for dry in (False, True):
        asked = on_gpu.commands(str(tmp_path), dry)
        assert asked.keys() == on_gpu.CAPS.keys()
        for name, (_, module, *arguments) in asked.items():
            if module == "tinyinfogan.train":
                assert parser().parse_args(arguments), name
    assert all((ROOT / path).exists() for path in on_gpu.TESTS)
    log = [{"step": 100, "seconds": 5.0}, {"step": 300, "seconds": 6.0, "code_accuracy": 0.9}]
    (tmp_path / "mnist").mkdir()
    text = "".join(json.dumps(r) + "\n" for r in log) + '{"step": 4'  # cut off
    (tmp_path / "mnist" / "metrics.jsonl").write_text(text)
    assert on_gpu.found_by("mnist", tmp_path) == {**log[1], "ms per step": 5.0}


@pytest.mark.parametrize("name", on_gpu.CAPS)
def test_each_part_of_a_dry_run_on_the_stand_in(name, gpu, tmp_path, monkeypatch):
    if gpu.__version__ == "stand-in":
        fake = ROOT / "tests" / "fake_gpu"
        monkeypatch.setenv("PYTHONPATH", f"{fake / 'as_cupy'}{os.pathsep}{fake}")
    asked = on_gpu.commands(str(tmp_path), True)[name]
    worked, text, _ = on_gpu.perform(asked, 110)
    assert worked, text
    own = name in on_gpu.OWN or name in ("paper-mnist", "mnist")
    found = on_gpu.found_by(name, tmp_path)
    assert bool(found) == own, text
    if name == "step":
        ways = ("CUDA graph", "CUDA graph, TF32", "kernel by kernel", "plain")
        assert found.keys() == {f"paper-mnist/4, {way}" for way in ways}
        for way, row in found.items():
            assert row["ms"] > 0 and row["used"] >= row["pool"] > 0
            assert ("nodes" in row) == ("graph" in way) and row.get("nodes", 500) > 100
    if name == "kernels":
        nodes = found["nodes"]
        assert sum(nodes.values()) > 100 and nodes["gemm"] >= 40 and nodes["adam_update"] == 2


def test_our_sides_on_a_gpu(gpu):
    """With and without a graph they take the CPU's steps, and events tell how long."""
    problem = tiny("mnist")
    reference = run("ours", {}, problem)
    for variant in sides.VARIANTS["cuda"]["ours"]:
        handle = sides.prepare("ours", variant, problem._replace(device="cuda"))
        passed, words = agreement.in_float64(reference, handle("agree", agreement.CHECK_STEPS))
        assert passed, words
        assert 0 < handle("time", 2) < 1e5


def test_the_table_of_a_gpu_names_it(gpu, tmp_path):
    side = {"variant": "", "ms": common.spread([1.234]), "ours / it": common.spread([1.0])}
    results = {"paper-mnist/128": {"ours": side, "graphs": side}}
    common.save("step_cuda", results, tmp_path, "cuda")
    text = table.markdown(tmp_path)
    assert "the stand-in" in text or gpu.__version__ != "stand-in"
    assert "| `paper-mnist`, batch 128 | 1.23 | 1.23 | 1.00 (1.00–1.00) |" in text


def test_a_benchmark_on_a_gpu_that_is_not_there(capsys, monkeypatch):
    for module in (step, on_gpu):
        monkeypatch.setattr(module, "missing_for_cuda", lambda: "CuPy is not installed; do")
    for command in (lambda: step.main(["--device", "cuda"]), lambda: on_gpu.main([])):
        with pytest.raises(SystemExit) as caught:
            command()
        assert caught.value.code == 2 and "CuPy is not installed" in capsys.readouterr().err


def test_what_checkpoints_cost_is_measured_in_turns(tmp_path):
    found = checkpoints.measure("mnist", 2, 2, tmp_path)
    assert found.keys() == {"wall", "cpu"} and all(len(shares) == 2 for shares in found.values())
    assert checkpoint.read(tmp_path)["step"] == 1


def test_the_share_of_a_checkerboard(capsys, tmp_path):
    """All of it in a checkerboard, none in a slow wave, half in both; a run's against real ones."""
    y, x = np.mgrid[:8, :6]
    board, wave = (y + x) % 2 * np.ones((2, 1, 1)), np.cos(np.pi * y / 4) / 2 * np.ones((2, 1, 1))
    for images, share in ((board, 1), (wave, 0), (board - 0.5 + wave * 2**0.5, 0.5)):
        assert checkerboard.nyquist_share(images[..., None]) == pytest.approx(share)
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
    np.savez(tmp_path / "own.npz", images=images)
    run = [f"--data={tmp_path / 'own.npz'}", f"--out={tmp_path / 'run'}", "--steps=1"]
    assert main([*SMALL, *run]) == 0
    capsys.readouterr()
    checkerboard.main([str(tmp_path / "run")])
    assert float(capsys.readouterr().out.split()[1]) >= 0


@pytest.mark.skipif(sys.platform != "linux", reason="as the kernel of Linux counts")
def test_memory_of_processes_counts_what_they_share_once():
    before = run_benchmark.memory_of(os.getpid())
    block = np.ones(50_000_000, np.uint8)
    child = os.fork()
    if not child:
        time.sleep(30)
        os._exit(0)
    grown = run_benchmark.memory_of(os.getpid()) - before
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert 0.9 * block.nbytes < grown < 1.5 * block.nbytes
