"""Sharpness-aware minimisation and accumulated gradients: beside optax and PyTorch, the exact laws, what they change."""

import dataclasses
import functools

import numpy as np
import pytest
from algorithms import RHO, UPHILL, UPHILL_BY_BLOCK
from problems import BACKENDS, EPS, problem, verdicts
from torch_steps import torch_steps

import noetherlite as nl

NET, U, X0 = problem("swish", loss="nll", widths=(3, 4, 3), n=12)
STEPS = 200
BASES = [dataclasses.replace(algorithm, sam=0.0) for algorithm in UPHILL]
by_name = pytest.mark.parametrize("base", BASES, ids=lambda a: f"{type(a).__name__}{a.weight_decay:g}")


def uphill(x):
    """The gradient at x + ρ∇U/|∇U|."""
    g = U.gradient(x)
    return U.gradient(x + RHO / np.linalg.norm(g) * g)


@functools.cache
def optaxs(kind, lr):
    """The end of `optax.contrib.sam` over STEPS steps."""
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    from optax import contrib

    with jax.enable_x64(True):
        inner = {
            nl.GD: lambda: optax.sgd(lr),
            nl.HeavyBall: lambda: optax.sgd(lr, 0.9),
            nl.Adam: lambda: optax.adam(lr),
        }[kind]()
        uphill = optax.chain(contrib.normalize(), optax.sgd(RHO))
        peer = contrib.sam(inner, uphill, sync_period=2, opaque_mode=True)

        def gradient(x, step=0):
            return jax.numpy.asarray(U.gradient(np.asarray(x)))

        x = jax.numpy.asarray(X0)
        state = peer.init(x)
        for _ in range(STEPS):
            updates, state = peer.update(gradient(x), state, x, grad_fn=gradient)
            x = x + updates
    return np.asarray(x)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [nl.GD, nl.HeavyBall, nl.Adam])
def test_steps_are_optaxs(kind, backend):
    """At a rate of 0.1 Adam and the heavy ball double round-off every few steps, to 3e-7 and 2e-9 of x after 200; at 0.01 they do not."""
    x, run = optaxs(kind, 0.01), nl.integrate(U, nl.SAM(kind(0.01), RHO), X0, STEPS, backend=backend)
    assert np.abs(x - run.x).max() <= 64 * STEPS * EPS * np.abs(run.x).max()
    other = nl.integrate(U, nl.SAM(kind(0.01), RHO * (1 + 1e-9)), X0, STEPS, backend="reference")
    assert np.abs(x - other.x).max() > 64 * STEPS * EPS * np.abs(run.x).max()  # negative control: a slightly larger ρ


@pytest.mark.parametrize("backend", BACKENDS)
@by_name
def test_steps_are_those_of_the_base_with_gradients_uphill(base, backend):
    """The base itself, on a potential whose gradient is the one at x + ρ∇U/|∇U|."""
    other = nl.potentials.Callable(lambda x: (U.value(x), uphill(x)), U.n_params)
    peer = nl.integrate(other, base, X0, STEPS, laws=None)
    run = nl.integrate(U, nl.SAM(base, RHO), X0, STEPS, backend=backend)
    assert np.abs(peer.x - run.x).max() <= 64 * STEPS * EPS * np.abs(run.x).max()
    np.testing.assert_allclose(run.loss, peer.loss, rtol=64 * STEPS * EPS)  # of x, not of the point uphill
    assert run.n_gradients == 2 * (STEPS + 1)
    assert verdicts(run) == {"holds"}
    plain = nl.integrate(U, base, X0, STEPS, backend=backend)
    assert np.abs(plain.x - run.x).max() > 1e-4


def test_the_law_of_gradient_descent_is_that_of_the_theory():
    """Q' − Q = (ηρ/|∇U(x)|)⟨G∇U(x), ∇U(y)⟩ + ½η²⟨∇U(y), G∇U(y)⟩."""
    eta, scaling = 0.1, next(f for f in nl.symmetries(U) if f.name == "scaling:1")
    run = nl.integrate(U, nl.SAM(nl.GD(eta), RHO), X0, 30, record_params=True, backend="reference")
    made = []
    for x in run.params[:-1]:
        g = U.gradient(x)
        at_y = U.gradient(x + RHO * g / np.linalg.norm(g))
        uphill = scaling.pair(g, at_y) / np.linalg.norm(g)
        made.append(eta * RHO * uphill + 0.5 * eta**2 * scaling.pair(at_y, at_y))
    change, size = np.diff(run.laws["scaling:1"].quantity, axis=0), np.abs(run.laws["scaling:1"].quantity).max()
    assert np.abs(change - made).max() <= 64 * EPS * size
    alone = 0.5 * eta**2 * scaling.pair(at_y, at_y)
    assert np.abs(change[-1] - alone).max() > 1e-6  # negative control: the law of gradient descent is not its law


def test_it_moves_away_from_the_base_in_proportion_to_rho():
    """In a bowl of curvature a the fixed point is a cycle of two, of half-width ηaρ/(2 − ηa)."""
    bowl = nl.potentials.Harmonic(np.diag([1.0]))
    run = nl.integrate(bowl, nl.SAM(nl.GD(0.1), 0.2), [1.0], 400, backend="reference", laws=None)
    np.testing.assert_allclose(abs(run.x[0]), 0.1 * 0.2 / (2 - 0.1), rtol=1e-9)
    ends = [nl.integrate(U, nl.SAM(nl.GD(0.1), rho), X0, 20, backend="reference").x for rho in (0.02, 0.01, 1e-12)]
    assert 1.9 < np.linalg.norm(ends[0] - ends[2]) / np.linalg.norm(ends[1] - ends[2]) < 2.1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
def test_accumulated_steps_are_pytorchs(kind, backend):
    """Four minibatches of three are the epoch of twelve: a step is one of the full batch, as loss/4 summed by backward()."""
    algorithm = {
        "SGD": nl.HeavyBall(0.05, 0.9, weight_decay=0.1, grad_accumulation=4),
        "AdamW": nl.Adam(0.003, weight_decay=0.1, grad_accumulation=4, clip=0.3),
    }[kind]
    run = nl.integrate(U, algorithm, X0, STEPS, backend=backend, batch_size=3, rng=0)
    x = torch_steps(algorithm, lambda x, k: U.gradient(x), X0, STEPS)[0][-1]
    assert np.abs(x - run.x).max() <= 64 * STEPS * EPS * np.abs(run.x).max()
    assert run.n_gradients == 4 * (STEPS + 1)
    assert verdicts(run) == {"holds"}
    one = nl.integrate(U, dataclasses.replace(algorithm, grad_accumulation=1), X0, STEPS, batch_size=3, rng=0)
    assert np.abs(one.x - run.x).max() > 1e-4


BY_BLOCK = [dataclasses.replace(algorithm, sam=0.0, grad_accumulation=1) for algorithm in UPHILL_BY_BLOCK]
blocks = pytest.mark.parametrize("base", BY_BLOCK, ids=lambda a: f"{type(a).__name__}{getattr(a, 'decoupled', '')}")


@pytest.mark.parametrize("backend", BACKENDS)
@blocks
def test_with_rates_by_block_steps_are_pytorchs_with_gradients_uphill(base, backend):
    """The ascent is along ∇U of all blocks, whatever their rates; `backward()` at x + ρ∇U/|∇U| and a step of the groups at x."""
    run = nl.integrate(U, nl.SAM(base, RHO), X0, STEPS, backend=backend)
    x = torch_steps(base, lambda x, k: uphill(x), X0, STEPS, NET.blocks)[0][-1]
    assert np.abs(x - run.x).max() <= 64 * STEPS * EPS * np.abs(run.x).max()
    assert verdicts(run) == {"holds"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_accumulated_minibatches_are_taken_again_uphill(backend):
    """The epoch of twelve samples in four minibatches is the full batch, with one ascent; five minibatches of it reach into the next epoch."""
    whole = nl.integrate(U, nl.SAM(nl.GD(0.05), RHO), X0, STEPS, backend=backend)
    algorithm = nl.SAM(nl.GD(0.05, grad_accumulation=4), RHO)
    run = nl.integrate(U, algorithm, X0, STEPS, backend=backend, batch_size=3, rng=0)
    assert np.abs(whole.x - run.x).max() <= 64 * STEPS * EPS * np.abs(run.x).max()
    assert run.n_gradients == 2 * 4 * (STEPS + 1)
    algorithm, options = nl.SAM(nl.GD(0.05, grad_accumulation=5), RHO), {"batch_size": 3, "rng": 1}
    run = nl.integrate(U, algorithm, X0, 9, backend=backend, **options, record_params=True)
    drawn = nl.integrate(U, nl.GD(0.0 + 1e-9), X0, 50, backend="reference", **options).specification["arguments"]
    from noetherlite._kernels import pointwise

    order, x, e = np.arange(12), X0.copy(), 0
    key = np.uint64(drawn["batch_key"])
    for row in run.params[1:]:
        chosen = []
        for _ in range(5):
            if e % 4 == 0:
                pointwise.shuffle(key, e // 4, order)
            chosen.append(order[e % 4 * 3 : e % 4 * 3 + 3].copy())
            e += 1
        g = np.mean([U.part(c).gradient(x) for c in chosen], axis=0)
        y = x + RHO / np.linalg.norm(g) * g
        x = x - 0.05 * np.mean([U.part(c).gradient(y) for c in chosen], axis=0)
        assert np.abs(x - row).max() <= 1e3 * EPS * np.abs(x).max()


def test_what_does_not_fit_is_refused():
    for kind in (nl.NAGD, nl.Leapfrog, nl.ConformalLeapfrog):
        with pytest.raises(ValueError, match=f"sam must be 0 for {kind.__name__}"):
            nl.SAM(kind(0.1), 0.1)
    with pytest.raises(ValueError, match="rho=0"):
        nl.SAM(nl.GD(0.1), 0)
    with pytest.raises(ValueError, match="grad_accumulation=2 needs batch_size"):
        nl.integrate(U, nl.GD(0.1, grad_accumulation=2), X0, 1)
    assert "sam=0.05" in repr(nl.SAM(nl.GD(0.1)))
    assert nl.SAM(nl.GD(0.1)).specification() == {"name": "GD", "lr": 0.1, "weight_decay": 0.0, "sam": 0.05}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "base", [nl.GD(0.05), nl.ProjectedGD(0.05, weight_decay=0.1), nl.HeavyBall(0.05, 0.5)], ids=str
)
def test_matrices_of_linear_layers_have_their_law_too(base, backend):
    """Q has the symmetric part of the matrix ⟨Gδ, ∇U⟩ alone, J all of it; what ρ does to Q is far more than round-off."""
    _, V, x = problem(["swish", "linear(0.7)"], loss="nll", widths=(3, 4, 3, 3), n=12)
    run = nl.integrate(V, nl.SAM(base, RHO), x, 30, backend=backend)
    assert run.laws["linear:2"].verdict == "holds"
    plain = nl.integrate(V, base, x, 30, backend=backend)
    moved = np.abs(run.laws["linear:2"].quantity - plain.laws["linear:2"].quantity).max()
    assert moved > 1e3 * run.laws["linear:2"].largest("discrete_residual")
