"""SGLD and BAOAB: their numbers, exact laws with the noise as a source, expectations, and that a run is a function of its key."""

import math

import numpy as np
import pytest
from algorithms import NOISY
from problems import BACKENDS, EPS, problem, refusals, verdicts
from scipy.linalg import solve_discrete_lyapunov
from scipy.stats import kstest

import noetherlite as nl
from noetherlite._kernels import noise

compiled = pytest.mark.needs_jit
NET, U, X0 = problem("leaky_relu(0.1)", loss="nll", widths=(3, 4, 3), n=12)
LINEAR = problem("linear(0.7)", loss="mse", widths=(2, 3, 2), n=9)[1:]
E = 400  # runs of a mean
ERRORS = 4  # standard errors within which a mean must be: one of 16,000 is not, by chance, and seeds are given


def mean_and_error(samples):
    """The mean over runs, and its standard error."""
    return samples.mean(axis=0), samples.std(axis=0, ddof=1) / math.sqrt(len(samples))


# --- the numbers --------------------------------------------------------------------------------------------------------


def by_hand(key, step, n):
    """SplitMix64 in Python's integers, and Box and Muller's formula."""
    mask = (1 << 64) - 1

    def mix(key, counter):
        z = (key + counter * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    bits = mix(mix(key, 1 << 63), step)
    u, w = (np.array([(mix(bits, i + odd) >> 11) * 2.0**-53 for i in range(0, n, 2)]) for odd in (0, 1))
    r = np.sqrt(-2 * np.log(u + 2.0**-53))
    return np.stack([r * np.cos(2 * np.pi * w), r * np.sin(2 * np.pi * w)], axis=1).ravel()[:n]


def test_numbers_are_those_of_the_formula():
    for key, step in ((0, 0), (2**63 - 1, 7), (12345, 10**9)):
        drawn = np.empty(51)
        noise.draw(np.uint64(key), step, drawn)
        np.testing.assert_allclose(drawn, by_hand(key, step, 51), rtol=0, atol=64 * EPS)


def test_numbers_are_normal_and_independent():
    steps = np.array([by_hand(5, step, 100) for step in range(100)])
    assert kstest(steps.ravel(), "norm").pvalue > 0.01
    assert kstest(1.03 * steps.ravel(), "norm").pvalue < 0.2  # a control: 3 % more would be on its way to be seen
    for a, b in ((steps[:, :-1], steps[:, 1:]), (steps[:-1], steps[1:])):
        for power in (1, 2):
            assert abs(np.corrcoef(a.ravel() ** power, b.ravel() ** power)[0, 1]) < ERRORS / 100
    other = np.array([by_hand(6, step, 100) for step in range(100)])
    assert abs(np.corrcoef(steps.ravel(), other.ravel())[0, 1]) < ERRORS / 100


# --- exact laws ---------------------------------------------------------------------------------------------------------


@compiled
@pytest.mark.parametrize("algorithm", NOISY, ids=str)
def test_the_exact_law_holds_over_ten_thousand_steps(algorithm):
    for potential, x in ((U, X0), LINEAR):
        run = nl.integrate(potential, algorithm, x, 10_000, record_every=1000, batch_size=5, rng=0)
        assert run.status == "completed"
        for law in run.laws.values():
            assert (np.abs(law.discrete_residual) <= np.minimum(law.tolerance, 1e-11 * law.scale)).all()
            assert np.abs(law.source_integral).max() > 1e-3  # the noise is not nothing
    for dtype in ("float64", "float32"):
        short = nl.integrate(U, algorithm, X0, 50, batch_size=5, rng=0, dtype=dtype)
        assert verdicts(short) == {"holds"}


@pytest.mark.parametrize("algorithm", [nl.SGLD(0.02, 0.3), nl.BAOAB(0.04, 0.3, 0.5)], ids=str)
def test_the_source_is_what_its_noise_has_made(algorithm):
    """Q of SGLD, and J of BAOAB on a rotation, by hand from positions; the noise of another run does not explain them."""
    turn = nl.Symmetry(np.array([[0.0, -1.0], [1.0, 0.0]]))
    grow = nl.Symmetry(np.diag([1.0, 1.0]))
    potential, start = nl.potentials.Radial(2), [1.2, 0.3]
    options = {"laws": [turn], "record_params": True, "backend": "reference"}
    run, other = (nl.integrate(potential, algorithm, start, 60, rng=seed, **options) for seed in (0, 1))
    law, x = run.laws["affine"], run.params
    if algorithm.dynamics.mass:
        made = algorithm.dynamics.integrating_factor(run.t) * law.charge[:, 0]
    else:
        made = np.concatenate([[0], np.cumsum(((x[:-1] @ turn.G.T) * np.diff(x, axis=0)).sum(axis=1))])
    np.testing.assert_allclose(made, law.source_integral[:, 0], rtol=0, atol=64 * 60 * EPS * np.abs(made).max())
    assert np.abs(made - other.laws["affine"].source_integral[:, 0]).max() > 0.1 * np.abs(made).max()
    if not algorithm.dynamics.mass:
        flat = nl.potentials.Harmonic(np.zeros((2, 2)))
        law = nl.integrate(flat, algorithm, start, 60, rng=0, laws=[grow], backend="reference").laws["affine"]
        np.testing.assert_allclose(law.quantity - law.quantity[0], law.source_integral, rtol=0, atol=64 * 60 * EPS)
        assert np.ptp(law.quantity) > 0.1


# --- expectations -------------------------------------------------------------------------------------------------------


def trace(shape):
    """The trace of G of a neuron's scaling: what comes in, less what goes out."""
    m, n, q = shape
    return np.full(n, m + 1.0 - q)


@compiled
@pytest.mark.parametrize(("lr", "batch_size"), [(0.01, None), (0.01, 4), ({"W2": 0.002, "rest": 0.01}, 4)], ids=str)
def test_the_mean_of_what_noise_makes_of_a_scaling_is_t_trace_g(lr, batch_size):
    """Exactly ηT tr G a step, whatever η, the potential and the minibatches are, and with the metric of blocks too; of translations the
    variance is 2Tt|ξ|².
    """
    T, steps = 0.02, 100
    runs = nl.ensemble(U, nl.SGLD(lr, T), np.tile(X0, (E, 1)), steps, record_every=steps, batch_size=batch_size, rng=1)
    t = runs.t[0, -1]
    mean, error = mean_and_error(runs.laws["scaling:1"].source_integral[:, -1])
    want = T * t * trace((3, 4, 3))
    assert (np.abs(mean - want) < ERRORS * error).all()
    if lr == 0.01:  # a control: at twice the temperature
        assert np.abs(mean.sum() - 2 * want.sum()) > ERRORS * np.linalg.norm(error)
    moved = runs.laws["translation:b"].residual[:, -1] + runs.laws["translation:b"].source_integral[:, -1]
    assert np.abs(runs.laws["translation:b"].residual).max() < 1e-13
    mean, error = mean_and_error(moved.ravel() ** 2)
    assert abs(mean - 2 * T * t * 3) < ERRORS * error
    if not isinstance(lr, float):
        # a control: were the noise of W2 as large as that of the others, its Q would have 1/share of it
        mean, error = mean_and_error(runs.laws["scaling:1"].source_integral[:, -1].sum(axis=1))
        assert abs(mean - T * t * 4 * (4 - 3 / 0.2)) > ERRORS * error


@compiled
def test_the_mean_of_skew_charges_does_not_change():
    """μJ of the rotations among linear neurons, by BAOAB: its mean is that of the start; for other pairs it is not."""
    potential, x = LINEAR
    velocity = 0.5 * np.random.default_rng(0).standard_normal(x.size)
    algorithm = nl.BAOAB(0.01, 0.02, 0.5, 1.0)
    options = {"velocity": np.tile(velocity, (E, 1)), "record_every": 10, "rng": 2}
    runs = nl.ensemble(potential, algorithm, np.tile(x, (E, 1)), 20, **options)
    law = runs.laws["linear:1"]
    charge = law.charge * algorithm.dynamics.integrating_factor(runs.t)[:, :, None, None]
    skew = charge - charge.swapaxes(-1, -2)
    mean, error = mean_and_error(skew[:, -1] - skew[:, 0])
    pairs = np.triu_indices(3, 1)
    assert (np.abs(mean)[pairs] < ERRORS * error[pairs]).all()
    assert (error[pairs] < 0.1 * np.abs(skew[0, 0][pairs])).any()  # it would be seen if friction alone were left in it
    faded = law.charge - law.charge.swapaxes(-1, -2)
    mean, error = mean_and_error(faded[:, -1] - faded[:, 0])
    assert (np.abs(mean)[pairs] > ERRORS * error[pairs]).any()  # a control: without μ it falls
    mean, error = mean_and_error(charge[:, -1] - charge[:, 0])
    assert (np.abs(np.diagonal(mean)) > ERRORS * np.diagonal(error)).any()  # and scalings have a source


@compiled
def test_the_mean_of_a_scaling_charge_with_inertia():
    """From rest, without a force: E⟨Gẋ, ẋ⟩ = (T/m)(1 − e^{−2γt/m}) tr G, and E[J] = (T/γ)(1 − e^{−γt/m})² tr G."""
    T, gamma, m, P = 0.5, 0.7, 2.0, 6
    G = np.diag([1.0, 2.0, 3.0, -1.0, 0.0, 1.0])
    algorithm = nl.BAOAB(1e-4, T, gamma, m)
    flat, start = nl.potentials.Harmonic(np.zeros((P, P))), np.zeros((4 * E, P))
    runs = nl.ensemble(flat, algorithm, start, 300, record_every=300, laws=[nl.Symmetry(G)], rng=3)
    mean, error = mean_and_error(runs.laws["affine"].charge[:, -1])
    fading = math.exp(-gamma * runs.t[0, -1] / m)
    want = T / gamma * (1 - fading) ** 2 * np.trace(G)
    assert abs(mean - want) < ERRORS * error
    assert abs(mean - T / gamma * (1 - fading**2) * np.trace(G)) > ERRORS * error  # a control: another formula


@compiled
def test_the_mean_of_a_scaling_with_inertia_grows_like_t_trace_g_over_friction():
    """Of a network's neurons, whose forces are small beside friction: E[Q − Q_0] is the integral of the E[J] above."""
    T, gamma, steps = 0.2, 5.0, 200
    _, potential, x = problem("leaky_relu(0.1)", loss="nll", widths=(8, 2, 2), n=12)
    algorithm, traces = nl.BAOAB(1e-3, T, gamma), trace((8, 2, 2)).sum()
    runs = nl.ensemble(potential, algorithm, np.tile(x, (E, 1)), steps, record_every=steps, rng=5)
    law, t = runs.laws["scaling:1"], runs.t[0, -1]
    mean, error = mean_and_error((law.quantity[:, -1] - law.quantity[:, 0]).sum(axis=1))
    fading = math.exp(-gamma * t)
    grown = T / gamma * (t - 2 * (1 - fading) / gamma + (1 - fading**2) / (2 * gamma)) * traces
    assert abs(mean - grown) < ERRORS * error
    assert error < 0.05 * grown
    assert abs(mean - T * t * traces) > ERRORS * error  # a control: without inertia and friction


@compiled
def test_harmonic_positions_have_the_temperature_at_any_step():
    """BAOAB: variance T/k exactly, also at h√k = 1; SGLD: T/(k(1 − ηk/2)), which a leapfrog with friction around it would have at η = h²/2."""
    P, k, T = 200, 2.0, 0.3
    bowl = nl.potentials.Harmonic(k * np.eye(P))
    for algorithm, want in ((nl.BAOAB(1 / k, T, 2.0), T / k), (nl.SGLD(0.25, T), T / (k * (1 - 0.25 * k / 2)))):
        run = nl.integrate(bowl, algorithm, np.zeros(P), 1500, record_params=True, laws=None, rng=4)
        mean, error = mean_and_error((run.params[300:] ** 2).mean(axis=0))
        assert abs(mean - want) < ERRORS * error
        assert error < 0.02 * want
        assert abs(mean - T / k * 4 / 3) > ERRORS * error or want == pytest.approx(T / k * 4 / 3)


@compiled
@pytest.mark.parametrize("algorithm", [nl.SGLD, nl.BAOAB])
def test_masses_of_blocks_leave_the_stationary_distribution(algorithm):
    """On a quadratic: the covariance of BAOAB is T/H, at any step; that of SGLD has its finite step, and T/H at small ones."""
    rng, T, lr = np.random.default_rng(0), 0.3, {"W1": 0.1, "b1": 0.4}
    line = nl.Network([1, 1], loss="mse").potential(rng.standard_normal((8, 1)) + 0.5, rng.standard_normal((8, 1)))
    H = np.array([line.gradient(x) - line.gradient(np.zeros(2)) for x in np.eye(2)]).T
    runs = nl.ensemble(line, algorithm(lr, T), np.zeros((1000, 2)), 200, record_every=200, laws=None, rng=2)
    best, S = -np.linalg.solve(H, line.gradient(np.zeros(2))), np.diag([0.25, 1.0])

    def stationary(noise):
        return solve_discrete_lyapunov(np.eye(2) - 0.4 * S @ H, 2 * 0.4 * T * noise)

    want = T * np.linalg.inv(H) if algorithm is nl.BAOAB else stationary(S)
    off = runs.x - best
    mean, error = mean_and_error(off[:, :, None] * off[:, None])
    assert (np.abs(mean - want) < ERRORS * error).all()
    assert (np.abs(mean - stationary(np.eye(2))) > ERRORS * error).any()  # a control: noise that knows of no blocks


# --- without noise, and of what a run is a function -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noisy", "still"),
    [
        (nl.SGLD(0.01, 0.0), nl.GD(0.01)),
        (nl.BAOAB(0.01, 0.0, 0.0, 2.0), nl.ConformalLeapfrog(0.01, 2.0)),
        (nl.SGLD({"W1": 0.005, "rest": 0.01}, 0.0), nl.GD({"W1": 0.005, "rest": 0.01})),
        (nl.BAOAB({"W1": 0.005, "rest": 0.01}, 0.0, 0.0), nl.Leapfrog({"W1": 0.005, "rest": 0.01})),
        (nl.BAOAB(np.linspace(0.01, 0.0, 50), 0.0, 0.0), nl.Leapfrog(np.linspace(0.01, 0.0, 50))),
    ],
    ids=str,
)
def test_without_temperature_it_is_the_algorithm_without_noise(noisy, still):
    runs = [nl.integrate(U, a, X0, 50, backend="reference", rng=0) for a in (noisy, still)]
    assert np.abs(runs[0].x - runs[1].x).max() <= 64 * 50 * EPS * np.abs(X0).max()
    law = runs[0].laws["scaling:1"]
    np.testing.assert_allclose(law.residual, runs[1].laws["scaling:1"].residual, rtol=0, atol=64 * 50 * EPS)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [nl.SGLD, nl.BAOAB])
def test_an_ensemble_has_runs_with_and_without_blocks(kind, backend):
    algorithms = [kind(lr, 0.1) for lr in (0.01, {"W1": 0.005, "rest": 0.01}, 0.02)]
    runs = nl.ensemble(U, algorithms, [X0] * 3, 9, backend=backend, rng=0)
    for e, (algorithm, key) in enumerate(zip(algorithms, np.random.default_rng(0).spawn(3), strict=True)):
        assert np.array_equal(runs.x[e], nl.integrate(U, algorithm, X0, 9, backend=backend, rng=key).x)


def test_baoab_is_of_second_order():
    bowl, ends = nl.potentials.Harmonic(np.diag([1.0, 3.0])), []
    for n in (40, 80, 160):
        algorithm = nl.BAOAB((2 / n) ** 2, 0.0, 0.5)
        ends.append(nl.integrate(bowl, algorithm, [1.0, -1.0], n, backend="reference", laws=None).x)
    assert np.linalg.norm(ends[0] - ends[1]) / np.linalg.norm(ends[1] - ends[2]) == pytest.approx(4, rel=0.05)


@compiled
@pytest.mark.parametrize("algorithm", [NOISY[0], NOISY[3], *NOISY[5:]], ids=str)
@pytest.mark.parametrize("batch_size", [None, 5])
def test_a_run_is_a_function_of_its_key(algorithm, batch_size):
    options = {"batch_size": batch_size, "record_every": 4}
    whole = nl.integrate(U, algorithm, X0, 21, **options, rng=3)
    seeds = np.random.SeedSequence(3).spawn(3)
    alone = [nl.integrate(U, algorithm, X0, 21, **options, rng=seed) for seed in seeds]
    assert len({run.x.tobytes() for run in alone}) == 3
    assert not np.array_equal(whole.x, nl.integrate(U, algorithm, X0, 21, **options, rng=4).x)
    assert whole.specification["arguments"]["batch_key"] is not None


test_what_is_refused = refusals(
    [
        (lambda: nl.SGLD(0.1, -1.0), "temperature"),
        (lambda: nl.BAOAB(0.1, mass=0.0), "mass"),
        (lambda: nl.integrate(U, nl.SGLD(0.01), X0, 1, input_reduction=True), "input_reduction=True is not possible here"),
        (lambda: nl.BAOAB({"W1": [0.1, 0.2], "rest": 0.1}), "lr must have schedules that keep the ratios between blocks for BAOAB"),
    ]
)  # fmt: skip
