"""The training step of this repository, as it is and with the plain formulas."""

from benchmarks.problem import joints, model
from tinyinfogan.engine import plain
from tinyinfogan.engine.device import to_device, to_host
from tinyinfogan.engine.fast.cuda import graph
from tinyinfogan.infogan.variants.step import optimisers, step_for


def start(problem, batches, how="kernel by kernel"):
    """Return (step, state), see sides.loader.  how: "kernel by kernel" or "CUDA graph"."""
    ours = model(problem).to(problem.device)
    moved = optimisers(ours)
    if problem.settings.lambda_consistency:
        moved["pairs"].load_state_dict(joints(problem.settings))
    take_step = step_for(ours, moved)
    if how == "CUDA graph":
        take_step = graph.replayed(take_step, {"model": ours, **moved})
    arrays = [
        [to_device(array, problem.device) for array in (real, latents, *maps) if array is not None]
        for real, latents, maps in batches
    ]

    def state():
        return {name: to_host(array) for name, array in ours.state_dict().items()}

    return lambda index: take_step(*arrays[index]), state


def start_plain(problem, batches):
    """Return what `start` does, of a step that knows nothing of engine/fast."""
    step, state = start(problem, batches)

    def plain_step(index):
        with plain():
            return step(index)

    return plain_step, state
