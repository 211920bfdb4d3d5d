"""The dynamics (m, γ, α): names, friction, integrating factor, Lagrangian, energy."""

import numpy as np
import pytest
from problems import refusals

import noetherlite as nl


def test_the_papers_dynamics_have_their_names():
    assert [d.name for d in (nl.GF, nl.ND, nl.NAGF, nl.Dynamics(1, 0.1, 0))] == ["GF", "ND", "NAGF", "general"]


@pytest.mark.parametrize("dynamics", [nl.ND, nl.NAGF, nl.Dynamics(2.0, 0.3, 1.5)])
def test_integrating_factor_solves_its_equation(dynamics):
    # m μ′ = c μ, by a central difference with relative error h².
    t, h = np.linspace(0.5, 4, 9), 1e-5
    slope = (dynamics.integrating_factor(t + h) - dynamics.integrating_factor(t - h)) / (2 * h)
    expected = dynamics.friction(t) * dynamics.integrating_factor(t) / dynamics.mass
    np.testing.assert_allclose(slope, expected, rtol=1e-8, atol=1e-8)


def test_friction_is_infinite_at_the_start_only_with_alpha():
    assert nl.NAGF.friction(0.0) == np.inf
    assert nl.Dynamics(1, 0.5, 0).friction(0.0) == 0.5


def test_lagrangian_and_energy():
    v = np.array([[1.0, 2.0], [0.0, 3.0]])
    dynamics = nl.Dynamics(2.0, 0.0, 2.0)
    np.testing.assert_array_equal(dynamics.energy(v, [1.0, 2.0]), [6.0, 11.0])
    np.testing.assert_array_equal(dynamics.lagrangian([1.0, 3.0], v, [1.0, 2.0]), [4.0, 21.0])
    assert np.isnan(nl.GF.lagrangian(1.0, v[0], 1.0))


@pytest.mark.parametrize("dynamics", [nl.ND, nl.NAGF, nl.Dynamics(1.5, 0.2, 1.0)])
def test_energy_changes_at_its_rate_along_the_flow(dynamics):
    U, h, t = nl.potentials.Radial(2), 1e-3, 2.0
    flow = nl.reference_flow(U, dynamics, [1.5, 0.3], [t - h, t, t + h])
    energy = dynamics.energy(flow.v, [U.value(x) for x in flow.x])
    rate = (energy[2] - energy[0]) / (2 * h)
    assert rate == pytest.approx(dynamics.energy_rate(t, flow.v[1]), abs=1e-5)  # h² times a third derivative
    assert rate <= 1e-10


def test_energy_does_not_change_at_rest_where_friction_is_infinite():
    flow = nl.reference_flow(nl.potentials.Radial(2), nl.NAGF, [1.5, 0.3], [0.0, 1e-6, 1.0])
    rate = nl.NAGF.energy_rate(flow.t, flow.v)
    assert rate[0] == 0
    assert -1e-5 < rate[1] < 0  # −c|v|² = O(t), as v = O(t)
    assert rate[2] < -1e-3
    assert nl.NAGF.energy_rate(0.0, np.ones(2)) == -np.inf


@pytest.mark.parametrize("arguments", [(-1, 0, 0), (1, -1, 0), (1, 0, np.nan), (0, 0, 0), (0, 1, 3)])
def test_bad_values(arguments):
    with pytest.raises(ValueError, match=r"mass|gamma|alpha"):
        nl.Dynamics(*arguments)


test_shapes_that_do_not_fit_are_named = refusals(
    [
        (lambda d: d.energy(np.ones((2, 2)), np.ones(3)), r"v and potential_value .* got v \(2,\), potential_value \(3,\)"),
        (lambda d: d.lagrangian([1, 2], np.ones((3, 2)), 1), "t and v and potential_value must have shapes that fit"),
        (lambda d: d.energy_rate([1, 2], np.ones((3, 2))), "t and v must have shapes that fit"),
        (lambda d: d.fading([1, 2], [1, 2, 3]), "t and later must have shapes that fit"),
    ],
    lambda call: call(nl.NAGF),
)  # fmt: skip
