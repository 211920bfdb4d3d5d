"""Refusals of bad input: the message names the argument, the value given and the value expected."""

import re

import numpy as np
import pytest

import noetherlite as nl

NET = nl.Network([2, 3, 2], "relu")
MSE = nl.Network([2, 3, 2], "relu", loss="mse")
X, Y = np.ones((4, 2)), np.array([0, 1, 1, 0])
U = NET.potential(X, Y)
THETA = NET.init(rng=0)
ONES = np.ones(NET.n_params)
NAN = X.copy()
NAN[2, 1] = np.nan


def run(U=U, algorithm=nl.GD(0.1), x0=THETA, steps=3, **arguments):  # noqa: B008 - frozen
    return nl.integrate(U, algorithm, x0, steps, **arguments)


# what is done, the error, and what its message must contain: the argument with the value, and the expectation
CASES = {
    # data
    "X one-dimensional": (lambda: NET.potential(np.ones(4), Y), ValueError, ["X must be 2-dimensional", "(4,)"]),
    "X too wide": (lambda: NET.potential(np.ones((4, 3)), Y), ValueError, ["X must have 2 columns", "got 3"]),
    "X empty": (lambda: NET.potential(np.ones((0, 2)), Y[:0]), ValueError, ["X holds no samples", "at least one"]),
    "X with NaN": (lambda: NET.potential(NAN, Y), ValueError, ["X must be finite", "nan at index (2, 1)"]),
    "X of text": (lambda: NET.potential([["a", "b"]], [0]), TypeError, ["X must hold real numbers", "dtype <U1"]),
    "X complex": (lambda: NET.potential(X * 1j, Y), TypeError, ["X must hold real numbers", "complex128"]),
    "X ragged": (lambda: NET.potential([[1, 2], [3]], [0, 1]), TypeError, ["X must be an array of real numbers"]),
    "X alone": (lambda: NET.potential(X), TypeError, ["potential needs a Dataset, or X and y"]),
    "label too large": (lambda: NET.potential(X, [0, 1, 2, 0]), ValueError, ["y[2]=2", "labels in 0..1"]),
    "label negative": (lambda: NET.potential(X, [0, -1, 1, 0]), ValueError, ["y[1]=-1", "labels in 0..1"]),
    "labels as floats": (lambda: NET.potential(X, Y * 1.0), TypeError, ["y must hold integer class labels", "float64"]),
    "labels too few": (lambda: NET.potential(X, Y[:3]), ValueError, ["y must have shape (4,)", "got (3,)"]),
    "labels one-hot": (lambda: NET.potential(X, np.eye(2, dtype=int)[Y]), ValueError, ["y must have shape (4,)", "(4, 2)"]),
    "targets as labels": (lambda: MSE.potential(X, Y), ValueError, ["y must be 2-dimensional", "(4,)"]),
    "targets of another width": (lambda: MSE.potential(X, X[:, :1]), ValueError, ["y must have shape (4, 2)", "(4, 1)"]),
    "targets with NaN": (lambda: MSE.potential(X, NAN), ValueError, ["y must be finite", "index (2, 1)"]),
    # networks
    "loss": (lambda: nl.Network([2, 2], loss="mse2"), ValueError, ["loss='mse2'", "did you mean 'mse'", "'nll'"]),
    "activation": (lambda: nl.Network([2, 3, 2], "mish"), ValueError, ["activation='mish'", "'swish'"]),
    "theta": (lambda: NET.predict(THETA[1:], X), ValueError, ["theta must have shape (17,)", "got (16,)"]),
    "theta with NaN": (lambda: NET.predict(THETA * np.nan, X), ValueError, ["theta must be finite", "nan"]),
    # potentials
    "n_params": (lambda: nl.potentials.Radial(0), ValueError, ["n_params=0", ">= 1"]),
    "A rectangular": (lambda: nl.potentials.Harmonic(np.ones((2, 3))), ValueError, ["A must be a symmetric", "(2, 3)"]),
    "A not symmetric": (lambda: nl.potentials.Harmonic([[1, 2], [3, 4]]), ValueError, ["A must be a symmetric"]),
    "function": (lambda: nl.potentials.Callable(3, 2), TypeError, ["value_and_gradient must be callable", "got 3"]),
    "function's gradient": (
        lambda: nl.potentials.Callable(lambda x: (0.0, [1.0]), 2).gradient([1, 2]),
        ValueError,
        ["value_and_gradient must return", "shape (2,)", "(1,)"],
    ),
    "function's value alone": (
        lambda: nl.potentials.Callable(lambda x: 1.0, 2).value([1, 2]),
        TypeError,
        ["value_and_gradient must return", "got 1.0"],
    ),
    "function's complex gradient": (
        lambda: nl.potentials.Callable(lambda x: (1.0, 1j * x), 2).value([1, 2]),
        TypeError,
        ["the gradient of value_and_gradient must hold real numbers", "complex128"],
    ),
    "function's value of text": (
        lambda: nl.potentials.Callable(lambda x: ("1", x), 2).value([1, 2]),
        TypeError,
        ["the value of value_and_gradient must hold real numbers", "'1'"],
    ),
    "ragged target": (
        lambda: nl.potentials.MatrixCompletion([[1], [1, 2]], [[True]], 1),
        TypeError,
        ["target must be an array of real numbers"],
    ),
    "half of a diagonal network": (
        lambda: nl.potentials.DiagonalLinear([[1, 2]], [3]).coefficients(np.ones((2, 2))),
        ValueError,
        ["x must have shape (..., 4)", "(2, 2)"],
    ),
    "x": (lambda: U.value(THETA[1:]), ValueError, ["x must have shape (17,)", "got (16,)"]),
    # symmetries, sweeps, Lagrangians
    "strength beyond doubles": (
        lambda: nl.symmetries(U)[0].apply(THETA, 1e3),
        ValueError,
        ["strength=1000.0", "beyond the range of a double"],
    ),
    "name of a parameter": (lambda: nl.sweep(run, {1: [0.1]}), TypeError, ["a name in grid must be a string", "got 1"]),
    "Lagrangian of vectors": (
        lambda: nl.lagrangian.hamiltonian(lambda t, x, v: v, 0, [1, 2], [1, 2]),
        TypeError,
        ["L must return a number", "(2,)"],
    ),
    "generator without time": (
        lambda: nl.lagrangian.noether_charge(lambda t, x, v: v @ v, lambda t, x: x, 0, [1.0, 2, 3], [1.0, 2, 3]),
        TypeError,
        ["generator must return a number and an array of shape (3,)", "(3,)"],
    ),
    # algorithms
    "lr negative": (lambda: nl.GD(-0.1), ValueError, ["lr=-0.1", "> 0"]),
    "lr zero": (lambda: nl.Leapfrog(0), ValueError, ["lr=0", "> 0"]),
    "lr infinite": (lambda: nl.NAGD(np.inf), ValueError, ["lr=inf", "finite"]),
    "lr text": (lambda: nl.GD("fast"), TypeError, ["lr must be a real number", "'fast'"]),
    "alpha of NAGD": (lambda: nl.NAGD(0.1, alpha=2), ValueError, ["alpha=2", ">= 3"]),
    "mass": (lambda: nl.ConformalLeapfrog(0.1, mass=0), ValueError, ["mass=0", "> 0"]),
    "gamma": (lambda: nl.ConformalLeapfrog(0.1, gamma=-1), ValueError, ["gamma=-1", ">= 0"]),
    "dynamics": (lambda: nl.Dynamics(mass=0, gamma=0), ValueError, ["mass=0", "gamma > 0", "gamma=0"]),
    # runs
    "potential": (lambda: run(U=NET), TypeError, ["U must be a potential", "Network("]),
    "algorithm": (lambda: run(algorithm=0.1), TypeError, ["algorithm must be an Algorithm", "got 0.1"]),
    "algorithm's class": (lambda: run(algorithm=nl.GD), TypeError, ["algorithm must be an Algorithm", "GD"]),
    "x0": (lambda: run(x0=THETA[1:]), ValueError, ["x0 must have shape (17,)", "got (16,)"]),
    "x0 as a matrix": (lambda: run(x0=THETA[None]), ValueError, ["x0 must be 1-dimensional", "(1, 17)"]),
    "x0 with NaN": (lambda: run(x0=THETA * np.nan), ValueError, ["x0 must be finite", "nan"]),
    "steps negative": (lambda: run(steps=-1), ValueError, ["steps=-1", ">= 0"]),
    "steps float": (lambda: run(steps=3.0), TypeError, ["steps must be an integer", "3.0"]),
    "steps boolean": (lambda: run(steps=True), TypeError, ["steps must be an integer", "True"]),
    "record_every zero": (lambda: run(record_every=0), ValueError, ["record_every=0", ">= 1"]),
    "record_every float": (lambda: run(record_every=1.5), TypeError, ["record_every must be an integer", "1.5"]),
    "batch_size zero": (lambda: run(batch_size=0), ValueError, ["batch_size=0", ">= 1 and <= 4"]),
    "batch_size > N": (lambda: run(batch_size=5), ValueError, ["batch_size=5", ">= 1 and <= 4"]),
    "batch_size without samples": (
        lambda: run(U=nl.potentials.Radial(3), x0=np.ones(3), batch_size=1),
        ValueError,
        ["batch_size=1", "samples", "Radial"],
    ),
    "rng": (lambda: run(batch_size=2, rng="seed"), TypeError, ["rng must be a seed", "'seed'"]),
    "backend": (lambda: run(backend="gpu"), ValueError, ["backend='gpu'", "'cpu'", "'reference'"]),
    "backend for a function": (
        lambda: run(U=nl.potentials.Callable(lambda x: (0.0, x), 2), x0=[1, 2], backend="cpu"),
        ValueError,
        ["backend='cpu'", "Callable", "'reference'"],
    ),
    "dtype": (lambda: run(dtype="float16"), ValueError, ["dtype='float16'", "'float64'", "'float32'"]),
    "dtype too small for the data": (
        lambda: run(U=nl.potentials.Harmonic(np.eye(2) * 1e39), x0=[1, 2], dtype="float32"),
        ValueError,
        ["dtype='float32' does not hold the data", "1e+39"],
    ),
    "dtype unheard of": (lambda: run(dtype="double64"), ValueError, ["dtype='double64'", "'float64'"]),
    "dtype for a function": (
        lambda: run(U=nl.potentials.Callable(lambda x: (0.0, x), 2), x0=[1, 2], dtype="float32"),
        ValueError,
        ["dtype='float32'", "Callable", "'float64'"],
    ),
    "on_divergence": (lambda: run(on_divergence="ignore"), ValueError, ["on_divergence='ignore'", "'raise'"]),
    "laws": (lambda: run(laws=["scaling:7"]), ValueError, ["laws", "scaling:7", "scaling:1"]),
    "laws misspelt": (lambda: run(laws="al"), ValueError, ["laws='al'", "'scaling:1'"]),
    "laws of another type": (lambda: run(laws=[3]), TypeError, ["laws", "3"]),
    "velocity with GD": (lambda: run(velocity=ONES), ValueError, ["velocity is not accepted by GD"]),
    "velocity with RK4": (
        lambda: run(algorithm=nl.RK4(0.1), velocity=ONES),
        ValueError,
        ["velocity is not accepted by RK4"],
    ),
    "velocity of another shape": (
        lambda: run(algorithm=nl.Leapfrog(0.1), velocity=ONES[1:]),
        ValueError,
        ["velocity must have shape (17,)", "got (16,)"],
    ),
    "velocity with NAGD at 0": (
        lambda: run(algorithm=nl.NAGD(0.1), velocity=ONES),
        ValueError,
        ["velocity must be zero at t0 = 0", "t0 > 0"],
    ),
    "friction α/t at 0": (
        lambda: run(algorithm=nl.ConformalLeapfrog(0.1, alpha=1)),
        ValueError,
        ["t0 must be > 0", "ConformalLeapfrog", "no t0"],
    ),
    "friction α/t at a given 0": (
        lambda: run(algorithm=nl.ConformalLeapfrog(0.1, alpha=1), t0=0.0),
        ValueError,
        ["t0 must be > 0", "t0=0.0"],
    ),
    "t0 negative": (lambda: run(t0=-1.0), ValueError, ["t0=-1.0", ">= 0"]),
    "steps beyond int64": (lambda: run(steps=10**19), ValueError, ["steps=10000000000000000000", "<= 9223372036854775807"]),
    "steps of 5001 digits": (lambda: run(steps=10**5000), ValueError, ["steps=an integer of 16610 bits", "out of range"]),
    "steps beyond memory": (lambda: run(steps=10**18), MemoryError, ["record_every"]),
    "record_every beyond int64": (lambda: run(record_every=10**20), ValueError, ["record_every=1000", "out of range"]),
    "record_params as text": (lambda: run(record_params="yes"), TypeError, ["record_params must be True or False", "'yes'"]),
    "input_reduction as text": (lambda: run(input_reduction="x"), TypeError, ["input_reduction must be", "'x'"]),
    "progress as text": (lambda: run(progress="no"), TypeError, ["progress must be True or False", "'no'"]),
    "callback": (lambda: run(callback=3), TypeError, ["callback must be callable", "got 3"]),
    "lr beyond doubles": (lambda: nl.GD(10**400), ValueError, ["lr=an integer of 1329 bits", "finite"]),
    "lr as text of a number": (lambda: nl.GD("0.1"), TypeError, ["lr must be a real number", "'0.1'"]),
    "lr of NumPy": (lambda: nl.GD(np.float64(-0.5)), ValueError, ["lr=-0.5", "> 0"]),
    "lr in an array without axes": (lambda: nl.GD(np.array(-0.5)), ValueError, ["lr=-0.5", "> 0"]),
    "lr boolean": (lambda: nl.GD(True), TypeError, ["lr must be a real number", "True"]),
    "complex lr": (lambda: nl.GD(np.complex128(0.1 + 5j)), TypeError, ["lr must be a real number", "0.1+5j"]),
    "lr is a text in an array": (lambda: nl.GD(np.array("0.1")), TypeError, ["lr must be a real number", "dtype <U3"]),
    "many glyphs": (lambda: nl.datasets.glyphs(n=10**6), ValueError, ["n=1000000", "<= 200000"]),
    "t0 NaN": (lambda: run(t0=float("nan")), ValueError, ["t0=nan", "finite"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_wrong_arguments_are_refused(case):
    act, error, parts = CASES[case]
    with pytest.raises(error) as caught:
        act()
    assert type(caught.value) is error
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert len(message) < 300
    assert not re.search(r"0x[0-9a-f]{6}", message)  # no addresses


def test_right_arguments_are_accepted():
    """Negative control for the table: the same calls with good arguments run."""
    for arguments in (
        {},
        {"algorithm": nl.NAGD(0.01), "velocity": ONES, "t0": 0.5},
        {"algorithm": nl.NAGD(0.01), "velocity": 0 * ONES},
        {"algorithm": nl.ConformalLeapfrog(0.01, alpha=1), "t0": 0.5},
        {"algorithm": nl.GD(10**29), "steps": 0},
        {"batch_size": np.int64(4), "steps": np.int32(2), "rng": 0, "laws": ["scaling:1"], "dtype": np.float32},
    ):
        assert run(**arguments).status == "completed"
    assert run(record_every=10**11, record_params=np.True_).step.tolist() == [0, 3]
    assert MSE.potential(X.astype(int), X).n_samples == 4
    assert NET.potential(X, Y.astype(np.uint8)).n_samples == 4
