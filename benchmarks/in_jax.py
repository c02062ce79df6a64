"""The training step in JAX, one jitted function."""

import math
import os
from functools import partial

import numpy as np

from benchmarks.networks import KERNEL, SLOPE, tables
from benchmarks.problem import BETAS, EPS, information_term, joints, model
from tinyinfogan.engine.fast import threads
from tinyinfogan.infogan.variants.consistency import KEPT, TRACE

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["NPROC"] = str(threads.count)  # the size of XLA's thread pool

import jax  # noqa: E402
from jax import lax  # noqa: E402
from jax import numpy as jnp  # noqa: E402


def start(problem, batches, convolution="lax"):
    """Return (step, state), see sides.loader.

    convolution: "lax" for lax.conv_general_dilated, "patches" for our way, a matrix product around
    slices of the image and the adjoints that JAX derives.
    """
    jax.config.update("jax_enable_x64", problem.dtype == "float64")
    networks = tables(problem.settings, problem.image_shape)
    names, carry = first_carry(model(problem).state_dict(), networks)
    first = joints(problem.settings).items()
    carry["joints"] = {name: jnp.asarray(P, problem.dtype) for name, P in first}
    data = jax.tree.map(jnp.asarray, [tuple(batch) for batch in batches])
    jitted = jax.jit(partial(train_step, problem.settings, networks, convolution), donate_argnums=0)

    def step(index):
        nonlocal carry
        carry, values = jitted(carry, *data[index])
        return jax.block_until_ready(values)

    def state():
        weights, running = {**carry["g"][0], **carry["d"][0]}, carry["running"]
        arrays = [
            array
            for part in networks
            for pair in zip(weights[part], running[part])
            for layer in pair
            for array in layer
        ]
        return dict(zip(names, map(np.asarray, arrays), strict=True))

    return step, state


def first_carry(state, networks):
    """Return (names, carry): what a step takes over from the one before, from our state.

    carry: "running", the running statistics; "steps"; "g" and "d", a player's [weights, first
    moments, second moments].  Weights and statistics are {part: a list for each layer}.
    """
    arrays = map(jnp.asarray, state.values())
    layers = {
        part: [[next(arrays) for _ in range(layer.arrays)] for layer in table]
        for part, table in networks.items()
    }
    weights = {part: [own[:2] for own in layers[part]] for part in networks}
    running = {part: [own[2:] for own in layers[part]] for part in networks}
    G, D = {"generator": weights.pop("generator")}, weights
    carry = {"running": running, "steps": jnp.zeros((), jnp.int32)}
    for player, own in (("g", G), ("d", D)):
        carry[player] = [own, *(jax.tree.map(jnp.zeros_like, own) for _ in range(2))]
    return list(state), carry


def train_step(settings, networks, convolution, carry, real, latents, maps):
    """Return (the next carry, losses)."""
    spec = settings.spec
    run = partial(apply, networks, convolution)
    term = partial(information_term, settings)
    steps = carry["steps"] + 1
    fake, pull, after_g = jax.vjp(
        lambda weights: run("generator", weights, carry["running"], latents),
        carry["g"][0],
        has_aux=True,
    )

    def discriminator(weights, running, images):
        features, running = run("trunk", weights, running, images)
        logits, running = run("d_head", weights, running, features)
        q_output, running = run("q_head", weights, running, features)
        return logits[:, 0], q_output, running

    def d_objective(weights):
        logits, real_q_output, running = discriminator(weights, after_g, warp(real, maps[0]))
        loss = jax.nn.softplus(-logits).mean()
        logits, q_output, running = discriminator(weights, running, warp(fake, maps[1]))
        loss = loss + jax.nn.softplus(logits).mean()
        objective = loss - term(mutual_information(spec, q_output, latents))
        moved = carry["joints"]
        if settings.lambda_consistency:
            consistency, moved = consistency_loss(moved, spec, real_q_output)
            objective = objective + settings.lambda_consistency * consistency
        return objective, (loss, running, moved)

    gradient, (d_loss, after_d, moved) = jax.grad(d_objective, has_aux=True)(carry["d"][0])
    d = adam(carry["d"], gradient, settings.d_lr, steps)

    def g_objective(fake):
        logits, q_output, running = discriminator(d[0], after_d, warp(fake, maps[2]))
        information = mutual_information(spec, q_output, latents)
        loss = jax.nn.softplus(-logits).mean()
        return loss - term(information), (loss, information, running)

    gradient, (g_loss, information, running) = jax.grad(g_objective, has_aux=True)(fake)
    g = adam(carry["g"], pull(gradient)[0], settings.g_lr, steps)
    values = {"d_loss": d_loss, "g_loss": g_loss, **information}
    return {"running": running, "joints": moved, "steps": steps, "g": g, "d": d}, values


# --- networks -------------------------------------------------------------------------------------


def apply(networks, convolution, name, weights, running, x):
    """Return (the output of a network, running statistics with that network's moved on)."""
    convolve = CONVOLUTIONS[convolution]
    moved = []
    for layer, own, statistics in zip(networks[name], weights[name], running[name], strict=True):
        if layer.kind == "linear":
            x = x @ own[0]
        elif layer.kind == "conv":
            x = convolve(x, own[0])
        elif layer.kind == "conv_transpose":
            x = transposed(convolve, x, own[0])
        elif layer.kind == "batch_norm":
            x, statistics = batch_norm(x, *own, *statistics)
        elif layer.kind == "reshape":
            x = x.reshape(len(x), *layer.outside)
        else:
            x = ACTIVATIONS[layer.kind](x)
        if layer.bias:
            x = x + own[1]
        moved.append(statistics)
    return x, {**running, name: moved}


def convolve_lax(x, weight):
    """Return what ops.conv2d does with stride 2, padding 1."""
    return lax.conv_general_dilated(
        x, weight, (2, 2), [(1, 1), (1, 1)], dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def convolve_patches(x, weight):
    """Return what ops.conv2d does with stride 2, padding 1."""
    N, H, W, C = x.shape
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = [
        x[:, k : k + H - 1 : 2, m : m + W - 1 : 2] for k in range(KERNEL) for m in range(KERNEL)
    ]
    patches = jnp.stack(windows, axis=3).reshape(N * H * W // 4, KERNEL**2 * C)
    return (patches @ weight.reshape(KERNEL**2 * C, -1)).reshape(N, H // 2, W // 2, -1)


def transposed(convolve, x, weight):
    """Return what ops.conv_transpose2d does with stride 2, padding 1: the adjoint of `convolve`."""
    N, H, W, _ = x.shape
    images = jax.ShapeDtypeStruct((N, 2 * H, 2 * W, weight.shape[2]), x.dtype)
    return jax.linear_transpose(lambda images: convolve(images, weight), images)(x)[0]


CONVOLUTIONS = {"lax": convolve_lax, "patches": convolve_patches}
ACTIVATIONS = {
    "relu": jax.nn.relu,
    "leaky_relu": lambda x: jnp.where(x > 0, x, SLOPE * x),  # the slope at 0 as in the others
    "sigmoid": jax.nn.sigmoid,
}


def batch_norm(x, gamma, beta, running_mean, running_var, momentum=0.1, eps=1e-5):
    """Return (y, [running mean, running variance])."""
    axes = tuple(range(x.ndim - 1))
    n = x.size // x.shape[-1]
    mean, var = x.mean(axes), x.var(axes)
    y = (x - mean) * (gamma * lax.rsqrt(var + eps)) + beta
    moved = ((running_mean, mean), (running_var, var * (n / (n - 1))))
    return y, [old + momentum * (lax.stop_gradient(new) - old) for old, new in moved]


def adam(player, gradient, lr, steps):
    """Return a player's [weights, first moments, second moments] after one step of Adam."""
    (beta1, beta2), (weights, first, second) = BETAS, player
    first = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, first, gradient)
    second = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, second, gradient)
    correction1, correction2 = 1 - beta1**steps, 1 - beta2**steps

    def update(theta, m, v):
        return theta - lr / correction1 * m / (jnp.sqrt(v / correction2) + EPS)

    return [jax.tree.map(update, weights, first, second), first, second]


# --- augmentation and losses ----------------------------------------------------------------------


def warp(images, maps):
    """Move images by affine maps as `augmentation.warp` does, or not at all by None."""
    if maps is None:
        return images
    N, H, W, C = images.shape
    row, column = (jnp.arange(H) - (H - 1) / 2)[:, None], jnp.arange(W) - (W - 1) / 2
    i, j = (
        m[:, 0, None, None] * row + m[:, 1, None, None] * column + m[:, 2, None, None] + centre
        for m, centre in ((maps[:, 0], (H - 1) / 2), (maps[:, 1], (W - 1) / 2))
    )
    above, left = jnp.floor(i), jnp.floor(j)
    pixels = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0))).reshape(-1, C)
    first, y = ((H + 2) * (W + 2) * jnp.arange(N))[:, None, None], 0.0
    for r, vertical in ((above, above + 1 - i), (above + 1, i - above)):
        for c, horizontal in ((left, left + 1 - j), (left + 1, j - left)):
            r_, c_ = (jnp.clip(x, -1, n).astype(jnp.int32) + 1 for x, n in ((r, H), (c, W)))
            y = y + (vertical * horizontal)[..., None] * pixels[first + r_ * (W + 2) + c_]
    return y


def mutual_information(spec, q_output, latents):
    """Return L_I of each code, with σ = 1."""
    information = {}
    for code in spec.codes:
        predicted, true = q_output[:, code.columns], latents[:, spec.noise :][:, code.columns]
        if code.size is None:
            log_q = -0.5 * math.log(2 * math.pi) - 0.5 * (true - predicted) ** 2
        else:
            log_q = jax.nn.log_softmax(predicted) * true
        information[code.name] = code.entropy + log_q.sum() / len(latents)
    return information


def consistency_loss(before, spec, q_output):
    """Return the loss of `variants.consistency.PairInformation` and {code name: P} after it."""
    total, moved = 0.0, {}
    for name, P in before.items():
        columns = next(code.columns for code in spec.codes if code.name == name)
        p = jax.nn.softmax(q_output[:, columns])
        p, other = jnp.split(p, 2)
        M = lax.stop_gradient(p.T @ other / len(p))
        P = moved[name] = KEPT * P + (1 - KEPT) * (M + M.T) / 2
        share = P.sum(axis=0)
        W = jnp.log((P + TRACE) / (share * share[:, None] + TRACE))
        total = total - ((p @ W) * other).sum() / len(p)
    return total, moved
