"""The step of a run: on several ranks, or as a CUDA graph."""

from tinyinfogan.engine.fast.cuda import graph
from tinyinfogan.infogan.step import train_step
from tinyinfogan.infogan.variants.step import draws
from tinyinfogan.training.ranks import ALONE


def stepper(model, adams, replay=True, ranks=ALONE):
    """Return step(real, rng), which is train_step of a model and its optimisers(model).

    real: this rank's part of the batch; of what is drawn for the whole batch it takes its own.
    On a GPU, unless `replay` is False or MPI takes part, it becomes a CUDA graph (see
    engine.graph); then all calls must have equally many images.
    """

    def step(real, *drawn):
        players = adams["d_adam"], adams["g_adam"]
        return train_step(model, *players, real, iter(drawn), adams.get("q_adam"), ranks)

    if replay and model.device == "cuda" and ranks.size == 1:
        step = graph.replayed(step, adams.values())
    return lambda real, rng: step(
        real, *(ranks.mine(drawn) for drawn in draws(model, len(real) * ranks.size, rng))
    )
