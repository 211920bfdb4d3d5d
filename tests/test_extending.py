"""One place for each thing: every algorithm, activation, loss and symmetry in its table has all that the package asks of it."""

import dataclasses
import math
import re
from pathlib import Path

import numba
import numpy as np
import pytest
import symplectic_euler
from problems import BACKENDS, EPS, problem, verdicts
from symplectic_euler import SymplecticEuler

import noetherlite as nl
from noetherlite._kernels import fingerprint, functions, reference
from noetherlite._kernels.cpu import loops
from noetherlite._motion.algorithms import ALGORITHMS, specified
from noetherlite._motion.base import Algorithm, Terms
from noetherlite._motion.dynamics import GF, NAGF, ND
from noetherlite._problem.activations import parse
from noetherlite._problem.catalogue import CATALOGUE, EXAMPLES
from noetherlite._problem.kind import Kind
from noetherlite._problem.losses import LOSSES, Loss
from noetherlite._symmetry.catalogue import FAMILIES, catalogue
from noetherlite._symmetry.discrete import exact_law, legend
from noetherlite._symmetry.family import Family

ROOT = Path(__file__).resolve().parent.parent
RECIPES = (ROOT / "docs" / "extending.md").read_text("utf-8")
STEPS = 12
NAMES = list(ALGORITHMS)


def recipe(title):
    """The paths that a section names, in its order, each once."""
    section = re.search(rf"(?ms)^## {title}$(.*?)(?=^## |\Z)", RECIPES)[1]
    return list(dict.fromkeys(re.findall(r"`([\w./]+\.(?:py|md))`", section))), section


@pytest.mark.parametrize("title", ["An activation", "An algorithm", "A symmetry", "A loss"])
def test_recipes_name_files_that_exist_and_count_them(title):
    places, section = recipe(title)
    to_read = {
        "_motion/base.py",
        "_symmetry/family.py",
        "_kernels/cpu/loops.py",
        "_kernels/cuda/scalars.py",
        "_kernels/rules.py",
    }
    package = [p for p in places if p.startswith("_") and p not in to_read]
    assert package
    for path in places:
        assert (ROOT / "noetherlite" / path).exists() or (ROOT / path).exists(), path
    edited, written = map(int, re.search(r"\*\*(\d+) files? edited, (\d+) written\*\*", section).groups())
    assert edited == len(package)
    assert written in (0, 1)


def test_what_lacks_members_cannot_be_written():
    with pytest.raises(TypeError, match=r"Half lacks what every algorithm has: .*exact_law, .*method, .*walk"):

        class Half(Algorithm):
            @property
            def dynamics(self):
                return ND

    with pytest.raises(TypeError, match=r"Part lacks what every symmetry has: .*formula, .*pair, quantity_degree"):

        class Part(Family):
            def norm(self, x):
                return x

    with pytest.raises(TypeError, match=r"Some lacks what every loss has: aimed_at, arrays, .*functions"):

        class Some(Loss):
            pass

    with pytest.raises(TypeError, match="missing 3 required keyword-only arguments: 'd_sigma', 'sigma_array'"):
        Kind(examples=("new",), sigma=abs)
    with pytest.raises(TypeError, match="activation 'new' needs both of d_parameter and d_parameter_array"):
        Kind(examples=("new",), sigma=abs, d_sigma=abs, sigma_array=abs, d_sigma_array=abs, d_parameter=abs)
    with pytest.raises(TypeError, match="abstract"):
        Algorithm(0.1)


def test_codes_are_distinct():
    assert len({loss.code for loss in LOSSES.values()}) == len({loss.functions for loss in LOSSES.values()})
    assert {kind.__name__: kind for kind in map(type, (kind(0.01) for kind in ALGORITHMS.values()))} == ALGORITHMS


# --- algorithms: members against each other, and against a run -----------------------------------------------------


@pytest.fixture(scope="module", params=NAMES)
def case(request):
    """An algorithm with weight decay, its potential, and a run of it by the oracle."""
    algorithm = ALGORITHMS[request.param](0.01, weight_decay=0.1)
    if algorithm.has_noise:  # which `walk` does not have
        algorithm = type(algorithm)(0.01, temperature=0.0, weight_decay=0.1)
    _, U, x = problem("tanh", loss="nll", widths=(2, 3, 3), n=6)
    run = nl.integrate(U, algorithm, x, STEPS, backend="reference", record_params=True)
    return U, algorithm, run


def test_an_algorithm_is_public_and_written_to_files(case):
    _, algorithm, _ = case
    name = type(algorithm).__name__
    assert getattr(nl, name) is ALGORITHMS[name]
    assert specified(algorithm.specification()) == algorithm


def test_an_algorithms_laws_hold(case):
    _, algorithm, run = case
    assert verdicts(run) == {"holds"}
    wrong = type(algorithm)(0.02, weight_decay=0.1)  # a negative control: other steps have other laws
    assert wrong.push != algorithm.push or wrong.dt != algorithm.dt


def test_an_algorithms_walk_is_its_run(case):
    U, algorithm, run = case
    x, v = run.params[0].astype(float), np.zeros(U.n_params)
    decay = algorithm.coupled_decay
    named = {"blocks": U.blocks} if isinstance(algorithm, nl.Muon) else {}  # of which it takes the matrices
    walked = algorithm.walk(x, v, run.t[0], STEPS, lambda _, y: U.gradient(y) + decay * y, lambda a: a, **named)[0]
    assert np.abs(walked - run.x).max() <= 8 * STEPS * EPS * np.abs(run.x).max()


def test_an_algorithms_steps_imply_its_gradients(case):
    U, algorithm, run = case
    record, points, force = algorithm.implied_gradients(run.params, run.t[0], None)
    if not algorithm.implies_gradients:
        assert record.size == 0
        return
    assert record[0] == algorithm.fewest_rows(known_start=True) - 2
    want = np.array([U.gradient(y) + algorithm.weight_decay * y for y in points])
    allowed = 8 * EPS * algorithm.gain * np.linalg.norm(points, axis=1)
    off = np.linalg.norm(force - want, axis=1)
    assert (off <= allowed).all()
    assert (np.linalg.norm(force - 1.001 * want, axis=1) > allowed).all()


@pytest.mark.parametrize("every", [1, 3])
def test_an_algorithms_recordings_are_checked(case, every):
    U, algorithm, run = case
    if not algorithm.implies_gradients and not algorithm.starts_anywhere and every == 1:
        report = nl.check(U, run.params, run.t, algorithm)
        assert report.verdict != "broken"
        assert report.ok or "do not tell the gradients" in str(report.limits)
        return
    if not algorithm.starts_anywhere and every > 1:
        with pytest.raises(ValueError, match="record every step"):
            nl.check(U, run.params[::every], run.t[::every], algorithm, every=every)
        return
    assert nl.check(U, run.params[::every], run.t[::every], algorithm, every=every).ok
    other = type(algorithm)(0.0101, weight_decay=0.1)
    assert not nl.check(U, run.params[::every], dynamics=other, every=every).ok


def test_an_algorithms_formulas_explain_their_letters(case):
    _, algorithm, _ = case
    for name in ("scaling:1", "rotation", "translation:b", "mine"):
        formula, letters = exact_law(name, algorithm, has_quantity=name != "rotation"), legend(algorithm)
        for letter in "JQhημτβλ":
            assert letter not in formula or re.search(rf"\b{letter}", letters), (formula, letters)
    decaying = dataclasses.replace(algorithm, weight_decay=0.1)
    assert "λ" not in exact_law("rotation", decaying, has_quantity=False)  # as ⟨Gx, x⟩ = 0
    all_terms = Terms(still=False, skew=False, has_quantity=True, decays=True)
    assert r"\lambda" in algorithm.exact_law(all_terms)
    assert r"\lambda" not in algorithm.exact_law(all_terms._replace(decays=False))


@pytest.mark.parametrize("dynamics", [GF, ND, NAGF, nl.Dynamics(2.0, 0.3, 0.0)])
def test_an_algorithm_that_follows_a_dynamics_has_it(case, dynamics):
    kind = type(case[1])
    algorithm = kind.following(dynamics, 0.1, 1.0)
    if algorithm is not None:
        assert algorithm.dynamics == dynamics
        assert algorithm.dt == pytest.approx(0.1, rel=2 * EPS)


@pytest.mark.needs_jit
def test_an_algorithm_is_the_same_compiled(case):
    U, algorithm, run = case
    compiled = nl.integrate(U, algorithm, run.params[0], STEPS, record_params=True)
    assert np.abs(compiled.params - run.params).max() <= 64 * STEPS * EPS * np.abs(run.params).max()
    assert verdicts(compiled) == {"holds"}


# --- an algorithm as one file and one row -----------------------------------------------------------------------------


@pytest.fixture
def euler(monkeypatch):
    """An algorithm that is not the package's, with its row in the table."""
    monkeypatch.setitem(ALGORITHMS, "SymplecticEuler", SymplecticEuler)
    return SymplecticEuler(0.01, weight_decay=0.1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch_size", [None, 4])
def test_one_file_and_one_row_are_an_algorithm(euler, backend, batch_size, tmp_path):
    _, U, x = problem("polynomial(2)", loss="nll", widths=(2, 3, 3), n=8)
    options = {"backend": backend, "batch_size": batch_size, "rng": 0, "record_params": True}
    run = nl.integrate(U, euler, x, STEPS, **options)
    assert verdicts(run) == {"holds"}
    moved = np.abs(np.diff(run.laws["scaling:1"].charge, axis=0)).max()
    assert np.abs(run.laws["scaling:1"].discrete_residual).max() < 1e-12 * moved  # and it is not that nothing moves
    nl.integrate(U, specified(euler.specification()), x, STEPS, **options, checkpoint=tmp_path / "run.npz")
    assert np.array_equal(nl.resume(tmp_path / "run.npz").x, run.x)
    if batch_size is None:
        assert nl.check(U, run.params, run.t, euler).ok
        assert not nl.check(U, run.params, dynamics=SymplecticEuler(0.0101, weight_decay=0.1)).ok
        other = nl.integrate(U, euler, x, STEPS, backend="reference", record_params=True)
        assert np.abs(other.params - run.params).max() <= 64 * STEPS * EPS * np.abs(run.params).max()


def test_a_wrong_law_of_ones_own_is_broken(euler, monkeypatch):
    """Negative control: the law without its source."""

    def plain(run, t):
        symplectic_euler.plain(run, t)
        run.state.balance[:] += run.algorithm.h * run.pair(run.state.v, run.state.v)

    monkeypatch.setattr(SymplecticEuler, "method", symplectic_euler.METHOD._replace(plain=plain))
    _, U, x = problem("polynomial(2)", loss="nll", widths=(2, 3, 3), n=8)
    run = nl.integrate(U, euler, x, STEPS, backend="reference")
    assert run.laws["translation:b"].verdict == "holds"
    assert run.laws["scaling:1"].verdict == "broken"


# --- activations: the catalogue against the kernels -----------------------------------------------------------------


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_activations_facts_are_those_of_the_kernels(text):
    facts_hold(parse(text))


def facts_hold(activation):
    """Pieces, derivatives and the scalar pair of an activation against the oracle's functions."""
    z = np.random.default_rng(0).standard_normal(64)
    c = 1.0 if activation.trainable else activation.constant
    value = reference.sigma(activation.code, c, z)
    if activation.pieces is not None:
        p, low, high = activation.pieces
        expected = np.where(z > 0, high, low) * z**p if p == int(p) else np.where(z > 0, high, 0) * np.abs(z) ** p
        assert np.abs(value - expected).max() <= 8 * EPS * np.abs(z).max() ** activation.degree
    slope = reference.d_sigma(activation.code, c, z)
    if not activation.is_piecewise:
        h = 1e-30
        derivative = reference.sigma(activation.code, c, z + 1j * h).imag / h
        assert np.abs(slope - derivative).max() <= 64 * EPS * np.abs(slope).max()
    sigma = functions.ACTIVATIONS[activation.code]
    for k in range(8):  # the scalar pair that all kernels share
        a = sigma.value(c, z[k])
        assert abs(a - value[k]) <= 8 * EPS * max(abs(value[k]), abs(z[k]))
        given = a if sigma.in_place else z[k]
        assert abs(sigma.slope(c, given, a) - slope[k]) <= 8 * EPS * max(1.0, abs(slope[k]))
    if sigma.d_parameter is not None:
        by_c = sigma.d_parameter_array(c, z)
        derivative = reference.sigma(activation.code, c + 1e-30j, z).imag / 1e-30
        assert np.abs(by_c - derivative).max() <= 64 * EPS
        assert abs(sigma.d_parameter(c, z[0]) - by_c[0]) <= 8 * EPS


def test_every_entry_has_a_number_of_its_own():
    numbers = {name: kind.code for name, kind in CATALOGUE.items()}
    assert len(set(numbers.values())) == len(numbers)
    for name, code in numbers.items():
        assert functions.ACTIVATIONS[code].in_place == CATALOGUE[name].in_place


# The recipe: this entry is all that is written. σ(z) = z + z², scaled by c.
BENT = Kind(
    examples=("bent(0.3)",),
    sigma=lambda c, z: z + c * z * z,
    d_sigma=lambda c, z, a: 1 + 2 * c * z,
    sigma_array=lambda c, z: z + c * z**2,
    d_sigma_array=lambda c, z: 1 + 2 * c * z,
    parameter=lambda c, inside, text: c,
    required=True,
)


@pytest.fixture
def bent(monkeypatch):
    monkeypatch.setitem(CATALOGUE, "bent", BENT)
    return parse("bent(0.3)")


def test_one_entry_is_an_activation(bent):
    facts_hold(bent)
    net = nl.Network([2, 3, 3, 2], ["bent(0.3)", "linear"])
    U = net.potential(nl.datasets.gaussian_classes(n=6, n_features=2, n_classes=2, rng=0))
    x = net.init(rng=0, bias_std=0.1)
    assert (net.activations[0], bent.degree, bent.trainable) == (bent, None, False)
    want = [reference.network_value(U.problem(), x + 1e-30j * e).imag / 1e-30 for e in np.eye(x.size)]
    assert np.abs(U.gradient(x) - want).max() <= 64 * x.size * EPS
    runs = [nl.integrate(U, nl.Leapfrog(0.01), x, STEPS, backend=backend) for backend in ("cpu", "reference")]
    assert np.abs(runs[0].x - runs[1].x).max() <= 64 * STEPS * EPS * np.abs(x).max()
    for run in runs:  # no scaling of the layer that is bent, but what the linear one has
        assert "linear:2" in run.laws
        assert "scaling:1" not in run.laws
        assert verdicts(run) == {"holds"}
    assert parse("bent(0.3)").second_moment() == pytest.approx(1 + 3 * 0.3**2, rel=1e-12)


@pytest.mark.needs_jit
def test_machine_code_is_said_by_what_it_is_made_of(bent):
    """Negative control of the cache: another constant, inside a function of a function, is another fingerprint."""
    code = "inner = lambda z: {} * z\ndef sigma(c, z): return c * inner(z)"
    prints = []
    for constant in ("2.0", "2.0", "3.0"):
        exec(code.format(constant), space := {"__name__": "elsewhere"})
        prints.append(fingerprint.of(loops.values(space["sigma"], False)))
    assert prints[0] == prints[1] != prints[2]
    exec("def sigma(c, z): return z * thing.scale", space := {"__name__": "elsewhere", "thing": Path()})
    with pytest.raises(TypeError, match="whose content can be told"):
        fingerprint.of(space["sigma"])


@pytest.mark.needs_jit
def test_loops_over_samples_are_vectorised():
    """The assembly of the loops: packed arithmetic, and no call of a function of one number."""
    control = nl.Activation.custom(lambda z: math.tanh(z), lambda z: 1 - math.tanh(z) ** 2)
    activations = [(parse(name), False) for name in ("relu", "swish(1.0)", "repu(1.5)")]
    for activation, calls in [*activations, (control, True)]:
        sigma = functions.ACTIVATIONS[activation.code]
        vector = numba.typeof(np.empty(0))
        for loop, n in ((loops.values(sigma.value, sigma.in_place), 2), (loops.slopes(sigma.slope, sigma.in_place), 3)):
            afresh = numba.jit(**loop.targetoptions)(loop.py_func)  # of code from the cache numba shows no assembly
            afresh.compile((numba.float64, *(vector,) * n))
            assembly = next(iter(afresh.inspect_asm().values()))
            assert bool(re.search(r"callq?\s.*(pow|exp|tanh)|(movabsq\s+\$(pow|exp|tanh))", assembly)) == calls
            assert re.search(r"\b[yz]mm\d|\bv\d+\.2d", assembly) or calls


# --- symmetries ----------------------------------------------------------------------------------------------------


def test_families_are_found_by_the_names_of_their_members():
    families = catalogue(nl.Network([3, 4, 4, 2], ["swish", "linear"]))
    assert {type(s) for s in families} == set(FAMILIES.values())
    for s in families:
        assert FAMILIES[s.name.partition(":")[0]] is type(s)


def test_the_degree_of_a_quantity_is_measured():
    net = nl.Network([3, 4, 4, 2], ["swish", "linear"])
    x = net.init(rng=0, bias_std=0.3)
    for s in [*catalogue(net), nl.Symmetry(np.diag([1.0, 2.0])), nl.Symmetry(np.zeros((2, 2)), [1.0, 2.0])]:
        at = x[: s.n_params]
        moved = s.charge(at, at)  # ⟨g(x), x⟩, a matrix unit and its transpose together where Q is a matrix
        rate = s.quantity_rate(moved)
        if s.quantity_degree is None:
            assert not s.symmetric
        else:
            assert np.abs(rate - s.quantity_degree * s.quantity(at)).max() <= 64 * EPS * np.abs(at).sum() ** 2
        if s.skew:
            assert np.abs(s.source(at)).max() <= 64 * EPS * (at @ at)
        if s.still:
            assert not s.pair(at, at).any()
    assert nl.Symmetry(np.eye(2), [1.0, 0.0]).quantity_degree is None
