# %% [markdown]
"""
Lesson 4: A first network
=========================

Ten kinds of handwritten digits, sixty thousand examples, and a network that starts with random
numbers. After a few seconds it names digits that it has never seen, and is right nineteen times out
of twenty. There are two matrices in it and one bend, and nothing that the first three lessons did
not have.

*You will know* what a layer is and where it keeps its weights; why there has to be a bend between
two layers; how large the first random weights must be, and why not 0; and the loop that all
training is.

*Time*: 20 minutes to read, 20 seconds to run.

*Builds on*: lessons 1 to 3.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

from tinyinfogan import data
from tinyinfogan.engine import Tensor, grad_check, nn, ops
from tinyinfogan.engine.tensor import record

FAST = False  # True: less of everything, to see that it runs
plt.style.use("tinyinfogan.view.lesson")

# %% [markdown]
# The result first
# ----------------
#
# Here is the whole program. It is all right not to understand it yet; the rest of the lesson takes
# it apart. First the data: MNIST, which comes with the package. A picture is 28×28 grey pixels,
# from 0 to 255. We take the mean picture away, so that every pixel is 0 on average, and write the
# rest as one row of 784 small numbers.

# %%
mnist = data.load()
mean_picture = mnist.images.mean(axis=0, dtype=np.float32).reshape(784)


def as_rows(images):
    """Pictures (N, 28, 28, 1) of 0 to 255 -> rows (N, 784), around 0."""
    rows = images.reshape(len(images), 784) - mean_picture
    return rows / 255


number = 10_000 if FAST else 60_000
examples, answers = as_rows(mnist.images[:number]), mnist.labels[:number]
unseen, unseen_answers = as_rows(mnist.test_images), mnist.test_labels
print("to learn from:", examples.shape)
print("never shown in training:", unseen.shape)

# %% [markdown]
# The network and the loop. A network puts out ten numbers per picture. The digit with the largest
# one is its answer. (All arrays are float32, numbers of 32 bits, which is exact enough here.
# ``item()`` makes a plain Python number of a tensor that holds a single one.)


# %%
def make_network(hidden, rng, size=1.0):
    """784 pixels -> hidden units -> 10 numbers."""
    layers = nn.Linear(784, hidden, rng=rng), nn.Linear(hidden, 10, rng=rng)
    for layer in layers:
        deviation = size * np.sqrt(2 / len(layer.weight))
        drawn = rng.standard_normal(layer.weight.shape, np.float32)
        layer.weight.data = np.float32(deviation) * drawn
    return nn.Sequential(layers[0], nn.LeakyReLU(), layers[1])


def loss_of(outputs, digits):
    """The squared distance to the right answer, a mean over pictures."""
    miss = outputs - np.eye(10, dtype=np.float32)[digits]
    return ops.sum(miss * miss) * (1 / len(digits))


def accuracy(network, rows, digits):
    """Return the share of pictures whose largest output is the right one."""
    return (network(Tensor(rows)).data.argmax(axis=1) == digits).mean()


def train(network, steps, lr=0.1, batch=64):
    """Change the weights in place.  Returns losses and accuracies on the way."""
    rng, losses, accuracies = np.random.default_rng(1), [], []
    for step in tqdm(range(steps), leave=False):
        if step % max(1, steps // 20) == 0:
            accuracies.append(
                accuracy(network, unseen[:2000], unseen_answers[:2000])
            )
        chosen = rng.integers(0, len(examples), batch)
        loss = loss_of(network(Tensor(examples[chosen])), answers[chosen])
        for weight in network.parameters():
            weight.grad = None
        loss.backward()
        for weight in network.parameters():
            weight.data = weight.data - np.float32(lr) * weight.grad
        losses.append(loss.item())
        if losses[-1] > 1e6:
            break  # it has run off
    return losses, accuracies


steps = 200 if FAST else 3000
network = make_network(128, np.random.default_rng(0))
before = accuracy(network, unseen, unseen_answers)
losses, accuracies = train(network, steps)
after = accuracy(network, unseen, unseen_answers)
print(f"accuracy on unseen digits before: {100 * before:.1f} %")
print(f"accuracy on unseen digits after: {100 * after:.1f} %")

# %%
outputs = network(Tensor(unseen)).data
figure, grid = plt.subplots(3, 6, figsize=(6.5, 3.9))
for at, ax in enumerate(grid.flat):
    ax.imshow(mnist.test_images[at, :, :, 0])
    said, true = outputs[at].argmax(), unseen_answers[at]
    colour = "tab:green" if said == true else "tab:red"
    ax.set_title(f"it says {said}", color=colour)
    ax.axis("off")
plt.show()

# %% [markdown]
# A layer
# -------
#
# Lesson 3's product and its bias make a layer: ``x @ weight + bias``. It takes rows of n numbers
# and gives rows of m; each of the m is called a *unit*. In ``nn`` it is called ``Linear``. Here is
# one of our own:


# %%
class Linear(nn.Module):
    """x (N, n) -> x @ weight + bias (N, m)."""

    def __init__(self, n, m, rng):
        drawn = 0.02 * rng.standard_normal((n, m), np.float32)
        self.weight = Tensor(drawn, requires_grad=True)
        self.bias = Tensor(np.zeros(m, np.float32), requires_grad=True)

    def forward(self, x):
        return ops.matmul(x, self.weight) + self.bias


ours, theirs = (
    kind(784, 10, rng=np.random.default_rng(0)) for kind in (Linear, nn.Linear)
)
some = Tensor(examples[:5])
print("our layer is the package's:", np.array_equal(ours(some), theirs(some)))

# %% [markdown]
# To call a layer, ``ours(some)``, is to call its ``forward``. Besides, the base class ``nn.Module``
# does one thing for us. It looks through the attributes and finds the tensors: that is
# ``parameters()``, which the loop above goes through, and ``state_dict()`` gives their arrays by
# name. Modules may hold modules, and then it finds theirs as well. ``nn.Sequential`` is a module
# that holds a list of others and calls one after the other.

# %%
for name, array in network.state_dict().items():
    print(f"{name}: {array.shape}")
number = sum(weight.data.size for weight in network.parameters())
print(f"numbers that are learnt: {number:,}")

# %% [markdown]
# Why there is a bend
# -------------------
#
# Take the bend away, and the network is x → (x A) B, biases aside. But that is x (A B), and A B is
# one matrix. Any number of linear layers in a row can do no more than a single one. So between two
# of them every number passes through a function that is not straight. The simplest is *relu*,
# max(x, 0). A unit that is negative for all pictures then has a slope of 0 for all of them, and
# never learns again. The *leaky ReLU* leaves it a tenth:
#
# $$y = x\text{ if }x > 0,\text{ else }0.1 x$$
#
# Backwards, the gradient is multiplied by the slope: 1 or 0.1.

# %%
x = Tensor(np.linspace(-3, 3, 301), requires_grad=True)
y = ops.leaky_relu(x)
y.backward(np.ones(301))
straight = nn.Sequential(*network.modules[::2])  # both layers, without the bend
one_matrix = network.modules[0].weight.data @ network.modules[2].weight.data
of_biases = straight(Tensor(0 * examples[:1])).data
difference = straight(some).data - of_biases - some.data @ one_matrix
print(
    f"two layers without a bend are one, difference: {np.abs(difference).max():.0e}"
)

short = 50 if FAST else 600
bent = make_network(128, np.random.default_rng(0))
flat = make_network(128, np.random.default_rng(0))
flat = nn.Sequential(*flat.modules[::2])
for name, each in (("with the bend", bent), ("without it", flat)):
    train(each, short, lr=0.05)
    share = accuracy(each, unseen, unseen_answers)
    print(f"{name}, accuracy: {100 * share:.1f} %")

figure, ax = plt.subplots(figsize=(4.6, 3.2))
ax.plot(x.data, y.data, label="leaky ReLU")
ax.plot(x.data, x.grad, ":", color="tab:red", label="its slope")
ax.set(xlabel="x", title="The bend")
ax.legend()
plt.show()

# %% [markdown]
# How large at the start?
# -----------------------
#
# A unit sums n products: $y = Σ_i x_i w_i$. Let the weights be drawn independently, with mean 0 and
# standard deviation σ. Then the variances add up:
#
# $$E[y²] = n σ² E[x²]$$
#
# The bend takes away nearly all of the negative half, and with it half of the mean square. So from
# layer to layer the mean square is multiplied by nσ²/2. Below 1, it dies out; above 1, it explodes;
# and backwards the gradients go through the very same factors. To keep it, take (He et al. 2015)
#
# $$σ = √(2/n)$$
#
# That is what ``make_network`` does. The layers of ``nn`` start with σ = 0.02 whatever n is, as is
# the custom for the GANs that we are heading for; lesson 9 shows what makes up for it there.
#
# Watch ten layers of 256 units, with three sizes of weights. (``_inputs`` and ``_backward`` are
# what ``record`` noted in lesson 3.)


# %%
def through_layers(deviation, depth=10, width=256):
    """Return the size of the numbers after each layer, and of its gradients."""
    rng = np.random.default_rng(0)
    h = Tensor(rng.standard_normal((100, width)), requires_grad=True)
    layers = [h]
    for _ in range(depth):
        weight = deviation * rng.standard_normal((width, width))
        h = ops.leaky_relu(ops.matmul(h, weight))
        layers.append(h)
    gradients, g = [], rng.standard_normal(h.shape)
    for layer in layers[:0:-1]:  # one layer after the other, from the last
        gradients.append(g.std())
        g = layer._backward(g)[0]
        g = layer._inputs[0]._backward(g)[0]
    return [h.data.std() for h in layers[1:]], gradients[::-1]


figure, panels = plt.subplots(1, 2, figsize=(9.5, 3.6))
for deviation, name, colour in (
    (0.02, "0.02", "tab:red"),
    (np.sqrt(2 / 256), "√(2/256) = 0.088", "tab:green"),
    (0.2, "0.2", "tab:orange"),
):
    sizes = through_layers(deviation)
    for ax, values in zip(panels, sizes):
        ax.semilogy(range(1, 11), values, "o-", color=colour, label=f"σ = {name}")
    print(f"sigma = {deviation:.3f}, after layer 10: {sizes[0][-1]:.1e}")
    print(f"sigma = {deviation:.3f}, gradient at layer 1: {sizes[1][0]:.1e}")
panels[0].set(xlabel="layer", title="Numbers, forwards →")
panels[1].set(xlabel="layer", title="← Gradients, backwards")
panels[0].legend()
plt.show()

# %% [markdown]
# Two layers forgive a lot, ten do not.
#
# **Predict, then run.** And why random at all? Start with all weights 0. Which of the four arrays
# (two matrices, two biases) will ever change?
#
# <details><summary>Answer</summary>
#
# Only the last bias. The hidden units are all 0, so the gradient of the second matrix, hᵀg, is 0.
# The second matrix is 0, so nothing comes back through it to the first. The bias learns how
# frequent the digits are, and the network says the same digit of every picture.
#
# </details>

# %%
zero = make_network(128, np.random.default_rng(0), size=0.0)
train(zero, 100)
for name, array in zero.state_dict().items():
    print(f"started at 0, {name} moved by: {np.abs(array).max():.3f}")
share = accuracy(zero, unseen, unseen_answers)
print(f"started at 0, accuracy: {100 * share:.1f} %")

# %% [markdown]
# Other equal numbers are hardly better. Units that start alike get equal gradients, and stay alike
# for ever: 128 copies of one unit. Chance has to tell them apart.
#
# The loop
# --------
#
# Every training in this course is this loop:
#
# - draw a *batch*, some examples at random;
# - compute the loss, forwards;
# - clear the old gradients, since leaves add up (lesson 1), and walk back;
# - move each weight a little against its gradient: ``weight - lr * grad``. The factor lr is called
#   the *learning rate*.
#
# The truth is written as ten numbers, 1 for the right digit and 0 elsewhere: this is called
# **one-hot**, and ``np.eye(10)[digits]`` makes it. The loss is the squared distance of the outputs
# to that. (Lesson 5 has a better one.)
#
# A batch gives only an estimate of the gradient. It is right on average, a thousand times as cheap
# as the gradient over all sixty thousand, and its noise can be seen in the loss. (On the right are
# the first 2,000 of the unseen digits, which are a little harder than all ten thousand.)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4))
left.semilogy(losses, color="C0", alpha=0.25)
window = max(1, steps // 50)
smooth = np.convolve(losses, np.ones(window) / window, "valid")
left.semilogy(np.arange(len(smooth)) + window // 2, smooth, color="C0")
left.set(xlabel="step", title="Loss of each batch, and smoothed")
at = np.arange(len(accuracies)) * max(1, steps // 20)
right.plot(at, 100 * np.array(accuracies), "o-", ms=3, color="tab:green")
right.axhline(95, color="grey", ls=":")
right.set(xlabel="step", ylim=(0, 100), title="Accuracy on 2,000 unseen digits, %")
plt.show()

# %% [markdown]
# How large a step? Too small, and nothing happens. Too large, and each step goes so far that it
# ends higher than it began, and the next one farther still.

# %%
for lr in (0.001, 0.01, 0.1, 1.0):
    walker = make_network(128, np.random.default_rng(0))
    trace, _ = train(walker, 30 if FAST else 300, lr=lr)
    share = accuracy(walker, unseen, unseen_answers)
    print(f"lr = {lr}, loss at the end: {trace[-1]:.2g}")
    print(f"lr = {lr}, accuracy: {100 * share:.1f} %")

# %% [markdown]
# What has it learnt?
# -------------------
#
# Each hidden unit has 784 weights, as many as a picture has pixels. Take away the random ones that
# it began with, and draw the rest, what was learnt: the unit says yes to ink on blue, and no to ink
# on red.

# %%
start = make_network(128, np.random.default_rng(0)).modules[0].weight.data
learnt = network.modules[0].weight.data - start
order = np.argsort(-np.abs(network.modules[2].weight.data).sum(axis=1))
figure, grid = plt.subplots(2, 8, figsize=(9.5, 2.6))
for unit, ax in zip(order, grid.flat):
    ax.imshow(learnt[:, unit].reshape(28, 28), cmap="RdBu", vmin=-0.1, vmax=0.1)
    ax.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# And here are digits that it gets wrong, those first of which it was most certain. One may well
# disagree with the label now and then.

# %%
said = outputs.argmax(axis=1)
wrong = np.flatnonzero(said != unseen_answers)
wrong = wrong[np.argsort(-outputs[wrong].max(axis=1))]
print(f"wrong, of 10,000: {len(wrong)}")
figure, grid = plt.subplots(2, 8, figsize=(9.5, 3))
for at, ax in zip(wrong, grid.flat):
    ax.imshow(mnist.test_images[at, :, :, 0])
    ax.set_title(f"{said[at]}, not {unseen_answers[at]}", fontsize=9)
    ax.axis("off")
plt.show()

# %% [markdown]
# Exercises
# ---------
#
# 1. Write the gradient of the leaky ReLU, in place of ``g * ...``. ``np.where`` may help;
#    ``grad_check`` is the judge.


# %%
def leaky_relu(x):
    u = x.data
    return record(np.where(u > 0, u, 0.1 * u), (x,), lambda g: (g * ...,))


try:
    values = np.array([-2.0, -0.5, 0.3, 1.0])
    grad_check(leaky_relu, [Tensor(values, requires_grad=True)])
    print("exercise 1: right")
except TypeError:
    print("exercise 1: not yet")

# %% [markdown]
# <details><summary>Answer 1</summary>
#
# ``np.where(u > 0, 1, 0.1)``
#
# </details>
#
# 2. How many units does it take? Try 2, 8 and 32.

# %%
for hidden in (2, 8, 32):
    narrow = make_network(hidden, np.random.default_rng(0))
    train(narrow, 30 if FAST else 600)
    share = accuracy(narrow, unseen, unseen_answers)
    print(f"{hidden} hidden units, accuracy: {100 * share:.1f} %")

# %% [markdown]
# <details><summary>Answer 2</summary>
#
# With two it cannot be done: ten answers hang on two numbers, and 36 % are right. With eight it is
# 83 %, with 32 already 92 %; 128 make 94 % in as many steps.
#
# </details>
#
# 3. Turn the answers of the examples into random digits, once and for all, and train. What happens
#    to the loss, and what to the accuracy on unseen digits?

# %%
truth = answers
answers = np.random.default_rng(3).integers(0, 10, len(truth))
misled = make_network(128, np.random.default_rng(0))
trace, _ = train(misled, steps)
share = accuracy(misled, unseen, unseen_answers)
print(f"random answers, loss of the first batch: {trace[0]:.2f}")
print(f"random answers, mean loss of the last hundred: {np.mean(trace[-100:]):.3f}")
print(f"random answers, accuracy on unseen digits: {100 * share:.1f} %")
print(f"on the random answers: {100 * accuracy(misled, examples, answers):.1f} %")
answers = truth

# %% [markdown]
# <details><summary>Answer 3</summary>
#
# The loss goes from 2.3 down to 0.9, which is what it costs to say 1/10 of everything, and from
# there it crawls: to 0.894 in 3,000 steps. There is nothing to find but the single examples, one by
# one; 15 % of the random answers are right by then, and a guess has 10. On unseen digits it is a
# guess (13 %). That the loss falls does not show that anything was understood.
#
# </details>
#
# The squared distance was a makeshift. It punishes an output of 2 for the right digit as much as
# one of 0. The next lesson asks for probabilities.
