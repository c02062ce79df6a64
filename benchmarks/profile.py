"""Where a step of ours goes, operation by operation, forward and backward.

    python -m benchmarks.profile [--preset paper-mnist] [--batch 128] [--steps 20]

Timers are put around the engine's functions from outside, wherever the package refers to them.
What a timed function spends in another timed one counts for the other only, so the numbers add up.
They see the main thread, which has an equal share of what threads do together.
The exit status is 1 if they do not add up to the whole step within 10%.
"""

import contextlib
import functools
import sys
import threading
import time
from collections import Counter, defaultdict
from statistics import median
from types import FunctionType

import numpy as np

from benchmarks import common, sides
from benchmarks.problem import PRESETS, draw_batches, mnist
from tinyinfogan.engine import conv, norm, ops, optim, primitives, tensor
from tinyinfogan.engine.fast import conv as fast_conv
from tinyinfogan.infogan.variants import augmentation

KINDS = ("products", "columns", "rest")  # of what happens inside an operation
COLOURS = ("#3b6ea5", "#e0a030", "#b0b0b0")
OPERATIONS = {
    name: function
    for name, function in vars(ops).items()
    if isinstance(function, FunctionType)
    and function.__module__ in (ops.__name__, conv.__name__, norm.__name__)
    and not name.startswith("_")
    and function is not ops.unbroadcast  # no operation, but of their gradients
}


# --- timers ---------------------------------------------------------------------------------------


class Record:
    """What the timers of one step have seen.

    seconds: {(operation, phase, kind): seconds}.  products: {(M, K, N): [seconds of each call]}.
    running: the timed functions that have not returned, each [operation, phase, kind, seconds of
    others].
    """

    def __init__(self):
        self.seconds, self.products, self.running = Counter(), defaultdict(list), []


def timed(record, function, operation=None, phase=None, kind="rest", shape=None):
    """Return `function` with a timer; without `operation` it counts for the one that calls it.

    shape: for a matrix product, a function from the arguments to (M, K, N).
    """

    @functools.wraps(function)  # with a primitive's `.plain`
    def wrapper(*args, **options):
        if threading.current_thread() is not threading.main_thread():
            return function(*args, **options)
        outer = record.running[-1] if record.running else ["other", "forward", "rest", 0.0]
        name, at = (operation, phase) if operation else outer[:2]
        record.running.append([name, at, kind, 0.0])
        since = time.perf_counter()
        try:
            return function(*args, **options)
        finally:
            taken = time.perf_counter() - since
            *_, others = record.running.pop()
            record.seconds[name, at, kind] += taken - others
            outer[3] += taken
            if kind == "products" and outer[2] != "products":  # not one inside another
                record.products[shape(*args)].append(taken - others)

    return wrapper


def of_matmul(a, b):
    """Return (M, K, N) of a product of matrices, or of stacks of them."""
    return int(np.prod(a.shape[:-1])), a.shape[-1], b.shape[-1]


def of_conv_forward(x, matrix, *window):
    return len(x) * int(np.prod(primitives.windows(*x.shape[1:3], *window))), *matrix.shape


def of_conv_input_grad(g, matrix, *_):
    return *g.shape, len(matrix)


def of_conv_weight_grad(x, g, KH, KW, *_):
    return KH * KW * x.shape[3], *g.shape


@contextlib.contextmanager
def timers(record):
    """Put timers around the engine's functions for as long as the `with` lasts."""
    changes = []

    def put(original, wrapped):
        """Let every name and attribute in the package that is `original` be `wrapped`."""
        modules = [m for name, m in sys.modules.items() if name.split(".")[0] == "tinyinfogan"]
        owners = {id(v): v for m in modules for v in vars(m).values() if isinstance(v, type)}
        for owner in (*modules, *owners.values()):
            for name, value in list(vars(owner).items()):
                if value is original:
                    setattr(owner, name, wrapped)
                elif isinstance(value, staticmethod) and value.__func__ is original:
                    setattr(owner, name, staticmethod(wrapped))
                else:
                    continue
                changes.append((owner, name, value))

    def recording(data, inputs, backward, record_operation=tensor.record):
        operation = backward.__qualname__.split(".")[0]
        return record_operation(data, inputs, timed(record, backward, operation, "backward"))

    try:
        for name, function in OPERATIONS.items():
            put(function, timed(record, function, name, "forward"))
        put(augmentation.warp, timed(record, augmentation.warp, "warp", "forward"))
        put(tensor.record, recording)
        walk = tensor.Tensor.backward  # with the sums of what reaches one tensor in two ways
        put(walk, timed(record, walk, "walk", "backward"))
        put(optim.Adam.step, timed(record, optim.Adam.step, "Adam", "step"))
        # What a convolution does besides making columns is its product.
        for shape in (of_matmul, of_conv_forward, of_conv_input_grad, of_conv_weight_grad):
            product = getattr(primitives, shape.__name__.removeprefix("of_"))
            put(product, timed(record, product, kind="products", shape=shape))
        for columns in (primitives, fast_conv):
            for function in (columns.im2col, columns.col2im):
                put(function, timed(record, function, kind="columns"))
        yield
    finally:
        for owner, name, value in reversed(changes):
            setattr(owner, name, value)


# --- measuring ------------------------------------------------------------------------------------


def measure(problem, steps):
    """Return the profile of a step, medians of `steps` steps, times in ms."""
    batches = draw_batches(problem)
    step, _ = sides.loader("ours")(problem, batches)
    whole, records = [], []
    for index in range(-2, steps):
        batch, record = index % len(batches), Record()
        untimed = common.milliseconds(step, batch)
        with timers(record):
            step(batch)
        if index >= 0:  # the first two make the buffers and warm the caches
            whole.append(untimed)
            records.append(record)
    operations = defaultdict(lambda: dict.fromkeys(KINDS, 0.0))
    for operation, phase, kind in set().union(*[record.seconds for record in records]):
        values = [1e3 * record.seconds[operation, phase, kind] for record in records]
        operations[f"{operation} {phase}"][kind] = median(values)
    total = sum(sum(kinds.values()) for kinds in operations.values())
    return {
        "step ms": median(whole),
        "sum ms": total,
        "operations": dict(sorted(operations.items(), key=lambda item: -sum(item[1].values()))),
        "products": measure_products(records, median(whole)),
    }


def measure_products(records, step):
    """Return the matrix products' share of a step (ms), and their rate against the best.

    The best of a shape is the shortest time of one such product alone, ten times over.
    """
    shapes, spent, best = [], 0.0, 0.0
    for (M, K, N), calls in records[0].products.items():
        flops = 2 * M * K * N
        ms = 1e3 * median(t for record in records for t in record.products[M, K, N])
        alone = best_product(M, K, N)
        of_shape = {"shape": [M, K, N], "calls": len(calls), "ms": ms, "best ms": alone}
        rates = {"GFLOP/s": flops / ms / 1e6, "best GFLOP/s": flops / alone / 1e6}
        shapes.append(of_shape | rates)
        spent += ms * len(calls)
        best += alone * len(calls)
    shapes.sort(key=lambda shape: -shape["ms"] * shape["calls"])
    return {"share of the step": spent / step, "of the best rate": best / spent, "shapes": shapes}


def best_product(M, K, N, repeats=10):
    """Return the least ms of one product of matrices (M, K) and (K, N), on all threads."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((M, K), np.float32), rng.standard_normal((K, N), np.float32)
    return min(common.milliseconds(primitives.matmul, a, b) for _ in range(repeats))


# --- showing --------------------------------------------------------------------------------------


def show(profile, smallest=0.005):
    """Print the tables; operations below a share of `smallest` of the step go together."""
    print(f"{'':28}" + "".join(f"{kind:>10}" for kind in KINDS) + f"{'ms':>10} {'share':>6}")

    def line(name, kinds):
        ms = sum(kinds.values())
        numbers = "".join(f"{kinds[kind]:10.2f}" for kind in KINDS)
        print(f"{name:28}{numbers}{ms:10.2f} {ms / profile['step ms']:6.1%}")

    others = dict.fromkeys(KINDS, 0.0)
    for name, kinds in profile["operations"].items():
        if sum(kinds.values()) >= smallest * profile["step ms"]:
            line(name, kinds)
        else:
            others = {kind: others[kind] + kinds[kind] for kind in KINDS}
    line("all others", others)
    print(f"sum {profile['sum ms']:.1f} ms, whole step without timers {profile['step ms']:.1f} ms")
    products = profile["products"]
    print(
        f"matrix products: {products['share of the step']:.1%} of the step, at "
        f"{products['of the best rate']:.1%} of the best rate on their shapes"
    )
    for shape in products["shapes"][:12]:
        print("  {:6d} × {:5d} × {:5d}".format(*shape["shape"]), end="")
        print(
            f" {shape['calls']:3d} calls of {shape['ms']:7.2f} ms: {shape['GFLOP/s']:6.0f} "
            f"GFLOP/s, best {shape['best GFLOP/s']:6.0f}"
        )


def draw(profile, title, path, bars=16):
    """Write a bar chart of the largest operations."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(profile["operations"])[:bars]
    figure, axes = pyplot.subplots(figsize=(8, 0.32 * len(names) + 1.2), layout="constrained")
    left = np.zeros(len(names))
    words = ("matrix products", "im2col and col2im", "the rest")
    for kind, colour, label in zip(KINDS, COLOURS, words):
        widths = np.array([profile["operations"][name][kind] for name in names])
        axes.barh(names, widths, left=left, color=colour, label=label)
        left += widths
    axes.invert_yaxis()
    axes.set(xlabel="ms", title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def main(argv=None):
    """Run the command.  Returns the exit status."""
    parser = common.parser("profile", __doc__)
    parser.add_argument("--preset", choices=PRESETS, default="paper-mnist")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args(argv)
    profile = measure(mnist(args.preset, args.batch), args.steps)
    show(profile)
    key = f"{args.preset}/{args.batch}"
    common.save("profile", {key: profile})
    title = f"One step of {args.preset}, batch {args.batch}: {profile['step ms']:.0f} ms"
    draw(profile, title, common.RESULTS / "profile.png")
    gap = abs(profile["sum ms"] / profile["step ms"] - 1)
    print(f"the sum is {gap:.1%} away from the whole step: {'good' if gap <= 0.1 else 'TOO FAR'}")
    return int(gap > 0.1)


if __name__ == "__main__":
    sys.exit(main())
