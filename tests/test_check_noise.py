"""`check` of Langevin dynamics: to round-off where the noise is known, else by chance, with what is wrong, and how rarely by chance alone."""

import dataclasses
import functools
import math

import numpy as np
import pytest
from problems import EPS, configuration, miscomputed, problem, streamed, times

import noetherlite as nl
from noetherlite._check import noise
from noetherlite._cli.main import main

_, U, X0 = problem("swish", loss="nll", widths=(3, 4, 3), n=12)
STEPS = 400
ALL = [
    nl.SGLD(0.05, 1e-7, clip=0.3),
    nl.SGLD(np.linspace(0.05, 0.03, STEPS), 1e-7, weight_decay=0.1),
    nl.BAOAB(0.02, 1e-7, 1.0, 2.0, weight_decay=0.1),
    nl.BAOAB(np.linspace(0.02, 0.01, STEPS), 1e-7, 1.0, 2.0),
    nl.SGLD({"W1": 0.05, "b2": 0.02, "rest": 0.03}, 1e-7),
    nl.BAOAB({"W1": 0.02, "b2": 0.01, "rest": 0.015}, 1e-7, weight_decay={"W2": 0.1}),
]
each = pytest.mark.parametrize("algorithm", ALL, ids=str)


def recorded(algorithm, V=U, **options):
    """Return a run with its rows, and its key."""
    options = {"rng": 0, "laws": None, "backend": "reference", **options}
    run = nl.integrate(V, algorithm, X0, STEPS, record_params=True, **options)
    return run, run.specification["arguments"]["batch_key"]


@functools.cache
def of_all(algorithm, V=U):
    """Return the run, and its key, that several tests check."""
    return recorded(algorithm, V)


def scaled(algorithm, factor):
    """Return its rates times a factor."""
    lr = algorithm.specification()["lr"]
    return {k: factor * rate for k, rate in lr.items()} if isinstance(lr, dict) else factor * np.array(lr)


STEEP = nl.potentials.Callable(lambda x: (U.value(x), 1.1 * U.gradient(x)), U.n_params)


@each
def test_with_its_key_a_run_is_checked_to_round_off(algorithm):
    """The peer of the numbers: NumPy's run, whose noise is drawn from the formula that tests/test_langevin.py writes out."""
    run, key = of_all(algorithm)
    report = nl.check(U, run.params, dynamics=algorithm, noise_key=key)
    assert report.ok, str(report)
    finest = max(tolerance / scale for tolerance, scale in (row.tally.finest for row in report.motion.values()))
    assert finest < 1e6 * EPS
    t = algorithm.times(0.0, np.arange(STEPS + 1))
    late = nl.check(U, run.params[100:], t[100:], algorithm, noise_key=key)
    assert late.ok  # of the steps from number 100 on
    assert nl.check(U, run.params[100:], t[99:-1], algorithm, noise_key=key).verdict == "broken"
    assert streamed(U, algorithm, run.params, noise_key=key).ok
    single, _ = recorded(algorithm, dtype="float32")
    assert nl.check(U, single.params, dynamics=algorithm, noise_key=key).verdict != "broken"


@each
def test_what_is_wrong_is_named_where_the_key_is_known(algorithm):
    run, key = of_all(algorithm)
    hot = dataclasses.replace(algorithm, temperature=1.1e-7)
    cases = [
        (run, algorithm, key + 1, f"the noise is not that of noise_key={key + 1}"),
        (run, hot, key, "the noise is that of a temperature of 1e-07, where 1.1e-07 is declared"),
    ]
    if algorithm.clip is None and not algorithm.has_blocks:
        steep = of_all(algorithm, STEEP)[0]
        cases.append((steep, algorithm, key, "every block moves 1.1 times as far as U asks"))
    for rows, claimed, of_key, words in cases:
        report = nl.check(U, rows.params, dynamics=claimed, noise_key=of_key)
        assert report.verdict == "broken"
        assert words in report.findings[0]
    hotter, _ = of_all(dataclasses.replace(algorithm, temperature=4e-7))
    assert "it is as large" not in str(nl.check(U, hotter.params, dynamics=algorithm, noise_key=key + 1).findings)
    slow = dataclasses.replace(algorithm, lr=scaled(algorithm, 0.999))
    assert nl.check(U, run.params, dynamics=slow, noise_key=key).verdict == "broken"


@each
def test_without_the_key_verdicts_are_by_chance(algorithm):
    run, _ = of_all(algorithm)
    report = nl.check(U, run.params, dynamics=algorithm)
    assert report.verdict != "broken", str(report)
    assert "with a probability of 1e-06" in str(report.limits)
    hold = {row.name for row in report.rows if row.verdict == "holds"}
    assert {"scaling:1", "translation:W", "W1", "b2", "noise of W1"} <= hold
    assert "too few steps to tell a temperature" in str(report.limits)  # of blocks with few parameters
    hot = nl.check(U, run.params, dynamics=dataclasses.replace(algorithm, temperature=2e-7))
    assert hot.motion["noise of W1"].verdict == "broken"
    assert hot.motion["W1"].verdict == hot.laws["scaling:1"].verdict == "holds"
    assert "where 2e-07 is declared" in hot.findings[0]
    assert str(streamed(U, algorithm, run.params)) == str(report)
    if algorithm.clip is not None or algorithm.has_blocks:
        return
    steep = of_all(algorithm, STEEP)[0]
    report = nl.check(U, steep.params, dynamics=algorithm)
    assert report.verdict == "broken"
    assert report.laws["scaling:1"].verdict == "holds"
    assert report.motion["W1"].verdict == "broken"
    factor = float(report.motion["W1"].sentence.split()[2])
    assert 1.03 < factor < 1.13  # of ∇U + λx, whose second term is not larger


def test_a_law_is_broken_by_a_gradient_that_is_not_orthogonal():
    algorithm = nl.SGLD(0.05, 1e-9)
    run, _ = recorded(algorithm, miscomputed(U, times(1.3, "W1", 2)))
    report = nl.check(U, run.params, dynamics=algorithm)
    assert report.laws["scaling:1"].tally.beyond.tolist() == [False, False, True, False]
    assert report.laws["translation:b"].verdict == "holds"
    assert [text.partition(" ")[0] for text in report.findings] == ["W1"]
    assert "and not along it alone" in report.findings[0]


def test_minibatches():
    """Unknown ones leave the laws of SGLD, and the temperature along their symmetries; known ones all."""
    algorithm = ALL[1]
    run, key = recorded(algorithm, batch_size=5)
    blind = nl.check(U, run.params, dynamics=algorithm, minibatches=True)
    assert blind.verdict != "broken"
    assert blind.laws["scaling:1"].verdict == "holds"
    names = {"scaling:1", "translation:b", "translation:W"}
    assert set(blind.laws) == names | {f"noise of {name}" for name in names}
    assert nl.check(U, run.params, dynamics=algorithm, minibatches=True, noise_key=key).ok
    hot = nl.check(U, run.params, dynamics=dataclasses.replace(algorithm, temperature=4e-7), minibatches=True)
    assert hot.laws["noise of scaling:1"].verdict == "broken"
    assert nl.check(U, run.params, dynamics=algorithm).verdict == "broken"  # not of all samples
    x, rng, rows, batches = X0, np.random.default_rng(0), [X0], []
    for rate in algorithm.rates:
        batches.append(rng.permutation(12)[:5])
        force = U.part(batches[-1]).gradient(x) + 0.1 * x
        x = x - rate * force + math.sqrt(2 * rate * 1e-7) * rng.standard_normal(x.size)
        rows.append(x)
    report = nl.check(U, rows, dynamics=algorithm, batches=batches)  # a recording of another program
    assert report.motion["W1"].verdict == report.motion["noise of W1"].verdict == "holds"
    assert report.verdict != "broken"
    assert nl.check(U, rows, dynamics=algorithm, batches=batches[::-1]).verdict == "broken"
    inert = nl.check(U, run.params, dynamics=ALL[2], minibatches=True)
    assert inert.verdict == "not decidable"
    assert "follows from positions and gradients" in str(inert.limits)


def test_rates_by_block_are_told_from_one_rate():
    """With the key and without; nothing is said by chance of blocks that do not move."""
    run, key = recorded(ALL[4])
    for options in ({}, {"noise_key": key}):
        assert nl.check(U, run.params, dynamics=nl.SGLD(0.05, 1e-7), **options).verdict == "broken"
    frozen = nl.SGLD({"W1": 0, "rest": 0.03}, 1e-7)
    run, key = recorded(frozen)
    report = nl.check(U, run.params, dynamics=frozen, noise_key=key)
    assert {row.verdict for row in [*report.laws.values(), report.motion["W2"]]} == {"holds"}
    run.params[7:, :3] += 1e-9
    assert nl.check(U, run.params, dynamics=frozen, noise_key=key).motion["W1"].verdict == "broken"
    with pytest.raises(ValueError, match="noise_key must be given with SGLD"):
        nl.check(U, run.params, dynamics=frozen)


@pytest.mark.uncounted
def test_sums_are_within_their_bound_as_often_as_promised(monkeypatch):
    """At a level of 1/2 a report of right steps is broken in fewer than half of the cases; that of others in all."""
    monkeypatch.setattr(noise, "FALSE_ALARM", 0.5)
    bowl, algorithm = nl.potentials.Harmonic(np.diag([1.0, 2.0])), nl.SGLD(0.1, 1e-3)
    runs = nl.ensemble(bowl, [algorithm] * 60, np.ones((60, 2)), 40, record_params=True, rng=1, backend="reference")
    broken = [nl.check(bowl, rows, dynamics=algorithm).verdict == "broken" for rows in runs.params]
    assert sum(broken) <= 30 + 3 * math.sqrt(15)  # three standard deviations above the half that is allowed
    wrong = dataclasses.replace(algorithm, temperature=4e-3)
    assert all(nl.check(bowl, rows, dynamics=wrong).verdict == "broken" for rows in runs.params)


def test_noise_that_hides_gradients_is_not_decidable_and_no_noise_needs_no_key():
    run, key = recorded(nl.SGLD(0.01, 0.1))
    report = nl.check(U, run.params, run.t, nl.SGLD(0.01, 0.1))
    assert report.verdict == "not decidable"
    assert report.motion["noise of W1"].verdict == "holds"
    assert "W1" in str(report.limits)
    assert "noise may make a residual" in str(report.limits)
    assert nl.check(U, run.params[:2], dynamics=nl.BAOAB(0.01, 0.1)).verdict == "not decidable"
    for cold in (nl.SGLD(0.05, 0.0), nl.BAOAB(0.02, 0.0, 1.0)):
        assert nl.check(U, recorded(cold)[0].params, dynamics=cold).ok
    moving = recorded(ALL[2], velocity=X0)
    assert nl.check(U, moving[0].params, dynamics=ALL[2], velocity=X0, noise_key=moving[1]).ok
    assert nl.check(U, moving[0].params, dynamics=ALL[2], velocity=1.001 * X0, noise_key=moving[1]).verdict == "broken"
    with pytest.raises(ValueError, match="noise_key is not used with GD"):
        nl.check(U, run.params, dynamics=nl.GD(0.1), noise_key=key)
    with pytest.raises(ValueError, match="noise_key needs an Algorithm"):
        nl.check(U, run.params, run.t, noise_key=key)
    with pytest.raises(ValueError, match="noise_key=-1"):
        nl.Monitor(U, ALL[0], noise_key=-1)


@pytest.mark.parametrize(
    "settings",
    [
        'name = "SGLD"\nlr = 0.05\ntemperature = 1e-3',
        'name = "BAOAB"\nlr = { schedule = "cosine", peak = 0.05, warm_up = 5 }\ntemperature = 1e-3',
        'name = "SGLD"\nlr = { W1 = 0.05, rest = 0.02 }\ntemperature = 1e-3',
        'name = "ProjectedGD"\nlr = { schedule = "cosine", peak = 0.05, warm_up = 5 }',
        'name = "ProjectedGD"\nlr = { W1 = 0.05, rest = 0.02 }',
        'name = "ImplicitMidpoint"\ndynamics = "ND"\nlr = { schedule = "cosine", peak = 0.05 }',
        'name = "GD"\nlr = { schedule = "linear", peak = 0.05 }',
        'name = "HeavyBall"\nlr = { W1 = 0.05, rest = 0.02 }\nsam = 0.0',
    ],
)
@pytest.mark.usefixtures("unrendered")
def test_the_command_line_checks_what_it_has_run(settings, tmp_path, capsys):
    path = tmp_path / "it.toml"
    for every in (1, 4):
        recorded_every = f'steps = 60\nrecord_params = true\nbackend = "reference"\nrng = 5\nrecord_every = {every}'
        text = configuration(settings, recorded_every, 'widths = [3, 4, 3]\nactivation = "relu"')
        path.write_text(text, "utf-8")
        assert main(["run", str(path), "--out", str(tmp_path), "--no-progress", "--force"]) == 0
        capsys.readouterr()
        noisy = "temperature" in settings
        code = main(["check", str(tmp_path / "it.npz"), "--config", str(path)])
        out, error = capsys.readouterr()
        assert error == "" or noisy
        assert code == (1 if noisy and every > 1 else 0)
        if code == 0:
            assert "verdict: holds" in out
    if noisy:
        return
    path.write_text(text.replace("0.05", "0.0501"), "utf-8")
    other = main(["check", str(tmp_path / "it.npz"), "--config", str(path)])
    assert other in (1, 3)
