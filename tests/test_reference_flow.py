"""The reference flow against closed forms, from regular and from singular starts."""

import re

import numpy as np
import pytest
from problems import problem, refusals
from scipy.special import gamma as gamma_function
from scipy.special import jv

import noetherlite as nl

T = np.linspace(0.0, 12.0, 25)
OMEGA = np.array([0.7, 1.0, 3.0])
X0 = np.array([1.0, -2.0, 0.5])
OSCILLATOR = nl.potentials.Harmonic(np.diag(OMEGA**2))
# DOP853 keeps each step's error below 1e-12: the sum over some hundred steps stays below 1e-10.
TOLERANCE = 1e-10


def bessel(alpha, t):
    nu, z = (alpha - 1) / 2, np.outer(t, OMEGA)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(z > 0, gamma_function(nu + 1) * (2 / z) ** nu * jv(nu, z), 1.0)


CLOSED_FORMS = {
    "GF": (nl.GF, lambda t: np.exp(-np.outer(t, OMEGA**2))),
    "ND": (nl.ND, lambda t: np.cos(np.outer(t, OMEGA))),
    "NAGF": (nl.NAGF, lambda t: bessel(3, t)),
    "alpha=1": (nl.Dynamics(1, 0, 1), lambda t: bessel(1, t)),
    "alpha=5": (nl.Dynamics(1, 0, 5), lambda t: bessel(5, t)),
    "mass=2": (nl.Dynamics(2, 0, 0), lambda t: np.cos(np.outer(t, OMEGA / np.sqrt(2)))),
    # A mass scales time: 2ẍ + (6/t)ẋ + ω²x = 0 is NAGF with ω/√2.
    "mass=2, alpha=6": (nl.Dynamics(2, 0, 6), lambda t: bessel(3, t / np.sqrt(2))),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_oscillator(name):
    dynamics, solution = CLOSED_FORMS[name]
    flow = nl.reference_flow(OSCILLATOR, dynamics, X0, T)
    assert np.abs(flow.x - solution(T) * X0).max() < TOLERANCE
    assert np.abs(flow.x - solution(1.01 * T) * X0).max() > 1e-3  # the test can fail


def test_damped_oscillator():
    gamma = 0.3
    rate = np.sqrt(OMEGA**2 - gamma**2 / 4)
    angle = np.outer(T, rate)
    expected = np.exp(-gamma * T / 2)[:, None] * (np.cos(angle) + gamma / (2 * rate) * np.sin(angle)) * X0
    flow = nl.reference_flow(OSCILLATOR, nl.Dynamics(1, gamma, 0), X0, T)
    assert np.abs(flow.x - expected).max() < TOLERANCE


def test_series_joins_the_flow_smoothly_with_both_frictions():
    # From t0 = 0 by the series, or handed over at t = 0.5: the same flow.
    dynamics, U = nl.Dynamics(1.3, 0.4, 2.0), nl.potentials.Radial(3)
    whole = nl.reference_flow(U, dynamics, X0, [0.001, 0.5, 4.0])
    rest = nl.reference_flow(U, dynamics, whole.x[1], [4.0], velocity=whole.v[1], t0=0.5)
    assert np.abs(rest.x[0] - whole.x[2]).max() < TOLERANCE
    assert np.abs(rest.v[0] - whole.v[2]).max() < TOLERANCE
    # Near 0 the motion is free fall slowed by friction: x − x0 = −∇U t²/2(m + α) (1 + O(t)).
    fall = -U.gradient(X0) * 0.001**2 / (2 * 3.3)
    assert np.abs(whole.x[0] - X0 - fall).max() < 0.001 * np.abs(fall).max()


@pytest.mark.parametrize("k", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("start", [0.0, 1e-3, 0.3])
def test_series_fits_the_scale_of_the_potential(k, start):
    # U(x) = u(kx) scales lengths by 1/k and times by 1/k; at the inflection, 0, no Hessian tells of it.
    def flow(k):
        U = nl.potentials.Callable(lambda x: (float(1 - np.sin(k * x[0])), -k * np.cos(k * x)), 1)
        return nl.reference_flow(U, nl.NAGF, [start / k], np.array([0.5, 1.0, 2.0, 5.0]) / k, atol=1e-13 / k)

    assert np.abs(k * flow(k).x - flow(1.0).x).max() < TOLERANCE
    assert np.abs(flow(k).v - flow(1.0).v).max() < TOLERANCE


def test_a_critical_point_stays():
    flow = nl.reference_flow(OSCILLATOR, nl.NAGF, np.zeros(3), [0.0, 5.0])
    assert not flow.x.any()
    assert not flow.v.any()


def test_velocity_is_used():
    flow = nl.reference_flow(OSCILLATOR, nl.ND, np.zeros(3), T, velocity=OMEGA)
    assert np.abs(flow.x - np.sin(np.outer(T, OMEGA))).max() < TOLERANCE
    assert np.abs(flow.v - OMEGA * np.cos(np.outer(T, OMEGA))).max() < 3 * TOLERANCE


test_bad_input = refusals(
    [
        ({"dynamics": nl.NAGF, "velocity": np.ones(3)}, "velocity must be zero at t0 = 0"),
        ({"dynamics": nl.GF, "velocity": np.ones(3)}, "velocity is not accepted with mass = 0"),
        ({"t": [1.0, 0.5]}, "t must increase"),
        ({"t": []}, "t must hold times"),
        ({"t": [0.5], "t0": 1.0}, "t must hold times >= t0=1"),
        ({"x0": np.ones(2)}, "x0 must have shape"),
        ({"t0": -1.0}, "t0=-1.0"),
        ({"rtol": 1e-16}, "rtol=1e-16"),
        ({"atol": 0.0}, "atol=0.0"),
    ],
    lambda arguments: nl.reference_flow(OSCILLATOR, **{"dynamics": nl.ND, "x0": X0, "t": [1.0], **arguments}),
)


def test_failure_is_reported():
    explodes = nl.potentials.Callable(lambda x: (float(-(x[0] ** 4)), -4 * x**3), 1)
    for dynamics in (nl.GF, nl.ND, nl.NAGF):
        with pytest.raises(RuntimeError, match="DOP853 stopped"):
            nl.reference_flow(explodes, dynamics, [1.0], [10.0])


@pytest.mark.parametrize("dynamics", [nl.GF, nl.ND, nl.NAGF])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_reported(dynamics, value):
    undefined = nl.potentials.Callable(lambda x: (0.0, np.full(1, value)), 1)
    with pytest.raises(RuntimeError, match="not finite at x0"):
        nl.reference_flow(undefined, dynamics, [1.0], [1.0])
    beside = nl.potentials.Callable(lambda x: (0.0, np.ones(1) if x[0] == 1.0 else np.full(1, value)), 1)
    with pytest.raises(RuntimeError, match=r"∇U is not finite (on its way|near x0)"):
        nl.reference_flow(beside, dynamics, [1.0], [1.0])


def test_gives_up_where_the_flow_is_far_too_steep():
    steep = nl.potentials.Harmonic(np.diag([1e12, 1.0]))
    with pytest.raises(RuntimeError, match=r"needs more than max_evaluations=1000 and is at t = \d"):
        nl.reference_flow(steep, nl.GF, [1.0, 1.0], [1.0], max_evaluations=1000)


@pytest.mark.parametrize("activation", ["hard_tanh", "elu(0.5)"])
def test_kinks_that_are_not_followed_are_refused(activation):
    _, U, x = problem(activation, widths=(2, 2, 2), n=3)
    with pytest.raises(ValueError, match=re.escape(f"activation {activation!r}, whose kinks")):
        nl.reference_flow(U, nl.GF, x, [0.1])
