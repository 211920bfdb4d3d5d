"""The same work in PyTorch, eager mode: what a theorist would write.

On the processor and in float64 for peers.py; on a GPU and in float32 too for gpu.py. Products keep all their digits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from peers import Outcome

import noetherlite as nl

# Of an ensemble, as many networks are trained in a loop; their time is taken for all.
LOOPED = 4

torch.set_float32_matmul_precision("highest")  # which is: no TF32


def run(work: Any, algorithm: nl.Algorithm) -> Callable[[], Outcome]:
    """Return the run of `work` from θ_0, with scaling laws tracked every step and recorded every tenth."""
    losses = last_losses(work, algorithm)

    def loop() -> Outcome:
        ends = losses()
        return Outcome(float(ends[0]), len(ends))

    return loop


def last_losses(
    work: Any, algorithm: nl.Algorithm, dtype: str = "float64", device: str = "cpu"
) -> Callable[[], np.ndarray]:
    """Return that run on a kind of device; it gives the networks' last losses, once all records are in host memory."""
    net, X, y, theta = work.problem()
    inputs, labels = torch.from_numpy(X.astype(dtype)).to(device), torch.from_numpy(y).to(device)
    starts = [
        {name: torch.from_numpy(a.astype(dtype)).to(device) for name, a in net.unpack(t).items()}
        for t in theta[:LOOPED]
    ]
    del theta
    hidden = range(1, net.n_layers)
    second_order = isinstance(algorithm, nl.Leapfrog)
    h = algorithm.dt

    def loss_of(p: dict[str, torch.Tensor]) -> torch.Tensor:
        a = inputs
        for k in range(1, net.n_layers + 1):
            a = torch.nn.functional.linear(a, p[f"W{k}"], p[f"b{k}"])
            if k < net.n_layers:
                a = torch.relu(a)
        return torch.nn.functional.cross_entropy(a, labels)

    def pair(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        return [
            (a[f"W{k}"] * b[f"W{k}"]).sum(1) + a[f"b{k}"] * b[f"b{k}"] - (a[f"W{k + 1}"] * b[f"W{k + 1}"]).sum(0)
            for k in hidden
        ]

    def once(start: dict[str, torch.Tensor]) -> float:
        p = {name: a.clone().requires_grad_() for name, a in start.items()}
        v = {name: torch.zeros_like(a) for name, a in start.items()}
        g = dict(zip(p, torch.autograd.grad(loss_of(p), list(p.values())), strict=True))
        total = pair(v, v)
        records = []
        for step in range(1, work.steps + 1):
            with torch.no_grad():
                if second_order:
                    for name in p:
                        v[name] -= 0.5 * h * g[name]
                        p[name] += h * v[name]
                else:
                    for t, drop in zip(total, pair(g, g), strict=True):
                        t += 0.5 * h * h * drop
                    for name in p:
                        p[name] -= h * g[name]
            loss = loss_of(p)
            g = dict(zip(p, torch.autograd.grad(loss, list(p.values())), strict=True))
            with torch.no_grad():
                if second_order:
                    for name in p:
                        v[name] -= 0.5 * h * g[name]
                    for t, source in zip(total, pair(v, v), strict=True):
                        t += h * source
                if step % 10 == 0 or step == work.steps:
                    motion = v if second_order else g
                    charges = (*pair(p, p), *pair(p, motion))
                    records.append((loss.detach(), *charges, *(t.clone() for t in total)))
        losses, *_ = [torch.stack(field).cpu() for field in zip(*records, strict=True)]
        return float(losses[-1])

    return lambda: np.array([once(start) for start in starts])
