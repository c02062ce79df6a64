"""The tables of a model's networks as text."""

import copy

import numpy as np

from tinyinfogan.engine import Tensor, nn, no_grad


def describe(model):
    """Return the tables of a model's networks as text: layers, output shapes and parameters."""
    row = "{:<36}{:<14}{:>12}".format
    lines = [row("", "output", "parameters")]

    def table(title, part, x):
        """Append the table of one part; return what comes out of it."""
        lines.extend(["", row(title, _by(x.shape[1:]), "")])
        for layer in part.modules:
            x = layer(x)
            count = f"{_size(layer):,}" if layer.parameters() else ""
            lines.append(row(f"  {_label(layer)}", _by(x.shape[1:]), count))
        lines.append(row("  all", "", f"{_size(part):,}"))
        return x

    model = copy.deepcopy(model).eval()
    G, D = model.generator, model.discriminator
    with no_grad():
        images = table("G", G, Tensor(np.zeros((1, model.spec.dim), np.float32)))
        features = table("D and Q: the trunk", D.trunk, images)
        table("D: the head", nn.Sequential(D.d_head), features)
        table("Q: the head", D.q_head, features)
    lines.extend(["", row("all networks", "", f"{_size(model):,}")])
    return "\n".join(line.rstrip() for line in lines)


def _size(part):
    """Return the number of parameters."""
    return sum(parameter.data.size for parameter in part.parameters())


def _by(shape):
    """Return a shape as text, "28×28×1"."""
    return "×".join(map(str, shape))


def _label(layer):
    """Return a layer's name and, if it has a kernel, the kernel's size and the stride."""
    name = type(layer).__name__
    if not isinstance(layer, nn.Conv2d):
        return name
    KH, KW, *_ = layer.weight.shape
    return f"{name} {KH}×{KW}" + (f" stride {layer.stride}" if layer.stride > 1 else "")
