"""Whatever is passed to the public functions: a result without a silent NaN, or one of the errors they document."""

import concurrent.futures
import multiprocessing
import os
import subprocess
import sys
import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.extra import numpy as hnp

import noetherlite as nl

DOCUMENTED = (ValueError, TypeError, MemoryError, RuntimeError)
few = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

NET = nl.Network([2, 3, 2], "relu")
DATA = nl.datasets.gaussian_classes(n=8, n_features=2, n_classes=2, rng=0)
U = NET.potential(DATA)
X0 = NET.init(rng=0, bias_std=0.3)

extreme = st.sampled_from([0.0, -0.0, 1.0, -1.0, 5e-324, 1e-300, 1e300, np.inf, -np.inf, np.nan, 1e16])
numbers = st.one_of(extreme, st.floats(-10, 10), st.integers(-3, 5))
scalars = st.one_of(
    numbers, st.none(), st.booleans(), st.text(max_size=5), st.just(10**30), st.just(1j), st.just([]), st.just({})
)
shapes = st.one_of(
    st.just((X0.size,)), st.just((2, X0.size)), st.just((8, 2)), st.just((0, 2)), st.just(()),
    st.lists(st.integers(0, 4), max_size=4).map(tuple),
)  # fmt: skip
dtypes = st.sampled_from(["f8", "f4", ">f8", "f2", "i8", "u1", "?", "c16", "O", "U3", "M8[s]"])


@st.composite
def arrays(draw):
    """Arrays of any shape, type, order and stride, also read-only ones; mostly numbers that could be parameters."""
    shape, dtype = draw(shapes), np.dtype(draw(st.one_of(st.just("f8"), dtypes)))
    if dtype.kind == "f" and draw(st.booleans()):
        a = draw(hnp.arrays(dtype, shape, elements=st.floats(-2, 2, width=16)))
    elif dtype.kind == "f":
        a = draw(hnp.arrays(np.float64, shape, elements=numbers.map(float)))
        with np.errstate(over="ignore"):
            a = a.astype(dtype)
    else:
        a = np.zeros(shape, dtype)
    form = draw(st.sampled_from(["plain", "fortran", "strided", "reversed", "read-only", "list"]))
    if form == "fortran":
        a = np.asfortranarray(a)
    elif form == "strided" and a.ndim:
        a = np.repeat(a, 2, axis=0)[::2]
    elif form == "reversed" and a.ndim:
        a = a[::-1]
    elif form == "read-only":
        a.flags.writeable = False
    return a.tolist() if form == "list" else a


def finite(result):
    return all(np.isfinite(np.asarray(a, dtype=float)).all() for a in result)


def attempt(function, *arguments, **options):
    """Return the result, or None where a documented error with a message was raised.

    Warnings are errors here, but for NumPy's that numbers like 1e300 overflow: that is no silence.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return function(*arguments, **options)
        except RuntimeWarning as warning:
            said = str(warning)
            assert "overflow" in said
        except DOCUMENTED as error:
            said = str(error)
    assert len(said) > 10
    return None


@few
@given(widths=st.one_of(scalars, st.lists(scalars, max_size=4)), activation=scalars, bias=scalars, loss=scalars)
def test_networks(widths, activation, bias, loss):
    net = attempt(nl.Network, widths, activation, bias=bias, loss=loss)
    assert net is None or net.n_params > 0


@few
@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=4),
    st.sampled_from(["relu", "swish", "tanh", "polynomial(2)"]),
    arrays(),
)
def test_functions_of_a_network(widths, activation, a):
    net = nl.Network([*widths[:-1], 3], activation)
    theta = attempt(net.init, rng=0)
    for function in (net.predict, net.jacobian):
        out = attempt(function, theta, a)
        assert out is None or finite([out])
    attempt(net.unpack, a)
    attempt(net.predict, a, np.zeros((1, widths[0])))


@few
@given(X=arrays(), y=arrays())
def test_data(X, y):
    before = np.array(X, dtype=object, copy=True)
    data = attempt(nl.datasets.Dataset, X, y)
    if data is not None:
        assert np.isfinite(data.X).all()
        P = attempt(nl.Network([data.X.shape[1], 3, 2]).potential, data)
        if P is not None and np.abs(data.X).max() < 1e100:
            theta = P.network.init(rng=0)
            assert finite([P.value(theta)])
    assert np.array_equal(before, np.array(X, dtype=object), equal_nan=False) or not np.array_equal(before, before)


@few
@given(x=arrays())
def test_potentials(x):
    for P in (U, nl.potentials.Radial(2), nl.potentials.Harmonic(np.eye(2))):
        for function in (P.value, P.gradient):
            out = attempt(function, x)
            assert out is None or not np.isnan(out).any() or np.abs(np.asarray(x, float)).max() > 1e50


ALGORITHMS = [nl.GD, nl.HeavyBall, nl.Leapfrog, nl.NAGD, nl.ConformalLeapfrog]


@few
@given(kind=st.sampled_from(ALGORITHMS), lr=scalars, other=scalars, decay=scalars)
def test_algorithms(kind, lr, other, decay):
    made = attempt(kind, lr, weight_decay=decay)
    assert made is None or made.dt > 0
    if kind is not nl.GD and kind is not nl.Leapfrog:
        attempt(kind, 0.1, other)


@few
@given(
    kind=st.sampled_from(ALGORITHMS),
    lr=st.sampled_from([1e-300, 1e-3, 1.0, 1e10, 1e300]),
    x0=arrays(),
    velocity=st.one_of(st.none(), arrays()),
    steps=st.one_of(st.integers(0, 20), scalars),
    options=st.fixed_dictionaries(
        {},
        optional={
            "t0": scalars, "record_every": st.one_of(st.integers(1, 9), scalars), "batch_size": scalars, "rng": scalars,
            "dtype": st.sampled_from(["float64", "float32", "f2", None]), "laws": scalars, "n_threads": scalars,
            "backend": st.sampled_from(["auto", "cpu", "reference", "gpu", None]), "input_reduction": scalars,
            "checkpoint_every": scalars,
        },
    ),
)  # fmt: skip
def test_integrate(kind, lr, x0, velocity, steps, options):
    if isinstance(steps, float | int) and steps > 1e6:
        return  # a long run, which somebody asked for
    if isinstance(options.get("n_threads"), int) and options["n_threads"] > 1000:
        options["n_threads"] = 2
    run = attempt(nl.integrate, U, kind(lr), x0, steps, velocity=velocity, **options)
    if run is None:
        return
    assert run.status in ("completed", "diverged")
    assert finite([run.t, run.loss])  # the record ends before the first loss that is not a number
    if run.status == "completed" and lr < 1e5:
        assert finite([run.x, run.v])


@few
@given(X0=arrays(), rng=scalars, lr=st.one_of(st.just([0.1]), st.lists(numbers, max_size=3)))
def test_ensemble(X0, rng, lr):
    algorithms = attempt(lambda: [nl.GD(s) for s in lr])
    if algorithms is not None:
        runs = attempt(nl.ensemble, U, algorithms, X0, 3, batch_size=4, rng=rng if rng != 10**30 else 0)
        assert runs is None or len(runs) == len(algorithms)


@few
@given(
    params=arrays(),
    t=arrays(),
    velocity=st.one_of(st.none(), arrays()),
    dynamics=st.sampled_from([nl.GF, nl.ND, nl.GD(0.1), "gf"]),
)
def test_check(params, t, velocity, dynamics):
    attempt(nl.check, U, params, t, dynamics, velocity=velocity)


@few
@given(
    a=arrays(),
    b=arrays(),
    targets=st.dictionaries(st.sampled_from(["scaling:1", "linear:1", "x"]), st.one_of(scalars, arrays()), max_size=2),
)
def test_theory(a, b, targets):
    attempt(nl.ntk.kernel, NET, X0, a, b)
    attempt(nl.ntk.kernel, NET, a, DATA.X)
    attempt(nl.ntk.predict, a, b, 1.0, nl.GF)
    attempt(nl.rebalance, NET, X0, targets)
    attempt(nl.Symmetry, a, b)
    attempt(nl.reference_flow, U, nl.GF, a, [0.0, 1e-3], max_evaluations=1000)
    for s in nl.symmetries(U):
        for function in (s.quantity, s.source, s.generator):
            attempt(function, a)
        attempt(s.charge, a, b)


@few
@given(n=scalars, features=scalars, classes=scalars, rng=scalars, radii=st.one_of(scalars, arrays()))
def test_data_sets(n, features, classes, rng, radii):
    if n == 10**30 or features == 10**30 or classes == 10**30:
        return
    for make, arguments in [
        (nl.datasets.gaussian_classes, {"n": n, "n_features": features, "n_classes": classes, "rng": rng}),
        (nl.datasets.glyphs, {"n": n, "rng": rng}),
        (nl.datasets.polygon, {"n": n}),
        (nl.datasets.icosahedron, {"label": n, "radii": radii}),
    ]:
        data = attempt(make, **arguments)
        assert data is None or (data.X.size and np.isfinite(data.X).all())


# --- inputs too large for this machine ---


@pytest.mark.parametrize(
    "ask",
    [
        lambda: nl.integrate(U, nl.GD(0.1), X0, 10**15),
        lambda: nl.integrate(U, nl.GD(0.1), X0, 10**12, record_every=10**3),
        lambda: nl.integrate(U, nl.GD(0.1), X0, 10**10, record_params=True),
        lambda: nl.ensemble(U, nl.GD(0.1), np.tile(X0, (1000, 1)), 10**11),
        lambda: nl.drift(U, nl.GD(0.1), X0, 10**13),
        lambda: nl.Network([10**6, 10**6, 10]).init(rng=0),
        lambda: nl.datasets.gaussian_classes(n=10**9, n_features=10**6, rng=0),
        lambda: nl.discover(nl.Network([784, 512, 10]).potential(nl.datasets.glyphs(n=4, rng=0)), rng=0),
        lambda: nl.ntk.kernel(NET, X0, np.zeros((10**7, 2))),
        lambda: nl.ntk.width_study(widths=(10, 10**9)),
    ],
    ids=["steps", "records", "params", "ensemble", "drift", "network", "data", "discover", "kernel", "widths"],
)
def test_too_large_is_said_before_the_work(ask):
    with pytest.raises(DOCUMENTED, match=r"(?i)memory|bytes|GB|allocate|too large|larger"):
        ask()


# --- several at once ---


def train(seed):
    net = nl.Network([2 + seed % 3, 5, 3], ["relu", "swish", "tanh"][seed % 3])
    V = net.potential(nl.datasets.gaussian_classes(n=20, n_features=2 + seed % 3, n_classes=3, rng=seed))
    options = {"batch_size": 7, "rng": seed, "n_threads": 1 + seed % 2}
    run = nl.integrate(V, ALGORITHMS[seed % 4](1e-2), net.init(rng=seed), 200, **options)
    return run.x.tobytes() + b"".join(law.discrete_residual.tobytes() for law in run.laws.values())


@pytest.mark.needs_jit
def test_threads_at_once_change_no_number():
    alone = [train(seed) for seed in range(12)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        together = list(pool.map(train, range(12)))
    assert together == alone
    assert len(set(alone)) == 12


@pytest.mark.needs_jit
@pytest.mark.lengthy
def test_processes_at_once_change_no_number():
    alone = [train(seed) for seed in range(4)]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(train, range(4))) == alone


@pytest.mark.needs_jit
@pytest.mark.lengthy
def test_the_main_job_warns_of_nothing(tmp_path):
    code = "from noetherlite._cli.main import main; raise SystemExit(main(['figure', '1', '--steps', '5', '--samples', '32', '--no-progress']))"
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
