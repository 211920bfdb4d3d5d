"""Steps between rows, precision, times and rows one by one: `check` and `Monitor` of correct and of spoilt recordings."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest
from problems import ACTIVATIONS, LOSSES, miscomputed, problem, refusals, streamed, times
from recipes import loop
from test_check import STEPPED as EVERY_STEP
from test_check import verdicts

import noetherlite as nl
from noetherlite._base.precision import judged, precision

net, U, X0 = problem("leaky_relu(0.1)", loss="nll", widths=(3, 6, 4, 3), n=30)
STEPPED = [EVERY_STEP[k] for k in (0, 1, 2, 4, 6, 7, 9)]


def recorded(V, algorithm, steps, every=1, t0=0.0, x=X0, **options):
    return nl.integrate(V, algorithm, x, steps, t0=t0, record_every=every, record_params=True, laws=None, **options)


# --- steps between rows ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [2, 10])
@pytest.mark.parametrize(("algorithm", "t0"), STEPPED, ids=str)
@pytest.mark.uncounted
def test_known_steps_between_rows_hold_and_wrong_ones_do_not(algorithm, t0, every):
    run = recorded(U, algorithm, 25 * every, every, t0)
    report = nl.check(U, run.params, run.t, algorithm, every=every)
    assert report.verdict == "holds", str(report)
    assert f"every row {every} steps of {algorithm}" in str(report)
    # seven digits, as step by step
    assert max(row.tally.finest[1] / row.tally.finest[0] for row in report.motion.values()) > 1e7

    wrong = recorded(miscomputed(U, times(1 + 1e-4, "b1", 2)), algorithm, 25 * every, every, t0)
    report = nl.check(U, wrong.params, wrong.t, algorithm, every=every)
    assert report.verdict == "broken"
    assert "b1" in [name for name, verdict in verdicts(report).items() if verdict == "broken"]
    assert report.motion["b1"].entry == (2,)


@pytest.mark.uncounted
def test_a_velocity_at_the_first_row_is_found_or_given():
    v = 0.3 * np.random.default_rng(1).standard_normal(U.n_params)
    run = recorded(U, nl.Leapfrog(1e-3), 300, 10, velocity=v)
    fitted = nl.check(U, run.params, run.t, nl.Leapfrog(1e-3), every=10)
    assert fitted.verdict == "holds"
    assert "the velocity is not recorded" in fitted.limits[0]
    given = nl.check(U, run.params, run.t, nl.Leapfrog(1e-3), every=10, velocity=v)
    assert given.verdict == "holds"
    assert "velocity" not in given.limits[0]
    assert nl.check(U, run.params, run.t, nl.Leapfrog(1e-3), every=10, velocity=1.001 * v).verdict == "broken"
    assert nl.check(U, run.params, run.t / 2, nl.Leapfrog(1e-3 / 4), every=10).verdict == "broken"


def test_a_row_from_which_steps_lead_nowhere_is_left_out():
    V = nl.potentials.Callable(lambda x: ((x**6).sum() / 6, x**5), 6)
    run = nl.integrate(V, nl.Leapfrog(0.01), np.linspace(-1, 1, 6), 100, record_every=5, record_params=True)
    rows = run.params.copy()
    rows[10] *= 1e6
    report = nl.check(V, rows, run.t, nl.Leapfrog(0.01), every=5)
    assert report.verdict == "broken"
    assert any("steps from row 10 were not checked, nor those to the next" in limit for limit in report.limits)
    assert report.motion["x"].tally.n == 18  # of 20, less those from rows 10 and 11
    with pytest.raises(ValueError, match="from row 0 lead to numbers that are not finite"):
        nl.check(V, 1e6 * run.params, run.t, nl.Leapfrog(0.01), every=5)


@pytest.mark.needs_jit
def test_velocities_that_run_away_hide_no_missing_gradient():
    # With repu twice the velocity leads to where the loss is beyond 1e100: that the next row refutes it is made use of.
    _, V, x = problem("repu(2)", loss="nll", widths=(3, 6, 4, 3), n=20, seed=1)
    algorithm = nl.Leapfrog(0.02, weight_decay=0.1)
    v = 0.3 * np.random.default_rng(1).standard_normal(x.size)
    for W, verdict in ((V, "holds"), (miscomputed(V, times(0, "W3")), "broken")):
        run = recorded(W, algorithm, 75, 5, x=1.3 * x, velocity=v)
        assert nl.check(V, run.params, run.t, algorithm, every=5).verdict == verdict


def test_a_last_row_that_comes_early_is_left_out():
    run = recorded(U, nl.GD(0.02), 53, 10)
    report = nl.check(U, run.params, run.t, nl.GD(0.02), every=10)
    assert report.verdict == "holds"
    assert "the last row is fewer than 10 steps after" in report.limits[0]
    with pytest.raises(ValueError, match=r"t must advance by 0\.2 a row, 10 steps of GD"):
        nl.check(U, run.params[[0, 1, 5, 6]], run.t[[0, 1, 5, 6]], nl.GD(0.02), every=10)
    with pytest.raises(ValueError, match="t must advance"):  # rows that are missing before the last are not left out
        nl.check(U, run.params[[0, 1, 2, 4]], run.t[[0, 1, 2, 4]], nl.GD(0.02), every=10)


# --- times and precision -----------------------------------------------------------------------------------------------


def test_times_follow_from_the_rows_or_may_be_single_precision():
    run = recorded(U, nl.GD(0.05), 300)
    assert nl.check(U, run.params, dynamics=nl.GD(0.05)).verdict == "holds"
    for t in (run.t.astype(np.float32), run.t.astype(np.float32).astype(np.float64)):
        assert nl.check(U, run.params, t, nl.GD(0.05)).verdict == "holds"
        assert nl.check(U, run.params, t, nl.GF).verdict == "holds"
    with pytest.raises(ValueError, match=r"t must advance by 0\.05 a row"):
        nl.check(U, run.params, run.t * (1 + 1e-5), nl.GD(0.05))
    with pytest.raises(ValueError, match="t must be given with ConformalLeapfrog"):
        nl.check(U, run.params, dynamics=nl.ConformalLeapfrog(1e-3, alpha=3))


def half(x, bits):
    """Return x rounded to so many bits of significand."""
    exponent = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(x), 1e-300))) + 1 - bits)
    return np.round(x / exponent) * exponent


def test_the_precision_of_numbers_is_seen_in_any_array():
    x = np.random.default_rng(0).standard_normal(500)
    for bits, name in ((8, "bfloat16"), (11, "float16"), (24, "float32"), (53, "float64")):
        for values in (half(x, bits), np.append(half(x, bits), np.zeros(2000))):
            assert judged(values, None).name == name
            assert precision(values) == 2.0 ** (1 - bits)
    # a few numbers that are short by accident are not bfloat16
    assert precision(np.array([1.0, 0.5, 0.75])) == 2.0**-23
    assert precision(x.astype(np.float16)) == 2.0**-10
    assert judged(x, "autocast").gradient == 2.0**-7
    assert judged(x, "autocast").eps == 2.0**-23


def test_gradients_of_lower_precision_need_to_be_told_of():
    def autocast(x):
        return half(U.gradient(half(x, 8)), 8).astype(np.float32)

    rows = loop(U, X0.astype(np.float32), np.float32(0.05), 40, gradient=autocast)
    assert rows.dtype == np.float32
    assert nl.check(U, rows, dynamics=nl.GD(0.05)).verdict == "broken"
    told = nl.check(U, rows, dynamics=nl.GD(0.05), precision="autocast")
    assert told.verdict != "broken"
    assert "precision 1e-07 (gradients 8e-03)" in str(told)
    # a sign is still seen
    rows = loop(U, X0.astype(np.float32), np.float32(0.05), 40, gradient=lambda x: -autocast(x))
    assert nl.check(U, rows, dynamics=nl.GD(0.05), precision="autocast").verdict == "broken"


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_blocks_of_two_precisions_are_judged_each_by_its_own(factor):
    def rounded(x):
        x = x.astype(np.float32)
        for name in ("W1", "b1", "b3"):
            part = net.unpack(x)[name]
            part[...] = half(part, 8)
        return x

    rows = [rounded(X0)]
    for _ in range(30):
        gradient = U.gradient(rows[-1])
        net.unpack(gradient)["W3"][...] *= factor
        rows.append(rounded(rows[-1] - 0.05 * gradient))
    rows = np.array(rows)
    assert judged(rows, None).name == "float32"
    report = nl.check(U, rows, dynamics=nl.GD(0.05))
    assert "precision 8e-03 (W2 1e-07, b2 1e-07, W3 1e-07)" in str(report)
    assert report.motion["W1"].verdict == "not decidable"
    assert report.motion["W3"].verdict == ("holds" if factor == 1 else "broken")
    assert [row.name for row in report.rows if row.verdict == "broken"] == ([] if factor == 1 else ["W3"])
    assert verdicts(streamed(U, nl.GD(0.05), rows)) == verdicts(report)


def test_a_block_of_short_numbers_that_stays_is_no_block_of_its_own():
    x = X0.copy()
    net.unpack(x)["W2"][...] = net.unpack(x)["W2"].astype(np.float32)  # read from a file of float32, and frozen

    def frozen(x):
        gradient = U.gradient(x)
        net.unpack(gradient)["W2"][...] = 0
        return gradient

    report = nl.check(U, loop(U, x, 0.05, 20, gradient=frozen), dynamics=nl.GD(0.05))
    assert "precision 2e-16," in str(report)
    assert report.findings == ["W2 does not move: its gradient is missing"]


def test_a_gradient_that_cancels_is_given_its_own_round_off():
    # A saturated softmax: p − y is a small difference of ones, and the gradient has few digits left.
    rng = np.random.default_rng(2)
    sharp = nl.Network([4, 10, 3], "relu", loss="nll")
    V = sharp.potential(rng.standard_normal((30, 4)), rng.integers(0, 3, 30))
    for lr in (1.0, 100.0):
        run = nl.integrate(V, nl.GD(lr), sharp.init(rng=0), 60, record_params=True, laws=None)
        assert nl.check(V, run.params, run.t, nl.GD(lr)).verdict != "broken"


# --- rows one by one ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("algorithm", "t0"), STEPPED, ids=str)
@pytest.mark.parametrize(
    ("every", "dtype", "spoil"), [(1, "float64", 0), (1, "float64", 1), (1, "float32", 0), (4, "float64", 0)]
)
def test_a_monitor_says_what_check_says(algorithm, t0, every, dtype, spoil):
    run = recorded(U, algorithm, 20 * every, every, t0, dtype=dtype)
    rows = run.params.copy()
    if spoil:
        rows[7:, 3] += 1e-6
    whole = nl.check(U, rows, run.t, algorithm, every=every)
    one_by_one = streamed(U, algorithm, rows, every=every, t0=t0)
    assert verdicts(one_by_one) == verdicts(whole)
    assert (one_by_one.findings, one_by_one.limits) == (whole.findings, whole.limits)
    for one, row in zip(one_by_one.rows, whole.rows, strict=True):
        assert (one.tally.n, one.tally.n_off) == (row.tally.n, row.tally.n_off)
        assert (one.first, one.where) == (row.first, row.where)
        assert one.t.size == 1
    assert (whole.verdict == "broken") == bool(spoil)


def test_a_first_step_that_turns_out_wrong_later_is_the_first():
    """It may have had a velocity as long as all others are right."""
    ball = nl.HeavyBall(0.05, 0.9)
    rows = recorded(U, ball, 20, velocity=0.1 * np.random.default_rng(0).normal(size=U.n_params)).params.copy()
    rows[12:] += 1e-3
    row = streamed(U, ball, rows).rows[-1]
    assert (row.first, row.tally.first_t) == ((0,), 0.0)
    assert row.tally.n_off > 1


def test_a_monitor_of_minibatches():
    rng = np.random.default_rng(0)
    batches = [rng.choice(30, 8, replace=False) for _ in range(30)]
    rows = loop(U, X0, 0.05, 30, batches=batches)
    assert streamed(U, nl.GD(0.05), rows, batches).verdict == "holds"
    assert streamed(U, nl.GD(0.05), rows).verdict == "broken"
    blind = streamed(U, nl.GD(0.05), rows, minibatches=True)
    assert blind.verdict == "holds"
    assert "the motion was not checked" in blind.limits[0]
    after = [batches[0], *batches]  # given with the row that the step led to
    (finding, *_) = streamed(U, nl.GD(0.05), rows, after).findings
    assert finding.startswith("batches are one step off: each row has the batch of the step before")


def test_a_monitor_does_not_grow():
    watch, x, used = nl.Monitor(U, nl.GD(0.01)), X0.copy(), []
    # what arrays hold, without Python's own lists of free objects
    numbers = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    tracemalloc.start()
    for k in range(150):
        watch.step(x)
        x = x - 0.01 * U.gradient(x)
        if k in (49, 149):
            traces = tracemalloc.take_snapshot().filter_traces([numbers]).traces
            used.append(sum(trace.size for trace in traces))
    tracemalloc.stop()
    assert watch.report().verdict == "holds"
    assert used[0] > 8 * U.n_params
    assert used[1] - used[0] < 8 * U.n_params * 10  # not the 100 rows that came meanwhile


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_run_in_single_precision_may_begin_at_numbers_of_double_precision(dtype):
    """As in a loop that watches the start that it copies to another framework."""
    rows = loop(U, X0.astype(dtype), 0.1, 10, gradient=lambda x: U.gradient(x.astype(float)))
    rows, watch = [X0, *rows[1:].astype(dtype)], nl.Monitor(U, nl.GD(0.1))
    for row in rows:
        watch.step(row)
    assert str(watch.report()).startswith(f"11 records of precision {np.finfo(dtype).eps:.0e}")
    assert watch.report().verdict != "broken"
    assert nl.check(U, np.stack(rows), dynamics=nl.GD(0.1)).verdict != "broken"
    assert repr(watch) == "<Monitor of GD(lr=0.1): 11 rows>"


def test_a_batch_that_lacks_in_the_middle_is_refused():
    """It was taken for all samples, and the step called broken."""
    watch = nl.Monitor(U, nl.GD(0.1))
    watch.step(X0, [0, 1])
    watch.step(X0)
    with pytest.raises(
        ValueError, match="batch must be given for every row but the last, or for none; the row before had none"
    ):
        watch.step(X0, [0, 1])


def test_monitor_refuses():
    watch = nl.Monitor(U, nl.GD(0.1))
    with pytest.raises(ValueError, match="there are 0 rows so far; expected at least two"):
        watch.report()
    with pytest.raises(ValueError, match=r"theta must have shape"):
        watch.step(X0[1:])
    with pytest.raises(TypeError, match="algorithm must be an Algorithm"):
        nl.Monitor(U, nl.GF)
    watch.step(X0)
    with pytest.raises(ValueError, match="batch must be given for every row but the last, or for none"):
        watch.step(X0, [1, 2])


# --- the report --------------------------------------------------------------------------------------------------------


def test_a_report_is_an_ordinary_object():
    run = recorded(U, nl.GD(0.05), 20)
    report = nl.check(U, run.params, run.t, nl.GD(0.05))
    for same in (pickle.loads(pickle.dumps(report)), copy.deepcopy(report)):
        assert str(same) == str(report)
        assert same.verdict == "holds"
    assert "<table>" in report._repr_html_()
    assert "holds" in report._repr_html_()
    assert report.limits


def test_one_recording_holds_one_is_broken_one_is_not_decidable():
    run = recorded(U, nl.GD(0.05), 20)
    assert nl.check(U, run.params, run.t, nl.GD(0.05)).verdict == "holds"
    dead = X0.copy()
    net.unpack(dead)["W3"][...] = 0  # no gradient reaches the layers below
    still = nl.check(U, loop(U, dead, 1e-9, 5, gradient=lambda x: 0 * x), dynamics=nl.GD(1e-9))
    assert still.verdict == "broken"
    quiet = nl.check(nl.potentials.Harmonic(np.diag([1.0, 2.0])), np.zeros((5, 2)), dynamics=nl.GD(0.1))
    assert quiet.verdict == "not decidable"
    assert not quiet.ok
    assert not quiet.findings
    assert any("its expected gradient is zero at every row" in limit for limit in quiet.limits)


test_bad_input = refusals(
    [
        ({"precision": "float8"}, "precision='float8' is not known"),
        ({"every": 0}, "every=0 is out of range"),
        ({"every": 2, "minibatches": True}, "minibatches=True with every=2 needs batches="),
        ({"batches": [[0]] * 3}, "batches must have one array per step, 20 for 21 rows, got 3"),
        ({"batches": [[30]] * 20}, r"batches\[0\] must hold indices in 0..29, got 30..30"),
        ({"batches": [[0.5]] * 20}, r"batches\[0\] must be a non-empty array of sample indices"),
        ({"batches": [[0]] * 40, "every": 2, "dynamics": nl.Leapfrog(0.01)}, "which takes two gradients per step"),
        ({"dynamics": nl.GF, "every": 2}, "every=2 needs an Algorithm"),
        ({"dynamics": nl.GF, "t": np.arange(21.0), "batches": [[0]] * 20}, "minibatches=True needs an Algorithm"),
        ({"dynamics": nl.Leapfrog(0.01), "velocity": X0}, "velocity is not used with Leapfrog"),
        ({"dynamics": nl.HeavyBall(0.1), "velocity": X0[1:]}, "velocity must have shape"),
    ],
    lambda options: nl.check(U, np.tile(X0, (21, 1)), **{"dynamics": nl.GD(0.1), **options}),
)  # fmt: skip


# --- correct runs are never called broken --------------------------------------------------------------------------------


def drawn(rng):
    """Return an algorithm and a first time at random."""
    lr, decay = 10 ** rng.uniform(-3, -0.5), float(rng.choice([0.0, 1e-3, 0.1]))
    kinds = [
        lambda: nl.GD(lr, weight_decay=decay),
        lambda: nl.HeavyBall(lr / 3, rng.uniform(0, 0.95), float(rng.choice([0.0, 0.5])), weight_decay=decay),
        lambda: nl.Leapfrog(lr**2, weight_decay=decay),
        lambda: nl.NAGD(lr**2, weight_decay=decay),
        lambda: nl.ConformalLeapfrog(lr**2, rng.uniform(0.5, 2), rng.uniform(0, 1), alpha=3, weight_decay=decay),
    ]
    algorithm = kinds[rng.integers(len(kinds))]()
    return algorithm, 0.5 if algorithm.singular_start else 0.0


@pytest.mark.needs_jit
@pytest.mark.parametrize(
    ("activation", "loss", "n", "seed", "algorithm", "every", "rows", "dtype"),
    [
        # Errors of the hidden velocity grow until the walks are not linear in them.
        ("swish", "nll", 28, 6266, nl.Leapfrog(0.11879868387568493), 5, 30, "float32"),
        # A sample is on a kink, hidden steps land on either side in turn, and the velocity is not known.
        ("leaky_relu(0.1)", "nll", 17, 4558, nl.HeavyBall(0.007147854041114947, 0.8961928820615708, weight_decay=0.1), 10, 60, "float64"),
    ],
)  # fmt: skip
def test_errors_that_hidden_steps_amplify_break_no_law(activation, loss, n, seed, algorithm, every, rows, dtype):
    _, V, x = problem(activation, loss, widths=(3, 6, 4, 3), n=n, seed=seed)
    run = recorded(V, algorithm, rows * every, every, x=0.7 * x, dtype=dtype)
    half = slice(None) if dtype == "float32" else slice(len(run.params) // 2, None)
    report = nl.check(V, run.params[half], dynamics=algorithm, every=every)
    assert report.verdict != "broken"
    assert not report.findings


@pytest.mark.needs_jit
def test_random_correct_runs_are_never_called_broken():
    decided = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        activation, loss = ACTIVATIONS[rng.integers(len(ACTIVATIONS))], LOSSES[rng.integers(2)]
        _, V, x = problem(activation, loss, widths=(3, 6, 4, 3), n=20, seed=seed)
        algorithm, t0 = drawn(rng)
        every, dtype = int(rng.choice([1, 1, 2, 5])), ["float64", "float32"][rng.integers(2)]
        velocity = None
        if algorithm.has_velocity and rng.random() < 0.3 and t0 == 0 and not isinstance(algorithm, nl.NAGD):
            velocity = 0.3 * rng.standard_normal(x.size)
        run = recorded(V, algorithm, 20 * every, every, t0, 0.7 * x, velocity=velocity, dtype=dtype)
        if run.status != "completed":
            continue
        report = nl.check(V, run.params, run.t, algorithm, every=every)
        assert report.verdict != "broken", f"{seed}: {report}"
        assert not report.findings
        decided += report.verdict == "holds"
    assert decided > 25
