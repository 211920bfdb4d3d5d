"""Training loops of JAX, right and wrong, as people write them: what `check` says of each."""

import numpy as np
import pytest
from loops import (
    BROKEN,
    HOLDS,
    LR,
    NET,
    STEPS,
    TARGETS,
    THETA,
    U_SQUARES,
    UNDECIDED,
    WIDTHS,
    N,
    X,
    Y,
    hold,
    loop,
    shuffled,
    table,
)  # fmt: skip

import noetherlite as nl

jax = pytest.importorskip("jax")
pytestmark = [pytest.mark.needs_jit, pytest.mark.usefixtures("jax")]  # a few hundred thousand gradients of samples
jnp = jax.numpy
H = LR**0.5


# --- losses -----------------------------------------------------------------------------------------------------------


def forward(tree, x, hidden=jax.nn.relu):
    first, last = tree["Dense_0"], tree["Dense_1"]
    return hidden(x @ first["kernel"] + first["bias"]) @ last["kernel"] + last["bias"]


def each(f, y):
    """−log softmax(f)_y of every sample."""
    return -jnp.take_along_axis(jax.nn.log_softmax(f), y[:, None], 1)[:, 0]


def mean(tree, x, y):
    return each(forward(tree, x), y).mean()


def stopped(tree, x, y):
    return each(forward(tree, x, lambda z: jax.lax.stop_gradient(jax.nn.relu(z))), y).mean()


def stopped_bias(tree, x, y):
    first = tree["Dense_0"] | {"bias": jax.lax.stop_gradient(tree["Dense_0"]["bias"])}
    return mean({"Dense_0": first, "Dense_1": tree["Dense_1"]}, x, y)


def sigmoids(tree, x, y):
    """Binary cross entropy of every output, in the place of the softmax."""
    f = forward(tree, x)
    return (jax.nn.softplus(f) - jax.nn.one_hot(y, WIDTHS[-1]) * f).sum(1).mean()


def half_products(tree, x, y):
    """Products in bfloat16, as a policy of mixed precision makes them."""
    low = jax.tree.map(lambda a: a.astype(jnp.bfloat16), (tree, x))
    return each(forward(*low).astype(jnp.float32), y).mean()


def squares(reduce):
    return lambda tree, x, y: reduce((forward(tree, x) - y) ** 2)


def with_decay(tree, x, y):
    return mean(tree, x, y) + 0.025 * sum((p**2).sum() for p in jax.tree.leaves(tree))


# --- gradients --------------------------------------------------------------------------------------------------------


def of_samples(tree, x, y):
    """The mean of the samples' gradients."""
    one = jax.vmap(jax.grad(lambda tree, x, y: mean(tree, x[None], y[None])), in_axes=(None, 0, 0))
    return jax.tree.map(lambda g: g.mean(0), one(tree, x, y))


def by_hand(tree, x, y):
    """The backward pass, written out."""
    last = tree["Dense_1"]["kernel"]
    z = x @ tree["Dense_0"]["kernel"] + tree["Dense_0"]["bias"]
    a = jax.nn.relu(z)
    delta = (jax.nn.softmax(a @ last + tree["Dense_1"]["bias"]) - jax.nn.one_hot(y, WIDTHS[-1])) / len(x)
    back = delta @ last.T * (z > 0)
    return {
        "Dense_0": {"kernel": x.T @ back, "bias": back.sum(0)},
        "Dense_1": {"kernel": a.T @ delta, "bias": delta.sum(0)},
    }


def through_linear(tree, x, y):
    """As `by_hand`, with relu's derivative forgotten."""
    last = tree["Dense_1"]["kernel"]
    delta = (jax.nn.softmax(forward(tree, x)) - jax.nn.one_hot(y, WIDTHS[-1])) / len(x)
    back = delta @ last.T
    return by_hand(tree, x, y) | {"Dense_0": {"kernel": x.T @ back, "bias": back.sum(0)}}


def accumulated(divide):
    def gradient(tree, x, y):
        def one(total, part):
            return jax.tree.map(jnp.add, total, jax.grad(mean)(tree, *part)), None

        parts = x.reshape(4, -1, x.shape[1]), y.reshape(4, -1)
        total = jax.lax.scan(one, jax.tree.map(jnp.zeros_like, tree), parts)[0]
        return jax.tree.map(lambda g: g / divide, total)

    return gradient  # fmt: skip


def changed(leaf, change, gradient=None):
    gradient = gradient or jax.grad(mean)

    def out(tree, x, y):
        g = gradient(tree, x, y)
        layer, name = leaf
        return g | {layer: g[layer] | {name: change(g[layer][name])}}

    return out  # fmt: skip


def clipped(tree, x, y):
    g = jax.grad(mean)(tree, x, y)
    size = jnp.sqrt(sum((p**2).sum() for p in jax.tree.leaves(g)))
    return jax.tree.map(lambda p: p * jnp.minimum(1, 0.3 / size), g)


# --- update rules: (tree, velocity, gradient of the tree, step) to the next (tree, velocity) -----------------------------


def descent(lr=lambda k: LR, decay=0.0):
    def step(x, v, gradient, k):
        return jax.tree.map(lambda x, g: x - lr(k) * (g + decay * x), x, gradient(x)), v

    return step  # fmt: skip


def heavy_ball(x, v, gradient, k):
    v = jax.tree.map(lambda v, g: 0.9 * v + g, v, gradient(x))
    return jax.tree.map(lambda x, v: x - LR * v, x, v), v


def nesterov(x, before, gradient, k):
    """x_{k+1} = y_k − s∇U(y_k), y_k = x_k + (k − 1)/(k + 2)(x_k − x_{k−1}); `before` holds x_{k−1} − x_0 shifted to zero."""
    push = jnp.maximum(k - 1, 0) / (k + 2)
    y = jax.tree.map(lambda x, b: x + push * b, x, before)
    new = jax.tree.map(lambda y, g: y - LR * g, y, gradient(y))
    return new, jax.tree.map(jnp.subtract, new, x)


def leapfrog(x, v, gradient, k):
    """v a step of h/2 behind the positions; from rest, the first kick is half a one."""
    kick = jnp.where(k == 0, H / 2, H)
    v = jax.tree.map(lambda v, g: v - kick * g, v, gradient(x))
    return jax.tree.map(lambda x, v: x + H * v, x, v), v


def undamped_euler(x, v, gradient, k):
    """Positions moved with the old velocity: explicit Euler, not symplectic."""
    g = gradient(x)
    return jax.tree.map(lambda x, v: x + H * v, x, v), jax.tree.map(lambda v, g: v - H * g, v, g)


def adam(x, v, gradient, k):
    """`v` holds the first moment; the second is that of this gradient alone (RMSProp without memory)."""
    v = jax.tree.map(lambda v, g: 0.9 * v + 0.1 * g, v, gradient(x))
    return jax.tree.map(lambda x, v: x - LR * v / (jnp.abs(v) + 1e-8), x, v), v


# --- the loop ---------------------------------------------------------------------------------------------------------


def converted(tree):
    return nl.convert.from_flax(NET, tree)


def looped(step, state, batches):
    out = [converted(state[0])]
    for k, batch in enumerate(batches):
        state = step(state, (k, batch))[0]
        out.append(converted(state[0]))
    return np.stack(out)


def jitted(step, state, batches):
    return looped(jax.jit(step), state, batches)


def donated(step, state, batches):
    """The old state's memory is given to the new one."""
    return looped(jax.jit(step, donate_argnums=0), jax.tree.map(jnp.copy, state), batches)


def scanned(step, state, batches, chosen=lambda old, new: old):
    """Rows stacked by `scan`, of the tree before every step."""
    inputs = (jnp.arange(len(batches)), jnp.asarray(np.array(batches)))

    def one(state, i):
        after = step(state, i)[0]
        return after, chosen(state, after)[0]

    return converted(jax.jit(lambda state: jax.lax.scan(one, state, inputs))(state)[1])


def later(step, state, batches):
    return scanned(step, state, batches, lambda old, new: new)


def in_blocks(step, state, batches):
    """One record every five steps, made by `fori_loop`."""
    rows = jnp.asarray(np.array(batches))
    five = jax.jit(lambda state, k: jax.lax.fori_loop(k, k + 5, lambda i, s: step(s, (i, rows[i]))[0], state))
    out = [converted(state[0])]
    for k in range(0, len(batches), 5):
        state = five(state, k)
        out.append(converted(state[0]))
    return np.stack(out)


def train(loss=mean, gradient=None, rule=None, loop=jitted, dtype="float64", batches=None, targets=Y):
    """Return the recorded parameters (R, P) of a loop; every argument is a part of it that somebody writes otherwise."""
    gradient, rule = gradient or jax.grad(loss), rule or descent()
    tree = jax.tree.map(lambda a: jnp.asarray(a, dtype), nl.convert.to_flax(NET, THETA)["params"])
    x, y = jnp.asarray(X, dtype), jnp.asarray(targets, None if targets is Y else dtype)

    def step(state, input):
        k, batch = input
        tree, v = rule(*state, lambda tree: gradient(tree, x[batch], y[batch]), k)
        return (jax.tree.map(lambda a: a.astype(dtype), tree), v), None

    state = (tree, jax.tree.map(jnp.zeros_like, tree))
    return loop(step, state, [np.arange(N)] * STEPS if batches is None else batches)


SMALL = shuffled(6)
MSE = {"U": U_SQUARES, "targets": TARGETS}
RIGHT = [
    loop("a jitted step", HOLDS),
    loop("steps that are not compiled", HOLDS, loop=looped, batches=[np.arange(N)] * 5),
    loop("float32", HOLDS, dtype="float32"),
    loop("scan", HOLDS, loop=scanned),
    loop("scan, the tree after every step", HOLDS, loop=later),
    loop("scan in float32", HOLDS, loop=scanned, dtype="float32"),
    loop("fori_loop between records", HOLDS, check={"every": 5}, loop=in_blocks),
    loop("donated buffers", HOLDS, loop=donated),
    loop("donated buffers and momentum", HOLDS, "", nl.HeavyBall(LR, 0.9), loop=donated, rule=heavy_ball),
    loop("gradients of samples by vmap", HOLDS, gradient=of_samples),
    loop("a backward pass by hand", HOLDS, gradient=by_hand),
    loop("forward mode", HOLDS, gradient=jax.jacfwd(mean)),
    loop("recomputed activations", HOLDS, loss=jax.checkpoint(mean)),
    loop("accumulated by scan", HOLDS, gradient=accumulated(4)),
    loop("weight decay", HOLDS, "", nl.GD(LR, weight_decay=0.05), rule=descent(decay=0.05)),
    loop("weight decay in the loss", HOLDS, "", nl.GD(LR, weight_decay=0.05), loss=with_decay),
    loop("momentum", HOLDS, "", nl.HeavyBall(LR, 0.9), rule=heavy_ball, loop=scanned),
    loop("Nesterov's k − 1 over k + 2", HOLDS, "", nl.NAGD(LR), rule=nesterov),
    loop("Nesterov's in float32", HOLDS, "", nl.NAGD(LR), rule=nesterov, dtype="float32"),
    loop("leapfrog", HOLDS, "", nl.Leapfrog(LR), rule=leapfrog),
    loop("leapfrog in float32", HOLDS, "", nl.Leapfrog(LR), rule=leapfrog, dtype="float32"),
    loop("half the mean of the squared distance", HOLDS, **MSE, loss=squares(lambda s: 0.5 * s.sum(1).mean())),
    loop("minibatches with their indices", HOLDS, check={"batches": SMALL}, batches=SMALL),
    loop("minibatches in scan", HOLDS, check={"batches": SMALL[:-1]}, batches=SMALL, loop=scanned),
    loop("minibatches, five steps a record", HOLDS, check={"every": 5, "batches": SMALL}, batches=SMALL, loop=in_blocks),
    loop("minibatches, only laws", HOLDS, "motion", check={"minibatches": True}, batches=SMALL),
    loop("bfloat16", UNDECIDED, "round-off", dtype="bfloat16"),
    loop("products in bfloat16, told", HOLDS, check={"precision": "autocast"}, loss=half_products, dtype="float32"),
]  # fmt: skip

OTHER = "every law holds.*other data"
WRONG = [
    loop("the sum over samples", BROKEN, f"every block moves {N} times", loss=lambda t, x, y: each(forward(t, x), y).sum()),
    loop("accumulated, not divided", BROKEN, "every block moves 4 times", gradient=accumulated(1)),
    loop("the log-likelihood descended", BROKEN, "every block moves -1 times", loss=lambda t, x, y: -mean(t, x, y)),
    loop("the mean of squares over entries", BROKEN, r"0\.6667 times.*2/3", **MSE, loss=squares(jnp.mean)),
    loop("the mean of squares without a half", BROKEN, "every block moves 2 times", **MSE, loss=squares(lambda s: s.sum(1).mean())),
    loop("a stopped layer", BROKEN, "W1 does not move", loss=stopped),
    loop("a stopped bias", BROKEN, "b1 does not move", loss=stopped_bias),
    loop("relu's derivative forgotten", BROKEN, "W1 does not move along", gradient=through_linear),
    loop("sigmoids for the softmax", BROKEN, "W1 does not move along", loss=sigmoids),
    loop("a block twice", BROKEN, "W2 moves 2 times", gradient=changed(("Dense_1", "kernel"), lambda g: 2 * g)),
    loop("a neuron's gradient dropped", BROKEN, "b1 does not move.*neuron 2", gradient=changed(("Dense_0", "bias"), lambda g: g.at[2].set(0))),
    loop("clipped by the norm of all", BROKEN, "clip", gradient=clipped),
    loop("cosine", BROKEN, "schedule", rule=descent(lambda k: LR * (1 + jnp.cos(jnp.pi * k / STEPS)) / 2)),
    loop("weight decay, untold", BROKEN, r"weight decay of 0\.05", rule=descent(decay=0.05)),
    loop("momentum, untold", BROKEN, "momentum of 0.9", rule=heavy_ball),
    loop("Nesterov's, told as momentum", BROKEN, "W1 does not move along", nl.HeavyBall(LR, 0.9), rule=nesterov),
    loop("leapfrog, told as Nesterov's", BROKEN, "W1 does not move along", nl.NAGD(LR), rule=leapfrog),
    loop("explicit Euler for leapfrog", BROKEN, "W1 does not move along", nl.Leapfrog(LR), rule=undamped_euler),
    loop("normalised steps", BROKEN, "adaptive optimiser", rule=adam),
    loop("minibatches, untold", BROKEN, "minibatches", batches=SMALL),
    loop("minibatches, indices off by one", BROKEN, "one step off", check={"batches": [SMALL[-1], *SMALL[:-1]]}, batches=SMALL),
    loop("a minibatch divided by all samples", BROKEN, r"0\.25 times", check={"batches": SMALL},
         batches=SMALL, loss=lambda t, x, y: each(forward(t, x), y).sum() / N),
    loop("other labels", BROKEN, OTHER, loss=lambda t, x, y: mean(t, x, (y + 1) % WIDTHS[-1])),
    loop("products in bfloat16, untold", BROKEN, "precision=.autocast", loss=half_products, dtype="float32"),
    loop("a state that is not passed on", BROKEN, "all rows are equal", loop=lambda step, state, batches: looped(lambda s, i: (s, None), state, batches)),
]  # fmt: skip


@table(RIGHT + WRONG)
def test_a_loop_has_the_verdict_of_its_row(loop):
    hold(loop, train(**loop.train))


def test_trees_that_were_donated_before_they_were_converted():
    trees = []

    def careless(step, state, batches):
        step = jax.jit(step, donate_argnums=0)
        for k, batch in enumerate(batches):
            trees.append(state[0])
            state = step(state, (k, batch))[0]
        return np.stack([converted(tree) for tree in trees])

    with pytest.raises(TypeError, match=r"Dense_0\.bias .*cannot be read .*deleted"):
        train(loop=careless)
