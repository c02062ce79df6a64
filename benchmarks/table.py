"""Print, as Markdown, what benchmarks/results/ holds: the tables of the README.

    python -m benchmarks.table

A machine is named once, before its first table.
"""

import sys

from benchmarks import common
from benchmarks.sides import TITLES


def rows(header, body):
    """Return a Markdown table, the first column to the left and the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def where(content):
    """Return a sentence about the machine and the date."""
    machine = content["machine"]
    libraries = [f"NumPy {machine['numpy']} ({machine['blas']})"]
    others = ("torch", "PyTorch"), ("jax", "JAX")
    libraries += [f"{title} {machine[name]}" for name, title in others if machine[name]]
    gpu = "".join(line.split(maxsplit=1)[1] + "; " for line in machine.get("gpu", ())[:3])
    return (
        f"{gpu}{machine['processor']}, {machine['threads']} threads; "
        f"Python {machine['python']}, {', '.join(libraries)}; {content['date']}."
    )


def _ms(value):
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"


def step_table(content):
    """Return one line per preset and batch: ms of each side, and ours over each other's."""
    results = content["results"]
    sides = [side for side in TITLES if any(side in result for result in results.values())]
    others = [side for side in sides if side != "ours"]
    body = []
    for key in sorted(results, key=lambda key: (key.split("/")[0], int(key.split("/")[1]))):
        result, (preset, batch) = results[key], key.split("/")
        cells = [_ms(result[s]["ms"]["median"]) if s in result else "" for s in sides]
        cells += [
            "{median:.2f} ({min:.2f}–{max:.2f})".format(**result[side]["ours / it"])
            if side in result
            else ""
            for side in others
        ]
        body.append([f"`{preset}`, batch {batch}", *cells])
    header = [
        "one training step",
        *(f"{TITLES[side]}, ms" for side in sides),
        *(f"ours / {TITLES[side]}" for side in others),
    ]
    return rows(header, body)


def memory_table(content):
    """Return one line per side: the whole process and what training takes of it, in MB."""
    body = [
        [
            f"`{key.split('/')[0]}`, batch {key.split('/')[1]}, {TITLES[side]}",
            *(f"{found[name] / 1e6:.0f}" for name in ("total", "training")),
        ]
        for key, sides in content["results"].items()
        for side, found in sides.items()
    ]
    return rows(["peak memory of ten steps", "whole process, MB", "training only, MB"], body)


def run_table(content):
    """Return one line per side: what a whole run takes."""
    columns = {
        "training": "training, s",
        "processor": "processor, s",
        "peak MB": "peak, MB",
        "seconds to 95 %": "to 95 %, s",
        "code accuracy": "code accuracy",
    }
    body = [
        [
            f"{key}, {TITLES[side]}",
            *(f"{found[n]['median']:.4g}" if n in found else "" for n in columns),
        ]
        for key, sides in content["results"].items()
        for side, found in sides.items()
    ]
    return rows(["whole run", *columns.values()], body)


def start_table(content):
    """Return how soon the command answers."""
    titles = {"help": "`--help` answers", "first step": "the first training step ends"}
    body = [
        [titles[name], "{median:.2f} ({min:.2f}–{max:.2f})".format(**seconds)]
        for name, seconds in content["results"].items()
    ]
    return rows(["seconds from starting `python -m tinyinfogan.train`", "median (range)"], body)


def profile_table(content):
    """Return one line per profile: the matrix products' share and rate."""
    body = [
        [
            f"`{key.split('/')[0]}`, batch {key.split('/')[1]}",
            f"{result['step ms']:.0f}",
            f"{result['products']['share of the step']:.0%}",
            f"{result['products']['of the best rate']:.0%}",
        ]
        for key, result in content["results"].items()
    ]
    header = ["where our step goes", "ms", "of it matrix products", "at, of the best measured rate"]
    return rows(header, body)


def ops_table(content):
    """Return one line per operation and batch measured."""
    body = []
    for batch, result in content["results"].items():
        for title, case in result["cases"].items():
            cells = []
            for side in ("ours", "pytorch"):
                ms, shares = case[side]["ms"], case[side]["of the machine's rate"]
                cells += [f"{m:.2f} ({share:.0%})" if share else "" for m, share in zip(ms, shares)]
            ratio = sum(case["ours"]["ms"]) / sum(case["pytorch"]["ms"])
            body.append([f"{title}, batch {batch}", *cells, f"{ratio:.2f}"])
    header = [
        "ms (share of the machine's rate)",
        "ours, forward",
        "backward",
        "PyTorch, forward",
        "backward",
        "ours / PyTorch",
    ]
    return rows(header, body)


def scaling_table(content):
    """Return one line per point of each sweep."""
    body = [
        [
            f"{sweep} {value}",
            f"{result['ms']['median']:.0f}",
            f"{result['flops'] / 1e9:.1f}",
            f"{1e9 * result['ms']['median'] / result['flops']:.1f}",
            f"{result['memory']['total'] / 1e6:.0f}",
        ]
        for sweep, points in content["results"].items()
        for value, result in points.items()
    ]
    return rows(["`paper-mnist` with", "ms", "GFLOP", "ms / GFLOP", "peak memory, MB"], body)


def ablation_table(content):
    """Return one line per measure that was taken away."""
    body = [
        [
            f"`{key.split('/')[0]}`, batch {key.split('/')[1]}, "
            + (name if name == "everything" else f"without {name}"),
            _ms(result["ms"]["median"]),
            "{median:.3f} ({min:.3f}–{max:.3f})".format(**result["of the whole"]),
        ]
        for key, results in content["results"].items()
        for name, result in results.items()
    ]
    return rows(["our step with", "ms", "of the time with everything"], body)


def study_table(content):
    """Return one line per setting: code accuracies over the seeds."""
    body = [
        [
            name,
            f"`{result['options']}`" if result["options"] else "",
            *(f"{100 * result[of]:.1f}" for of in ("median", "min", "max")),
            ", ".join(f"{100 * accuracy:.1f}" for accuracy in result["accuracies"]),
        ]
        for results in content["results"].values()
        for name, result in results.items()
    ]
    steps = " and ".join(content["results"])
    return rows([f"code accuracy in %, {steps}", "", "median", "worst", "best", "each seed"], body)


TABLES = {
    "step": step_table,
    "step_cuda": step_table,
    "run": run_table,
    "memory": memory_table,
    "start": start_table,
    "profile": profile_table,
    "ablation": ablation_table,
    "ops": ops_table,
    "scaling": scaling_table,
    "study": study_table,
}


def markdown(folder=None):
    """Return all tables there are results for, each machine named once."""
    parts, named = [], None
    for name, table in TABLES.items():
        content = common.load(name, folder)
        if content is None:
            continue
        if where(content) != named:
            named = where(content)
            parts.append(named)
        parts.append(table(content))
    return "\n\n".join(parts)


if __name__ == "__main__":
    print(markdown() or f"no results yet in {common.RESULTS.name}/")
    sys.exit(0)
