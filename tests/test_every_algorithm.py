"""Properties of every algorithm with every setting: exact laws, the oracle's numbers, resumed runs, ensembles, configurations."""

import json

import numpy as np
import pytest
from algorithms import (
    ACCUMULATED,
    BLOCKS,
    CLIPPED,
    INTEGRATORS,
    MUON,
    NOISY,
    OPTIMISERS,
    UPHILL,
    UPHILL_BY_BLOCK,
    five,
    start,
    warm_up,
)
from problems import EPS, add_to_gradients, assert_resumes, assert_same, configuration, problem, toml, verdicts

import noetherlite as nl
from noetherlite._cli.main import main

_, U, X0 = problem("swish", loss="nll", widths=(3, 4, 3), n=12)
CHANGING = {"W1": warm_up(0.05), "b1": 0.02, "rest": lambda k: 0.03 / (1 + k / 50)}
GROUPS = {
    "plain": [algorithm for algorithm, _ in five(0.1, 1e-3).values()],
    "optimiser": OPTIMISERS,
    "matrices": MUON,
    "noise": NOISY,
    "integrator": INTEGRATORS,
    "blocks": BLOCKS,
    "clipped": CLIPPED,
    "accumulated": ACCUMULATED,
    "uphill": UPHILL,
    "schedule": [kind(warm_up(lr), weight_decay=0.1) for kind, lr in ((nl.GD, 0.05), (nl.Adam, 0.01), (nl.NAGD, 0.01))]
    + [nl.ImplicitMidpoint(warm_up(0.01), "ND", 4, weight_decay=0.1)],
    "schedules by block": [kind(CHANGING, weight_decay=0.1) for kind in (nl.GD, nl.HeavyBall, nl.Nesterov, nl.Adam)],
    "uphill by block": UPHILL_BY_BLOCK,
}
EVERY = {f"{group} {k} {type(a).__name__}": a for group, algorithms in GROUPS.items() for k, a in enumerate(algorithms)}
each = pytest.mark.parametrize("algorithm", EVERY.values(), ids=EVERY)


def options(algorithm, **more):
    return {"batch_size": 5, "rng": 0, **start(algorithm), **more}


@pytest.mark.needs_jit
@pytest.mark.parametrize("name", [name for name in EVERY if not name.startswith(("integrator", "noise"))])
def test_the_exact_law_holds_over_ten_thousand_steps_of_minibatches(name):
    """Those that are left out have tests of their own, on other networks."""
    algorithm = EVERY[name]
    run = nl.integrate(U, algorithm, X0, 10_000, record_every=1000, **options(algorithm))
    assert run.status == "completed"
    assert verdicts(run) == {"holds"}
    for law in run.laws.values():
        if not np.array_equal(law.quantity, law.quantity[[0] * len(run.t)], equal_nan=True):
            assert np.abs(law.discrete_residual).max() <= law.tolerance.max()
    if algorithm.order == 0:  # no flow with these laws: Q itself moves, which shows that the exact law says something
        moved = max(np.nanmax(np.abs(law.residual)) for law in run.laws.values())
        assert moved > (1e-2 if isinstance(algorithm, nl.Muon) else 1e-3)


@pytest.mark.needs_jit
@each
def test_compiled_runs_are_the_oracles(algorithm):
    run, oracle = (nl.integrate(U, algorithm, X0, 12, backend=b, **options(algorithm)) for b in ("cpu", "reference"))
    assert run.n_gradients == oracle.n_gradients
    assert np.abs(run.x - oracle.x).max() <= 1e3 * EPS * np.abs(oracle.x).max()
    np.testing.assert_allclose(run.energy, oracle.energy, rtol=1e3 * EPS)
    for name, law in run.laws.items():
        for field in ("quantity", "charge", "discrete_residual", "scale"):
            mine, theirs = getattr(law, field), getattr(oracle.laws[name], field)
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e3 * EPS * max(1, np.abs(theirs).max()))


@each
def test_a_gradient_that_is_not_the_potentials_breaks_the_law(algorithm, monkeypatch):
    given = options(algorithm, batch_size=None, backend="reference", laws="all")
    if algorithm.grad_accumulation > 1:
        given["batch_size"] = 3
    assert verdicts(nl.integrate(U, algorithm, X0, 20, **given)) == {"holds"}
    add_to_gradients(monkeypatch)
    assert nl.integrate(U, algorithm, X0, 20, **given).laws["scaling:1"].verdict == "broken"


@pytest.mark.needs_jit
@each
def test_a_resumed_run_and_the_members_of_an_ensemble_are_the_run(algorithm, tmp_path):
    given = options(algorithm, record_every=4, record_params=True)
    assert_resumes(tmp_path / "run", U, algorithm, X0, 21, **given)
    starts, seeds = np.stack([X0, 0.5 * X0]), np.random.SeedSequence(3)
    members = nl.ensemble(U, algorithm, starts, 21, **given | {"rng": seeds})
    for e, seed in enumerate(np.random.SeedSequence(3).spawn(2)):
        assert_same(members[e], nl.integrate(U, algorithm, starts[e], 21, **given | {"rng": seed}))


OF_EACH_KIND = {type(a).__name__: a for a in [*BLOCKS, *MUON, *INTEGRATORS, *NOISY[1::3], *OPTIMISERS]}


@pytest.mark.parametrize(
    "algorithm", [*OF_EACH_KIND.values(), BLOCKS[0], BLOCKS[12], *CLIPPED[:1], *UPHILL[-1:]], ids=str
)
def test_a_configuration_names_it(algorithm, tmp_path, capsys):
    algorithm = nl.integrate(U, algorithm, X0, 9, backend="reference", **options(algorithm)).specification["algorithm"]
    lines = [f"{key} = {toml(value)}" for key, value in algorithm.items() if value is not None]
    run = 'steps = 9\nbackend = "reference"\nrng = 0\nt0 = 1.0'
    text = configuration("\n".join(lines), run, more="[output]\nplots = []\n")
    (tmp_path / "run.toml").write_text(text, "utf-8")
    assert main(["run", str(tmp_path / "run.toml"), "--out", str(tmp_path), "--no-progress"]) == 0
    run = nl.load(tmp_path / "run.npz")
    assert json.dumps(run.specification["algorithm"]) == json.dumps(algorithm)
    assert verdicts(run) == {"holds"}
    capsys.readouterr()
