"""Adam, RMSProp, AdaGrad, Lion, SignGD, Nesterov's momentum: against PyTorch and optax, their exact law, and what it is not."""

import numpy as np
import pytest
from problems import EPS, problem

import noetherlite as nl
from noetherlite._cli.main import main

NET, U, X0 = problem("swish", loss="nll", widths=(3, 4, 3), n=12)
STEPS = 200
ALL = [
    nl.Adam(0.003),
    nl.Adam(0.003, (0.8, 0.99), 1e-6, weight_decay=0.1, decoupled=False),
    nl.Adam(0.003, weight_decay=0.1),
    nl.RMSProp(0.001, weight_decay=0.1),
    nl.AdaGrad(0.05, 0.1, weight_decay=0.1),
    nl.Lion(0.001, weight_decay=0.1),
    nl.SignGD(0.001),
    nl.SignGD(0.001, 0.9, weight_decay=0.1),
    nl.SteepestDescent(0.003, 3.0, weight_decay=0.1),
    nl.ExponentiatedGradient(0.01, weight_decay=0.1),
    nl.ExponentiatedGradient(0.01, 0.9),
    nl.Nesterov(0.05, 0.9, weight_decay=0.1),
    nl.HeavyBall(0.05, 0.9, 0.5, first_step_damped=False, weight_decay=0.1),
]
NOT_IN_TORCH = nl.Lion | nl.SignGD | nl.SteepestDescent | nl.ExponentiatedGradient
BACKENDS = ["reference", pytest.param("cpu", marks=pytest.mark.needs_jit)]


def by_torch(algorithm):
    """The optimiser of PyTorch that is the same, None where there is none: parameters ↦ optimiser."""
    torch = pytest.importorskip("torch")
    a, decay = algorithm, algorithm.weight_decay
    if isinstance(a, nl.Adam):
        kind = torch.optim.AdamW if a.decoupled else torch.optim.Adam
        return lambda p: kind(p, a.lr, a.betas, a.eps, decay)
    if isinstance(a, nl.RMSProp):
        return lambda p: torch.optim.RMSprop(p, a.lr, a.smoothing, a.eps, decay)
    if isinstance(a, nl.AdaGrad):
        start = {"initial_accumulator_value": a.initial_accumulator, "eps": a.eps}
        return lambda p: torch.optim.Adagrad(p, a.lr, weight_decay=decay, **start)
    if isinstance(a, nl.Nesterov):
        return lambda p: torch.optim.SGD(p, a.lr, a.momentum, nesterov=True, weight_decay=decay)
    if isinstance(a, nl.HeavyBall):
        return lambda p: torch.optim.SGD(p, a.lr, a.momentum, a.dampening, weight_decay=decay)
    return None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("algorithm", [a for a in ALL if not isinstance(a, NOT_IN_TORCH)], ids=str)
def test_steps_are_pytorchs(algorithm, backend):
    torch = pytest.importorskip("torch")
    run = nl.integrate(U, algorithm, X0, STEPS, backend=backend)
    p = torch.tensor(X0.copy(), dtype=torch.float64, requires_grad=True)
    optimiser = by_torch(algorithm)([p])
    for _ in range(STEPS):
        p.grad = torch.tensor(U.gradient(p.detach().numpy()))
        optimiser.step()
    assert np.abs(p.detach().numpy() - run.x).max() <= 64 * STEPS * EPS * np.abs(run.x).max()


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


@pytest.mark.needs_jit
@pytest.mark.parametrize("algorithm", ALL, ids=str)
def test_the_exact_law_holds_over_ten_thousand_steps(algorithm):
    run = nl.integrate(U, algorithm, X0, 10_000, record_every=1000, batch_size=5, rng=0)
    for law in run.laws.values():
        assert law.verdict == "holds"
        if not np.array_equal(law.quantity, law.quantity[[0] * len(run.t)], equal_nan=True):
            assert np.abs(law.discrete_residual).max() <= law.tolerance.max()
    # Its own law of Q is broken, which shows that the other one says something.
    if algorithm.order == 0:
        assert max(np.nanmax(np.abs(law.residual)) for law in run.laws.values()) > 1e-3


@pytest.mark.parametrize("algorithm", ALL, ids=str)
def test_a_force_that_breaks_the_symmetry_breaks_the_law(algorithm):
    """Negative control: a gradient that is not the potential's, near the start alone: elsewhere the symmetry is measured first."""

    def pushed(x):
        return U.value(x), U.gradient(x) + np.linspace(-1e-3, 1e-3, x.size) * (np.abs(x - X0).max() < 0.5)

    translation = nl.Symmetry(np.zeros((U.n_params,) * 2), np.arange(U.n_params) >= U.n_params - 3)
    for force, verdict in ((lambda x: (U.value(x), U.gradient(x)), "holds"), (pushed, "broken")):
        run = nl.integrate(nl.potentials.Callable(force, U.n_params), algorithm, X0, 20, laws=[translation])
        assert run.laws["affine"].verdict == verdict


@pytest.mark.needs_jit
@pytest.mark.parametrize("algorithm", ALL, ids=str)
def test_a_resumed_run_and_a_member_of_an_ensemble_are_the_run(algorithm, tmp_path):
    options = {"batch_size": 5, "rng": 3, "record_every": 4}
    whole = nl.integrate(U, algorithm, X0, 21, **options)
    stopped = nl.integrate(
        U,
        algorithm,
        X0,
        21,
        **options,
        checkpoint=tmp_path / "run",
        checkpoint_every=4,
        callback=lambda snapshot: snapshot.step == 12,
    )
    assert stopped.status == "stopped"
    resumed = nl.resume(tmp_path / "run")
    assert np.array_equal(resumed.x, whole.x)
    for name, law in whole.laws.items():
        assert np.array_equal(law.discrete_residual, resumed.laws[name].discrete_residual)
    members = nl.ensemble(U, algorithm, np.stack([X0, X0]), 21, **options)
    assert members.x.shape == (2, U.n_params)


def test_nesterovs_momentum_is_of_first_order_and_checked_from_positions():
    ends = [nl.integrate(U, nl.Nesterov(lr, 0.5), X0, round(2 / lr), laws=None).x for lr in (0.02, 0.01, 0.005)]
    ratio = np.linalg.norm(ends[0] - ends[1]) / np.linalg.norm(ends[1] - ends[2])
    assert 1.8 < ratio < 2.2
    run = nl.integrate(U, nl.Nesterov(0.05, 0.9), X0, 60, record_params=True, backend="reference")
    assert nl.check(U, run.params, run.t, nl.Nesterov(0.05, 0.9)).ok
    assert not nl.check(U, run.params, run.t, nl.Nesterov(0.05, 0.89)).ok


@pytest.mark.parametrize("algorithm", [nl.Adam(0.01), nl.RMSProp(0.01)], ids=str)
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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nl.Adam(0.1, (0.9, 1.0)), r"betas\[1\]=1 is out of range"),
        (lambda: nl.Adam(0.1, 0.9), "betas must be two numbers, got 0.9"),
        (lambda: nl.Adam(0.1, eps=-1.0), "eps"),
        (lambda: nl.RMSProp(0.1, 1.0), "smoothing=1 is out of range"),
        (lambda: nl.AdaGrad(0.1, -1.0), "initial_accumulator"),
        (lambda: nl.SignGD(0.1, 1.0), "momentum=1 is out of range"),
        (lambda: nl.Nesterov(0.1, 1.0), "momentum=1 is out of range"),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_the_command_line_runs_adam(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(
        """
[network]
widths = [2, 3, 2]
[data]
source = "gaussian_classes"
n = 9
n_features = 2
n_classes = 2
rng = 0
[initial]
rng = 0
[algorithm]
name = "Adam"
lr = 0.01
betas = [0.9, 0.99]
decoupled = true
weight_decay = 0.1
[run]
steps = 20
backend = "reference"
[output]
name = "run"
""",
        "utf-8",
    )
    assert main(["run", str(tmp_path / "run.toml"), "--no-progress"]) == 0
    (saved,) = tmp_path.rglob("*.npz")
    run = nl.load(saved)
    assert run.specification["algorithm"]["betas"] in ([0.9, 0.99], (0.9, 0.99))
    assert {law.verdict for law in run.laws.values()} == {"holds"}
