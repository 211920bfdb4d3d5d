"""The same work in JAX: one jitted scan over the records, an inner loop over the steps between them.

On the processor for peers.py, on a GPU too for gpu.py. Products keep all their digits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from workloads import EVERY, RADIAL_START, Outcome, Workload

import noetherlite as nl

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")  # by default float32 on a GPU may be multiplied in TF32

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "swish(1.0)": jax.nn.silu,
    "gelu": lambda z: jax.nn.gelu(z, approximate=False),
    "linear(1.0)": lambda z: z,
}
tree = jax.tree.map
Gradient = Callable[[Any, Any], tuple[Any, Any]]  # parameters, number of the minibatch ↦ U, ∇U
Pair = Callable[[Any, Any], list[Any]]  # two vectors ↦ B of both, law by law


def run(work: Workload, algorithm: Any) -> Callable[[], Outcome]:
    """Return the run of `work` from θ_0, with its laws tracked every step and recorded every tenth, or its kernel."""
    if not work.widths:
        return radial(work.steps, algorithm.dt)
    if algorithm is None:
        return kernel(work)
    losses = last_losses(work, algorithm, work.dtype)
    return lambda: Outcome(float(losses()[0]), work.networks)


def outputs(work: Workload, p: Any, a: Any) -> Any:
    """Return f of a row of inputs, or of a matrix of them."""
    layers = len(work.widths) - 1
    for k in range(1, layers + 1):
        a = a @ p[f"W{k}"].T + p[f"b{k}"]
        if k < layers:
            a = ACTIVATIONS[work.activation](a)
    return a


def loss_of(work: Workload, p: Any, X: Any, y: Any) -> Any:
    """Return U on samples."""
    f = outputs(work, p, X)
    if work.loss == "mse":
        return 0.5 * ((f - y) ** 2).sum(axis=1).mean()
    return -jnp.take_along_axis(jax.nn.log_softmax(f), y[:, None], axis=1).mean()


def pairs(work: Workload) -> Pair:
    """Return the function of two vectors that sums their products for the laws of the hidden layers."""

    def scalings(a: Any, b: Any, k: int) -> Any:
        incoming = (a[f"W{k}"] * b[f"W{k}"]).sum(1) + a[f"b{k}"] * b[f"b{k}"]
        return incoming - (a[f"W{k + 1}"] * b[f"W{k + 1}"]).sum(0)

    def linear(a: Any, b: Any, k: int) -> Any:
        incoming = a[f"W{k}"] @ b[f"W{k}"].T + jnp.outer(a[f"b{k}"], b[f"b{k}"])
        return incoming - a[f"W{k + 1}"].T @ b[f"W{k + 1}"]

    one = scalings if work.activation == "relu" else linear
    return lambda a, b: [one(a, b, k) for k in range(1, len(work.hidden_laws) + 1)]


def gd(h: float, gradient: Gradient, pair: Pair) -> Any:
    """Return gradient descent, which sums the drop of Q."""

    def step(k: Any, state: Any) -> Any:
        p, v, s, g, _, total = state
        total = tree(lambda t, drop: t + 0.5 * h * h * drop, total, pair(g, g))
        p = tree(lambda p, g: p - h * g, p, g)
        loss, g = gradient(p, k + 1)
        return p, v, s, g, loss, total

    return step


def leapfrog(h: float, gradient: Gradient, pair: Pair) -> Any:
    """Return leapfrog, which sums the source."""

    def step(k: Any, state: Any) -> Any:
        p, v, s, g, _, total = state
        v = tree(lambda v, g: v - 0.5 * h * g, v, g)
        p = tree(lambda p, v: p + h * v, p, v)
        loss, g = gradient(p, k + 1)
        v = tree(lambda v, g: v - 0.5 * h * g, v, g)
        total = tree(lambda t, source: t + h * source, total, pair(v, v))
        return p, v, s, g, loss, total

    return step


def nesterov(h: float, gradient: Gradient, pair: Pair) -> Any:
    """Return Nesterov's method, whose law has two sources."""

    def step(k: Any, state: Any) -> Any:
        p, v, s, _, _, total = state
        beta = (k - 1) / (k + 2)
        loss, g = gradient(tree(lambda p, v: p + beta * h * v, p, v), k)
        ahead = tree(lambda v, g: beta * v - h * g, v, g)
        total = tree(lambda t, a, b: t + h * (a - beta * b), total, pair(ahead, ahead), pair(v, ahead))
        return tree(lambda p, v: p + h * v, p, ahead), ahead, s, g, loss, total

    return step


def adam(h: float, gradient: Gradient, pair: Pair) -> Any:
    """Return Adam, whose law is one of x and the average of the gradient."""
    a, b = 1 - 0.9, 1 - 0.999

    def step(k: Any, state: Any) -> Any:
        p, m, s, g, _, total = state
        ahead = tree(lambda m, g: m + a * (g - m), m, g)
        total = tree(lambda t, new, old: t + new - (1 - a) * old, total, pair(p, ahead), pair(p, m))
        s = tree(lambda s, g: s + b * (g * g - s), s, g)
        rate, scale = h / (1 - (1 - a) ** (k + 1)), jnp.sqrt(1 - (1 - b) ** (k + 1))
        p = tree(lambda p, m, s: p - (rate * m / (jnp.sqrt(s) / scale + 1e-8)).astype(p.dtype), p, ahead, s)
        loss, g = gradient(p, k + 1)
        return p, ahead, s, g, loss, total

    return step


STEPS = {"GD": gd, "Leapfrog": leapfrog, "NAGD": nesterov, "Adam": adam}


def last_losses(
    work: Workload, algorithm: nl.Algorithm, dtype: str = "float64", device: str = "cpu"
) -> Callable[[], np.ndarray]:
    """Return that run on a kind of device; it gives every network's last loss, once all records are in host memory."""
    net, X, y, theta = work.problem()
    place, name = jax.devices(device)[0], type(algorithm).__name__
    inputs = jax.device_put(X.astype(dtype), place)
    targets = jax.device_put(y if work.loss == "nll" else y.astype(dtype), place)
    starts = [net.unpack(t) for t in theta]
    start = {
        name: jax.device_put(np.stack([s[name] for s in starts]).astype(dtype, copy=False), place) for name in starts[0]
    }
    del theta, starts
    pair = pairs(work)
    value_and_gradient = jax.value_and_grad(lambda p, X, y: loss_of(work, p, X, y))
    drawn = jax.device_put(work.drawn(), place) if work.batch else None

    def gradient(p: Any, k: Any) -> Any:
        if drawn is None:
            return value_and_gradient(p, inputs, targets)
        return value_and_gradient(p, inputs[drawn[k]], targets[drawn[k]])

    step, known = STEPS[name](algorithm.dt, gradient, pair), name != "NAGD" and not work.batch
    every = min(EVERY, work.steps)

    def trajectory(p: Any) -> Any:
        v = tree(jnp.zeros_like, p)
        loss, g = gradient(p, 0)

        def block(state: Any, b: Any) -> Any:
            state = jax.lax.fori_loop(0, every, lambda i, s: step(b * every + i, s), state)
            p, v, _, g, loss, total = state
            loss = loss if known else loss_of(work, p, inputs, targets)
            return state, (loss, pair(p, p), pair(p, g if name == "GD" else v), total)

        return jax.lax.scan(block, (p, v, v, g, loss, pair(v, v)), jnp.arange(work.steps // every))[1]

    if work.networks == 1:  # vmap over one network would only slow it down
        start, compiled = {name: a[0] for name, a in start.items()}, jax.jit(trajectory)
    else:
        compiled = jax.jit(jax.vmap(trajectory))
    return lambda: np.atleast_1d(jax.device_get(compiled(start))[0][..., -1])


def kernel(work: Workload) -> Callable[[], Outcome]:
    """Return the tangent kernel as its formula says, J Jᵀ, by reverse-mode derivatives of every output of every sample."""
    net, X, _, theta = work.problem()
    start, inputs = {name: jnp.asarray(a) for name, a in net.unpack(theta[0]).items()}, jnp.asarray(X)
    jacobian = jax.vmap(jax.jacrev(lambda p, x: outputs(work, p, x)), (None, 0))

    @jax.jit
    def product(p: Any) -> Any:
        parts = [J.reshape(len(X) * work.widths[-1], -1) for J in jax.tree.leaves(jacobian(p, inputs))]
        return sum(J @ J.T for J in parts)

    return lambda: Outcome(float(np.linalg.norm(np.asarray(product(start)))))


def radial(steps: int, h: float) -> Callable[[], Outcome]:
    """Return the run of the radial potential, its gradient by JAX."""

    def U(x: Any) -> Any:
        return 0.1 * (x @ x - 1) ** 2 + 0.08

    force = jax.grad(U)

    def step(_: Any, state: Any) -> Any:
        x, v, g = state
        v = v - 0.5 * h * g
        x = x + h * v
        g = force(x)
        return x, v - 0.5 * h * g, g

    @jax.jit
    def trajectory(x: Any) -> Any:
        return U(jax.lax.fori_loop(0, steps, step, (x, jnp.zeros_like(x), force(x)))[0])

    start = jax.device_put(np.array(RADIAL_START), jax.devices("cpu")[0])
    return lambda: Outcome(float(trajectory(start)))
