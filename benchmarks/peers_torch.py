"""The same work in PyTorch, eager mode: what a theorist would write.

On the processor for peers.py, on a GPU too for gpu.py. Products keep all their digits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from workloads import EVERY, Outcome, Workload

import noetherlite as nl

# Of an ensemble, as many networks are trained in a loop; their time is taken for all.
LOOPED = 4

torch.set_float32_matmul_precision("highest")  # which is: no TF32

ACTIVATIONS = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "swish(1.0)": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
    "linear(1.0)": lambda z: z,
}
Vector = dict[str, torch.Tensor]
Gradient = Callable[[Vector, int], tuple[torch.Tensor, Vector]]  # parameters, number of the minibatch ↦ U, ∇U
Pair = Callable[[Vector, Vector], list[torch.Tensor]]  # two vectors ↦ B of both, law by law


class State:
    """What a run changes: parameters p, velocity or average v, average of squares s, gradient g, loss, sums of the laws."""

    def __init__(self, start: Vector, gradient: Gradient, pair: Pair) -> None:
        self.p = {name: a.clone() for name, a in start.items()}
        self.v = {name: torch.zeros_like(a) for name, a in start.items()}
        self.s = {name: torch.zeros_like(a) for name, a in start.items()}
        self.loss, self.g = gradient(self.p, 0)
        self.total = pair(self.v, self.v)

    def sum_laws(self, *factors_and_pairs: tuple[float, list[torch.Tensor]]) -> None:
        """Add multiples of pairs to the sums."""
        for factor, terms in factors_and_pairs:
            for t, term in zip(self.total, terms, strict=True):
                t += factor * term


def run(work: Workload, algorithm: Any) -> Callable[[], Outcome]:
    """Return the run of `work` from θ_0, with its laws tracked every step and recorded every tenth, or its kernel."""
    if algorithm is None:
        return kernel(work)
    losses = last_losses(work, algorithm, work.dtype)

    def loop() -> Outcome:
        ends = losses()
        return Outcome(float(ends[0]), len(ends))

    return loop


def outputs(work: Workload, p: Vector, a: torch.Tensor) -> torch.Tensor:
    """Return f of a row of inputs, or of a matrix of them."""
    layers = len(work.widths) - 1
    for k in range(1, layers + 1):
        a = torch.nn.functional.linear(a, p[f"W{k}"], p[f"b{k}"])
        if k < layers:
            a = ACTIVATIONS[work.activation](a)
    return a


def loss_of(work: Workload, p: Vector, X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return U on samples."""
    f = outputs(work, p, X)
    if work.loss == "mse":
        return 0.5 * ((f - y) ** 2).sum(dim=1).mean()
    return torch.nn.functional.cross_entropy(f, y)


def pairs(work: Workload) -> Pair:
    """Return the function of two vectors that sums their products for the laws of the hidden layers."""

    def scalings(a: Vector, b: Vector, k: int) -> torch.Tensor:
        incoming = (a[f"W{k}"] * b[f"W{k}"]).sum(1) + a[f"b{k}"] * b[f"b{k}"]
        return incoming - (a[f"W{k + 1}"] * b[f"W{k + 1}"]).sum(0)

    def linear(a: Vector, b: Vector, k: int) -> torch.Tensor:
        incoming = a[f"W{k}"] @ b[f"W{k}"].T + torch.outer(a[f"b{k}"], b[f"b{k}"])
        return incoming - a[f"W{k + 1}"].T @ b[f"W{k + 1}"]

    one = scalings if work.activation == "relu" else linear
    return lambda a, b: [one(a, b, k) for k in range(1, len(work.hidden_laws) + 1)]


def gd(k: int, h: float, z: State, gradient: Gradient, pair: Pair) -> None:
    """Take a step of gradient descent, summing the drop of Q."""
    z.sum_laws((0.5 * h * h, pair(z.g, z.g)))
    for name in z.p:
        z.p[name] -= h * z.g[name]
    z.loss, z.g = gradient(z.p, k + 1)


def leapfrog(k: int, h: float, z: State, gradient: Gradient, pair: Pair) -> None:
    """Take a step of leapfrog, summing the source."""
    for name in z.p:
        z.v[name] -= 0.5 * h * z.g[name]
        z.p[name] += h * z.v[name]
    z.loss, z.g = gradient(z.p, k + 1)
    for name in z.p:
        z.v[name] -= 0.5 * h * z.g[name]
    z.sum_laws((h, pair(z.v, z.v)))


def nesterov(k: int, h: float, z: State, gradient: Gradient, pair: Pair) -> None:
    """Take a step of Nesterov's method, whose law has two sources."""
    beta = (k - 1) / (k + 2)
    z.loss, z.g = gradient({name: p + beta * h * z.v[name] for name, p in z.p.items()}, k)
    ahead = {name: beta * v - h * z.g[name] for name, v in z.v.items()}
    z.sum_laws((h, pair(ahead, ahead)), (-h * beta, pair(z.v, ahead)))
    z.v = ahead
    for name in z.p:
        z.p[name] += h * z.v[name]


def adam(k: int, h: float, z: State, gradient: Gradient, pair: Pair) -> None:
    """Take a step of Adam, whose law is one of x and the average of the gradient."""
    a, b = 1 - 0.9, 1 - 0.999
    z.sum_laws((a - 1, pair(z.p, z.v)))
    rate, scale = h / (1 - (1 - a) ** (k + 1)), (1 - (1 - b) ** (k + 1)) ** 0.5
    for name in z.p:
        z.v[name] += a * (z.g[name] - z.v[name])
        z.s[name] += b * (z.g[name] * z.g[name] - z.s[name])
    z.sum_laws((1.0, pair(z.p, z.v)))
    for name in z.p:
        z.p[name] -= rate * z.v[name] / (z.s[name].sqrt() / scale + 1e-8)
    z.loss, z.g = gradient(z.p, k + 1)


STEPS = {"GD": gd, "Leapfrog": leapfrog, "NAGD": nesterov, "Adam": adam}


def last_losses(
    work: Workload, algorithm: nl.Algorithm, dtype: str = "float64", device: str = "cpu"
) -> Callable[[], np.ndarray]:
    """Return that run on a kind of device; it gives the networks' last losses, once all records are in host memory."""
    net, X, y, theta = work.problem()
    inputs = torch.from_numpy(X.astype(dtype)).to(device)
    targets = torch.from_numpy(y if work.loss == "nll" else y.astype(dtype)).to(device)
    starts = [
        {name: torch.from_numpy(a.astype(dtype)).to(device) for name, a in net.unpack(t).items()}
        for t in theta[:LOOPED]
    ]
    del theta
    pair, name = pairs(work), type(algorithm).__name__
    drawn = torch.from_numpy(work.drawn()).to(device) if work.batch else None

    def gradient(p: Vector, k: int) -> tuple[torch.Tensor, Vector]:
        leaves = {name: a.detach().requires_grad_() for name, a in p.items()}
        X, y = (inputs, targets) if drawn is None else (inputs[drawn[k]], targets[drawn[k]])
        with torch.enable_grad():
            loss = loss_of(work, leaves, X, y)
        return loss.detach(), dict(zip(p, torch.autograd.grad(loss, list(leaves.values())), strict=True))

    step, known = STEPS[name], name != "NAGD" and not work.batch

    @torch.no_grad()
    def once(start: Vector) -> float:
        z, records = State(start, gradient, pair), []
        for k in range(work.steps):
            step(k, algorithm.dt, z, gradient, pair)
            if (k + 1) % EVERY == 0 or k + 1 == work.steps:
                charges = (*pair(z.p, z.p), *pair(z.p, z.g if name == "GD" else z.v))
                loss = z.loss if known else loss_of(work, z.p, inputs, targets)
                records.append((loss, *charges, *(t.clone() for t in z.total)))
        losses, *_ = [torch.stack(field).cpu() for field in zip(*records, strict=True)]
        return float(losses[-1])

    return lambda: np.array([once(start) for start in starts])


def kernel(work: Workload) -> Callable[[], Outcome]:
    """Return the tangent kernel as its formula says, J Jᵀ, by reverse-mode derivatives of every output of every sample."""
    net, X, _, theta = work.problem()
    start, inputs = {name: torch.from_numpy(a.copy()) for name, a in net.unpack(theta[0]).items()}, torch.from_numpy(X)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda p, x: outputs(work, p, x)), (None, 0))

    def product() -> Outcome:
        parts = [J.reshape(len(X) * work.widths[-1], -1) for J in jacobian(start, inputs).values()]
        return Outcome(float(torch.linalg.norm(sum(J @ J.T for J in parts))))

    return product
