"""The loop: textbook recursions, the two backends, closed forms, what runs record and how they end."""

import numpy as np
import pytest
from algorithms import five
from problems import ACTIVATIONS, EPS, FIELDS, assert_same, problem

from noetherlite import (
    GD,
    NAGD,
    ConformalLeapfrog,
    Leapfrog,
    Symmetry,
    integrate,
    potentials,
)
from noetherlite._run.drive import Pace
from noetherlite._run.runs import Runs

HARMONIC = potentials.Harmonic(np.diag([1.0, 4.0]))
DECAYING = five(1e-2, 1e-3, decay=0.1)
ALGORITHMS = five(1e-2, 1e-3, conformal=1e-4) | {
    "HeavyBall": DECAYING["HeavyBall"],
    "Leapfrog with decay": DECAYING["Leapfrog"],
}


def rounding(U, *arrays):
    """ε times the largest number in sight: what one operation may be off by."""
    return EPS * max(1.0, *(np.abs(a).max() for a in arrays))


# --- textbook recursions (theory §2) -------------------------------------------------------------------------------


def gd(U, x, lr, steps):
    out = [x]
    for _ in range(steps):
        out.append(out[-1] - lr * U.gradient(out[-1]))
    return np.array(out)


def leapfrog(U, x, lr, steps):
    out = [x, x - 0.5 * lr * U.gradient(x)]  # at rest: x_1 = x_{−1}
    for _ in range(steps - 1):
        out.append(2 * out[-1] - out[-2] - lr * U.gradient(out[-1]))
    return np.array(out)


def nagd(U, x, lr, steps, alpha=3):
    out, y = [x], x
    for k in range(1, steps + 1):
        out.append(y - lr * U.gradient(y))
        y = out[-1] + (k - 1) / (k + alpha - 1) * (out[-1] - out[-2])
    return np.array(out)


@pytest.mark.parametrize("loss", ["mse", "nll"])
@pytest.mark.parametrize(
    ("algorithm", "textbook"),
    [
        (GD(0.02), gd),
        (Leapfrog(0.002), leapfrog),
        (NAGD(0.002), nagd),
        (NAGD(0.002, alpha=5), lambda *a: nagd(*a, alpha=5)),
    ],
    ids=["GD", "Leapfrog", "NAGD", "NAGD alpha=5"],
)
def test_textbook_recursion(algorithm, textbook, loss):
    _, U, x0 = problem("tanh", loss)
    steps = 100
    expected = textbook(U, x0, algorithm.lr, steps)
    run = integrate(U, algorithm, x0, steps, record_params=True, laws=None)
    assert run.params.shape == expected.shape
    # Leapfrog as second differences amplifies each step's rounding by up to the number of steps left: steps²/2 of them.
    np.testing.assert_allclose(run.params, expected, rtol=0, atol=steps**2 * rounding(U, expected))
    assert np.abs(run.x - x0).max() > 0.01
    np.testing.assert_array_equal(run.params[-1], run.x)
    np.testing.assert_allclose(run.loss, [U.value(x) for x in run.params], rtol=1e-14)


def test_velocities():
    """GD's is −∇U; the others' (x_{k+1} − x_k)/h at the end, or half a kick later."""
    _, U, x0 = problem("tanh")
    run = integrate(U, GD(0.02), x0, 10)
    np.testing.assert_allclose(run.v, -U.gradient(run.x), rtol=0, atol=10 * EPS)
    run = integrate(U, NAGD(0.01), x0, 10, record_params=True)
    np.testing.assert_allclose(run.v, np.diff(run.params, axis=0)[-1] / 0.1, rtol=0, atol=100 * EPS)
    run = integrate(U, Leapfrog(0.01), x0, 10, record_params=True)
    half = np.diff(run.params, axis=0)[-1] / 0.1
    np.testing.assert_allclose(run.v, half - 0.05 * U.gradient(run.x), rtol=0, atol=100 * EPS)
    kinetic = 0.5 * run.v @ run.v
    assert run.energy[-1] == pytest.approx(U.value(run.x) + kinetic, rel=1e-14)


@pytest.mark.parametrize(("algorithm", "dt"), [(GD(0.04), 0.04), (Leapfrog(0.04), 0.2), (NAGD(0.04), 0.2)])
def test_times(algorithm, dt):
    run = integrate(HARMONIC, algorithm, [1.0, 0.5], 6, t0=1.5, record_every=2)
    np.testing.assert_allclose(run.t, 1.5 + dt * np.array([0, 2, 4, 6]), rtol=4 * EPS)


def test_conformal_leapfrog_by_its_formulas():
    """Theory §6, line by line, with all of mass, γ, α and a velocity."""
    _, U, x0 = problem("swish")
    m, gamma, alpha, lr, t = 2.0, 0.3, 1.5, 1e-3, 0.7
    h, x = np.sqrt(lr), x0
    v0 = v = np.random.default_rng(0).standard_normal(x0.size)

    def mu(t):
        return t ** (alpha / m) * np.exp(gamma * t / m)

    for k in range(50):
        start, middle, end = t + k * h, t + k * h + h / 2, t + k * h + h
        v = v * mu(start) / mu(middle) - h / (2 * m) * U.gradient(x)
        x = x + h * v
        v = (v - h / (2 * m) * U.gradient(x)) * mu(middle) / mu(end)
    run = integrate(U, ConformalLeapfrog(lr, mass=m, gamma=gamma, alpha=alpha), x0, 50, velocity=v0, t0=t)
    np.testing.assert_allclose(run.x, x, rtol=0, atol=50**2 * rounding(U, x))
    np.testing.assert_allclose(run.v, v, rtol=0, atol=50**2 * rounding(U, v))
    assert run.energy[-1] == pytest.approx(U.value(run.x) + 0.5 * m * run.v @ run.v, rel=1e-13)


# --- backends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_cpu_is_the_reference(name, activation, batch_size):
    (algorithm, t0), steps = ALGORITHMS[name], 23
    _, U, x0 = problem(activation, "nll", n=11)
    x0 = 0.7 * x0
    arguments = {"t0": t0, "record_every": 5, "record_params": True, "batch_size": batch_size, "rng": 3}
    cpu, oracle = (integrate(U, algorithm, x0, steps, backend=b, **arguments) for b in ("cpu", "reference"))
    # The difference of two gradients is some hundred ε of their size, and grows no faster than the steps' number squared.
    bound = steps**2 * 100 * EPS

    def check(a, b, scale=1.0):
        np.testing.assert_allclose(a, b, rtol=bound, atol=bound * scale)

    assert cpu.status == oracle.status == "completed"
    np.testing.assert_array_equal(cpu.step, [0, 5, 10, 15, 20, 23])
    np.testing.assert_array_equal(cpu.step, oracle.step)
    np.testing.assert_array_equal(cpu.t, oracle.t)
    assert cpu.n_gradients == oracle.n_gradients
    for field in ("loss", "energy", "x", "v", "params"):
        check(getattr(cpu, field), getattr(oracle, field), np.abs(getattr(oracle, field)).max())
    assert list(cpu.laws) == list(oracle.laws)
    for law, other in zip(cpu.laws.values(), oracle.laws.values(), strict=True):
        scale = np.nanmax(np.abs(np.stack([other.quantity, other.charge])))
        for field in FIELDS:
            check(getattr(law, field), getattr(other, field), scale)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_kind_of_law_on_both_backends(name):
    """Linear layers, rotations, translations and a user's own: kinds that the activations above do not have."""
    from noetherlite import datasets
    from noetherlite._problem.network import Network
    from noetherlite._symmetry.affine import Symmetry

    rng = np.random.default_rng(0)
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]])
    linear = problem("linear(0.7)", "nll")[1]
    ball = Network([3, 2, 1], "polynomial(2)", loss="mse").potential(datasets.icosahedron())
    for U, laws in [(linear, "all"), (ball, "all"), (potentials.Radial(3), [Symmetry(turn, name="turn")])]:
        (algorithm, t0), x0 = ALGORITHMS[name], rng.standard_normal(U.n_params)
        runs = [integrate(U, algorithm, x0, 20, t0=t0, laws=laws, backend=b) for b in ("cpu", "reference")]
        assert runs[0].laws
        for key, law in runs[0].laws.items():
            for field in FIELDS:
                a, b = getattr(law, field), getattr(runs[1].laws[key], field)
                np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("kind", ["radial", "harmonic"])
def test_python_functions_as_potentials(kind, name):
    A = np.array([[2.0, 0.5], [0.5, 1.0]])
    compiled = {"radial": potentials.Radial(2), "harmonic": potentials.Harmonic(A)}[kind]
    written = {
        "radial": lambda w: (0.1 * (w @ w - 1) ** 2 + 0.08, 0.4 * (w @ w - 1) * w),
        "harmonic": lambda w: (0.5 * w @ A @ w, A @ w),
    }[kind]
    U = potentials.Callable(written, 2)
    algorithm, t0 = ALGORITHMS[name]
    a, b = (integrate(P, algorithm, [1.5, -0.5], 200, t0=t0, record_params=True) for P in (compiled, U))
    for field in ("params", "v", "loss", "energy"):
        np.testing.assert_allclose(getattr(a, field), getattr(b, field), rtol=0, atol=200 * 20 * EPS)
    assert a.n_gradients == b.n_gradients


# --- closed forms, symplecticity, reversibility -----------------------------------------------------------------------


def test_gd_on_the_harmonic_oscillator():
    run = integrate(HARMONIC, GD(0.1), [1.0, 0.5], 40, record_params=True)
    k = run.step[:, None]
    np.testing.assert_allclose(run.params, (1 - 0.1 * np.array([1.0, 4.0])) ** k * [1.0, 0.5], rtol=100 * EPS)


def test_leapfrog_on_the_harmonic_oscillator():
    """x_k = x_0 cos kφ with cos φ = 1 − h²ω²/2: exact for the recursion, not only to second order."""
    h, steps = 0.05, 2000
    run = integrate(HARMONIC, Leapfrog(h * h), [1.0, 0.5], steps, record_params=True)
    phase = np.arccos(1 - 0.5 * h * h * np.array([1.0, 4.0]))
    # arccos near 1 loses a factor 1/φ of digits, and steps of them add up
    np.testing.assert_allclose(
        run.params, np.cos(run.step[:, None] * phase) * [1.0, 0.5], rtol=0, atol=10 * steps * EPS / phase.min()
    )


def test_damped_oscillator():
    """Critically damped, ẍ + 2ẋ + x = 0 from rest: x = (1 + t)e^{−t}."""
    U = potentials.Harmonic([[1.0]])
    run = integrate(U, ConformalLeapfrog(1e-6, gamma=2.0), [1.0], 3000, record_every=1000, record_params=True)
    # second order: h² times derivatives of order one
    np.testing.assert_allclose(run.params[:, 0], (1 + run.t) * np.exp(-run.t), rtol=0, atol=1e-6)


@pytest.mark.needs_jit
@pytest.mark.parametrize("lr", [0.01, 0.0025])
def test_leapfrog_energy_is_bounded_and_does_not_drift(lr):
    """Over 10⁵ steps; the shadow energy is conserved, so E oscillates by (hω)²/4·E at most in each direction."""
    run = integrate(HARMONIC, Leapfrog(lr), [1.0, 0.5], 100_000, record_every=7)
    deviation = np.abs(run.energy / run.energy[0] - 1)
    largest = lr * 4.0  # (hω)² of the stiffer direction
    assert deviation.max() <= 0.25 * largest / (1 - 0.25 * largest) * (1 + 1e-6)
    assert deviation.max() > 0.01 * largest  # the bound is about the right thing
    early, late = run.energy[:1000], run.energy[-1000:]
    assert abs(late.mean() - early.mean()) < 0.02 * np.ptp(run.energy)


@pytest.mark.needs_jit
def test_network_energy_is_bounded_under_leapfrog():
    _, U, x0 = problem("tanh", n=5)
    run = integrate(U, Leapfrog(1e-4), x0, 100_000, record_every=50, laws=None)
    assert np.abs(run.energy - run.energy[0]).max() < 1e-2 * run.energy[0]
    tenth = run.energy.size // 10
    spread = [np.abs(part - run.energy[0]).max() for part in (run.energy[:tenth], run.energy[-tenth:])]
    assert spread[1] < 10 * spread[0]  # a drift linear in time would have grown by more
    assert np.ptp(run.loss) > 0.1 * run.energy[0]  # something happens


@pytest.mark.parametrize("algorithm", [GD(1e-2), NAGD(1e-4)])
def test_only_leapfrog_conserves_energy(algorithm):
    """Negative control: with friction the energy falls."""
    run = integrate(HARMONIC, algorithm, [1.0, 0.5], 2000, record_every=100)
    assert run.energy[-1] < 0.5 * run.energy[0]


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_time_reversal(activation):
    _, U, x0 = problem(activation)
    v0, steps = np.random.default_rng(1).standard_normal(x0.size), 200
    forth = integrate(U, Leapfrog(1e-4), x0, steps, velocity=v0, laws=None)
    back = integrate(U, Leapfrog(1e-4), forth.x, steps, velocity=-forth.v, laws=None)
    bound = steps**2 * rounding(U, x0, v0)
    np.testing.assert_allclose(back.x, x0, rtol=0, atol=bound)
    np.testing.assert_allclose(back.v, -v0, rtol=0, atol=bound)
    assert np.abs(forth.x - x0).max() > 0.1


def test_friction_breaks_time_reversal():
    """Negative control."""
    algorithm = ConformalLeapfrog(1e-4, gamma=0.1)
    forth = integrate(HARMONIC, algorithm, [1.0, 0.5], 200, velocity=[0.3, 0.2])
    back = integrate(HARMONIC, algorithm, forth.x, 200, velocity=-forth.v)
    assert np.abs(back.x - [1.0, 0.5]).max() > 1e-3


@pytest.mark.parametrize("batch_size", [None, 4])
def test_conformal_leapfrog_without_friction_is_leapfrog(batch_size):
    _, U, x0 = problem("swish")
    v0 = np.linspace(-1, 1, x0.size)
    arguments = {"velocity": v0, "t0": 0.7, "record_params": True, "batch_size": batch_size, "rng": 1}
    a, b = (integrate(U, A(1e-3), x0, 50, **arguments) for A in (Leapfrog, ConformalLeapfrog))
    assert_same(a, b)


# --- minibatches ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seed", [lambda s: s, np.random.SeedSequence, np.random.default_rng], ids=["int", "SeedSequence", "Generator"]
)
def test_minibatches_are_reproducible(seed):
    _, U, x0 = problem("tanh")
    first, second, other = (integrate(U, GD(0.05), x0, 20, batch_size=2, rng=seed(s)) for s in (5, 5, 6))
    assert_same(first, second)
    assert (first.x != other.x).any()


def test_a_generator_moves_on():
    _, U, x0 = problem("tanh")
    rng = np.random.default_rng(0)
    a, b = (integrate(U, GD(0.05), x0, 20, batch_size=2, rng=rng) for _ in range(2))
    assert (a.x != b.x).any()


def test_rng_is_not_touched_without_minibatches():
    _, U, x0 = problem("tanh")
    rng = np.random.default_rng(0)
    integrate(U, GD(0.05), x0, 5, rng=rng)
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


@pytest.mark.parametrize("name", ALGORITHMS)
def test_batch_of_all_samples_is_the_full_batch(name):
    algorithm, t0 = ALGORITHMS[name]
    _, U, x0 = problem("tanh", n=9)
    a, b = (integrate(U, algorithm, x0, 20, t0=t0, batch_size=size, rng=0) for size in (9, None))
    assert_same(a, b)


def test_loss_is_recorded_on_all_samples():
    _, U, x0 = problem("tanh")
    run = integrate(U, GD(0.05), x0, 10, batch_size=2, rng=0, record_params=True)
    np.testing.assert_allclose(run.loss, [U.value(x) for x in run.params], rtol=1e-13)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize(("n", "size"), [(9, 3), (10, 3), (6, 1)])
def test_every_sample_once_per_epoch(n, size, backend):
    """With f = θ, GD from one target-sized kick to the next shows which samples each gradient was made of."""
    from noetherlite._problem.network import Network

    net = Network([n, 1], loss="mse", bias=False)
    U = net.potential(np.eye(n), np.ones((n, 1)))  # sample s moves only θ_s
    per_epoch = n // size
    run = integrate(
        U, GD(1e-3), np.zeros(n), 3 * per_epoch, batch_size=size, rng=0, record_params=True, backend=backend
    )
    moved = np.diff(run.params, axis=0) != 0
    assert (moved.sum(axis=1) == size).all()
    visits = moved.reshape(3, per_epoch, n).sum(axis=1)
    assert visits.max() == 1
    assert (visits.sum(axis=1) == per_epoch * size).all()
    assert any((moved[e * per_epoch] != moved[0]).any() for e in (1, 2))  # another order each epoch


# --- records -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "every", "expected"),
    [
        (10, 1, range(11)),
        (10, 3, [0, 3, 6, 9, 10]),
        (10, 5, [0, 5, 10]),
        (10, 99, [0, 10]),
        (1, 1, [0, 1]),
        (0, 1, [0]),
        (0, 5, [0]),
    ],
)
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_records(steps, every, expected, backend):
    run = integrate(
        HARMONIC, Leapfrog(1e-3), [1.0, 0.5], steps, record_every=every, record_params=True, backend=backend
    )
    np.testing.assert_array_equal(run.step, list(expected))
    assert run.params.shape == (len(expected), 2)
    assert run.t.shape == run.loss.shape == run.energy.shape == run.step.shape
    np.testing.assert_array_equal(run.params[-1], run.x)
    assert run.message == f"completed {steps} steps"


def test_thinned_records_are_those_of_the_full_run():
    _, U, x0 = problem("swish")
    every, thin = (integrate(U, NAGD(1e-3), x0, 20, record_every=k, record_params=True) for k in (1, 6))
    rows = [0, 6, 12, 18, 20]
    np.testing.assert_array_equal(thin.params, every.params[rows])
    np.testing.assert_array_equal(thin.loss, every.loss[rows])
    for key, law in thin.laws.items():
        np.testing.assert_array_equal(law.source_integral, every.laws[key].source_integral[rows])
        np.testing.assert_array_equal(law.discrete_residual, every.laws[key].discrete_residual[rows])


def test_params_only_on_request():
    assert integrate(HARMONIC, GD(0.1), [1.0, 0.5], 3).params is None


@pytest.mark.parametrize(("algorithm", "extra"), [(GD(1e-2), 1), (Leapfrog(1e-3), 1), (NAGD(1e-3), 0)])
@pytest.mark.parametrize("batch_size", [None, 2])
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_number_of_gradients(algorithm, extra, batch_size, backend):
    _, U, x0 = problem("tanh")
    run = integrate(U, algorithm, x0, 12, batch_size=batch_size, rng=0, backend=backend, record_every=5)
    assert run.n_gradients == 12 + extra


@pytest.mark.parametrize("algorithm", [GD(0.1), Leapfrog(0.1), NAGD(0.1)])
def test_zero_steps(algorithm):
    run = integrate(HARMONIC, algorithm, [1.0, 0.5], 0, record_params=True)
    assert run.status == "completed"
    np.testing.assert_array_equal(run.x, [1.0, 0.5])
    np.testing.assert_array_equal(run.params, [[1.0, 0.5]])
    assert run.loss[0] == HARMONIC.value([1.0, 0.5])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_dtype(dtype):
    _, U, x0 = problem("tanh")
    run = integrate(U, Leapfrog(1e-3), x0, 20, dtype=dtype, record_params=True)
    assert run.x.dtype == run.v.dtype == run.params.dtype == dtype
    assert run.loss.dtype == run.energy.dtype == run.t.dtype == np.float64
    exact = integrate(U, Leapfrog(1e-3), x0, 20)
    np.testing.assert_allclose(run.x, exact.x, rtol=0, atol=20**2 * np.finfo(dtype).eps * np.abs(exact.x).max())


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_arguments_are_not_modified(backend):
    _, U, x0 = problem("swish")
    v0 = np.ones_like(x0)
    X, y, x, v = U.X.copy(), U.y.copy(), x0.copy(), v0.copy()
    run = integrate(U, Leapfrog(1e-3), x, 10, velocity=v, batch_size=3, rng=0, backend=backend)
    for given, before in [(x, x0), (v, v0), (U.X, X), (U.y, y)]:
        np.testing.assert_array_equal(given, before)
    assert not np.shares_memory(run.x, x)
    assert not np.shares_memory(run.v, v)
    # and nothing of a read-only, strided or integer start is needed
    x.flags.writeable = False
    integrate(U, Leapfrog(1e-3), x, 1, backend=backend)
    integrate(HARMONIC, GD(0.1), [1, 2], 1, backend=backend)


# --- callbacks and ends ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_callback_sees_the_records(backend):
    seen = []
    run = integrate(
        HARMONIC, Leapfrog(1e-2), [1.0, 0.5], 10, t0=0.5, record_every=4, record_params=True,
        callback=lambda s: seen.append(s), backend=backend,
    )  # fmt: skip
    np.testing.assert_array_equal([s.step for s in seen], run.step)
    np.testing.assert_allclose([s.t for s in seen], run.t, rtol=4 * EPS)
    np.testing.assert_array_equal([s.loss for s in seen], run.loss)
    np.testing.assert_array_equal([s.x for s in seen], run.params)
    np.testing.assert_array_equal(seen[-1].v, run.v)


def test_callback_gets_copies():
    def spoil(snapshot):
        snapshot.x[:] = np.nan
        snapshot.v[:] = np.nan

    plain, spoilt = (integrate(HARMONIC, Leapfrog(1e-2), [1.0, 0.5], 10, callback=c) for c in (None, spoil))
    np.testing.assert_array_equal(spoilt.x, plain.x)


@pytest.mark.parametrize("at", [0, 4, 10])
def test_callback_stops(at):
    run = integrate(HARMONIC, GD(0.1), [1.0, 0.5], 10, record_every=2, callback=lambda s: s.step >= at)
    assert run.status == "stopped"
    assert run.step[-1] == at
    assert f"after {at} of 10 steps" in run.message
    whole = integrate(HARMONIC, GD(0.1), [1.0, 0.5], 10, record_every=2)
    np.testing.assert_array_equal(run.loss, whole.loss[: at // 2 + 1])


def test_keyboard_interrupt_keeps_what_was_recorded():
    def interrupt(snapshot):
        if snapshot.step == 6:
            raise KeyboardInterrupt

    run = integrate(HARMONIC, GD(0.1), [1.0, 0.5], 10, record_every=2, callback=interrupt)
    assert run.status == "stopped"
    assert "Ctrl-C" in run.message
    np.testing.assert_array_equal(run.step, [0, 2, 4, 6])
    whole = integrate(HARMONIC, GD(0.1), [1.0, 0.5], 10, record_every=2)
    np.testing.assert_array_equal(run.loss, whole.loss[:4])


def test_an_error_in_the_callback_is_not_swallowed():
    def fail(snapshot):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        integrate(HARMONIC, GD(0.1), [1.0, 0.5], 10, callback=fail)


@pytest.mark.needs_jit
@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("algorithm", [GD(5.0), Leapfrog(50.0), NAGD(50.0)])
def test_divergence_is_recorded(algorithm, backend):
    arguments = (potentials.Radial(3), algorithm, [2.0, 1.0, 0.5], 1000)
    run = integrate(*arguments, backend=backend, record_params=True)
    assert run.status == "diverged"
    assert 1 <= run.step.size < 1000
    np.testing.assert_array_equal(run.step, np.arange(run.step.size))
    assert np.isfinite(run.loss).all()
    assert np.isfinite(run.params).all()
    assert run.message == f"the loss stopped being finite at step {run.step[-1] + 1}"


def test_progress_bar(capsys):
    plain = integrate(HARMONIC, GD(0.1), [1.0, 0.5], 10)
    shown = integrate(HARMONIC, GD(0.1), [1.0, 0.5], 10, progress=True)
    assert_same(plain, shown)
    out, err = capsys.readouterr()
    assert out == ""
    assert "10" in err


def test_calls_that_last_too_long_become_shorter():
    pace = Pace()
    pace.adapt(1, 1e-6)
    assert pace.steps == 8
    for _ in range(4):
        pace.adapt(pace.steps, 10.0)
    assert pace.steps == 1
    pace.steps = 8
    pace.adapt(3, 1e-6)  # cut short by a record
    assert pace.steps == 8


def test_the_bar_shows_the_defect_of_the_last_record(monkeypatch):
    """Also at steps that are not recorded, with one step a call."""
    seen, defect = [], Runs.defect
    monkeypatch.setattr(Runs, "defect", lambda runs, e: seen.append(defect(runs, e)) or seen[-1])
    monkeypatch.setattr(Pace, "adapt", lambda self, taken, elapsed: None)
    _, U, x = problem("relu")
    integrate(U, GD(0.1), x, 11, record_every=4, progress=True)
    assert len(seen) > 11
    assert np.isfinite(seen).all()


@pytest.mark.parametrize(("mass", "gamma", "alpha"), [(1, 0, 0), (1, 0, 3), (1, 0.2, 3), (2, 0.1, 0)])
def test_angular_momentum_drifts_by_amplified_round_off_only(mass, gamma, alpha):
    turn = Symmetry([[0, -1], [1, 0]])
    algorithm = ConformalLeapfrog(1e-4, mass, gamma, alpha)
    start = {"velocity": [0.1, 0.5], "t0": 1.0, "record_every": 50}
    run = integrate(potentials.Radial(2), algorithm, [1.4, 0.1], 5000, laws=[turn], **start)
    mu = algorithm.dynamics.integrating_factor(run.t)
    conserved = mu * run.laws["affine"].charge[:, 0]
    # Round-off of each step is a random walk of 5000 steps; what is lost early counts for √(μ/μ_0) more.
    allowed = 4 * np.sqrt(5000) * EPS * np.sqrt(mu / mu[0])
    assert (np.abs(conserved / conserved[0] - 1) <= allowed).all()
    # Negative control: without its factor it is not conserved, unless there is no friction.
    if mass * (gamma + alpha):
        assert abs(run.laws["affine"].charge[-1, 0] / conserved[0] * mu[0] - 1) > 0.5


# --- what one run leaves to the next ---------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"batch_size": 5, "rng": 0}, {"dtype": "float32"}], ids=str)
def test_samples_that_are_changed_in_place_count_in_the_next_run(options):
    net, U, x0 = problem("tanh", "nll")
    before = integrate(U, GD(0.1), x0, 7, **options)
    U.X *= 0.5
    U.y[:] = U.y[::-1].copy()
    after, fresh = (integrate(V, GD(0.1), x0, 7, **options) for V in (U, net.potential(U.X, U.y)))
    assert np.array_equal(after.x, fresh.x)
    assert np.array_equal(after.loss, fresh.loss)
    assert not np.array_equal(after.x, before.x)


def test_laws_that_are_read_later_are_those_of_their_run():
    _, U, x0 = problem("relu", "nll")
    at_once = integrate(U, GD(0.1), x0, 5).laws
    later = integrate(U, GD(0.1), x0, 5)
    integrate(U, GD(0.2), -x0, 9)
    integrate(U, Leapfrog(0.01), x0, 9)
    assert list(later.laws) == list(at_once) != []
    for name, law in at_once.items():
        for field in ("quantity", "charge", "residual", "discrete_residual", "scale", "tolerance"):
            assert np.array_equal(getattr(later.laws[name], field), getattr(law, field)), (name, field)
    assert later.laws is later.laws
    with pytest.raises(AttributeError, match="lawz"):
        _ = later.lawz
