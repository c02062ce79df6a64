"""What the engine is measured against: the formulas, written out as loops, with no engine in them.

Everything here takes and returns NumPy arrays on the host, and trades all speed for being
obvious.
"""

import numpy as np


def host(array):
    """Return the NumPy array behind a Tensor, a CuPy array or a NumPy array."""
    array = array.data if hasattr(array, "requires_grad") else array
    return array.get() if hasattr(array, "get") else np.asarray(array)


def away_from_kinks(rng, shape, low=0.2, high=1.5):
    """Return random values of both signs, none near zero, where relu has its corner."""
    return rng.uniform(low, high, shape) * rng.choice([-1.0, 1.0], shape)


def conv2d(x, weight, stride=1, padding=0):
    """Return x (N, H, W, C) correlated with weight (KH, KW, C, O), product by product."""
    N, H, W, C = x.shape
    KH, KW, _, O = weight.shape  # noqa: E741
    OH = (H + 2 * padding - KH) // stride + 1
    OW = (W + 2 * padding - KW) // stride + 1
    out = np.zeros((N, OH, OW, O), x.dtype)
    for oh, ow, kh, kw in np.ndindex(OH, OW, KH, KW):
        h = oh * stride + kh - padding
        w = ow * stride + kw - padding
        if 0 <= h < H and 0 <= w < W:  # outside is padding, which is zero
            for n, c, o in np.ndindex(N, C, O):
                out[n, oh, ow, o] += x[n, h, w, c] * weight[kh, kw, c, o]
    return out


def conv_transpose2d(x, weight, stride=1, padding=0, output_padding=0):
    """Return what pixels of x (N, H, W, C) paint, each a window of weight (KH, KW, O, C)."""
    N, H, W, C = x.shape
    KH, KW, O, _ = weight.shape  # noqa: E741
    OH = (H - 1) * stride - 2 * padding + KH + output_padding
    OW = (W - 1) * stride - 2 * padding + KW + output_padding
    out = np.zeros((N, OH, OW, O), x.dtype)
    for h, w, kh, kw in np.ndindex(H, W, KH, KW):
        oh = h * stride + kh - padding
        ow = w * stride + kw - padding
        if 0 <= oh < OH and 0 <= ow < OW:  # the rest falls on the cropped border
            for n, c, o in np.ndindex(N, C, O):
                out[n, oh, ow, o] += x[n, h, w, c] * weight[kh, kw, o, c]
    return out


def batch_norm(x, gamma, beta, mean=None, variance=None, eps=1e-5):
    """Return x normalised per channel, with the batch's statistics unless some are given."""
    out = np.empty_like(x)
    for c in range(x.shape[-1]):
        values = x[..., c]
        center = values.mean() if mean is None else mean[c]
        spread = ((values - center) ** 2).mean() if variance is None else variance[c]
        out[..., c] = gamma[c] * (values - center) / np.sqrt(spread + eps) + beta[c]
    return out


def softmax(x, axis=-1):
    """Return plain exponentials over their sum: for moderate values only, which keeps it apart."""
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


def adam(value, gradients, lr, betas=(0.5, 0.999), eps=1e-8):
    """Return `value` after a step per gradient: Kingma & Ba (2015), algorithm 1, line for line."""
    beta1, beta2 = betas
    m, v, t = np.zeros_like(value), np.zeros_like(value), 0
    for gradient in gradients:
        t = t + 1
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        value = value - lr * m_hat / (np.sqrt(v_hat) + eps)
    return value


def numeric_gradients(function, arrays, cotangent, step=1e-6):
    """Return d sum(cotangent * function(*arrays)) / d array, one element at a time."""
    gradients = []
    for k, array in enumerate(arrays):
        gradient = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            values = []
            for sign in (+1, -1):
                moved = [a.copy() for a in arrays]
                moved[k][index] += sign * step
                values.append((cotangent * function(*moved)).sum())
            gradient[index] = (values[0] - values[1]) / (2 * step)
        gradients.append(gradient)
    return gradients


def pair_information(logits):
    """Return I(P) in nats of the pairs of rows i and N / 2 + i of logits (N, K), and P.

    Ji et al. 2019, equations 2 and 3: P = ½ (M + Mᵀ), M the mean of p p'ᵀ.
    """
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    M = np.mean([np.outer(*pair) for pair in zip(*np.split(p, 2))], axis=0)
    P = (M + M.T) / 2
    marginal = P.sum(axis=0)
    return np.sum(P * np.log(P / np.outer(marginal, marginal))), P
