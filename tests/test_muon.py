"""Muon: against optax and PyTorch, its orthogonal matrices against singular values, its laws, and what rotations make of it."""

import functools

import numpy as np
import pytest
from problems import BACKENDS, EPS, problem, refusals, streamed, verdicts

import noetherlite as nl
from noetherlite._kernels.cpu.orthogonal import LARGE, orthogonalise
from noetherlite._kernels.orthogonal import COEFFICIENTS, STEPS, orthogonalised

NET, U, X0 = problem("swish", loss="nll", widths=(3, 4, 3), n=12)
PEERS = [
    nl.Muon(0.01),
    nl.Muon(0.01, 0.9, nesterov=False, weight_decay=0.1),
    nl.Muon(nl.schedule("cosine", 0.01, 200, warm_up=9), 0.8, eps=1e-3, smoothing=0.99),
]


@functools.cache
def by_optax(a, steps):
    """Optax's parameters after so many steps; a matrix of its own has inputs as rows."""
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    with jax.enable_x64(True):
        rate = (lambda k: jax.numpy.asarray(a.rates)[k]) if a.rates else a.lr
        peer = optax.contrib.muon(
            rate, beta=a.momentum, eps=a.eps, weight_decay=a.weight_decay, nesterov=a.nesterov,
            adam_b1=a.momentum, adam_b2=a.smoothing, adam_weight_decay=a.weight_decay,
        )  # fmt: skip

        def tree(x):
            return {name: jax.numpy.asarray(part.T.copy()) for name, part in NET.unpack(x).items()}

        def flat(parts):
            return NET.pack({name: np.asarray(part).T for name, part in parts.items()})

        parts = tree(X0)
        state, update = peer.init(parts), jax.jit(peer.update)
        for _ in range(steps):
            updates, state = update(tree(U.gradient(flat(parts))), state, parts)
            parts = optax.apply_updates(parts, updates)
        return flat(parts)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("algorithm", PEERS, ids=["nesterov", "decay", "schedule"])
def test_steps_are_optaxs(algorithm, backend):
    steps = 200
    run = nl.integrate(U, algorithm, X0, steps, backend=backend, laws=None)
    assert np.abs(by_optax(algorithm, steps) - run.x).max() <= 64 * steps * EPS * np.abs(run.x).max()


def by_torch(matrices, gradient, groups, steps, **settings):
    """PyTorch's matrices after so many steps."""
    torch = pytest.importorskip("torch")
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("PyTorch has no Muon")
    parts = [torch.tensor(m.copy(), requires_grad=True) for m in matrices]
    optimiser = torch.optim.Muon([{"params": [p], **group} for p, group in zip(parts, groups, strict=True)], **settings)
    for _ in range(steps):
        for p, g in zip(parts, gradient([p.detach().numpy() for p in parts]), strict=True):
            p.grad = torch.tensor(g)
        optimiser.step()
    return np.concatenate([p.detach().numpy().ravel() for p in parts])


@pytest.mark.parametrize("nesterov", [False, True])
def test_steps_are_pytorchs_but_for_bfloat16(nesterov, monkeypatch):
    """Its parameter groups, without ε; iterations in double precision where it asks for bfloat16."""
    torch = pytest.importorskip("torch")
    net, V, x0 = problem("tanh", "mse", bias=False, widths=(3, 5, 4, 2), n=9)
    rates, decays, steps = {"W1": 0.01, "rest": 0.003}, {"W2": 0.1}, 200

    def ours(corrected):
        algorithm = nl.Muon(rates, 0.9, nesterov, eps=0.0, weight_decay=decays, corrected=corrected)
        return nl.integrate(V, algorithm, x0, steps, laws=None, backend="reference").x

    groups = [{"lr": rates.get(b.name, 0.003), "weight_decay": decays.get(b.name, 0.0)} for b in net.blocks]

    def theirs():
        def gradient(parts):
            return net.unpack(V.gradient(np.concatenate([part.ravel() for part in parts]))).values()

        matrices = net.unpack(x0).values()
        return by_torch(matrices, gradient, groups, steps, momentum=0.9, eps=1e-30, nesterov=nesterov)

    coarse = theirs()
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    exact, fine, x = 64 * steps * EPS * np.abs(x0).max(), theirs(), ours(corrected=False)
    assert np.abs(fine - x).max() <= exact
    assert np.abs(coarse - x).max() > 1e6 * exact  # the controls
    assert (np.abs(fine - ours(corrected=True)).max() > 1e6 * exact) == nesterov


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_a_recording_of_pytorchs_is_not_broken(nesterov, dtype):
    """Steps of iterations in bfloat16 are multiples of such numbers; those at another rate or decay are not."""
    torch = pytest.importorskip("torch")
    net, V, x0 = problem("tanh", "mse", bias=False, widths=(6, 8, 9, 5), n=30)
    steps, settings = 10, {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1, "nesterov": nesterov}
    parts = [torch.tensor(m.astype(dtype), requires_grad=True) for m in net.unpack(x0).values()]
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("PyTorch has no Muon")
    optimiser = torch.optim.Muon(parts, **settings)

    def flat(tensors):
        return np.concatenate([t.detach().numpy().ravel() for t in tensors])

    rows, averages = [flat(parts)], [np.zeros_like(x0, dtype)]
    for _ in range(steps):
        for p, g in zip(parts, net.unpack(V.gradient(rows[-1])).values(), strict=True):
            p.grad = torch.tensor(g.astype(dtype))
        optimiser.step()
        rows.append(flat(parts))
        averages.append(flat(optimiser.state[p]["momentum_buffer"] for p in parts))

    def checked(**changed):
        algorithm = nl.Muon(**settings | changed, corrected=False)
        return nl.check(V, np.array(rows), dynamics=algorithm, momentum_buffer=np.array(averages))

    report = checked()
    assert report.verdict != "broken"
    assert {report.motion[f"W{i}"].verdict for i in (1, 2, 3)} == {"holds"}
    assert report.motion["step of W1"].verdict == "holds"
    assert any("torch.optim.Muon iterates" in limit for limit in report.limits)
    assert not any("wrong by less than 0." in limit for limit in report.limits)  # gradients are seen as sharply as ever
    for changed in ({"lr": 0.01003}, {"weight_decay": 0.11}, {"momentum": 0.89}):
        assert checked(**changed).verdict == "broken", changed
    rows[5][:] += 3e-5 * rows[5].std()
    assert checked().verdict == "broken"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("nesterov", [False, True])
def test_what_is_no_matrix_is_left_to_adamw(nesterov, backend):
    """As where PyTorch's Muon trains the matrices: without looking ahead, with the same β."""
    rates = {b.name: 0.0 for b in NET.blocks if len(b.shape) == 2} | {"rest": 0.01}
    muon = nl.Muon(rates, 0.9, nesterov, smoothing=0.99, weight_decay=0.1, corrected=False)
    adam = nl.Adam(rates, (0.9, 0.99), weight_decay=0.1)
    end, expected = (nl.integrate(U, a, X0, 50, laws=None, backend=backend).x for a in (muon, adam))
    assert np.abs(end - expected).max() <= 50 * 64 * EPS * np.abs(X0).max()
    assert np.abs(end - X0).max() > 0.01
    ahead = nl.integrate(U, nl.Muon(rates, 0.9, smoothing=0.99, weight_decay=0.1), X0, 50, laws=None, backend=backend).x
    assert np.abs(end - ahead).max() > 1e-4  # the control: optax's looks ahead


def iterated(s):
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        s = a * s + b * s**3 + c * s**5
    return s


def test_singular_values_end_up_in_a_band():
    s = iterated(np.geomspace(2e-3, 1, 10**5))
    assert 0.68 < s.min() < 0.69
    assert 1.2 < s.max() < 1.21
    assert iterated(1e-3) < 0.5  # smaller ones do not get there


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (3, 5), (6, 2), (LARGE, LARGE + 3), (LARGE + 9, LARGE)])
def test_orthogonal_matrices_by_singular_values(shape, dtype):
    """U p⁵(σ/(|M| + ε)) Vᵀ; small singular values are magnified by up to 485, and so is round-off."""
    rng, n, eps = np.random.default_rng(0), np.prod(shape), 0.01
    M = rng.standard_normal(shape)
    left, s, right = np.linalg.svd(M, full_matrices=False)
    s = iterated(s / (np.linalg.norm(s) + eps))
    want = (left * s) @ right * np.sqrt(max(1.0, shape[0] / shape[1]))
    allowed = 485 * 64 * np.finfo(dtype).eps
    np.testing.assert_allclose(orthogonalised(M, eps), want, rtol=0, atol=485 * 64 * EPS)
    y = np.concatenate([[7.0], M.ravel(), [7.0]]).astype(dtype)
    matrices, memory = np.array([[1, *shape, n + 2]]), np.empty(n + 2 + 2 * min(shape) ** 2, dtype)
    orthogonalise(matrices, eps, y, memory)
    np.testing.assert_allclose(y[1:-1].reshape(shape), want, rtol=0, atol=allowed)
    assert y[0] == y[-1] == 7.0
    # a matrix of zeros stays one where ε is not zero, and one with NaN is seen
    y[1:-1] = 0
    orthogonalise(matrices, eps, y, memory)
    assert not y[1:-1].any()
    y[1] = np.nan
    orthogonalise(matrices, eps, y, memory)
    assert np.isnan(y[1:-1]).all()


@pytest.mark.needs_jit
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_steps_of_large_matrices_are_the_references(dtype):
    _, V, x0 = problem("tanh", "nll", widths=(30, 40, 26, 3), n=9)
    ends = [nl.integrate(V, nl.Muon(0.01), x0, 5, backend=b, dtype=dtype, laws=None).x for b in ("cpu", "reference")]
    assert np.abs(ends[0] - ends[1]).max() <= 5 * 0.01 * 485 * 64 * np.finfo(dtype).eps


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_translations_of_matrices_are_left_to_the_decay(decay):
    """An orthogonal matrix has the column space of the average, whose columns sum to zero: Q does not move otherwise."""
    options = {"record_every": 50, "backend": "reference", "laws": ["translation:W"]}
    run, adam = (
        nl.integrate(U, a, X0, 300, **options).laws["translation:W"].quantity
        for a in (nl.Muon(0.003, weight_decay=decay), nl.Adam(0.003, weight_decay=decay))
    )
    expected = run[0] * ((1 - 0.003 * decay) ** np.arange(0, 301, 50))[:, None]
    np.testing.assert_allclose(run, expected, rtol=0, atol=0.003 * 300 * 485 * 64 * EPS)
    assert np.abs(adam - expected).max() > 1e-3  # the control


def test_a_force_that_breaks_the_symmetry_breaks_the_law():
    """Negative control: of a matrix, near the start alone: elsewhere the symmetry is measured first."""
    translation = nl.Symmetry(np.zeros((U.n_params,) * 2), np.arange(U.n_params) >= U.n_params - 3)
    push = np.zeros(U.n_params)
    for size, verdict in ((0.0, "holds"), (1e-3, "broken")):
        push[-3:] = size

        def pushed(x):
            return U.value(x), U.gradient(x) + push * (np.abs(x - X0).max() < 0.5)

        V = nl.potentials.Callable(pushed, U.n_params)
        V.blocks = NET.blocks
        assert nl.integrate(V, nl.Muon(0.003), X0, 20, laws=[translation]).laws["affine"].verdict == verdict


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_rotated_start_is_a_rotated_run(momentum):
    net, V, x0 = problem("linear", "mse", bias=False, widths=(3, 4, 2), n=9)
    A = np.linalg.qr(np.random.default_rng(2).standard_normal((4, 4)))[0]

    def rotated(x):
        parts = net.unpack(x)
        return net.pack({"W1": A @ parts["W1"], "W2": parts["W2"] @ A.T})

    for algorithm, same in ((nl.Muon(0.01, momentum), True), (nl.Adam(0.01), False)):
        ends = [nl.integrate(V, algorithm, x, 100, backend="reference", laws=None).x for x in (x0, rotated(x0))]
        off = np.abs(rotated(ends[0]) - ends[1]).max()
        assert off <= 1e-9 if same else off > 1e-3  # ranks are 2 and 3 of 4: round-off in the null space is magnified


@pytest.mark.uncounted
def test_matrices_of_a_factorisation_come_to_rest_at_its_minimum():
    target = np.random.default_rng(0).standard_normal((5, 4))
    V = nl.potentials.MatrixFactorization(target, hidden=4)
    x0 = 0.5 * np.random.default_rng(1).standard_normal(V.n_params)
    lr = nl.schedule("linear", 0.05, 1500)
    run = nl.integrate(V, nl.Muon(lr), x0, 1500)
    assert run.loss[-1] < 1e-3 * run.loss[0]
    assert verdicts(run) <= {"holds", "not applicable"}
    # the first step: orthogonal matrices, with singular values in the band, of both blocks
    first = nl.integrate(V, nl.Muon(0.05), x0, 1, laws=None).x - x0
    for block in V.blocks:
        part = first[block.start : block.stop].reshape(block.shape) / 0.05
        s = np.linalg.svd(part, compute_uv=False) / np.sqrt(max(1, block.shape[0] / block.shape[1]))
        assert 0.6 < s.min() < s.max() < 1.21
    assert [block.name for block in V.blocks] == ["W1", "W2"]
    frozen = nl.integrate(V, nl.Muon({"W1": 0, "rest": 0.01}), x0, 5, laws=None).x
    assert np.array_equal(frozen[:16], x0[:16])
    assert not np.array_equal(frozen[16:], x0[16:])


def test_without_matrices_it_is_adam():
    V, x0 = nl.potentials.Harmonic(np.diag([1.0, 4.0])), [1.0, -1.0]
    algorithms = nl.Muon(0.01, 0.9, False), nl.Adam(0.01)
    ends = [nl.integrate(V, a, x0, 50, backend="reference", laws=None).x for a in algorithms]
    np.testing.assert_allclose(*ends, rtol=0, atol=64 * 50 * EPS)


def recorded(algorithm, steps=40):
    ends = [nl.integrate(U, algorithm, X0, k, backend="reference", laws=None) for k in range(steps + 1)]
    return np.array([run.x for run in ends]), np.array([-run.v for run in ends])


@pytest.mark.uncounted
def test_recordings_are_checked_with_their_momentum():
    algorithm = nl.Muon(0.01, 0.9, weight_decay=0.1)
    rows, m = recorded(algorithm)
    bare, report = nl.check(U, rows, dynamics=algorithm), nl.check(U, rows, dynamics=algorithm, momentum_buffer=m)
    assert bare.verdict != "broken"
    assert "momentum_buffer= takes what tells them" in str(bare.limits)
    assert report.ok, str(report)
    assert report.motion["step of W1"].verdict == report.motion["step of b1"].verdict == "holds"
    assert report.laws["scaling:1"].verdict == report.motion["W1"].verdict == "holds"
    for other in (
        nl.Muon(0.0101, 0.9, weight_decay=0.1),
        nl.Muon(0.01, 0.89, weight_decay=0.1),
        nl.Muon(0.01, 0.9, False, weight_decay=0.1),
        nl.Muon(0.01, 0.9),
        nl.Adam(0.01),
    ):
        more = {"exp_avg": m} if isinstance(other, nl.Adam) else {"momentum_buffer": m}
        assert nl.check(U, rows, dynamics=other, **more).verdict == "broken", other
    assert streamed(U, algorithm, rows, states={"momentum_buffer": m}).ok


def test_memory_is_counted_as_it_is_allocated():
    P, E = U.n_params, 3
    squares = 2 * (3**2 + 3**2)  # of W1 (4, 3) and W2 (3, 4)
    more = nl.memory(U, 4, networks=E, laws=None, algorithm=nl.Muon(0.01)) - nl.memory(U, 4, networks=E, laws=None)
    assert more == 8 * E * (P + P + squares)


test_settings_out_of_range = refusals(
    [
        ({"momentum": 1.0}, "momentum=1 is out of range"),
        ({"nesterov": 0.5}, TypeError, "nesterov"),
        ({"eps": -1.0}, "eps"),
        ({"smoothing": 1.0}, "smoothing=1 is out of range"),
    ],
    lambda settings: nl.Muon(0.1, **settings),
)
