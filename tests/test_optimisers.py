"""Adam, RMSProp, AdaGrad, Lion, SignGD, Nesterov's momentum: against PyTorch and optax, their exact law, and what it is not."""

import numpy as np
import pytest
from algorithms import OPTIMISERS
from problems import BACKENDS, EPS, problem, refusals
from torch_steps import optimiser, torch_steps

import noetherlite as nl

NET, U, X0 = problem("swish", loss="nll", widths=(3, 4, 3), n=12)
STEPS = 200
NOT_IN_TORCH = nl.Lion | nl.SignGD | nl.SteepestDescent | nl.ExponentiatedGradient


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("algorithm", [a for a in OPTIMISERS if not isinstance(a, NOT_IN_TORCH)], ids=str)
def test_steps_are_pytorchs(algorithm, backend):
    x = torch_steps(algorithm, lambda x, k: U.gradient(x), X0, STEPS)[0][-1]
    run = nl.integrate(U, algorithm, X0, STEPS, backend=backend)
    assert np.abs(x - run.x).max() <= 64 * STEPS * EPS * np.abs(run.x).max()


@pytest.mark.parametrize("kind", [nl.Adam, nl.RMSProp, nl.AdaGrad])
def test_defaults_are_pytorchs(kind):
    torch = pytest.importorskip("torch")
    p = torch.zeros(1, requires_grad=True)
    ours = optimiser(kind(0.1), [p])
    assert {**ours.defaults, "lr": 0.1} == type(ours)([p], 0.1).defaults
    assert nl.HeavyBall(0.1).momentum == nl.Nesterov(0.1).momentum == 0.9  # the usual one; PyTorch has none


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("algorithm", [nl.Lion(0.001, weight_decay=0.1), nl.SignGD(0.001), nl.Adam(0.003)], ids=str)
def test_steps_are_optaxs(algorithm, backend):
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    with jax.enable_x64(True):
        peer = {
            nl.Lion: lambda: optax.lion(0.001, 0.9, 0.99, weight_decay=0.1),
            nl.SignGD: lambda: optax.sign_sgd(0.001),
            nl.Adam: lambda: optax.adam(0.003),
        }[type(algorithm)]()
        x, state = jax.numpy.asarray(X0), peer.init(jax.numpy.asarray(X0))
        for _ in range(STEPS // 4):
            updates, state = peer.update(jax.numpy.asarray(U.gradient(np.asarray(x))), state, x)
            x = x + updates
        run = nl.integrate(U, algorithm, X0, STEPS // 4, backend=backend)
        assert np.abs(np.asarray(x) - run.x).max() <= 64 * STEPS * EPS * np.abs(run.x).max()


def test_nesterovs_momentum_is_of_first_order_and_checked_from_positions():
    ends = [nl.integrate(U, nl.Nesterov(lr, 0.5), X0, round(2 / lr), laws=None).x for lr in (0.02, 0.01, 0.005)]
    ratio = np.linalg.norm(ends[0] - ends[1]) / np.linalg.norm(ends[1] - ends[2])
    assert 1.8 < ratio < 2.2
    run = nl.integrate(U, nl.Nesterov(0.05, 0.9), X0, 60, record_params=True, backend="reference")
    assert nl.check(U, run.params, run.t, nl.Nesterov(0.05, 0.9)).ok
    assert not nl.check(U, run.params, run.t, nl.Nesterov(0.05, 0.89)).ok


@pytest.mark.parametrize("algorithm", [nl.Adam(0.01), nl.RMSProp(0.01)], ids=str)
@pytest.mark.uncounted
def test_a_quadratic_bowl_has_the_fixed_point(algorithm):
    """Away from the minimum Adam moves by η a step; it comes to rest at it, to a few steps."""
    run = nl.integrate(
        nl.potentials.Harmonic(np.diag([1.0, 4.0])), algorithm, [1.0, -1.0], 3000, backend="reference", laws=None
    )
    assert np.abs(run.x).max() < 2 * algorithm.lr
    first = nl.integrate(
        nl.potentials.Harmonic(np.diag([1.0, 4.0])), nl.Adam(0.01), [1.0, -1.0], 1, backend="reference", laws=None
    )
    np.testing.assert_allclose(first.x, [0.99, -0.99], rtol=1e-9)


def test_input_reduction_is_refused():
    with pytest.raises(ValueError, match="input_reduction=True is not possible here"):
        nl.integrate(U, nl.Adam(0.01), X0, 1, input_reduction=True)
    wide = nl.Network([40, 3, 2]).potential(
        *(lambda r: (r.standard_normal((5, 40)), r.integers(0, 2, 5)))(np.random.default_rng(0))
    )
    run = nl.integrate(wide, nl.Adam(0.01), wide.network.init(rng=0), 400, laws=None)
    assert run.specification["arguments"]["input_reduction"] is None


test_settings_out_of_range = refusals(
    [
        (lambda: nl.Adam(0.1, (0.9, 1.0)), r"betas\[1\]=1 is out of range"),
        (lambda: nl.Adam(0.1, 0.9), TypeError, "betas must be two numbers, got 0.9"),
        (lambda: nl.Adam(0.1, eps=-1.0), "eps"),
        (lambda: nl.RMSProp(0.1, 1.0), "smoothing=1 is out of range"),
        (lambda: nl.AdaGrad(0.1, -1.0), "initial_accumulator"),
        (lambda: nl.SignGD(0.1, 1.0), "momentum=1 is out of range"),
        (lambda: nl.Nesterov(0.1, 1.0), "momentum=1 is out of range"),
    ]
)
