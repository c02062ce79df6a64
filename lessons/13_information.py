# %% [markdown]
"""
Lesson 13: How much does the picture tell about the code?
=========================================================

InfoGAN asks for one thing that a GAN does not: whoever sees the picture should be able to tell the
code it was made from. This lesson turns "be able to tell" into a number, finds that the number
cannot be computed for real pictures, and replaces it by a lower bound that can. On a toy where the
true value *can* be computed, we put the bound beside it.

*You will know* what entropy and mutual information measure; why InfoGAN needs a network Q, and why
a bad Q can never make things look better than they are; and what lemma 5.1 of the paper is for.

*Time*: 20 minutes to read, 30 seconds to run. A few seconds with FAST.

*Builds on*: lesson 5 (softmax and cross-entropy) and lesson 10 (the game).
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

from tinyinfogan import LatentSpec
from tinyinfogan.engine import Tensor, nn, no_grad, ops, optim
from tinyinfogan.infogan import losses

FAST = False  # True: less of everything, to see that it runs
plt.style.use("tinyinfogan.view.lesson")

# %% [markdown]
# A picture of one pixel
# ----------------------
#
# Our "generator" makes pictures x of a single pixel. It takes a code c, one of four equally likely
# categories, and noise z. The code sets how far from 0 the pixel is, the noise sets the sign, and
# then adds a blur of standard deviation σ:
#
# $$x = s · (c + 1) + σ ε,\quad s = ±1,\quad ε ∼ N(0, 1)$$
#
# So p(x | c) is two bells, one at -(c + 1) and one at c + 1. With a small σ a single look at x
# tells c; with a large σ the bells run into one another. (The package's ``LatentSpec`` says what a
# generator gets, here two noise variables and a code of four categories, and draws it, the category
# one-hot.)

# %%
spec = LatentSpec(noise=2, categorical=(4,), continuous=0)
grid = np.linspace(-12, 12, 4801)  # on which we integrate
dx = grid[1] - grid[0]


def generate(n, sigma, rng):
    """Draw latents (n, 6), the last four columns the code, and pictures (n, 1)."""
    latents = spec.sample(n, rng)
    category = latents[:, 2:].argmax(axis=1)
    x = np.sign(latents[:, 0]) * (category + 1) + sigma * rng.standard_normal(n)
    return latents, x[:, None].astype(np.float32)


def density(sigma):
    """Return p(x | c) on the grid, (4, points)."""
    centres = np.arange(1, 5)[:, None]
    bells = np.exp(-0.5 * ((grid - centres) / sigma) ** 2)
    bells += np.exp(-0.5 * ((grid + centres) / sigma) ** 2)
    return bells / (bells.sum(axis=1, keepdims=True) * dx)


# %% [markdown]
# Entropy, and what is left of it
# -------------------------------
#
# The *entropy* of a code is how much we do not know before we look, H(c) = -Σ p(c) log p(c),
# measured in nats because the logarithm is the natural one. Four equal categories: log 4 = 1.386
# nats. To have seen x leaves the *conditional entropy* H(c | x), the average of -log p(c | x). The
# *mutual information* is what the look was worth (equation 2 of arXiv 1606.03657):
#
# $$I(c; x) = H(c) - H(c | x) = H(x) - H(x | c)$$
#
# It is 0 exactly if x and c are independent, and H(c) if x tells c for sure. InfoGAN adds it to the
# game, with a weight λ (equation 3):
#
# $$\min_G \max_D V(D, G) - λ I(c; G(z, c))$$
#
# The result first
# ----------------
#
# We can compute I(c; x) for our pixel, but not for real pictures. What InfoGAN does instead: it
# lets a reader Q take x and answer with probabilities q(c | x) for the four categories. What Q
# earns is
#
# $$L_I = H(c) + E[\log q(c | x)]$$
#
# that is, H(c) less Q's cross-entropy of lesson 5. For each σ we set the true information beside
# what three readers earn. The first is a small network, the second the same network after a tenth
# of the training, the third can only draw one straight line through its logits.
#
# **Predict, then run.** The third reader cannot do it, and the second has learnt too little. Can
# any of the three earn *more* than the true information, by luck or by being sure of itself?
#
# <details><summary>Answer</summary>
#
# No. L_I is a lower bound for every Q whatsoever. A reader that is too sure of itself earns less.
#
# </details>


# %%
def xlogx(p, q):
    """p log q, and 0 if p is 0."""
    some = p > 1e-200  # far below, q may have been rounded to 0
    return np.where(some, p * np.log(np.where(some, q, 1.0)), 0.0)


def true_information(p):
    """∫ Σ_c p(c) p(x | c) log (p(x | c) / p(x)) dx in nats.  p: (4, points)."""
    return ((xlogx(p, p) - xlogx(p, p.mean(axis=0))).mean(axis=0) * dx).sum()


def bound(p, log_q):
    """H(c) + E log q(c | x), the mean as an integral.  p, log_q: (4, points)."""
    return np.log(4) + ((p * log_q).mean(axis=0) * dx).sum()


def reader(hidden, rng):
    """Return a Q: pictures (N, 1) -> logits (N, 4)."""
    if not hidden:
        return nn.Linear(1, 4, rng=rng)
    return nn.Sequential(
        nn.Linear(1, hidden, rng=rng),
        nn.BatchNorm(hidden),
        nn.LeakyReLU(),
        nn.Linear(hidden, hidden, rng=rng),
        nn.BatchNorm(hidden),
        nn.LeakyReLU(),
        nn.Linear(hidden, 4, rng=rng),
    )


def train_reader(sigma, steps, hidden=32, seed=0):
    """Train a Q on the generator's pictures.  Returns log q(c | x), (4, points)."""
    rng = np.random.default_rng(seed)
    Q = reader(hidden, rng)
    adam = optim.Adam(Q.parameters(), 5e-3)
    for step in range(steps):
        adam.lr = 5e-3 * (1 - step / steps)
        latents, x = generate(256, sigma, rng)
        information = losses.mutual_information(spec, Q(Tensor(x)), latents)["c0"]
        (-information).backward()
        adam.step()
        adam.zero_grad()
    return on_grid(Q.eval())


def on_grid(Q):
    """Return log q(c | x) for x on the grid, (4, points)."""
    with no_grad():
        return (
            ops.log_softmax(Q(Tensor(grid[:, None].astype(np.float32)))).numpy().T
        )


sigmas = [0.2, 0.5, 1.5] if FAST else [0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.2, 1.5, 2.0]
steps = 120 if FAST else 800
rows = []
for sigma in tqdm(sigmas, leave=False):
    p = density(sigma)
    readers = [(steps, 32), (steps // 10, 32), (steps, 0)]
    rows.append(
        [true_information(p), *(bound(p, train_reader(sigma, *r)) for r in readers)]
    )
rows = np.array(rows)

fine = np.linspace(0.08, 2.1, 60)
figure, axes = plt.subplots(figsize=(8, 4.6))
axes.plot(
    fine,
    [true_information(density(s)) for s in fine],
    color="black",
    label="truth: I(c; x)",
)
for values, marker, label in zip(
    rows.T[1:],
    "osv",
    (
        "bound, Q a network",
        "bound, the same Q trained too little",
        "bound, Q too simple (linear)",
    ),
):
    axes.plot(sigmas, values, marker, label=label)
axes.axhline(np.log(4), color="grey", linestyle="--", linewidth=1)
axes.annotate(
    "H(c) = log 4", (2.1, np.log(4) - 0.02), ha="right", va="top", color="grey"
)
axes.set(xlabel="blur σ", ylabel="nats", title="The bound never passes the truth")
axes.legend()
plt.show()

for sigma, row in zip(sigmas, rows):
    for name, nats in zip(
        ("truth", "bound", "bound, trained too little", "bound, linear"), row
    ):
        print(f"sigma = {sigma}, {name}: {nats:.3f} nats")
least = (rows[:, :1] - rows[:, 1:]).min()
print(f"truth less bound, the least of all: {least:.4f} nats")

# %% [markdown]
# Every marker is on the line or under it. The good reader is nearly on it; a reader that has not
# learnt enough, or cannot, earns less. For the linear one nothing is left: a category that sits at
# -3 *and* at 3 cannot be read along one straight line, however much information there is.
#
# Why Q
# -----
#
# H(c | x) needs the posterior p(c | x) = p(x | c) p(c) / p(x), and p(x | c) is an integral over the
# noise. For our pixel ``density`` writes it down. For a generator with 62 noise variables, and
# pictures of 784 pixels, nobody can.
#
# So guess it: let q(c | x) be any distribution over c that we can compute. Multiply and divide
# by q inside the logarithm (this is equation 4):
#
# $$H(c | x) = -E[\log p(c | x)] = -E[\log q(c | x)] - E[\log (p(c | x) / q(c | x))]$$
#
# The last expectation is the *Kullback-Leibler divergence* KL(p ‖ q), of the true posterior p(· |
# x) from the guess q(· | x), averaged over x. It is never negative, and 0 only if the two are
# equal; so leaving it out can only make H(c | x) look larger than it is, and the information
# smaller (equation 5):
#
# $$L_I(G, Q) = H(c) + E[\log q(c | x)] = I(c; x) - E_x[KL(p ‖ q)] ≤ I(c; x)$$
#
# A bound with a free distribution in it, here q, that one may vary to make it tight is called
# **variational**. Two things to notice. The gap *is* the divergence: the bound is exact if q is the
# posterior. And -E log q(c | x) is the cross-entropy of lesson 5, so that "make the bound tight"
# means "train a classifier". Let us compute the gap on our pixel in both ways.

# %%
sigma = 0.5
p = density(sigma)
posterior = p / np.maximum(p.sum(axis=0), 1e-300)  # p(c) cancels
log_q = train_reader(sigma, steps // 10)
divergence = (xlogx(posterior, posterior) - posterior * log_q).sum(axis=0)
mean_divergence = (p.mean(axis=0) * divergence * dx).sum()
gap = true_information(p) - bound(p, log_q)
print(f"gap: {gap:.6f} nats")
print(f"mean KL divergence: {mean_divergence:.6f} nats")
print(f"gap and mean KL divergence, difference: {abs(gap - mean_divergence):.1e}")

# %% [markdown]
# In training the expectation is a mean over a batch, and for a code of categories the whole bound
# is one line. The package's, for all codes of a spec, is ``losses.mutual_information`` in
# ``tinyinfogan/infogan/losses.py``:


# %%
def information(logits, code):
    """L_I of a categorical code, one-hot (N, K), from Q's logits, in nats."""
    N, K = code.shape
    return np.log(K) + ops.sum(ops.log_softmax(logits) * code) * (1 / N)


latents, pictures = generate(256, 0.5, np.random.default_rng(0))
logits = reader(32, np.random.default_rng(0))(Tensor(pictures))
ours = information(logits, latents[:, spec.noise :]).item()
theirs = losses.mutual_information(spec, logits, latents)["c0"].item()
print(f"L_I of an untrained reader, by this line: {ours:.4f} nats")
print(f"L_I of an untrained reader, by the package: {theirs:.4f} nats")

# %% [markdown]
# Lemma 5.1: why a batch is enough
# --------------------------------
#
# Read strictly, the bound says: draw a picture x; then draw c' from the *posterior* p(c | x);
# average log q(c' | x). We cannot draw from the posterior, it is what we do not have. But we know
# which c each picture was made from. Lemma 5.1 says that this c will do: the average of f(x, y)
# over x ∼ X and y ∼ Y|x is also that of f(x', y) over x ∼ X, y ∼ Y|x and x' ∼ X|y,
#
# $$E_{x,y}[f(x, y)] = E_{x,y,x'}[f(x', y)]$$
#
# The reason in one sentence: draw a pair (x, y), forget x, draw x' again given y; then (x', y) has
# the same distribution as (x, y). With c for the lemma's x, and the picture for its y: a code drawn
# anew from the posterior and the code that was really used are the same kind of draw, so log q may
# be averaged over the latter. A small table shows it, by enumeration:

# %%
rng = np.random.default_rng(0)
joint = rng.random((4, 6))
joint /= joint.sum()  # p(c, x): four codes, six pictures
f = rng.standard_normal((4, 6))  # any function of both
left = (joint * f).sum()
p_x = joint.sum(axis=0)
p_c_given_x = joint / p_x
right = sum(
    joint[c, x] * p_c_given_x[other, x] * f[other, x]
    for c in range(4)
    for x in range(6)
    for other in range(4)
)
print(f"lemma 5.1, left: {left:.12f}")
print(f"lemma 5.1, right: {right:.12f}")
print(f"lemma 5.1, left and right, difference: {abs(left - right):.1e}")

# %% [markdown]
# Exercises
# ---------
#
# 1. Compute H(c | x) from ``posterior``, p(c | x) on the grid, (4, points), and ``p_x``, the
#    density of x: put it in place of the ``...``. ``xlogx(p, q)`` is p log q, and ``dx`` the step
#    of the grid. The judge is I(c; x) = H(c) - H(c | x).


# %%
p_x = p.mean(axis=0)


def conditional_entropy(posterior, p_x):
    return ...


try:
    found = np.log(4) - conditional_entropy(posterior, p_x)
    assert abs(found - true_information(p)) < 1e-9, f"that makes {found} nats"
    print("exercise 1: right")
except TypeError:
    print("exercise 1: not yet")

# %% [markdown]
# <details><summary>Answer 1</summary>
#
# ``-(xlogx(posterior, posterior).sum(axis=0) * p_x * dx).sum()``
#
# </details>
#
# 2. Let Q answer 1/4 for each category, whatever x. What is L_I? And if Q is certain, and wrong?
# 3. Two readers, q1 and q2, have bounds of 0.9 and 1.1 nats. What can be said about the truth? What
#    if a third one had 1.5 nats, with four categories?
#
# <details><summary>Answer 2</summary>
#
# log q = -log 4, so L_I = 0: the level of no reading at all. A Q that is certain and wrong has
# log q → -∞, and there is no end to how bad the bound can get; it stays a true statement, only a
# useless one.
#
# </details>
#
# <details><summary>Answer 3</summary>
#
# The truth is at least 1.1 nats; the better bound is the one to believe. 1.5 nats is more than H(c)
# = 1.386, which I(c; x) cannot pass: there is a mistake in the program, or the average was over too
# few pictures.
#
# </details>
#
# So far Q read and the generator stood still. In the next lesson it moves, and is paid for being
# readable; and the code may be a number.
