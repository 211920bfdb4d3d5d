"""Which planted bugs of a gradient are found, and in what time: gradcheck, check_grads, a second implementation, and laws.

    python benchmarks/bug_finders.py [--json FILE]

A small GPT is written twice, in PyTorch and in JAX, in double precision. A bug multiplies what flows back into a tensor, or into
a row of it, and leaves the forward pass as it is; or it acts after the backward pass; or it is in the forward pass.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.test_util
import numpy as np
import torch

import noetherlite as nl

WIDTH, HEADS, VOCABULARY, TIME = 8, 2, 11, 6
Arrays = dict[str, np.ndarray]

# What a bug multiplies in the backward pass, per tensor; "after" is done to the gradients of a correct one.
BUGS: dict[str, dict[str, Any]] = {
    "none": {},
    "gain of a norm × ½": {"ln_2.weight": 0.5},
    "a block counted twice": {"up.weight": 2.0, "up.bias": 2.0, "down.weight": 2.0},
    "value bias detached": {"v.bias": 0.0},
    "keys 10 % small": {"k.weight": 0.9},
    "one vocabulary row 1 % small": {"head.weight": np.where(np.arange(VOCABULARY) == 3, 0.99, 1.0)[:, None]},
    "everything × 8": {"all": 8.0},
    "gain × ½ after the backward pass": {"after": {"ln_2.weight": 0.5}},
    "no causal mask": {"unmasked": True},
}


def parameters(seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    d = WIDTH
    shapes: dict[str, tuple[int, ...]] = {"tokens": (VOCABULARY, d), "positions": (TIME, d)}
    for norm in ("ln_1", "ln_2", "ln_f"):
        shapes |= {f"{norm}.weight": (d,), f"{norm}.bias": (d,)}
    for name, out, into in [
        *((n, d, d) for n in "qkvo"),
        ("up", 3 * d, d),
        ("down", d, 3 * d),
        ("head", VOCABULARY, d),
    ]:
        shapes |= {f"{name}.weight": (out, into)} | ({} if name == "head" else {f"{name}.bias": (out,)})
    x = {name: rng.normal(size=s) / (np.sqrt(s[-1]) if len(s) > 1 else 1) for name, s in shapes.items()}
    return {name: 1 + a / 10 if name.startswith("ln") and name.endswith("weight") else a for name, a in x.items()}


IDS = np.random.default_rng(1).integers(0, VOCABULARY, (3, TIME + 1))
MASK = np.where(np.tri(TIME, dtype=bool), 0.0, -1e9)


def loss(p: Any, xp: Any, gelu: Callable[[Any], Any], mask: Any) -> Any:
    """Return the cross-entropy of the next token; the same lines for NumPy's namesakes in both frameworks."""

    def norm(x: Any, name: str) -> Any:
        x = x - x.mean(-1)[..., None]
        return x / xp.sqrt((x * x).mean(-1)[..., None] + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]

    def heads(x: Any) -> Any:
        return x.reshape(3, TIME, HEADS, -1).swapaxes(1, 2)

    x = p["tokens"][IDS[:, :-1]] + p["positions"]
    y = norm(x, "ln_1")
    q, k, v = (heads(y @ p[f"{n}.weight"].T + p[f"{n}.bias"]) for n in "qkv")
    e = xp.exp(q @ k.swapaxes(-1, -2) / np.sqrt(WIDTH // HEADS) + mask)
    y = (e / e.sum(-1)[..., None] @ v).swapaxes(1, 2).reshape(3, TIME, WIDTH)
    x = x + y @ p["o.weight"].T + p["o.bias"]
    x = x + gelu(norm(x, "ln_2") @ p["up.weight"].T + p["up.bias"]) @ p["down.weight"].T + p["down.bias"]
    z = norm(x, "ln_f") @ p["head.weight"].T
    chosen = (
        (z * np.eye(VOCABULARY)[IDS[:, 1:]]).sum(-1)
        if xp is jax.numpy
        else z.gather(-1, torch.tensor(IDS[:, 1:, None]))[..., 0]
    )
    return (xp.log(xp.exp(z).sum(-1)) - chosen).mean()


class Flawed(torch.autograd.Function):
    """The identity whose backward pass multiplies by a factor."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(factor)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor, None]:
        return g * ctx.saved_tensors[0], None


@jax.custom_vjp
def flawed(x: Any, factor: Any) -> Any:
    return x


flawed.defvjp(lambda x, factor: (x, factor), lambda factor, g: (g * factor, None))


def factors(bug: dict[str, Any], names: Any) -> dict[str, Any]:
    single = {name: f for name, f in bug.items() if name not in ("all", "after", "unmasked")}
    return dict.fromkeys(names, bug["all"]) if "all" in bug else single


def torch_loss(bug: dict[str, Any]) -> Callable[[dict[str, torch.Tensor]], torch.Tensor]:
    mask = torch.tensor(0 * MASK if "unmasked" in bug else MASK)

    def run(p: dict[str, torch.Tensor]) -> torch.Tensor:
        wrong = {n: Flawed.apply(p[n], torch.as_tensor(f, dtype=p[n].dtype)) for n, f in factors(bug, p).items()}
        return loss(p | wrong, torch, lambda x: torch.nn.functional.gelu(x, approximate="tanh"), mask)

    return run


def jax_loss(bug: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    mask = 0 * MASK if "unmasked" in bug else MASK

    def run(p: dict[str, Any]) -> Any:
        wrong = {n: flawed(p[n], np.asarray(f, dtype=float)) for n, f in factors(bug, p).items()}
        return loss(p | wrong, jax.numpy, jax.nn.gelu, mask)

    return run


def gradient(bug: dict[str, Any], params: Arrays) -> dict[str, torch.Tensor]:
    """Return the gradient as a training loop in PyTorch has it."""
    leaves = {name: torch.tensor(x, requires_grad=True) for name, x in params.items()}
    grads = dict(zip(leaves, torch.autograd.grad(torch_loss(bug)(leaves), list(leaves.values())), strict=True))
    return grads | {name: f * grads[name] for name, f in bug.get("after", {}).items()}


def by_gradcheck(bug: dict[str, Any], params: Arrays) -> bool:
    leaves = {name: torch.tensor(x, requires_grad=True) for name, x in params.items()}
    run = torch_loss(bug)
    return not torch.autograd.gradcheck(
        lambda *x: run(dict(zip(leaves, x, strict=True))), tuple(leaves.values()), raise_exception=False
    )


def by_check_grads(bug: dict[str, Any], params: Arrays) -> bool:
    try:
        jax.test_util.check_grads(jax.jit(jax_loss(bug)), (params,), order=1, modes=["rev"])
    except AssertionError:
        return True
    return False


def by_comparison(bug: dict[str, Any], params: Arrays) -> bool:
    other = jax.grad(jax_loss({}))(params)
    return not all(np.allclose(g, other[name], rtol=1e-6, atol=1e-9) for name, g in gradient(bug, params).items())


def by_laws(laws: list[Any], bug: dict[str, Any], params: Arrays) -> bool:
    try:
        nl.testing.assert_symmetric(params, gradient(bug, params), laws)
    except AssertionError:
        return True
    return False


def by_scan(laws: list[Any], bug: dict[str, Any], params: Arrays) -> bool:
    relations = nl.scan(lambda p: gradient(bug, p), params, draws=12, spread=0.3).relations
    return {(law.kind, law.formula) for law in relations} != {(law.kind, law.formula) for law in laws}


def main() -> None:
    """Print which method finds which bug, and the seconds that it takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    jax.config.update("jax_enable_x64", True)
    torch.set_num_threads(1)
    params = parameters(0)
    laws = nl.scan(lambda p: gradient({}, p), params, draws=12, spread=0.3).laws()
    methods: dict[str, Callable[[dict[str, Any], Arrays], bool]] = {
        "gradcheck": by_gradcheck,
        "check_grads": by_check_grads,
        "second implementation": by_comparison,
        "laws, known": lambda bug, p: by_laws(laws, bug, p),
        "laws, scanned": lambda bug, p: by_scan(laws, bug, p),
    }
    print(f"{sum(x.size for x in params.values())} parameters in {len(params)} tensors, {len(laws)} laws")
    print(f"{'':34}" + "".join(f"{name:>24}" for name in methods))
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    rows = {}
    for bug, what in BUGS.items():
        row = {}
        for name, method in methods.items():
            began = time.process_time()
            row[name] = method(what, params)
            seconds[name].append(time.process_time() - began)
        rows[bug] = row
        print(f"{bug:34}" + "".join(f"{'found' if hit else '–':>24}" for hit in row.values()), flush=True)
    medians = {name: float(np.median(each)) for name, each in seconds.items()}
    print(f"{'seconds of processors, median':34}" + "".join(f"{value:24.3f}" for value in medians.values()))
    if options.json:
        options.json.write_text(json.dumps({"found": rows, "seconds": medians}, indent=1))


if __name__ == "__main__":
    main()
