"""The training step in PyTorch, eager or compiled, in either memory format."""

import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.networks import KERNEL, SLOPE, tables
from benchmarks.problem import BETAS, EPS, information_term, joints, model
from tinyinfogan.engine.fast import threads
from tinyinfogan.infogan.variants.consistency import KEPT, TRACE


def start(problem, batches, layout, adam, transform=lambda function: function, graphed=False):
    """Return (step, state), see sides.loader, from what `build` takes.

    graphed: replay the step as a CUDA graph.
    """
    parts = build(problem, layout, adam, transform, graphed)
    data = [
        [x if x is None else x.to(problem.device) for x in tensors(batch, layout)]
        for batch in batches
    ]
    compute = as_graph(parts.compute, data[0], parts.rewind) if graphed else parts.compute
    return lambda index: compute(*data[index]), parts.state


def build(problem, layout, adam, transform=lambda function: function, capturable=False):
    """Return the training in PyTorch, with our first weights: a namespace.

    compute(real, latents, *maps) takes a step on tensors of a batch, state() and rewind() are as of
    `start`; G, D = (trunk, D's head, Q's head), adams, and kept, the consistency's {name: P}.
    layout: "NCHW" or "channels_last".  adam: "foreach" or "fused".  transform: what is done to the
    functions that compute, such as torch.compile.
    """
    torch.set_num_threads(threads.count)
    torch.backends.cudnn.allow_tf32 = False  # products of float32, as all sides take
    torch.backends.cudnn.benchmark = True
    settings, spec = problem.settings, problem.settings.spec
    networks = tables(settings, problem.image_shape)
    G, trunk, d_head, q_head = (network(layers, layout) for layers in networks.values())
    D = nn.ModuleList([trunk, d_head, q_head])
    for part in (G, D):
        part.to(problem.device, getattr(torch, problem.dtype))
        if layout == "channels_last":
            part.to(memory_format=torch.channels_last)
    first = {name: torch.from_numpy(P) for name, P in joints(settings).items()}
    kept = {n: P.to(problem.device, getattr(torch, problem.dtype)) for n, P in first.items()}
    names = list(model(problem).state_dict())
    entries = state_entries(networks, (G, trunk, d_head, q_head), layout)
    how = {adam: True, "capturable": capturable}
    adams = d_adam, g_adam = [
        torch.optim.Adam(part.parameters(), lr, BETAS, EPS, **how)
        for part, lr in ((D, settings.d_lr), (G, settings.g_lr))
    ]

    @torch.no_grad()
    def rewind():
        """Give all sides' first weights, and forget what Adam has seen."""
        initial = model(problem).state_dict()
        for array, (tensor, to_torch, _) in zip(initial.values(), entries, strict=True):
            tensor.copy_(torch.from_numpy(np.ascontiguousarray(to_torch(array))))
        for name, P in kept.items():
            P.copy_(first[name])
        for state in [state for adam in adams for state in adam.state.values()]:
            for value in state.values():
                value.zero_()

    rewind()

    def discriminator(images):
        features = trunk(images)
        return d_head(features)[:, 0], q_head(features)

    term = partial(information_term, settings)

    def d_objective(real, fake, latents, real_map, fake_map):
        real_logits, real_q_output = discriminator(warp(real, real_map))
        fake_logits, fake_q_output = discriminator(warp(fake, fake_map))
        information = mutual_information(spec, fake_q_output, latents)
        loss = functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()
        objective = loss - term(information)
        if settings.lambda_consistency:
            consistency = consistency_loss(spec, kept, real_q_output)
            objective = objective + settings.lambda_consistency * consistency
        return objective, loss.detach()

    def g_objective(fake, latents, fake_map):
        logits, q_output = discriminator(warp(fake, fake_map))
        information = mutual_information(spec, q_output, latents)
        loss = functional.softplus(-logits).mean()
        held = {name: value.detach() for name, value in information.items()}
        return loss - term(information), loss.detach(), held

    generate, d_objective, g_objective = map(transform, (G, d_objective, g_objective))

    def compute(real, latents, real_map, fake_map, g_map):
        fake = generate(latents)
        objective, d_loss = d_objective(real, fake.detach(), latents, real_map, fake_map)
        d_adam.zero_grad()
        objective.backward()
        d_adam.step()

        D.requires_grad_(False)
        objective, g_loss, information = g_objective(fake, latents, g_map)
        g_adam.zero_grad()
        objective.backward()
        g_adam.step()
        D.requires_grad_(True)
        return {"d_loss": d_loss, "g_loss": g_loss, **information}

    def state():
        arrays = (back(tensor.detach().cpu().numpy()) for tensor, _, back in entries)
        return dict(zip(names, arrays, strict=True))

    rest = {"state": state, "rewind": rewind, "adams": adams, "kept": kept}
    return SimpleNamespace(compute=compute, G=G, D=D, **rest)


def start_compiled(problem, batches, **variant):
    """Return what `start` does, with torch.compile on G and on both players' objectives."""
    return start(problem, batches, **variant, transform=lambda f: torch.compile(f, dynamic=False))


def start_graphed(problem, batches, **variant):
    """Return what `start` does, with the whole step replayed as a CUDA graph."""
    return start(problem, batches, **variant, graphed=True)


def as_graph(compute, inputs, rewind):
    """Return a function like `compute` that is a CUDA graph; rewind() undoes the steps it takes."""
    inputs = [tensor if tensor is None else tensor.clone() for tensor in inputs]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            compute(*inputs)
    torch.cuda.current_stream().wait_stream(stream)
    rewind()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = compute(*inputs)

    def replay(*new):
        for tensor, value in zip(inputs, new, strict=True):
            if tensor is not None:
                tensor.copy_(value)
        graph.replay()
        return results

    return replay


# --- networks -------------------------------------------------------------------------------------


class Reshape(nn.Module):
    """Features to images or back, in the order that costs no copy."""

    def __init__(self, shape, layout):
        super().__init__()
        self.shape, self.last = shape, layout == "channels_last"

    def forward(self, x):
        if len(self.shape) == 1:
            return (x.permute(0, 2, 3, 1) if self.last else x).reshape(len(x), -1)
        H, W, C = self.shape
        return x.view(-1, H, W, C).permute(0, 3, 1, 2) if self.last else x.view(-1, C, H, W)


def network(layers, layout):
    """Return the nn.Sequential of a table."""
    return nn.Sequential(*[module(layer, layout) for layer in layers])


def module(layer, layout, inplace=True):
    """Return the module of one Layer; activations write over their input if `inplace`."""
    if layer.kind == "linear":
        return nn.Linear(math.prod(layer.inside), math.prod(layer.outside), layer.bias)
    if layer.kind in ("conv", "conv_transpose"):
        kind = nn.Conv2d if layer.kind == "conv" else nn.ConvTranspose2d
        return kind(layer.inside[2], layer.outside[2], KERNEL, 2, 1, bias=layer.bias)
    if layer.kind == "batch_norm":
        kind = nn.BatchNorm1d if len(layer.inside) == 1 else nn.BatchNorm2d
        return kind(layer.inside[-1])
    if layer.kind == "reshape":
        return Reshape(layer.outside, layout)
    return {
        "relu": lambda: nn.ReLU(inplace),
        "leaky_relu": lambda: nn.LeakyReLU(SLOPE, inplace),
        "sigmoid": nn.Sigmoid,
    }[layer.kind]()


def state_entries(networks, modules, layout):
    """Return [(tensor, function from our array to its layout, function back)] in our order."""
    entries = []
    for layers, sequential in zip(networks.values(), modules, strict=True):
        for layer, own in zip(layers, sequential, strict=True):
            tensors = [t for t in own.state_dict().values() if t.dtype.is_floating_point]
            assert len(tensors) == layer.arrays, (layer, len(tensors))
            entries += [(tensor, *conversion(layer, tensor.ndim, layout)) for tensor in tensors]
    return entries


def conversion(layer, ndim, layout):
    """Return (function from one of our arrays to PyTorch's, function back)."""
    axes = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[ndim]
    grid = layer.reads or layer.makes
    if layout != "NCHW" or not grid:
        return lambda array: array.transpose(axes), lambda array: array.transpose(np.argsort(axes))
    # There flat features stand for (C, H, W).
    order = np.arange(math.prod(grid)).reshape(grid).transpose(2, 0, 1).ravel()
    axis = 0 if layer.reads else -1
    return (
        lambda array: array.take(order, axis).transpose(axes),
        lambda array: array.transpose(np.argsort(axes)).take(np.argsort(order), axis),
    )


def tensors(batch, layout):
    """Return real images, latents and the three maps of a Batch as tensors, or None for no map."""
    real = torch.from_numpy(batch.real).permute(0, 3, 1, 2)
    if layout == "NCHW":
        real = real.contiguous()
    thetas = [m if m is None else torch.from_numpy(theta(m, batch.real)) for m in batch.maps]
    return [real, torch.from_numpy(batch.latents), *thetas]


# --- augmentation and losses ----------------------------------------------------------------------


def theta(maps, images):
    """Return our affine maps as affine_grid wants them: columns first, -1 to 1 across the image.

    Our (i, j) are pixels from the image's centre, so with align_corners=False x = 2 j / W and
    y = 2 i / H.
    """
    (_, H, W, _), (row, column) = images.shape, maps.transpose(1, 0, 2)
    x = np.stack([column[:, 1], column[:, 0] * (H / W), column[:, 2] * (2 / W)], axis=1)
    y = np.stack([row[:, 1] * (W / H), row[:, 0], row[:, 2] * (2 / H)], axis=1)
    return np.stack([x, y], axis=1)


def warp(images, maps):
    """Move images (N, C, H, W) by maps as `theta` returns them, or not at all by None."""
    if maps is None:
        return images
    grid = functional.affine_grid(maps, images.shape, align_corners=False)
    return functional.grid_sample(images, grid, "bilinear", "zeros", align_corners=False)


def mutual_information(spec, q_output, latents):
    """Return L_I of each code, with σ = 1."""
    information = {}
    for code in spec.codes:
        predicted, true = q_output[:, code.columns], latents[:, spec.noise :][:, code.columns]
        if code.size is None:
            log_q = -0.5 * math.log(2 * math.pi) - 0.5 * (true - predicted) ** 2
        else:
            log_q = functional.log_softmax(predicted, dim=1) * true
        information[code.name] = code.entropy + log_q.sum() / len(latents)
    return information


def consistency_loss(spec, kept, q_output):
    """Return the loss of `variants.consistency.PairInformation`; kept: {code name: P}."""
    total, half = 0.0, len(q_output) // 2
    for name, P in kept.items():
        columns = next(code.columns for code in spec.codes if code.name == name)
        p = functional.softmax(q_output[:, columns], dim=1)
        with torch.no_grad():
            M = p[:half].T @ p[half:] / half
            P.copy_(KEPT * P + (1 - KEPT) * (M + M.T) / 2)
            share = P.sum(0)
            W = torch.log((P + TRACE) / (share * share[:, None] + TRACE))
        total = total - ((p[:half] @ W) * p[half:]).sum() / half
    return total
