"""Each operation of the paper's network at its own shape, ours against PyTorch.

    python -m benchmarks.ops [--batch 128] [--rounds 5] [--steps 10]

See benchmarks/README.md for which floating point operations and which bytes are counted.
"""

import math
import sys
import time
from contextlib import ExitStack
from functools import cache, partial
from statistics import median

import numpy as np

from benchmarks import common
from benchmarks.networks import KERNEL, SLOPE, tables
from benchmarks.problem import BETAS, Problem, model
from tinyinfogan.engine import Tensor, nn, optim
from tinyinfogan.engine.fast import threads
from tinyinfogan.infogan.settings import PAPER_MNIST

IMAGE_SHAPE = (28, 28, 1)
PYTORCH = [("NCHW", "foreach"), ("channels_last", "fused")]  # layout and Adam of its workers


@cache
def cases():
    """Return {title: (Layer or None, shapes of parameters or None)}.

    Adam's cases have all parameters of a network, the others one layer.
    """
    found = {}
    for table in tables(PAPER_MNIST, IMAGE_SHAPE).values():
        for layer in table:
            shapes = dict.fromkeys("×".join(map(str, s)) for s in (layer.inside, layer.outside))
            if layer.kind != "reshape":
                found[f"{layer.kind.replace('_', ' ')} {' → '.join(shapes)}"] = layer, None
    ours = model(Problem(PAPER_MNIST, np.empty((0, *IMAGE_SHAPE))))
    for name, network in (("G", ours.generator), ("D and Q", ours.discriminator)):
        found[f"Adam, {name}"] = None, [p.shape for p in network.parameters()]
    return found


def work(layer, shapes, batch):
    """Return (kind of work, amount in forward, amount in backward).

    "flops": a layer's matrix product, and in backward two, for its input and its weight.
    "bytes": the least that must be moved if nothing stays in a cache between passes: in forward x
    is read and y written, in backward g and x are read and dx written; Adam reads θ, g, m and v
    and writes θ, m and v.
    """
    if layer is None:
        return "bytes", 7 * 4 * sum(map(math.prod, shapes)), 0
    if layer.flops:
        return "flops", batch * layer.flops, 2 * batch * layer.flops
    array = 4 * batch * math.prod(layer.inside)
    return "bytes", 2 * array, 3 * array


def passes(module, x, g, steps):
    """Time module(x) and backward(g), of ours or PyTorch, see `times`."""
    leaves = [x, *module.parameters()]

    def backward(y):
        y.backward(g)
        for leaf in leaves:
            leaf.grad = None

    return times(lambda: module(x), backward, steps)


def our_module(layer):
    """Return our module for a Layer."""
    if layer.kind == "linear":
        return nn.Linear(math.prod(layer.inside), math.prod(layer.outside), layer.bias)
    if layer.kind in ("conv", "conv_transpose"):
        kind = nn.Conv2d if layer.kind == "conv" else nn.ConvTranspose2d
        return kind(layer.inside[2], layer.outside[2], KERNEL, 2, 1, bias=layer.bias)
    if layer.kind == "batch_norm":
        return nn.BatchNorm(layer.inside[-1])
    return {"relu": nn.ReLU, "leaky_relu": lambda: nn.LeakyReLU(SLOPE), "sigmoid": nn.Sigmoid}[
        layer.kind
    ]()


def times(forward, backward, steps):
    """Return the medians (forward, backward) in ms of calls y = forward(), backward(y).

    One more of each goes before, for caches and threads.
    """
    taken = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        y = forward()
        middle = time.perf_counter()
        backward(y)
        taken.append((middle - start, time.perf_counter() - middle))
    return tuple(1e3 * median(column) for column in zip(*taken[1:]))


def prepare_ours(batch):
    """Start our side in a worker.  Returns handle(title, steps), see `times`."""
    rng = np.random.default_rng(0)

    def normal(shape):
        return rng.standard_normal(shape, np.float32)

    def handle(title, steps):
        layer, shapes = cases()[title]
        if layer is None:
            parameters = [Tensor(normal(shape), requires_grad=True) for shape in shapes]
            for parameter in parameters:
                parameter.grad = normal(parameter.shape)
            return times(optim.Adam(parameters, 1e-3).step, lambda _: None, steps)
        module, x = our_module(layer), Tensor(normal((batch, *layer.inside)), requires_grad=True)
        if layer.kind == "linear":
            x = Tensor(x.data.reshape(batch, -1), requires_grad=True)
        g = normal(module(x).shape)
        return passes(module, x, g, steps)

    return handle


def prepare_pytorch(batch, layout, adam):
    """Start PyTorch in a worker.  Returns handle(title, steps), see `times`."""
    import torch

    from benchmarks import in_pytorch

    torch.set_num_threads(threads.count)
    memory_format = torch.contiguous_format if layout == "NCHW" else torch.channels_last

    def normal(shape):
        if len(shape) < 4:
            return torch.randn(shape)
        N, H, W, C = shape
        return torch.randn(N, C, H, W).to(memory_format=memory_format)

    def handle(title, steps):
        if title == "gemm":
            return common.gemm_rate(torch.matmul, torch.from_numpy)
        layer, shapes = cases()[title]
        if layer is None:
            parameters = [torch.randn(shape, requires_grad=True) for shape in shapes]
            for parameter in parameters:
                parameter.grad = torch.randn_like(parameter)
            optimiser = torch.optim.Adam(parameters, 1e-3, BETAS, **{adam: True})
            return times(optimiser.step, lambda _: None, steps)
        module = in_pytorch.module(layer, layout, inplace=False)
        module.to(memory_format=memory_format)
        x = normal((batch, *layer.inside)).requires_grad_()
        if layer.kind == "linear":
            x = x.detach().reshape(batch, -1).requires_grad_()
        g = torch.randn_like(module(x))  # in the memory format of the result
        return passes(module, x, g, steps)

    return handle


def measure(batch, rounds, steps):
    """Return ({title: result of a case}, {"gemm", "memory": the machine's rates})."""
    results = {}
    with ExitStack() as stack:
        ours = stack.enter_context(common.worker(prepare_ours, batch))
        others = {
            variant: stack.enter_context(common.worker(prepare_pytorch, batch, *variant))
            for variant in PYTORCH
        }
        gemm = max(common.gemm_rate(), others[PYTORCH[0]]("gemm", 0))
        rates = {"flops": gemm, "bytes": common.memory_rate()}
        for title, (layer, shapes) in cases().items():
            asked = {"ours": ours, **others}
            turns = {name: partial(ask, title, steps) for name, ask in asked.items()}
            taken = {
                name: [common.spread(column)["median"] for column in zip(*rows)]
                for name, rows in common.alternate(turns, rounds).items()
            }
            best = min(PYTORCH, key=lambda name: sum(taken[name]))
            kind, *amounts = work(layer, shapes, batch)
            results[title] = {"work": kind, "layout": best[layer is None]}
            for side, name in (("ours", "ours"), ("pytorch", best)):
                shares = [
                    amount / (1e-3 * ms * rates[kind]) if amount else None
                    for amount, ms in zip(amounts, taken[name])
                ]
                results[title][side] = {"ms": taken[name], "of the machine's rate": shares}
            show(title, results[title])
    return results, {"gemm": rates["flops"], "memory": rates["bytes"]}


def show(title, result):
    """Print one line of the table."""
    ours, other = result["ours"], result["pytorch"]
    columns = [f"{title:38}"]
    for side in (ours, other):
        columns += [
            f"{ms:8.3f} " + (f"{share:5.0%}" if share else "     ")
            for ms, share in zip(side["ms"], side["of the machine's rate"])
        ]
    ratio = sum(ours["ms"]) / sum(other["ms"])
    print(*columns, f"{ratio:6.2f}  {result['work']}, {result['layout']}", flush=True)


def main(argv=None):
    """Run the command."""
    parser = common.parser("ops", __doc__)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="calls in each round")
    args = parser.parse_args(argv)
    print(
        "ms and share of the machine's rate: ours forward, backward; PyTorch forward, backward; "
        "ours / PyTorch; what is counted"
    )
    results, rates = measure(args.batch, args.rounds, args.steps)
    print(
        f"the machine's rates: {rates['gemm'] / 1e9:.0f} GFLOP/s in float32 matrix products, "
        f"{rates['memory'] / 1e9:.1f} GB/s of memory read and written"
    )
    common.save("ops", {str(args.batch): {"rates": rates, "cases": results}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
