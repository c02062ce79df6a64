# %% [markdown]
"""
Lesson 13: How much does the picture tell about the code?
=========================================================

InfoGAN asks for one thing that a GAN does not: whoever sees the picture should be able to tell the
code it was made from. This lesson turns "be able to tell" into a number, finds that the number
cannot be computed for real pictures, and replaces it by a lower bound that can. On a toy where the
true value *can* be computed, we put the bound beside it.

*You will know* what entropy and mutual information measure; why InfoGAN needs a network Q, and why
a bad Q can never make things look better than they are; what lemma 5.1 of the paper is for; and
what λ does to a generator.

*Time*: 25 minutes to read; about a minute to run, 3 seconds with ``--fast``.

*Builds on*: lesson 5 (softmax and cross-entropy) and lesson 10 (the game).
"""

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np

from tinyinfogan import LatentSpec
from tinyinfogan.engine import Tensor, nn, no_grad, ops, optim
from tinyinfogan.engine.nn import frozen
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
# tells c; with a large σ the bells run into one another.

# %%
spec = LatentSpec(noise=2, categorical=(4,), continuous=0)
grid = np.linspace(-12, 12, 4801)  # on which we integrate
dx = grid[1] - grid[0]


def generate(n, sigma, rng):
    """Draw latents (n, 6), the last four columns being the code, and pictures (n, 1)."""
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
# The result first
# ----------------
#
# For each σ: the true mutual information between c and x (the line), and what three readers Q make
# of it. A reader takes x and answers with probabilities for c. The first is a small network, the
# second the same network after a tenth of the training, the third can only draw one straight line
# through its logits. What each earns is the bound that we derive below.


# %%
def xlogx(p, q):
    """p log q, and 0 if p is 0."""
    some = p > 1e-200  # far below, q may have been rounded to 0
    return np.where(some, p * np.log(np.where(some, q, 1.0)), 0.0)


def true_information(p):
    """∫ Σ_c p(c) p(x | c) log (p(x | c) / p(x)) dx in nats, densities (4, points)."""
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


sigmas = [0.2, 0.5, 1.5] if FAST else [0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.1, 1.5, 2.0]
steps = 120 if FAST else 800
rows = []
for sigma in sigmas:
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
# Entropy, and what is left of it
# -------------------------------
#
# The entropy of a code is how much we do not know before we look, H(c) = -Σ p(c) log p(c), measured
# in nats because the logarithm is the natural one. Four equal categories: log 4 = 1.386 nats. To
# have seen x leaves the conditional entropy H(c | x), the average of -log p(c | x). The mutual
# information is what the look was worth (equation 2 of arXiv 1606.03657):
#
# $$I(c; x) = H(c) - H(c | x) = H(x) - H(x | c)$$
#
# It is 0 exactly if x and c are independent, and H(c) if x tells c for sure. InfoGAN adds it to the
# game, with a weight λ (equation 3):
#
# $$\min_G \max_D V(D, G) - λ I(c; G(z, c))$$
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
# The last term is the Kullback-Leibler divergence of q(· | x) from p(· | x), averaged over x, and
# never negative. Leave it out, and H(c | x) can only look larger than it is, the information
# smaller (equation 5):
#
# $$L_I(G, Q) = H(c) + E[\log q(c | x)] = I(c; x) - E_x[KL(p ‖ q)] ≤ I(c; x)$$
#
# Two things to notice. The gap *is* the divergence: the bound is exact if q is the posterior.
# And -E log q(c | x) is the cross-entropy of lesson 5, so that "make the bound tight" means "train
# a classifier". Let us compute the gap on our pixel in both ways.

# %%
sigma = 0.5
p = density(sigma)
posterior = p / np.maximum(
    p.sum(axis=0), 1e-300
)  # p(c) is the same for all c and cancels
log_q = train_reader(sigma, steps // 10)
divergence = (xlogx(posterior, posterior) - posterior * log_q).sum(axis=0)
mean_divergence = (p.mean(axis=0) * divergence * dx).sum()
gap = true_information(p) - bound(p, log_q)
print(f"gap: {gap:.6f} nats")
print(f"mean KL divergence: {mean_divergence:.6f} nats")
print(f"gap and mean KL divergence, difference: {abs(gap - mean_divergence):.1e}")

# %% [markdown]
# In the package all this is one function. ``code.entropy`` is H(c), and the rest is the mean of
# log q(c | x) over a batch:

# %%
print(inspect.getsource(losses.mutual_information))

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
# A number as a code
# ------------------
#
# For a continuous code c ~ U(-1, 1), sums become integrals. H(c) = log 2 is now a *differential*
# entropy: no ceiling on the information, only the level from which it is counted. q(c | x) is a
# Gaussian of which Q gives the mean m. For the fixed σ = 1 that the paper's authors used,
#
# $$\log q(c | x) = -½ (c - m)² - ½ \log 2π$$
#
# so to maximise the bound is to minimise a squared error. As a *number*, that bound is poor. A
# Gaussian of width 1 is wider than the whole range of c, so even a perfect mean earns no more than
# log 2 - ½ log 2π = -0.226 nats. The log of a training run therefore states the bound for the σ
# that fits best, ``losses.with_best_sigma``; nothing else about the training changes.
#
# The toy is x = c + blur, with the best possible reader, the mean of the posterior.

# %%
blurs = np.geomspace(0.03, 1.5, 25)
codes = np.linspace(-1, 1, 801)
x = np.linspace(-8, 8, 3201)
truth, fixed = [], []
for blur in blurs:
    weights = np.exp(
        -0.5 * ((x[:, None] - codes) / blur) ** 2
    )  # p(x | c), up to a factor
    p_x = weights.sum(axis=1) / weights.sum() / (x[1] - x[0])
    entropy_x = -xlogx(p_x, p_x).sum() * (x[1] - x[0])
    truth.append(
        entropy_x - 0.5 * np.log(2 * np.pi * np.e * blur**2)
    )  # H(x) - H(x | c)
    mean = (weights * codes).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-300)
    error = (weights * (codes - mean[:, None]) ** 2).sum() / weights.sum()
    fixed.append(np.log(2) - 0.5 * np.log(2 * np.pi) - 0.5 * error)
best = [losses.with_best_sigma(value) for value in fixed]
for name, nats in (
    ("truth", truth),
    ("bound, best sigma", best),
    ("bound, sigma = 1", fixed),
):
    print(f"continuous code, blur {blurs[5]:.2f}, {name}: {nats[5]:.3f} nats")

figure, axes = plt.subplots(figsize=(8, 3.8))
axes.semilogx(blurs, truth, color="black", label="truth: I(c; x)")
axes.semilogx(blurs, best, "o", color="C0", label="bound, the σ that fits best")
axes.semilogx(blurs, fixed, "v", color="C3", label="bound, σ = 1")
axes.axhline(0, color="grey", linewidth=0.8)
axes.set(
    xlabel="blur",
    ylabel="nats",
    title="A continuous code: same training, two bounds",
)
axes.legend()
plt.show()

# %% [markdown]
# On the right, where nothing can be read, the blue bound ends a little below 0, at
# log 2 - ½ log(2πe/3) = -0.176: the best Gaussian is not the uniform distribution. Remember that
# when the log of a run says -0.18 for a code: it means "nothing".
#
# What λ does
# -----------
#
# So far G stood still and Q read. Now G moves as well, and equation 6 is complete:
#
# $$\min_{G,Q} \max_D V(D, G) - λ L_I(G, Q)$$
#
# The data are numbers spread evenly over [-1, 1], with a blur of 0.12. G gets two noise variables
# and a code of four categories, and everything it makes is blurred in the same way, so that we can
# again compute the true information by integration. Q always learns to read; G is paid λ times what
# Q can read.

# %%
blur, batch = 0.12, 128


def network(inputs, outputs, rng):
    """A small network for any of the three players."""
    return nn.Sequential(
        nn.Linear(inputs, 64, rng=rng),
        nn.LeakyReLU(),
        nn.Linear(64, 64, rng=rng),
        nn.LeakyReLU(),
        nn.Linear(64, outputs, rng=rng),
    )


def density_of(G, rng, n=10_000):
    """Return p(x | c) of a generator, (4, points): blurred histograms over z."""
    bell = np.exp(-0.5 * (np.arange(-150, 151) * dx / blur) ** 2)
    densities = []
    for category in range(4):
        latents = spec.sample(n, rng)
        spec.set_code(latents, "c0", category)
        with no_grad():
            places = np.rint(
                (G(Tensor(latents)).numpy()[:, 0] - grid[0]) / dx
            ).astype(int)
        counts = np.bincount(np.clip(places, 0, len(grid) - 1), minlength=len(grid))
        densities.append(np.convolve(counts, bell / bell.sum(), "same") / n / dx)
    return np.array(densities)


def play(lam, steps, seed=0):
    """Train G, D and Q.  Returns p(x | c) at the end, (steps, bound, truth) before."""
    rng = np.random.default_rng(seed)
    G, D, Q = network(spec.dim, 1, rng), network(1, 1, rng), network(1, 4, rng)
    adams = [optim.Adam(player.parameters(), 1e-3) for player in (G, D, Q)]
    course = []

    def blurred(x):
        return x + blur * rng.standard_normal((batch, 1)).astype(np.float32)

    for step in range(1, steps + 1):
        latents = spec.sample(batch, rng)
        real = Tensor(blurred(rng.uniform(-1, 1, (batch, 1)).astype(np.float32)))
        fake = blurred(G(Tensor(latents)))

        information = losses.mutual_information(spec, Q(fake.detach()), latents)[
            "c0"
        ]
        d_loss = losses.discriminator_loss(D(real), D(fake.detach()))
        (d_loss - information).backward()
        with frozen(D), frozen(Q):
            bonus = losses.mutual_information(spec, Q(fake), latents)["c0"]
            (losses.generator_loss(D(fake)) - lam * bonus).backward()
        for adam in adams:
            adam.step()
            adam.zero_grad()

        if step % (steps // 10) == 0:
            p, log_q = density_of(G, rng), on_grid(Q)
            course.append((step, bound(p, log_q), true_information(p)))
    return density_of(G, rng), np.array(course)


lambdas = [0.0, 1.0] if FAST else [0.0, 0.05, 1.0, 20.0]
runs = [play(lam, 60 if FAST else 2500) for lam in lambdas]
data = ((np.abs(grid) <= 1) / 2).astype(float)
bell = np.exp(-0.5 * (np.arange(-150, 151) * dx / blur) ** 2)
data = np.convolve(data, bell / bell.sum(), "same")

figure, axes = plt.subplots(
    2, len(lambdas), figsize=(3.3 * len(lambdas), 5.6), sharex="row", sharey="row"
)
for lam, (p, course), (upper, lower) in zip(lambdas, runs, axes.T):
    upper.stackplot(
        grid, p / 4, colors=["#3b6ea5", "#e0a030", "#5a9a68", "#b5524a"]
    )
    upper.plot(grid, data, color="black", linewidth=1.2, label="the data")
    upper.set(xlim=(-2.2, 2.2), xlabel="x", title=f"λ = {lam:g}")
    lower.plot(course[:, 0], course[:, 2], color="black", label="truth: I(c; x)")
    lower.plot(
        course[:, 0],
        course[:, 1],
        "o-",
        color="C0",
        markersize=3.5,
        label="bound: L_I",
    )
    lower.axhline(
        np.log(4), color="grey", linestyle="--", linewidth=1, label="H(c)"
    )
    lower.set(xlabel="training step", ylim=(-0.15, 1.55))
axes[0, 0].set_ylabel("density, a colour for each code")
axes[1, 0].set_ylabel("nats")
axes[0, 0].legend(loc="upper left", fontsize=8)
axes[1, -1].legend(loc="lower right")
plt.show()

for lam, (p, course) in zip(lambdas, runs):
    distance = 0.5 * (np.abs(p.mean(axis=0) - data) * dx).sum()
    print(f"lambda = {lam:g}, truth: {course[-1, 2]:.3f} nats")
    print(f"lambda = {lam:g}, bound: {course[-1, 1]:.3f} nats")
    print(
        f"lambda = {lam:g}, mass that is not where the data are:"
        f" {100 * distance:.0f} %"
    )

# %% [markdown]
# Without λ the four colours lie on top of one another: G uses the code as one more noise. The truth
# is a little above 0, because a code never has *exactly* no effect. A small λ is enough to sort
# them: each category takes a piece of the interval of its own. Nobody told G where to cut. It cut
# so that the pieces can be told apart, and D saw to it that they lie where the data lie. That is
# all of InfoGAN, on one pixel.
#
# And a large λ costs. The pieces move apart until the outer ones leave the data, because every bit
# of overlap costs information, while leaving the data costs V alone. λ is the rate at which G may
# trade the one for the other. (Already at a small λ each bell is hardly wider than the blur: within
# a category G makes little use of its noise. That is the collapse of lesson 10 again, piece by
# piece.)
#
# Notice also how the bound follows the truth from below, the more closely the better Q reads. G is
# paid by the bound: what counts is what Q *can* read, so Q has to learn along.
#
# Exercises
# ---------
#
# 1. Let Q answer 1/4 for each category, whatever x. What is L_I? And if Q is certain, and wrong?
# 2. Two readers, q1 and q2, have bounds of 0.9 and 1.1 nats. What can be said about the truth? What
#    if a third one had 1.5 nats, with four categories?
# 3. Run ``play`` with ``spec = LatentSpec(noise=2, categorical=(2,), continuous=0)`` (and 2 for 4
#    where the number of categories appears). Where does it cut?
#
# *Answer 1.* log q = -log 4, so L_I = 0: the level of no reading at all. A Q that is certain and
# wrong has log q → -∞, and there is no end to how bad the bound can get; it stays a true statement,
# only a useless one.
#
# *Answer 2.* The truth is at least 1.1 nats; the better bound is the one to believe. 1.5 nats is
# more than H(c) = 1.386, which I(c; x) cannot pass: there is a mistake in the program, or the
# average was over too few pictures.
#
# *Answer 3.* Expect two halves, with the cut near 0: with one cut there is one place where codes
# overlap, and the cut that leaves both halves half of the data is the one that D and the equal
# shares of the categories allow.
