"""The training step of this repository, as it is and with the plain formulas."""

from benchmarks.problem import joints, model
from tinyinfogan.engine import plain
from tinyinfogan.engine.device import to_device, to_host
from tinyinfogan.engine.fast.cuda import graph
from tinyinfogan.infogan.variants.step import optimisers, step_for
from tinyinfogan.training.step import quick_step


def start(problem, batches, how="as in a run"):
    """Return (step, state), see sides.loader.

    how: "as in a run" on the CPU, where processes share the step if they are worth it, or
    "threads"; "kernel by kernel" or "CUDA graph" on a GPU.
    """
    ours = model(problem).to(problem.device)
    moved = optimisers(ours)
    if problem.settings.lambda_consistency:
        moved["pairs"].load_state_dict(joints(problem.settings))
    take_step = quick_step(ours, moved) if how == "as in a run" else step_for(ours, moved)
    if how == "CUDA graph":
        take_step = graph.replayed(take_step, {"model": ours, **moved})
    arrays = [
        [to_device(array, problem.device) for array in (real, latents, *maps) if array is not None]
        for real, latents, maps in batches
    ]

    def state():
        return {name: to_host(array) for name, array in ours.state_dict().items()}

    def step(index):
        values = take_step(*arrays[index])  # a run's has the gradients' norms besides
        return {name: value for name, value in values.items() if not name.endswith("_norm")}

    return step, state


def start_plain(problem, batches):
    """Return what `start` does, of a step that knows nothing of engine/fast."""
    step, state = start(problem, batches, "threads")

    def plain_step(index):
        with plain():
            return step(index)

    return plain_step, state
