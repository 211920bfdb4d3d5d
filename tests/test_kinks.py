"""Flows of networks with kinks: sliding modes in closed form, the limit of gradient descent, crossings by momentum."""

import itertools

import numpy as np
import pytest
from problems import EPS, problem
from scipy.integrate import solve_ivp
from scipy.special import ellipj, ellipk, ellipkinc

import noetherlite as nl
from noetherlite._motion import events, sliding
from noetherlite._motion.gated import GatedLoss
from noetherlite._motion.normals import triangle

# DOP853 keeps each step's error below 1e-12, and the dense output where a piece ends is of one order less.
TOLERANCE = 1e-9


def modes(flow):
    return {tuple(mode[:3]) for mode in flow.sliding}


def energies(U, flow, x, v):
    """The energy at a start and at every time of a flow from it."""
    return [U.value(a) + 0.5 * w @ w for a, w in zip([x, *flow.x], [v, *flow.v], strict=True)]


def descent(U, x, end, n):
    """Gradient descent in n steps, without records."""
    return nl.integrate(U, nl.GD(end / n), x, n, laws=None, record_every=n).x


# --- a sliding mode in closed form ------------------------------------------------------------------------------------------
#
# f = u σ(w·x) with samples (0, 1) ↦ −3 and (1, 1) ↦ 2: on w_2 = 0 the second pulls w_2 up and the first, where it is on, pulls it
# down by more. With u = w_1 and S = u w_1 the sliding flow is Ṡ = S(2 − S), and the first sample's slope is (2 − S)/3.

X, Y, START = [[0.0, 1.0], [1.0, 1.0]], [[-3.0], [2.0]], 0.5
REST = [np.sqrt(START), 0.0, np.sqrt(START)]


def pulled(activation="relu"):
    return nl.Network([2, 1, 1], activation, bias=False, loss="mse").potential(X, Y)


def logistic(t):
    return 2 / (1 + (2 - START) / START * np.exp(-2 * t))


@pytest.mark.parametrize("activation", ["relu", "repu(1)", "leaky_relu(0.01)"])
def test_sliding_is_the_closed_form(activation):
    t = np.array([0.0, 0.3, 1.0, 1.5])
    flow = nl.reference_flow(pulled(activation), nl.GF, REST, t)
    assert np.abs(flow.x[:, 0] * flow.x[:, 2] - logistic(t)).max() < TOLERANCE
    assert np.abs(flow.x[:, 1]).max() < 4 * EPS  # put back onto the kink after every step
    rate = 0.5 * (2 - flow.x[:, 0] * flow.x[:, 2]) * flow.x[:, 2]
    assert np.abs(flow.v[:, 0] - rate).max() < TOLERANCE
    assert np.abs(flow.v[:, 1]).max() < TOLERANCE
    assert flow.sliding == (nl.SlidingMode(sample=0, layer=1, neuron=0, start=0.0, end=1.5),)
    beside = nl.reference_flow(pulled(activation), nl.GF, REST, 1.01 * t)
    assert np.abs(beside.x[:, 0] * beside.x[:, 2] - logistic(t)).max() > 1e-3  # the test can fail


@pytest.mark.needs_jit
def test_a_slope_that_reaches_its_side_ends_the_sliding():
    """With slopes in [0.1, 1] the first sample holds until S = 1.7, at ½ log(S(2 − S_0)/(S_0(2 − S)))."""
    end = 0.5 * np.log(1.7 * (2 - START) / (START * 0.3))
    flow = nl.reference_flow(pulled("leaky_relu(0.1)"), nl.GF, REST, [end + 1])
    (mode,) = flow.sliding
    assert abs(mode.end - end) < TOLERANCE
    assert flow.x[0, 1] < -0.01  # the first sample now pulls down by more than the second pulls up, though it is off
    later = descent(pulled("leaky_relu(0.1)"), REST, end + 1, 40000)
    assert np.abs(later - flow.x[0]).max() < 1e-3


@pytest.mark.parametrize("w2", [0.2, -0.2])
def test_the_flow_arrives_from_either_side_and_keeps_its_charge(w2):
    U, x = pulled(), np.array([0.7, w2, 0.9])
    t = np.linspace(0.01, 2, 9)
    flow = nl.reference_flow(U, nl.GF, x, t)
    (mode,) = flow.sliding
    assert mode[:3] == (0, 1, 0)
    assert 0 < mode.start < 1
    assert mode.end == 2.0
    law = nl.symmetries(U)[0]
    assert np.abs(law.quantity(flow.x) - law.quantity(x)).max() < TOLERANCE
    assert np.abs(law.charge(flow.x, flow.v)).max() < TOLERANCE
    assert np.abs(flow.x[0] - x).max() > 1e-3


def test_kinks_that_coincide_are_one_surface():
    """On w = 0 samples 1 and −1 switch at once, one on, one off: from both sides w is pulled to 0 and stays there.

    w = √q sinh φ, u = √q cosh φ with u² − w² = q: φ̇ = −½(q sinh(2φ)/2 + 2) until φ = 0.
    """
    U = nl.Network([1, 1, 1], "relu", bias=False, loss="mse").potential([[1.0], [-1.0]], [[-2.0], [-1.0]])
    q, phi = 0.8, 0.6
    x = np.sqrt(q) * np.array([np.sinh(phi), np.cosh(phi)])
    flow = nl.reference_flow(U, nl.GF, x, [0.2, 3.0])
    path = solve_ivp(lambda _, p: -0.5 * (q * np.sinh(2 * p) / 2 + 2), (0, 0.2), [phi], rtol=1e-12, atol=1e-13)
    assert np.abs(flow.x[0] - np.sqrt(q) * np.array([np.sinh(path.y[0, -1]), np.cosh(path.y[0, -1])])).max() < TOLERANCE
    assert np.abs(flow.x[1] - [0.0, np.sqrt(q)]).max() < TOLERANCE
    assert modes(flow) == {(0, 1, 0), (1, 1, 0)}


def test_equal_samples_count_as_one():
    twice = nl.Network([2, 1, 1], "relu", bias=False, loss="mse").potential(X + X, Y + Y)
    x, t = [0.7, 0.2, 0.9], [0.1, 2.0]
    one, two = (nl.reference_flow(U, nl.GF, x, t) for U in (pulled(), twice))
    assert np.abs(one.x - two.x).max() < TOLERANCE
    assert modes(two) == {(0, 1, 0), (2, 1, 0)}


# --- the limit of gradient descent -------------------------------------------------------------------------------------------

CASES = {
    "relu": ("relu", (3, 8, 6, 2), True, "nll", 3),
    "leaky": ("leaky_relu(0.2)", (3, 8, 6, 2), True, "mse", 4),
    "mixed": (["relu", "tanh"], (3, 8, 6, 2), True, "mse", 5),
    "swish": (["swish", "relu"], (3, 8, 6, 2), True, "nll", 6),
    "no bias": ("relu", (3, 8, 6, 2), False, "mse", 7),
}


def case(name, n=24):
    activation, widths, bias, loss, seed = CASES[name]
    rng = np.random.default_rng(seed)
    net = nl.Network(widths, activation, bias=bias, loss=loss)
    y = rng.integers(0, widths[-1], n) if loss == "nll" else rng.standard_normal((n, widths[-1]))
    return net.potential(rng.standard_normal((n, widths[0])), y), net.init(rng, scheme="he")


@pytest.mark.needs_jit
@pytest.mark.parametrize("name", CASES)
@pytest.mark.uncounted
def test_gradient_descent_tends_to_the_flow(name):
    """The smaller the steps the smaller the distance, though gradient descent zigzags where the flow slides."""
    U, x = case(name)
    end = 6.0
    flow = nl.reference_flow(U, nl.GF, x, [end], rtol=1e-10, atol=1e-11)
    assert flow.n_crossings > 5
    assert len(flow.sliding) > 0 or name == "swish"
    distances = [np.abs(descent(U, x, end, n) - flow.x[0]).max() for n in (4000, 64000)]
    assert distances[1] < 2e-3
    # Euler steps on Filippov's flow are of order 1/2 at least, of order 1 between kinks.
    assert distances[0] / distances[1] > 4
    for law in nl.symmetries(U)[:-1]:
        scale = np.abs(law.quantity(x)).max()
        assert np.abs(law.quantity(flow.x[0]) - law.quantity(x)).max() < 1e-8 * max(1.0, scale)


def unseen(seed):
    """Return U and θ with a sample that no neuron of layer 1 sees: z_2 = b_2 = 0 at first, on the kinks of all of layer 2."""
    net = nl.Network([2, 3, 4, 1], "relu", loss="mse")
    theta = net.init(np.random.default_rng(seed))
    net.unpack(theta)["W1"][:] = np.abs(net.unpack(theta)["W1"])
    return net.potential([[-1.0, -2.0], [1.0, 0.5], [-0.5, 1.0]], [[1.0], [-1.0], [0.5]]), theta


@pytest.mark.needs_jit
def test_biases_of_zero_start_on_kinks():
    U, theta = unseen(3)
    flow = nl.reference_flow(U, nl.GF, theta, [1.0])
    assert np.abs(descent(U, theta, 1.0, 20000) - flow.x[0]).max() < 1e-3


# --- momentum ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_momentum_crosses_kinks_and_keeps_its_energy(name):
    U, x = case(name, n=10)
    x = x + 0.05 * np.random.default_rng(0).standard_normal(x.size)  # no bias at zero
    t = np.linspace(0, 2, 5)
    flow = nl.reference_flow(U, nl.ND, x, t)
    assert flow.n_crossings > 0
    assert flow.sliding == ()
    assert np.ptp(energies(U, flow, x, 0 * x)) < TOLERANCE
    assert np.ptp([U.value(a) for a in flow.x]) > 1e-3
    back = nl.reference_flow(U, nl.ND, flow.x[-1], [2.0], velocity=-flow.v[-1])
    assert np.abs(back.x[0] - x).max() < 100 * TOLERANCE  # time runs backwards as well as forwards


@pytest.mark.parametrize("dynamics", [nl.NAGF, nl.Dynamics(0.5, 0.3, 1.0)])
def test_friction_that_is_infinite_at_first(dynamics):
    U, x = case("relu", n=10)
    x = x + 0.05 * np.random.default_rng(0).standard_normal(x.size)
    whole = nl.reference_flow(U, dynamics, x, [0.5, 3.0])
    rest = nl.reference_flow(U, dynamics, whole.x[0], [3.0], velocity=whole.v[0], t0=0.5)
    assert whole.n_crossings > 0
    assert np.abs(rest.x[0] - whole.x[1]).max() < 10 * TOLERANCE
    loss = [U.value(a) for a in whole.x]
    assert loss[1] < loss[0]


# --- momentum at rest on a kink ---------------------------------------------------------------------------------------------
#
# With z = ż = 0, and both sides pulling towards the kink, ½ż² + |z̈||z| stays zero: the flow slides. On w_2 = 0 of the example in
# closed form it is that of the second sample alone in a linear network, and the first sample's slope (2 − S)/3 is 0 at S = 2.

TOGETHER = [nl.ND, nl.NAGF, nl.Dynamics(0.5, 0.3, 1.0), nl.Dynamics(1.0, 0.5, 0.0)]


@pytest.mark.parametrize("dynamics", TOGETHER, ids=str)
def test_momentum_at_rest_slides(dynamics):
    straight = nl.Network([1, 1, 1], "linear", bias=False, loss="mse").potential([[1.0], [0.0]], [[2.0], [0.0]])
    t = [1e-5, 0.5, 1.4]
    flow = nl.reference_flow(pulled(), dynamics, REST, t)
    alone = nl.reference_flow(straight, dynamics, [REST[0], REST[2]], t)
    assert np.abs(flow.x[:, [0, 2]] - alone.x).max() < TOLERANCE
    assert np.abs(flow.v[:, [0, 2]] - alone.v).max() < TOLERANCE
    assert np.abs(flow.x[:, 1]).max() < 4 * EPS
    assert flow.sliding == (nl.SlidingMode(sample=0, layer=1, neuron=0, start=0.0, end=1.4),)
    assert nl.reference_flow(pulled(), dynamics, REST, [1e-5]).sliding[0].end == 1e-5
    again = nl.reference_flow(pulled(), dynamics, flow.x[1], t[2:], velocity=flow.v[1], t0=0.5)
    assert np.abs(again.x[0] - flow.x[2]).max() < TOLERANCE
    assert modes(again) == {(0, 1, 0)}


def test_momentum_leaves_the_kink_where_one_side_no_longer_pulls():
    """ä = a − a³/2 for a = w_1 = u: a = √3.5 dn(√(7/8) t + K, 6/7), until a² = S = 2."""
    m = 6 / 7
    t = (ellipk(m) - ellipkinc(np.arcsin(np.sqrt((1 - 2 / 3.5) / m)), m)) / np.sqrt(7 / 8)
    flow = nl.reference_flow(pulled(), nl.ND, REST, [1.0, t + 0.5])
    (mode,) = flow.sliding
    assert abs(flow.x[0, 0] - np.sqrt(3.5) * ellipj(np.sqrt(7 / 8) + ellipk(m), m)[2]) < TOLERANCE
    assert abs(mode.end - t) < TOLERANCE
    assert flow.x[1, 1] < -0.01
    assert np.ptp(energies(pulled(), flow, REST, np.zeros(3))) < TOLERANCE


@pytest.mark.parametrize("beside", [1e-3, -1e-3, 1e-4])
def test_beside_the_kink_momentum_oscillates_about_the_slide(beside):
    """The forces of the two sides differ by less than a factor of 4, and with them how far it swings."""
    slide = nl.reference_flow(pulled(), nl.ND, REST, [0.8])
    flow = nl.reference_flow(pulled(), nl.ND, [REST[0], beside, REST[2]], [0.8])
    assert flow.n_crossings > 4
    assert flow.sliding == ()
    assert 0 < np.abs(flow.x[0] - slide.x[0]).max() < 4 * abs(beside)


def leap(U, x, end, n, velocity=None):
    """Leapfrog in n steps, without records."""
    return nl.integrate(U, nl.Leapfrog((end / n) ** 2), x, n, laws=None, record_every=n, velocity=velocity).x


@pytest.mark.needs_jit
@pytest.mark.parametrize(
    ("seed", "ends"),
    [
        (1, {2.880865}),  # a neuron of layer 1 comes to see the sample, and sets three kinks of layer 2 in motion
        (7, {2.699341}),  # a kink at rest on its side is held from both once another sample crosses
    ],
)
def test_leapfrog_tends_to_the_slide(seed, ends):
    U, x = unseen(seed)
    flow = nl.reference_flow(U, nl.ND, x, [2.5, 4.0], max_evaluations=2000)
    assert {round(mode.end, 6) for mode in flow.sliding} == ends
    assert flow.n_crossings < 10
    assert np.ptp(energies(U, flow, x, 0 * x)) < TOLERANCE
    distances = [np.abs(leap(U, x, 4.0, n) - flow.x[1]).max() for n in (4000, 64000)]
    assert distances[1] < 1e-4
    assert distances[0] / distances[1] > 4


def test_a_kink_at_rest_that_pulls_from_neither_side_stays_off():
    """z_1 = ½ − t switches off at t = ½, where z_2 = −z_1 comes to rest: on, it would leave, and off, it stays.

    Nothing but the last bias moves by a force: b̈ = 3 − b.
    """
    net = nl.Network([1, 1, 1, 1], "relu", loss="mse")
    x, v = np.zeros((2, net.n_params))
    for name, value in {"W1": 0.5, "W2": -1.0, "W3": 1.0}.items():
        net.unpack(x)[name][:] = value
    net.unpack(v)["b1"][:] = -1.0
    flow = nl.reference_flow(net.potential([[1.0]], [[3.0]]), nl.ND, x, [1.0], velocity=v)
    expected = x + v
    net.unpack(expected)["b3"][:] = 3 - 3 * np.cos(1.0)
    assert np.abs(flow.x[0] - expected).max() < TOLERANCE


def test_inputs_of_one_number_switch_all_at_once():
    """At w = 0, where sizes of w x are zero themselves."""
    X, Y, x = [[1.0], [0.3], [-0.7], [2.3]], [[-2.0], [-1.0], [3.0], [-1.5]], np.array([0.37, 0.9])
    U = nl.Network([1, 1, 1], "relu", bias=False, loss="mse").potential(X, Y)
    flow = nl.reference_flow(U, nl.ND, x, [1.0, 2.0], max_evaluations=2000)
    assert flow.n_crossings == 4
    assert flow.x[1, 0] < 0
    assert np.ptp(energies(U, flow, x, 0 * x)) < TOLERANCE


@pytest.mark.needs_jit
def test_a_curved_kink_bends_the_path():
    """z = w·(W_1 x + b_1) + b is quadratic in θ: a tangent velocity leaves z = 0 unless the force makes up for vᵀ(∇²z)v."""
    rng = np.random.default_rng(6)
    net = nl.Network([3, 2, 3, 1], ["linear", "relu"], loss="mse")
    X, Y, x = rng.normal(size=(6, 3)), rng.normal(size=(6, 1)), net.init(rng)
    theta = net.unpack(x)
    theta["b2"][0] = -theta["W2"][0] @ (theta["W1"] @ X[0])
    Y[0] = -30 * np.sign(theta["W3"][0, 0])
    U = net.potential(X, Y)
    loss = GatedLoss(U)
    gated = loss.at(x, np.where(loss.pre_activations(x) > 0, 1.0, 0.0))
    v = gated.normals([(0, 0)]).project(rng.normal(size=x.size))[1]
    h = EPS ** (1 / 3)
    rates = [loss.at(x + s * h * v, gated.slopes).rates(v)[0, 0] for s in (1, -1)]
    (bend,) = gated.curvatures(v, [(0, 0)])
    assert abs(bend) > 1
    assert abs((rates[0] - rates[1]) / (2 * h) - bend) < 1e3 * h**2 * abs(bend)
    flow = nl.reference_flow(U, nl.ND, x, [0.15, 0.3], velocity=v)
    assert modes(flow) == {(0, 2, 0)}
    assert max(abs(loss.pre_activations(a)[0, 0]) for a in flow.x) < 100 * EPS
    spins = [np.ptp(spin(net, a, w)) for a, w in zip([x, *flow.x], [v, *flow.v], strict=True)]
    conserved = [energies(U, flow, x, v), spins]
    assert np.ptp(conserved, axis=1).max() < TOLERANCE * np.abs(conserved).max()
    distances = [np.abs(leap(U, x, 0.3, n, v) - flow.x[1]).max() for n in (1000, 16000)]
    assert distances[1] < 1e-6
    assert distances[0] / distances[1] > 16


def spin(net, x, v):
    """Return the two halves of the rotation's charge of a linear layer of two neurons, whose difference it is."""
    a, b = net.unpack(x), net.unpack(v)
    charge = b["W1"] @ a["W1"].T + np.outer(b["b1"], a["b1"]) - a["W2"].T @ b["W2"]
    return charge[0, 1], charge[1, 0]


# --- the budget -------------------------------------------------------------------------------------------------------------


def test_the_example_that_never_ended():
    """[20, 32, 32, 10] on 120 samples; without events 400,000 gradients did not get beyond t = 0.031 of 2."""
    rng = np.random.default_rng(0)
    U = nl.Network([20, 32, 32, 10]).potential(rng.normal(size=(120, 20)), rng.integers(0, 10, 120))
    x = U.network.init(rng=0)
    flow = nl.reference_flow(U, nl.GF, x, [0.4], rtol=1e-9, atol=1e-10, max_evaluations=5000)
    assert flow.n_crossings > 20
    assert len(flow.sliding) > 1
    scaling = nl.symmetries(U)[0]
    assert np.abs(scaling.quantity(flow.x[0]) - scaling.quantity(x)).max() < 1e-7


@pytest.mark.parametrize(
    ("dynamics", "end", "evaluations", "words"),
    [
        (nl.GF, 1e6, 60, r"max_evaluations=60 and is at t = 0\.\d+, .*slides along sample 0 at neuron 0"),
        (nl.Dynamics(1.0, 1.0, 0.0), 1e3, 3000, r"crossed \d+ kinks, most often, \d+ times, that of sample 0 at neuron 0 of layer 1$"),
    ],
)  # fmt: skip
def test_giving_up_names_the_slide_or_the_kink_crossed_most(dynamics, end, evaluations, words):
    """Friction lets momentum cross the convex kink ever more often, as a ball that comes to rest bounces."""
    with pytest.raises(RuntimeError, match=words):
        nl.reference_flow(pulled(), dynamics, [0.7, 0.2, 0.9], [end], max_evaluations=evaluations)


def test_smooth_networks_are_solved_as_before():
    _, U, x = problem("tanh")
    flow = nl.reference_flow(U, nl.GF, x, [0.5, 1.0])
    plain = solve_ivp(
        lambda _, x: -U.gradient(x), (0, 1), x, method="DOP853", t_eval=[0.5, 1.0], rtol=1e-12, atol=1e-13
    )
    assert np.array_equal(flow.x, plain.y.T)
    assert (flow.sliding, flow.n_crossings) == ((), 0)


# --- parts ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_the_gated_loss(name):
    U, x = case(name)
    x = x * np.random.default_rng(1).uniform(0.5, 1.5, x.size)
    loss = GatedLoss(U)
    slopes = np.where(loss.pre_activations(x) > 0, 1.0, loss.low)
    value = loss.at(x, slopes)
    gradient = U.gradient(x)
    assert np.abs(value.gradient - gradient).max() < 100 * EPS * np.abs(gradient).max()
    v = np.random.default_rng(2).standard_normal(x.size)
    rates = value.rates(v)
    h = EPS ** (1 / 3)
    difference = (loss.at(x + h * v, slopes).z - loss.at(x - h * v, slopes).z) / (2 * h)
    assert np.abs(difference - rates).max() < 1e3 * h**2 * np.abs(rates).max()
    kinks = [(0, 0), (3, 2), (5, loss.shape[1] - 1)]
    normals = value.normals(kinks).dense()
    assert np.abs(normals.T @ v - [rates[k] for k in kinks]).max() < 100 * EPS * np.abs(rates).max()
    # a slope weighs ∂U/∂a times ∇z, at z = 0: the change of ∇U_s besides z ∂/∂θ of ∂U/∂a, which is of the order of z
    assert np.isfinite(value.upstream).all()
    assert len({loss.name(k) for k in itertools.product(range(2), range(loss.shape[1]))}) == 2 * loss.shape[1]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kinks", [[(0, 0), (3, 2), (5, -1), (5, 1)], [(0, 0), (3, 2), (0, 0)]])
def test_normals_layer_by_layer(name, kinks):
    """The same as with the matrix (P, K); where a kink counts twice, the smallest coefficients of all."""
    U, x = case(name)
    x = x * np.random.default_rng(1).uniform(0.5, 1.5, x.size)
    loss = GatedLoss(U)
    slopes = np.random.default_rng(2).uniform(0.2, 1.0, loss.shape)  # no signal is zero
    normals = loss.at(x, slopes).normals([(n, c % loss.shape[1]) for n, c in kinks])
    N, (g, w) = normals.dense(), np.random.default_rng(3).standard_normal((2, x.size))
    w = w[: len(kinks)]
    size = EPS * x.size * np.linalg.norm(N)
    assert np.abs(normals.gram - N.T @ N).max() < size * np.linalg.norm(N)
    assert np.abs(normals.along(g) - N.T @ g).max() < size * np.linalg.norm(g)
    assert np.abs(normals.combined(w) - N @ w).max() < size * np.linalg.norm(w)
    singular = np.linalg.svd(N, compute_uv=False)
    condition = singular[0] / singular[singular > 1e-8 * singular[0]][-1]
    coefficients, rest = normals.project(g)
    assert np.abs(coefficients + np.linalg.pinv(N, rcond=1e-8) @ g).max() < size * condition**2 * np.linalg.norm(g)
    assert np.abs(N.T @ rest).max() < size * condition * np.linalg.norm(g)
    v = normals.shift(N.T @ g)
    assert np.abs(N.T @ v - N.T @ g).max() < size * condition**2 * np.linalg.norm(g)
    assert np.abs(rest - (g - v)).max() < x.size * EPS * condition**2 * np.linalg.norm(g)


def test_a_triangle_block_by_block_of_rows():
    A = np.random.default_rng(0).standard_normal((3000, 5))
    R = triangle(A)
    assert R.shape == (5, 5)
    assert np.abs(R.T @ R - A.T @ A).max() < EPS * len(A) * np.linalg.norm(A)
    assert np.array_equal(R, np.triu(R))


def test_sides_by_enumeration():
    """Among all choices of slopes 0, 1 or between, those that the field agrees with."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        normals, gradient, weights = rng.normal(size=(6, 3)), rng.normal(size=6), rng.uniform(0.5, 2, 3)
        sides = sliding._sides(gradient, normals, weights, np.zeros(3))
        rate = -normals.T @ (gradient + normals * weights @ sides)
        assert (rate[sides == 0] <= 1e-12).all()
        assert (rate[sides == 1] >= -1e-12).all()
        assert np.abs(rate[(sides > 0) & (sides < 1)]).max(initial=0.0) < 1e-12
    concave = sliding._sides(np.array([-1.0]), np.array([[1.0]]), np.array([-0.5]), np.zeros(1))
    assert concave == [1.0]  # pulled up: on, where it is pulled by more
    for side in (0.0, 1.0):  # both sides are solutions: the one that the flow came to
        both = np.array([-1.0 + 3 * (1 - side)]), np.array([[1.0]]), np.array([-3.0])
        assert sliding._sides(*both, np.array([side])) == [side]


def test_a_margin_that_dips_within_a_step_is_found():
    class Edge:
        def __init__(self, margin, rate):
            self.margins, self.rates = np.array([margin, 1.0]), np.array([rate, 0.0])

    # (s − 0.3)² − 0.01 on [0, 2] in units of the step, s = u/2
    m, d = lambda u: (u / 2 - 0.3) ** 2 - 0.01, lambda u: u / 2 - 0.3
    assert events._minima(Edge(m(0), d(0)), Edge(m(2), d(2)), 2.0) == pytest.approx([0.6])
    assert events._minima(Edge(m(0) + 1, d(0)), Edge(m(2) + 1, d(2)), 2.0) == []
