"""A trained model as one web page: weights of G and Q packed for `page.html`, which runs them.

The page knows few kinds of layer, and everything trained is one of the first three:
    convolution, transposed   x * weight + bias; weight (KH, KW, C_in, C_out).  A Linear layer is a
                              convolution of an image of 1×1 pixels with a kernel of 1×1.
    affine                    weight · x + bias for each channel
    lines                     as `variants.sprites.Lines`
    reshape, leaky_relu, tanh, sigmoid, depth_to_space
A batch norm with fixed statistics is affine; right after a convolution it goes into its weights.
"""

import base64
import copy
import io
import json
import math
from pathlib import Path

import numpy as np

from tinyinfogan.engine import Tensor, no_grad
from tinyinfogan.storage import files
from tinyinfogan.view import plots

TEMPLATE = Path(__file__).with_name("page.html")
COLUMNS, MAX_ROWS = 5, 4
DRAWN = 28, 28, 1
BUDGET = 60e6  # multiply-adds for a whole grid, about 60 ms in a browser on one core


class ExportError(ValueError):
    """A network that the page cannot run; the message is one line."""


def export(path, model, title, snapshots=()):
    """Write the page of a model on the CPU, `title` below the heading.  Return its size in bytes.

    If its images are of MNIST's size one can draw there, and Q reads it.  snapshots: (text, images
    (N, H, W, C)) of times in training, shown ten images in a row.
    Raises ExportError as `pack`, and OSError if the file cannot be written.
    """
    spec, q = model.spec, []
    generator, weights, cost = pack("the generator", model.generator.modules, (spec.dim,))
    if model.image_shape == DRAWN:
        modules = model.discriminator.trunk.modules + model.discriminator.q_head.modules
        q, more, _ = pack("Q", modules, model.image_shape)
        weights = np.concatenate([weights, more])
    facts = {"title": title, "generator": generator, "q": q}
    facts |= {"noise": spec.noise, "categorical": spec.categorical, "continuous": spec.continuous}
    facts |= {"columns": COLUMNS, "rows": int(np.clip(BUDGET / cost / COLUMNS, 1, MAX_ROWS))}
    facts["snapshots"] = [_snapshot(*each) for each in snapshots]
    # A "<" in a name must not end the script element that holds it.
    text = json.dumps(facts).replace("<", "\\u003c")
    page = TEMPLATE.read_text(encoding="utf-8").replace("{{model}}", text)
    page = page.replace("{{weights}}", base64.b64encode(weights.tobytes()).decode())
    with files.replacing(path) as file:
        return file.write(page.encode())


def _snapshot(text, images):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(plots.to_bytes(plots.tile(images, 10))).save(file, "PNG")
    picture = base64.b64encode(file.getvalue()).decode()
    return {"text": text, "picture": f"data:image/png;base64,{picture}"}


def pack(network, modules, shape):
    """Return (layers, weights, cost) of modules one after another, batch norm as in use.

    network: what an error calls them.  shape: of one example, without N.
    layers: dicts for JSON: "kind", "shape" (H, W, C) of the output, and what else the kind needs.
    weights: float16 (number of weights,): weight, then bias, of each layer that has them.
    cost: multiply-adds for one example.
    Raises ExportError for a layer that the page does not know and a weight beyond float16.
    """
    layers, weights, cost = [], [], 0
    x = Tensor(np.zeros((1, *shape), np.float32))
    for index, layer in enumerate(copy.deepcopy(modules)):
        name, (*_, channels), before = type(layer).__name__, x.shape, x.shape[1:3]
        if name not in LAYERS:
            what = f"layer {index} of {network}, {name}, cannot be exported"
            raise ExportError(f"{what}; the page knows {', '.join(LAYERS)}")
        described, *arrays = LAYERS[name](layer, channels)
        with no_grad():
            x = layer.eval()(x)
        if name == "BatchNorm" and layers and layers[-1]["kind"] in ("convolution", "transposed"):
            (weight, bias), (scale, shift) = weights[-1], arrays
            weights[-1] = weight * scale, bias * scale + shift
            continue
        shape = [1] * (4 - x.data.ndim) + list(x.shape[1:])
        layers.append(described | {"shape": shape})
        if arrays:
            weights.append(arrays)
            at = before if described["kind"] == "transposed" else shape[:2]
            cost += arrays[0].size * math.prod(at)
    flat = np.concatenate([array.ravel() for arrays in weights for array in arrays])
    with np.errstate(over="ignore"):
        half = flat.astype("<f2")
    if not np.isfinite(half).all():
        worst = np.abs(flat).max()
        raise ExportError(f"a weight of {worst:.3g} does not fit float16, which ends at 65504")
    return layers, half, cost


# --- layers as the page has them ------------------------------------------------------------------


def _convolution(layer, weight, stride, padding, kind="convolution"):
    bias = np.zeros(weight.shape[3]) if layer.bias is None else layer.bias.data
    KH, KW, _, _ = weight.shape
    return {"kind": kind, "kernel": [KH, KW], "stride": stride, "padding": padding}, weight, bias


def _transposed(layer, _):
    kernel = layer.kernel() if hasattr(layer, "kernel") else layer.weight
    weight = kernel.data.swapaxes(2, 3)
    return _convolution(layer, weight, layer.stride, layer.padding, "transposed")


def _batch_norm(layer, _):
    scale = layer.gamma.data / np.sqrt(layer.running_var + layer.eps)
    return {"kind": "affine"}, scale, layer.beta.data - layer.running_mean * scale


LAYERS = {
    "Linear": lambda layer, _: _convolution(layer, layer.weight.data[None, None], 1, 0),
    "Conv2d": lambda layer, _: _convolution(layer, layer.weight.data, layer.stride, layer.padding),
    "WholeImageConv2d": lambda layer, _: _convolution(
        layer, layer.weight.data, 1, len(layer.weight.data) // 2 - 1
    ),
    "ConvTranspose2d": _transposed,
    "UpsamplingConv2d": _transposed,
    "BatchNorm": _batch_norm,
    "Affine": lambda layer, C: (
        {"kind": "affine"},
        np.full(C, layer.scale),
        np.full(C, layer.shift),
    ),
    "Lines": lambda layer, _: ({"kind": "lines"},),
    "Reshape": lambda layer, _: ({"kind": "reshape"},),
    "DepthToSpace": lambda layer, _: ({"kind": "depth_to_space"},),
    "ReLU": lambda layer, _: ({"kind": "leaky_relu", "slope": 0},),
    "LeakyReLU": lambda layer, _: ({"kind": "leaky_relu", "slope": layer.slope},),
    "Tanh": lambda layer, _: ({"kind": "tanh"},),
    "Sigmoid": lambda layer, _: ({"kind": "sigmoid"},),
}
"""By the name of its class: f(layer, channels coming in) -> (what JSON says[, weight, bias])."""
