"""Convergence to the continuous flow at a fixed time: endpoints against DOP853, and the Noether residuals."""

import numpy as np
import pytest
from problems import EPS, problem
from scipy.integrate import solve_ivp

import noetherlite as nl

pytestmark = pytest.mark.needs_jit

# (name of the class, final time, start, numbers of steps, order); NAGD and friction α/t start at rest or after t = 0
CASES = {
    "GD": (nl.GD, 2.0, 0.0, [100, 200, 400, 800, 1600], 1),
    "HeavyBall": (lambda lr: nl.HeavyBall(1.25 * lr, 0.6, 0.2), 1.0, 0.0, [200, 400, 800, 1600], 1),
    "Nesterov": (lambda lr: nl.Nesterov(lr, 0.5), 1.0, 0.0, [200, 400, 800, 1600], 1),
    "Leapfrog": (nl.Leapfrog, 2.0, 0.0, [40, 80, 160, 320, 640], 2),
    "NAGD": (nl.NAGD, 2.0, 0.0, [200, 400, 800, 1600, 3200], 1),
    "Midpoint": (nl.ImplicitMidpoint, 2.0, 0.0, [40, 80, 160, 320], 2),
    "Midpoint of ND": (lambda lr: nl.ImplicitMidpoint(lr, "ND"), 2.0, 0.0, [40, 80, 160, 320], 2),
    "Projected": (nl.ProjectedGD, 2.0, 0.0, [100, 200, 400, 800], 1),
    "RK4": (nl.RK4, 2.0, 0.0, [14, 20, 28, 40], 4),
    "Yoshida 4": (nl.Yoshida, 2.0, 0.0, [12, 24, 48, 96], 4),
    "Yoshida 6": (lambda lr: nl.Yoshida(lr, 6), 4.0, 0.0, [8, 16, 24, 32], 6),
    "Damped Yoshida 4": (lambda lr: nl.Yoshida(lr, mass=2, gamma=0.5, alpha=1), 2.0, 1.0, [6, 12, 24, 48], 4),
    "Conformal": (lambda lr: nl.ConformalLeapfrog(lr, mass=2, gamma=0.5, alpha=1), 2.0, 1.0, [40, 80, 160, 320], 2),
}
FIRST_ORDER = ("GD", "HeavyBall", "Nesterov", "Midpoint", "Projected", "RK4")  # the flow is: lr is the time per step
KEEPS = ("Midpoint", "Projected")  # Q, to round-off


def solve(U, dynamics, x0, t0, duration):
    """The flow by an independent integrator; near t = 0 friction α/t is started by its series, ẍ(0) = −∇U/(1 + α)."""
    P = x0.size
    if dynamics.mass == 0:
        answer = solve_ivp(
            lambda t, x: -U.gradient(x) / dynamics.gamma, (0, duration), x0, method="DOP853", rtol=1e-12, atol=1e-13
        )
        return answer.y[:, -1]
    begin, x, v = t0, x0, np.zeros(P)
    if t0 == 0 and dynamics.alpha > 0:
        begin = 1e-4  # the series' error, of order begin⁴, is round-off
        a = -U.gradient(x0) / (1 + dynamics.alpha)
        x, v = x0 + 0.5 * begin**2 * a, begin * a

    def field(t, z):
        friction = dynamics.gamma + (dynamics.alpha / t if dynamics.alpha else 0)
        return np.concatenate([z[P:], -(friction * z[P:] + U.gradient(z[:P])) / dynamics.mass])

    answer = solve_ivp(field, (begin, t0 + duration), np.concatenate([x, v]), method="DOP853", rtol=1e-12, atol=1e-13)
    return answer.y[:P, -1]


def fitted_order(sizes, errors):
    return np.polyfit(np.log(sizes), np.log(errors), 1)[0]


def errors(name, activation, law="scaling:1"):
    """Step sizes, endpoint errors, and largest Noether residuals of each law."""
    make, duration, t0, counts, order = CASES[name]
    _, U, x0 = problem(activation, "mse", widths=(2, 3, 2), n=6)
    x0 = 0.5 * x0
    sizes = duration / np.array(counts)
    algorithms = [make(dt if name in FIRST_ORDER else dt**2) for dt in sizes]
    exact = solve(U, algorithms[0].dynamics, x0, t0, duration)
    runs = [
        nl.integrate(U, a, x0, n, t0=t0, record_every=n // counts[0]) for a, n in zip(algorithms, counts, strict=True)
    ]
    endpoint = np.array([np.linalg.norm(r.x - exact) for r in runs])
    residual = np.array([np.abs(r.laws[law].residual).max() for r in runs])
    assert np.linalg.norm(exact - x0) > 0.05  # it moves
    assert all(a.order == order for a in algorithms)
    return sizes, endpoint, residual, order


@pytest.mark.parametrize("activation", ["swish", "polynomial(2)"])
@pytest.mark.parametrize("name", CASES)
def test_endpoints_and_laws_have_the_order(name, activation):
    sizes, endpoint, residual, order = errors(name, activation)
    assert fitted_order(sizes, endpoint) == pytest.approx(order, abs=0.15)
    if name in KEEPS:
        assert residual.max() < 8 * EPS * CASES[name][3][-1]
        return
    assert fitted_order(sizes, residual) == pytest.approx(order, abs=0.15)
    # the errors fitted are discretisation, far above DOP853's 1e-12 and round-off
    assert min(endpoint.min(), residual.min()) > 1e-10


@pytest.mark.parametrize("name", [name for name in CASES if name not in KEEPS])
def test_order_of_the_matrix_law_of_a_linear_layer(name):
    sizes, _, residual, order = errors(name, "linear(0.7)", "linear:1")
    assert fitted_order(sizes, residual) == pytest.approx(order, abs=0.15)


def test_gd_is_not_second_order():
    """Negative control: the fit tells 1 from 2."""
    sizes, endpoint, residual, _ = errors("GD", "swish")
    for e in (endpoint, residual):
        assert abs(fitted_order(sizes, e) - 2) > 0.15
