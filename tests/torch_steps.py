"""Steps of PyTorch's optimisers, with its parameter groups, schedules and clipping: the peers of the library's algorithms."""

import numpy as np
import pytest

import noetherlite as nl

STATES = ("momentum_buffer", "exp_avg", "exp_avg_sq", "square_avg", "sum")


def at_step(setting, block, k):
    """The number of a block at a step, of a number, an array or a function of the step, or of one of these for each block."""
    if isinstance(setting, dict):
        setting = setting.get(block, setting.get("rest", 0.0))
    return float(setting(k) if callable(setting) else setting[k] if np.ndim(setting) else setting)


def optimiser(a, groups):
    """PyTorch's optimiser of the kind of an algorithm, for groups with their rates and decays."""
    torch = pytest.importorskip("torch")
    if isinstance(a, nl.Adam):
        return (torch.optim.AdamW if a.decoupled else torch.optim.Adam)(groups, 1.0, a.betas, a.eps)
    if isinstance(a, nl.RMSProp):
        return torch.optim.RMSprop(groups, 1.0, a.smoothing, a.eps)
    if isinstance(a, nl.AdaGrad):
        return torch.optim.Adagrad(groups, 1.0, initial_accumulator_value=a.initial_accumulator, eps=a.eps)
    if isinstance(a, nl.Nesterov):
        return torch.optim.SGD(groups, 1.0, a.momentum, nesterov=True)
    if isinstance(a, nl.HeavyBall):
        return torch.optim.SGD(groups, 1.0, a.momentum, a.dampening)
    assert isinstance(a, nl.GD)
    return torch.optim.SGD(groups, 1.0)


def torch_steps(a, gradient, x0, steps, blocks=(), lr=None, dtype="float64"):
    """Parameters before every step and after the last, shape (steps + 1, P), and the optimiser's states by their names.

    gradient(x, k) is that of step k; `lr` is what the algorithm was made with, where blocks have a schedule each.
    """
    torch = pytest.importorskip("torch")
    lr = getattr(a.lr, "each", a.lr) if lr is None else lr
    decay = getattr(a.weight_decay, "each", a.weight_decay)
    parts = {b.name: slice(b.start, b.stop) for b in blocks} or {"rest": slice(None)}
    tensors = [torch.tensor(x0[part], dtype=getattr(torch, dtype), requires_grad=True) for part in parts.values()]
    groups = [{"params": [p], "weight_decay": at_step(decay, name, 0)} for name, p in zip(parts, tensors, strict=True)]
    peer, rows, states = optimiser(a, groups), [], {name: [] for name in STATES}
    if getattr(a, "first_step_damped", False):
        for p in tensors:
            peer.state[p]["momentum_buffer"] = torch.zeros_like(p)
    for k in range(steps + 1):
        rows.append(np.concatenate([p.detach().numpy() for p in tensors]))
        for name, values in states.items():
            start = getattr(a, "initial_accumulator", 0.0)
            of_tensors = (peer.state[p].get(name) if k else None for p in tensors)
            pairs = zip(tensors, of_tensors, strict=True)
            values.append(
                np.concatenate([np.full(p.shape, start) if s is None else s.numpy().copy() for p, s in pairs])
            )
        if k == steps:
            break
        g = torch.tensor(gradient(rows[-1].astype(float), k), dtype=getattr(torch, dtype))
        for name, p, group in zip(parts, tensors, peer.param_groups, strict=True):
            p.grad, group["lr"] = g[parts[name]], at_step(lr, name, k)
        if a.clip:
            torch.nn.utils.clip_grad_norm_(tensors, a.clip)
        peer.step()
    return np.array(rows), {name: np.array(values) for name, values in states.items()}
