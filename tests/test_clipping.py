"""Gradients clipped by their norm: as PyTorch does it, and with the exact laws."""

import numpy as np
import pytest
from algorithms import CLIPPED, MOST
from problems import BACKENDS, EPS, problem, verdicts
from torch_steps import torch_steps

import noetherlite as nl

NET, U, X0 = problem("swish", loss="nll", widths=(3, 4, 3), n=12)
STEPS = 60


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("algorithm", CLIPPED[:4], ids=lambda a: type(a).__name__)
def test_steps_are_pytorchs_and_the_laws_hold(algorithm, backend):
    rows, _ = torch_steps(algorithm, lambda x, k: U.gradient(x), X0, STEPS)
    run = nl.integrate(U, algorithm, X0, STEPS, backend=backend)
    assert max(np.linalg.norm(U.gradient(x)) for x in rows) > MOST
    assert np.abs(rows[-1] - run.x).max() <= 64 * STEPS * EPS * np.abs(run.x).max()
    assert verdicts(run) == {"holds"}


@pytest.mark.parametrize("algorithm", CLIPPED, ids=lambda a: type(a).__name__)
def test_clipped_minibatches_are_other_steps(algorithm):
    runs = [nl.integrate(U, type(algorithm)(algorithm.lr, clip=c), X0, 10, batch_size=4, rng=0) for c in (None, MOST)]
    assert not np.array_equal(runs[0].x, runs[1].x)


def test_what_never_clips_changes_nothing_and_the_rest_is_refused():
    plain, loose = (nl.integrate(U, nl.GD(0.1, clip=c), X0, 5, backend="reference") for c in (None, 1e9))
    assert np.array_equal(plain.x, loose.x)
    with pytest.raises(ValueError, match="input_reduction=True is not possible here"):
        nl.integrate(U, nl.GD(0.1, clip=1.0), X0, 1, input_reduction=True)
    with pytest.raises(ValueError, match="clip=0 is out of range"):
        nl.GD(0.1, clip=0)
    assert "clip=1.0" in repr(nl.GD(0.1, clip=1.0))
    assert "clip" not in repr(nl.GD(0.1))
