"""
Check a training loop in JAX
============================

Hold leapfrog training in JAX against the laws of Newtonian dynamics: a correct run, and two with planted bugs.
"""

import sys
from typing import Any

import numpy as np

import noetherlite as nl

try:
    import jax
    import jax.numpy as jnp
except ImportError:
    print("skipped: this example needs JAX, pip install 'noetherlite[crosscheck]'")
    sys.exit(0)

jax.config.update("jax_enable_x64", True)

H, RECORDS, EVERY = 0.005, 400, 4
Tree = Any


def loss(params: Tree, X: Any, y: Any, bug: str) -> Any:
    """Mean squared error of a Flax-like tree, with a bug if one is named."""
    a, layers = X, params["params"]
    for k in range(len(layers)):
        layer = layers[f"Dense_{k}"]
        bias = layer["bias"]
        if bug == "bias" and k == 1:
            bias = jax.lax.stop_gradient(bias)
        a = a @ layer["kernel"] + bias
        if k < len(layers) - 1:
            a = jax.nn.leaky_relu(a, 0.1)
    square = ((a - y) ** 2).sum()
    return 0.5 * square if bug == "1/N" else 0.5 * square / len(X)


def train(params: Tree, X: Any, y: Any, bug: str) -> Tree:
    """Return the parameters at every record, stacked."""
    gradient = jax.grad(loss)

    def step(state: Tree, _: Any) -> tuple[Tree, None]:
        x, v = state
        g = gradient(x, X, y, bug)
        v = jax.tree.map(lambda v, g: v - H * g, v, g)
        return (jax.tree.map(lambda x, v: x + H * v, x, v), v), None

    def block(state: Tree, _: Any) -> tuple[Tree, Tree]:
        return jax.lax.scan(step, state, length=EVERY)[0], state[0]

    # The velocity half a step before the start, from rest there: the first kick turns it round.
    start = jax.tree.map(lambda g: 0.5 * H * g, gradient(params, X, y, bug))
    return jax.jit(lambda state: jax.lax.scan(block, state, length=RECORDS)[1])((params, start))


def main() -> None:
    rng = np.random.default_rng(0)
    net = nl.Network([4, 12, 8, 2], "leaky_relu(0.1)", loss="mse")
    X, y = rng.standard_normal((40, 4)), rng.standard_normal((40, 2))
    U, theta = net.potential(X, y), net.init(rng=0, bias_std=0.1)
    start = jax.tree.map(jnp.asarray, nl.convert.to_flax(net, theta))
    for bug, title in (("", "correct"), ("bias", "a stopped bias gradient"), ("1/N", "a missing 1/N")):
        print(f"\n=== {title}: the gradient at one point")
        try:
            gradient = nl.convert.from_flax(net, jax.grad(loss)(start, X, y, bug))
            nl.testing.assert_gradient(U, gradient, theta)
            print("as it should be")
        except AssertionError as error:
            print(error)
        params = nl.convert.from_flax(net, train(start, X, y, bug))
        print(f"=== {title}: the run, one record every {EVERY} steps")
        print(nl.check(U, params, EVERY * H * np.arange(RECORDS), nl.ND))


if __name__ == "__main__":
    main()
