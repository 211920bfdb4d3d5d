"""Gradients clipped by their norm: as PyTorch does it, and with the exact laws."""

import numpy as np
import pytest
from problems import EPS, problem

import noetherlite as nl

NET, U, X0 = problem("swish", loss="nll", widths=(3, 4, 3), n=12)
STEPS, MOST = 60, 0.1
BACKENDS = ["reference", pytest.param("cpu", marks=pytest.mark.needs_jit)]
CLIPPED = [
    nl.GD(0.1, weight_decay=0.1, clip=MOST), nl.HeavyBall(0.05, 0.9, clip=MOST), nl.Adam(0.003, clip=MOST),
    nl.Nesterov(0.05, weight_decay=0.1, clip=MOST),
]  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("algorithm", CLIPPED, ids=lambda a: type(a).__name__)
def test_steps_are_pytorchs_and_the_laws_hold(algorithm, backend):
    torch = pytest.importorskip("torch")
    run = nl.integrate(U, algorithm, X0, STEPS, backend=backend)
    p, decay = torch.tensor(X0.copy(), dtype=torch.float64, requires_grad=True), algorithm.weight_decay
    optimiser = {
        nl.GD: lambda: torch.optim.SGD([p], 0.1, weight_decay=decay),
        nl.HeavyBall: lambda: torch.optim.SGD([p], 0.05, 0.9),
        nl.Adam: lambda: torch.optim.Adam([p], 0.003),
        nl.Nesterov: lambda: torch.optim.SGD([p], 0.05, 0.9, nesterov=True, weight_decay=decay),
    }[type(algorithm)]()
    norms = []
    for _ in range(STEPS):
        p.grad = torch.tensor(U.gradient(p.detach().numpy()))
        norms.append(float(torch.nn.utils.clip_grad_norm_([p], MOST)))
        optimiser.step()
    assert max(norms) > MOST
    assert np.abs(p.detach().numpy() - run.x).max() <= 64 * STEPS * EPS * np.abs(run.x).max()
    assert {law.verdict for law in run.laws.values()} == {"holds"}


@pytest.mark.needs_jit
@pytest.mark.parametrize("algorithm", [*CLIPPED, nl.NAGD(0.01, clip=MOST), nl.Leapfrog(0.01, clip=MOST)], ids=str)
def test_the_exact_laws_hold_over_ten_thousand_steps_of_minibatches(algorithm):
    run = nl.integrate(U, algorithm, X0, 10_000, record_every=1000, batch_size=4, rng=0)
    assert {law.verdict for law in run.laws.values()} == {"holds"}
    free = nl.integrate(U, type(algorithm)(algorithm.lr), X0, 10, batch_size=4, rng=0)
    assert not np.array_equal(
        free.x, nl.integrate(U, type(algorithm)(algorithm.lr, clip=MOST), X0, 10, batch_size=4, rng=0).x
    )


def test_what_never_clips_changes_nothing_and_the_rest_is_refused():
    plain, loose = (nl.integrate(U, nl.GD(0.1, clip=c), X0, 5, backend="reference") for c in (None, 1e9))
    assert np.array_equal(plain.x, loose.x)
    with pytest.raises(ValueError, match="input_reduction=True is not possible here"):
        nl.integrate(U, nl.GD(0.1, clip=1.0), X0, 1, input_reduction=True)
    with pytest.raises(ValueError, match="clip=0 is out of range"):
        nl.GD(0.1, clip=0)
    assert "clip=1.0" in repr(nl.GD(0.1, clip=1.0))
    assert "clip" not in repr(nl.GD(0.1))
