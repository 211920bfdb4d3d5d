"""The same work in JAX: one jitted scan over the records, an inner loop over the steps between them.

On the processor and in float64 for peers.py; on a GPU and in float32 too for gpu.py. Products keep all their digits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from peers import RADIAL_START, Outcome

import noetherlite as nl

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")  # by default float32 on a GPU may be multiplied in TF32


def run(work: Any, algorithm: nl.Algorithm) -> Callable[[], Outcome]:
    """Return the run of `work` from θ_0, with scaling laws tracked every step and recorded every tenth."""
    if not work.widths:
        return radial(work.steps, algorithm.dt)
    losses = last_losses(work, algorithm)
    return lambda: Outcome(float(losses()[0]), work.networks)


def last_losses(
    work: Any, algorithm: nl.Algorithm, dtype: str = "float64", device: str = "cpu"
) -> Callable[[], np.ndarray]:
    """Return that run on a kind of device; it gives every network's last loss, once all records are in host memory."""
    net, X, y, theta = work.problem()
    place = jax.devices(device)[0]
    inputs, labels = jax.device_put(X.astype(dtype), place), jax.device_put(y, place)
    starts = [net.unpack(t) for t in theta]
    start = {
        name: jax.device_put(np.stack([s[name] for s in starts]).astype(dtype, copy=False), place) for name in starts[0]
    }
    del theta, starts
    hidden = range(1, net.n_layers)
    second_order = isinstance(algorithm, nl.Leapfrog)
    h, tree = algorithm.dt, jax.tree.map

    def loss_of(p: Any) -> Any:
        a = inputs
        for k in range(1, net.n_layers + 1):
            a = a @ p[f"W{k}"].T + p[f"b{k}"]
            if k < net.n_layers:
                a = jax.nn.relu(a)
        return -jnp.take_along_axis(jax.nn.log_softmax(a), labels[:, None], axis=1).mean()

    gradient = jax.value_and_grad(loss_of)

    def pair(a: Any, b: Any) -> Any:
        return [
            (a[f"W{k}"] * b[f"W{k}"]).sum(1) + a[f"b{k}"] * b[f"b{k}"] - (a[f"W{k + 1}"] * b[f"W{k + 1}"]).sum(0)
            for k in hidden
        ]

    def step(_: Any, state: Any) -> Any:
        p, v, g, _, total = state
        if second_order:
            v = tree(lambda v, g: v - 0.5 * h * g, v, g)
            p = tree(lambda p, v: p + h * v, p, v)
            loss, g = gradient(p)
            v = tree(lambda v, g: v - 0.5 * h * g, v, g)
            total = tree(lambda t, s: t + h * s, total, pair(v, v))
        else:
            total = tree(lambda t, s: t + 0.5 * h * h * s, total, pair(g, g))
            p = tree(lambda p, g: p - h * g, p, g)
            loss, g = gradient(p)
        return p, v, g, loss, total

    every = min(10, work.steps)

    def trajectory(p: Any) -> Any:
        v = tree(jnp.zeros_like, p)
        loss, g = gradient(p)

        def block(state: Any, _: Any) -> Any:
            state = jax.lax.fori_loop(0, every, step, state)
            p, v, g, loss, total = state
            return state, (loss, pair(p, p), pair(p, v if second_order else g), total)

        return jax.lax.scan(block, (p, v, g, loss, pair(v, v)), None, length=work.steps // every)[1]

    if work.networks == 1:  # vmap over one network would only slow it down
        start, compiled = {name: a[0] for name, a in start.items()}, jax.jit(trajectory)
    else:
        compiled = jax.jit(jax.vmap(trajectory))
    return lambda: np.atleast_1d(jax.device_get(compiled(start))[0][..., -1])


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
