"""Each algorithm's own law (theory §6, §10) holds to round-off over ten thousand steps, at any step size, for minibatches too."""

import numpy as np
import pytest
from algorithms import five
from problems import EPS, HOMOGENEOUS, problem

from noetherlite import GD, NAGD, Leapfrog, integrate

pytestmark = pytest.mark.needs_jit

STEPS = 10_000
RATES = {"first": 3e-4, "second": 1e-7, "conformal": 1e-6}
ALGORITHMS = five(**RATES) | {f"{name} with decay": case for name, case in five(**RATES, decay=0.2).items()}
TOLERANCE = 1e-11


def run(activation, name, batch_size=None, **arguments):
    """A run long enough that the loss changes; powers start small so that nothing grows without bound."""
    _, U, x0 = problem(activation, widths=(2, 3, 3, 2), n=6)
    x0 = x0 * (0.5 if activation.startswith(("polynomial", "repu")) else 1.0)
    algorithm, t0 = ALGORITHMS[name]
    run = integrate(U, algorithm, x0, STEPS, t0=t0, record_every=10, batch_size=batch_size, rng=0, **arguments)
    assert run.status == "completed"
    assert np.ptp(run.loss) > 1e-2 * run.loss[0]  # the run goes somewhere: staying put would conserve anything
    return run


def largest_term(law, mu):
    """The largest number that the law's balance is the difference of: Q for gradient descent, else μJ and ∫μS."""
    if np.isnan(law.source_integral).all():
        return np.abs(law.quantity).max()
    return max(np.abs(mu[:, None] * law.charge.reshape(len(mu), -1)).max(), np.abs(law.source_integral).max())


def relative_residuals(run, dynamics):
    mu = np.ones_like(run.t) if dynamics.mass == 0 else dynamics.integrating_factor(run.t)
    if dynamics.alpha == 3:
        mu = np.ones_like(run.t)  # NAGD's exact law is for J itself, without μ
    return {
        name: np.abs(law.discrete_residual).max() / largest_term(law, mu)
        for name, law in run.laws.items()
        if name != "time"
    }


@pytest.mark.parametrize("batch_size", [None, 2], ids=["full", "minibatch"])
@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("activation", HOMOGENEOUS)
def test_exact_law(activation, name, batch_size):
    residuals = relative_residuals(run(activation, name, batch_size), ALGORITHMS[name][0].dynamics)
    assert any(key.startswith(("scaling", "linear")) for key in residuals)
    assert {"1", "2"} == {key.rsplit(":")[1] for key in residuals if key.startswith(("scaling", "linear"))}
    for key, value in residuals.items():
        assert value < TOLERANCE, key


@pytest.mark.parametrize("lr", [1e-6, 1e-3, 0.1])
@pytest.mark.parametrize("algorithm", [GD, Leapfrog, NAGD])
def test_exact_law_at_any_step_size(algorithm, lr):
    """The exact law is no better discretisation, it has no error; the continuous law is off by far more."""
    _, U, x0 = problem("leaky_relu(0.1)", n=6)
    law = integrate(U, algorithm(lr), x0, 40).laws["scaling:1"]
    size = max(1.0, np.abs(law.charge).max(), np.abs(law.quantity).max())
    assert np.abs(law.discrete_residual).max() < 40 * 100 * EPS * size
    if lr == 0.1:
        assert np.abs(law.residual).max() > 1e-4


def scaling_generator(net, layer, neuron, p):
    """The diagonal of G by theory §4.1: +1 on what comes into the neuron, −p on what leaves it."""
    parts = net.unpack(np.zeros(net.n_params))
    parts[f"W{layer}"][neuron], parts[f"b{layer}"][neuron], parts[f"W{layer + 1}"][:, neuron] = 1, 1, -p
    return net.pack(parts)


def defect_by_hand(activation):
    """Largest |Q_{k+1} − Q_k − ½η²⟨g, Gg⟩| along gradient descent, for the scaling of every hidden neuron."""
    net, U, x0 = problem(activation, n=6)
    lr = 1e-2
    x = integrate(U, GD(lr), x0, 200, record_every=1, record_params=True, laws=None).params
    g = np.array([U.gradient(p) for p in x[:-1]])
    worst = 0.0
    for layer in (1, 2):
        for neuron in range(net.widths[layer]):
            G = scaling_generator(net, layer, neuron, 1)
            worst = max(worst, np.abs(0.5 * np.diff(x**2 @ G) - 0.5 * lr**2 * (g**2 @ G)).max())
    return worst


def test_no_law_without_symmetry():
    """Negative control: for tanh the same balance is off by a million times more than for relu, where it is round-off."""
    relu, tanh = defect_by_hand("relu"), defect_by_hand("tanh")
    assert relu < 100 * EPS
    assert tanh > 1e6 * relu
    _, U, x0 = problem("tanh")
    assert not [name for name in integrate(U, GD(0.1), x0, 1).laws if name.startswith("scaling")]


def test_wrong_degree_breaks_the_law():
    """Negative control: p = 1 instead of 2 for z²."""
    net, U, x0 = problem("polynomial(2)", n=6)
    lr, x0 = 1e-3, 0.5 * x0
    x = integrate(U, GD(lr), x0, 100, record_params=True, laws=None).params
    g = np.array([U.gradient(p) for p in x[:-1]])
    defects = [
        np.abs(0.5 * np.diff(x**2 @ G) - 0.5 * lr**2 * (g**2 @ G)).max()
        for G in (scaling_generator(net, 1, 0, p) for p in (2, 1))
    ]
    assert defects[0] < 100 * EPS
    assert defects[1] > 1e6 * defects[0]
