"""Training loops of optax, Flax, Equinox, Keras and scikit-learn, right and wrong; each where it is installed (extra `loops`)."""

import os

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
    WIDTHS,
    N,
    U,
    X,
    Y,
    hold,
    loop,
    shuffled,
    table,
)

import noetherlite as nl

pytestmark = pytest.mark.needs_jit
SMALL = shuffled(6)


def mean(jax, f, y):
    return -jax.numpy.take_along_axis(jax.nn.log_softmax(f), y[:, None], 1).mean()


def forward(jax, tree, x):
    first, last = tree["Dense_0"], tree["Dense_1"]
    return jax.nn.relu(x @ first["kernel"] + first["bias"]) @ last["kernel"] + last["bias"]


# --- optax ------------------------------------------------------------------------------------------------------------


def with_optax(jax, optimiser, batches=None, average=None):
    """Return the recorded parameters; with `average` those of an `optax.ema`."""
    optax = pytest.importorskip("optax")
    tx = optimiser(optax)
    tree = jax.tree.map(jax.numpy.asarray, nl.convert.to_flax(NET, THETA)["params"])
    state, out = tx.init(tree), [THETA]
    ema = optax.ema(average, debias=False) if average else optax.identity()
    average_state = ema.init(tree)

    @jax.jit
    def step(tree, state, average_state, batch):
        gradient = jax.grad(lambda tree: mean(jax, forward(jax, tree, X[batch]), jax.numpy.asarray(Y)[batch]))(tree)
        updates, state = tx.update(gradient, state, tree)
        tree = optax.apply_updates(tree, updates)
        averaged, average_state = ema.update(tree, average_state)
        return tree, state, average_state, averaged

    X, batches = jax.numpy.asarray(globals()["X"]), [np.arange(N)] * STEPS if batches is None else batches
    for batch in batches:
        tree, state, average_state, averaged = step(tree, state, average_state, batch)
        out.append(nl.convert.from_flax(NET, averaged))
    return np.stack(out)


NO_STEP = "adaptive optimiser"
OPTAX = [
    loop("sgd", HOLDS, optimiser=lambda o: o.sgd(LR)),
    loop("sgd of minibatches", HOLDS, check={"batches": SMALL}, optimiser=lambda o: o.sgd(LR), batches=SMALL),
    loop("momentum", HOLDS, "", nl.HeavyBall(LR, 0.9), optimiser=lambda o: o.sgd(LR, 0.9)),
    loop("weight decay before the rate", HOLDS, "", nl.GD(LR, weight_decay=0.05),
         optimiser=lambda o: o.chain(o.add_decayed_weights(0.05), o.sgd(LR))),
    loop("weight decay before the momentum", HOLDS, "", nl.HeavyBall(LR, 0.9, weight_decay=0.05),
         optimiser=lambda o: o.chain(o.add_decayed_weights(0.05), o.sgd(LR, 0.9))),
    loop("clipping that never clips", HOLDS, optimiser=lambda o: o.chain(o.clip_by_global_norm(1e3), o.sgd(LR))),
    loop("inject_hyperparams", HOLDS, optimiser=lambda o: o.inject_hyperparams(o.sgd)(learning_rate=LR)),
    loop("apply_if_finite", HOLDS, optimiser=lambda o: o.apply_if_finite(o.sgd(LR), 3)),
    loop("Nesterov", BROKEN, "Nesterov", optimiser=lambda o: o.sgd(LR, 0.9, nesterov=True)),
    loop("momentum, untold", BROKEN, r"momentum of 0\.9", optimiser=lambda o: o.sgd(LR, 0.9)),
    loop("adam", BROKEN, NO_STEP, optimiser=lambda o: o.adam(LR)),
    loop("adamw", BROKEN, NO_STEP, optimiser=lambda o: o.adamw(LR)),
    loop("lion", BROKEN, NO_STEP, optimiser=lambda o: o.lion(0.01)),
    loop("rmsprop", BROKEN, NO_STEP, optimiser=lambda o: o.rmsprop(0.01)),
    loop("clip_by_global_norm", BROKEN, "clip", optimiser=lambda o: o.chain(o.clip_by_global_norm(0.3), o.sgd(LR))),
    loop("cosine_decay_schedule", BROKEN, "schedule", optimiser=lambda o: o.sgd(o.cosine_decay_schedule(LR, STEPS))),
    loop("weight decay, untold", BROKEN, r"weight decay of 0\.05", optimiser=lambda o: o.chain(o.add_decayed_weights(0.05), o.sgd(LR))),
    loop("weight decay not times the rate", BROKEN, r"weight decay of 0\.05", optimiser=lambda o: o.chain(o.sgd(LR), o.add_decayed_weights(-0.05 * LR))),
    loop("MultiSteps", BROKEN, "repeat|does not move", check={"batches": SMALL}, optimiser=lambda o: o.MultiSteps(o.sgd(LR), 2), batches=SMALL),
    loop("an average recorded", BROKEN, r"running averages of the parameters with a decay of 0\.9,", optimiser=lambda o: o.sgd(LR), average=0.9),
]  # fmt: skip


@table(OPTAX)
def test_a_loop_of_optax(jax, loop):
    hold(loop, with_optax(jax, **loop.train))


# --- Flax and Equinox ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spoil", "verdict"), [(1.0, HOLDS), (0.5, BROKEN)])
def test_a_train_state_of_flax(jax, spoil, verdict):
    linen, train_state = pytest.importorskip("flax.linen"), pytest.importorskip("flax.training.train_state")
    optax = pytest.importorskip("optax")

    class MLP(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.relu(linen.Dense(WIDTHS[1])(x))
            return linen.Dense(WIDTHS[2])(x)  # in one expression with the line above, this would be made first: Dense_0

    model, variables = MLP(), jax.tree.map(jax.numpy.asarray, nl.convert.to_flax(NET, THETA))
    assert jax.tree.structure(model.init(jax.random.key(0), X)) == jax.tree.structure(variables)
    state = train_state.TrainState.create(apply_fn=model.apply, params=variables["params"], tx=optax.sgd(LR))
    gradient = jax.jit(jax.grad(lambda p: spoil * mean(jax, state.apply_fn({"params": p}, X), jax.numpy.asarray(Y))))
    out = [THETA]
    for _ in range(STEPS):
        state = state.apply_gradients(grads=gradient(state.params))
        out.append(nl.convert.from_flax(NET, state.params, like=(X, model.apply({"params": state.params}, X))))
    hold(loop("", verdict, "" if verdict == HOLDS else r"0\.5 times"), np.stack(out))


@pytest.mark.parametrize(("momentum", "verdict"), [(0.0, HOLDS), (0.9, BROKEN)])
def test_an_optimizer_of_flax_nnx(jax, momentum, verdict):
    nnx, optax = pytest.importorskip("flax.nnx"), pytest.importorskip("optax")
    parts = nl.convert.to_flax(NET, THETA)["params"]

    class MLP(nnx.Module):
        def __init__(self, rngs):
            # In the order of their names, as nnx.state lists them, the last layer is the first; shapes tell.
            self.hidden = nnx.Linear(*WIDTHS[:2], rngs=rngs, param_dtype=np.float64)
            self.begin = nnx.Linear(*WIDTHS[1:], rngs=rngs, param_dtype=np.float64)

        def __call__(self, x):
            return self.begin(jax.nn.relu(self.hidden(x)))

    model = MLP(nnx.Rngs(0))
    for layer, arrays in zip((model.hidden, model.begin), parts.values(), strict=True):
        layer.kernel[...], layer.bias[...] = arrays["kernel"], arrays["bias"]
    optimiser = nnx.Optimizer(model, optax.sgd(LR, momentum), wrt=nnx.Param)
    gradient = nnx.jit(nnx.grad(lambda model: mean(jax, model(X), jax.numpy.asarray(Y))))
    out = [nl.convert.from_flax(NET, nnx.state(model, nnx.Param))]
    np.testing.assert_array_equal(out[0], THETA)
    for _ in range(STEPS):
        optimiser.update(model, gradient(model))
        out.append(nl.convert.from_flax(NET, nnx.state(model, nnx.Param)))
    hold(loop("", verdict, "" if verdict == HOLDS else r"momentum of 0\.9"), np.stack(out))


@pytest.mark.parametrize("frozen", [False, True])
def test_a_loop_of_equinox(jax, frozen):
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.MLP(WIDTHS[0], WIDTHS[2], WIDTHS[1], 1, key=jax.random.key(0))
    layers = nl.convert.to_equinox(NET, THETA)
    where = lambda m: [a for layer in m.layers for a in (layer.weight, layer.bias)]  # noqa: E731
    model = eqx.tree_at(where, model, [jax.numpy.asarray(a) for layer in layers for a in layer.values()])

    @eqx.filter_jit
    @eqx.filter_grad
    def gradient(model):
        if frozen:
            model = eqx.tree_at(lambda m: m.layers[0].weight, model, replace_fn=jax.lax.stop_gradient)
        return mean(jax, jax.vmap(model)(X), jax.numpy.asarray(Y))

    out = [nl.convert.from_equinox(NET, model.layers)]
    for _ in range(STEPS):
        model = eqx.apply_updates(model, jax.tree.map(lambda g: -LR * g, gradient(model)))
        out.append(nl.convert.from_equinox(NET, model.layers))
    hold(loop("", BROKEN if frozen else HOLDS, "W1 does not move" if frozen else ""), np.stack(out))


# --- Keras --------------------------------------------------------------------------------------------------------------

KERAS = [
    loop("SGD", HOLDS, optimiser={}),
    loop("momentum", HOLDS, "", nl.HeavyBall(LR, 0.9), optimiser={"momentum": 0.9}),
    loop("weight decay", HOLDS, "", nl.GD(LR, weight_decay=0.05), optimiser={"weight_decay": 0.05}),
    loop("mean_squared_error with its rate", HOLDS, U=U_SQUARES, optimiser={"learning_rate": LR * WIDTHS[-1] / 2}, squares=True),
    loop("mean_squared_error", BROKEN, r"0\.6667 times.*2/3", U=U_SQUARES, optimiser={}, squares=True),
    loop("Nesterov", BROKEN, "Nesterov", optimiser={"momentum": 0.9, "nesterov": True}),
    loop("clipnorm, of every array", BROKEN, "clipped block by block", optimiser={"clipnorm": 0.1}),
    loop("minibatches with their indices", HOLDS, check={"batches": SMALL}, optimiser={}, batches=SMALL),
    loop("minibatches, untold", BROKEN, "minibatch", optimiser={}, batches=SMALL),
]  # fmt: skip


@table(KERAS)
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")  # Keras' own
def test_a_loop_of_keras(jax, loop):
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    squares, batches = loop.train.get("squares", False), loop.train.get("batches", [np.arange(N)] * STEPS)
    layers = [keras.layers.Dense(WIDTHS[1], "relu"), keras.layers.Dense(WIDTHS[2])]
    model = keras.Sequential([keras.Input((WIDTHS[0],)), *layers])
    model.set_weights(nl.convert.to_keras(NET, THETA))
    loss = "mean_squared_error" if squares else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(**{"learning_rate": LR} | loop.train["optimiser"]), loss)
    out = [nl.convert.from_keras(NET, model.get_weights())]
    for batch in batches:
        model.train_on_batch(X[batch], TARGETS[batch] if squares else Y[batch])
        out.append(nl.convert.from_keras(NET, model.get_weights()))
    hold(loop, np.stack(out))


# --- scikit-learn -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decay", "against", "verdict", "words"),
    [
        (0.0, nl.GD(LR), HOLDS, ""),
        (0.05, nl.GD(LR), BROKEN, r"W1, W2 have a weight decay of 0\.05"),
        (0.0, nl.GD(2 * LR), BROKEN, r"0\.5 times"),
    ],
)  # fmt: skip
def test_partial_fits_of_scikit_learn(decay, against, verdict, words):
    network = pytest.importorskip("sklearn.neural_network")
    model = network.MLPClassifier(
        hidden_layer_sizes=WIDTHS[1:2], activation="relu", solver="sgd", alpha=decay * N, momentum=0.0,
        nesterovs_momentum=False, learning_rate_init=LR, batch_size=N, shuffle=False, random_state=0,
    )  # fmt: skip
    out = []
    for _ in range(STEPS + 1):
        model.partial_fit(X, Y, classes=np.unique(Y))
        out.append(nl.convert.from_flax(NET, {"coefs": model.coefs_, "intercepts": model.intercepts_}))
    hold(loop("", verdict, words, against), np.stack(out))


# --- while it runs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spoil", "verdict", "words"), [(1.0, HOLDS, ""), (1.01, BROKEN, r"1\.01 times")])
@pytest.mark.parametrize("batches", [None, SMALL], ids=["all samples", "minibatches"])
def test_a_monitor_in_the_loop(batches, spoil, verdict, words):
    monitor, theta = nl.Monitor(U, nl.GD(LR)), THETA.copy()
    for k in range(STEPS):
        batch = np.arange(N) if batches is None else batches[k]
        monitor.step(theta, batch=None if batches is None else batch)
        theta -= LR * spoil * NET.gradient(theta, X[batch], Y[batch])  # in place: the monitor must have kept a copy
    monitor.step(theta)
    report = monitor.report()
    assert report.verdict == verdict, str(report)
    assert bool(report.findings) == (verdict == BROKEN)
    assert words in "".join(report.findings).replace("1.01", r"1\.01")
