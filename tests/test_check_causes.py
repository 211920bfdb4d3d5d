"""The reasons that `check` gives for steps that are off for a usual one: the right reason, or none."""

import numpy as np
import pytest
from problems import miscomputed, problem, streamed, times
from recipes import adam, loop

import noetherlite as nl

net, U, X0 = problem("leaky_relu(0.1)", loss="nll", widths=(3, 6, 4, 3), n=30)
SQUARES, V, Y0 = problem("tanh", loss="mse", widths=(3, 6, 4, 3), n=30)
LR, STEPS = 0.05, 60
GD = nl.GD(LR)
BATCHES = [np.random.default_rng(k).choice(30, 8, replace=False) for k in range(STEPS)]


def rows(**options):
    return loop(U, X0, LR, STEPS, **options)


def means():
    """Return the means of all parameters so far."""
    return np.cumsum(rows(), axis=0) / np.arange(1, STEPS + 2)[:, None]


def first_length():
    """Return the length of the first gradient."""
    return float(np.linalg.norm(U.gradient(X0)))


def scaled(name, factor):
    """Return the gradient of U with one block of it scaled."""
    return miscomputed(U, times(factor, name)).gradient


def decayed_weights(x):
    out = U.gradient(x)
    for name in ("W1", "W2", "W3"):
        net.unpack(out)[name][...] += 1e-3 * net.unpack(x)[name]
    return out


def clipped(length):
    return lambda g, k: g * min(1.0, length / np.linalg.norm(g))


def stale(step):
    """Return a change of gradients: in one step it is that of the step before."""
    last = [None]

    def change(g, k):
        last.append(g.copy())
        return last[-2] if k == step else g

    return change


def averaged(rows, decay):
    out = [rows[0]]
    for row in rows[1:]:
        out.append(decay * out[-1] + (1 - decay) * row)
    return np.array(out)


def of_unit_weights(x):
    """The gradient of U where every neuron of the first layer has its weights and bias divided by their length."""
    y = x.copy()
    w, b = (net.unpack(y)[name] for name in ("W1", "b1"))
    length = np.sqrt((w**2).sum(axis=1) + b**2)
    w /= length[:, None]
    b /= length
    out = U.gradient(y)
    parts = net.unpack(out)
    along = (parts["W1"] * w).sum(axis=1) + parts["b1"] * b
    parts["W1"][...] = (parts["W1"] - along[:, None] * w) / length[:, None]
    parts["b1"][...] = (parts["b1"] - along * b) / length
    return out


BALL = nl.HeavyBall(LR, 0.9)
CAUSES = {
    "momentum": lambda: (rows(momentum=0.9), GD, "the steps have a momentum of 0.9, where 0 is declared"),
    "less momentum": lambda: (rows(momentum=0.8), nl.HeavyBall(LR, 0.9), "the steps have a momentum of 0.8, where 0.9 is declared"),
    "Nesterov": lambda: (rows(momentum=0.9, nesterov=True), GD, "the steps have Nesterov's momentum of 0.9"),
    "Nesterov, heavy ball declared": lambda: (
        rows(momentum=0.9, nesterov=True), nl.HeavyBall(LR, 0.9), "the steps have Nesterov's momentum of 0.9",
    ),
    "decay": lambda: (rows(decay=5e-4), GD, "the steps have a weight decay of 0.0005 that is not declared"),
    "more decay": lambda: (
        rows(decay=5e-4), nl.GD(LR, weight_decay=1e-4), "the steps have a weight decay of 0.0005, where 0.0001 is declared",
    ),
    "decay and momentum": lambda: (
        rows(momentum=0.9, decay=5e-4), nl.HeavyBall(LR, 0.9), "the steps have a weight decay of 0.0005 that is not declared",
    ),
    "neither declared": lambda: (
        rows(momentum=0.9, decay=5e-4), GD,
        "the steps have a weight decay of 0.0005 that is not declared and a momentum of 0.9, where 0 is declared",
    ),
    "decay of weights": lambda: (
        rows(gradient=decayed_weights), GD, "the steps of W1, W2, W3 have a weight decay of 0.001 that is not declared",
    ),
    "clipped": lambda: (rows(change=clipped(0.8 * first_length())), GD, f"gradients longer than {0.8 * first_length():.4g} are clipped to that length (6 of"),
    "clipped always": lambda: (rows(change=clipped(0.1 * first_length())), GD, f"gradients longer than {0.1 * first_length():.4g} are clipped to that length"),
    "schedule": lambda: (
        rows(change=lambda g, k: g * (1 - k / 100)), GD, "every block moves in the right direction, 0.41 to 0.99 times as far",
    ),
    "schedule from its first step on": lambda: (
        rows(change=lambda g, k: g * (0.9 - k / 100)), GD, "every block moves in the right direction, 0.31 to 0.9 times as far",
    ),
    "two rates": lambda: (
        rows(change=lambda g, k: g * (0.1 if k > 45 else 1)), GD,
        "every block moves 0.1 times as far as U asks at 14 of 60 steps, from rows 46, 47, 48, 49, 50, 51, 52, 53, …",
    ),
    "minibatches": lambda: (rows(batches=BATCHES), GD, "no step is along the gradient of all samples, and every law holds, as with minibatches"),
    "Adam": lambda: (adam(U, X0, LR, STEPS), GD, "steps are about equally long in every entry, as those of an adaptive optimiser"),
    "repeated": lambda: (np.insert(rows(), 20, rows()[20], axis=0), GD, "row 21 repeats the row before (1 of 61 steps, from row 20)"),
    "repeated, heavy ball": lambda: (
        np.insert(rows(momentum=0.9), 20, rows(momentum=0.9)[20], axis=0), nl.HeavyBall(LR, 0.9), "row 21 repeats the row before (2 of",
    ),
    "missing": lambda: (np.delete(rows(), 20, axis=0), GD, "a row is missing after row 19: the next is 2 steps on (1 of 59 steps, from row 19)"),
    "not copied": lambda: (np.repeat(rows()[-1:], 30, axis=0), GD, "all rows are equal, and the gradient is not zero: were they copied"),
    "a millionth": lambda: (rows(change=lambda g, k: g * (1 + 1e-6)), GD, "every block moves 1.000001 times as far as U asks: its loss or"),
    "a millionth of a block": lambda: (rows(gradient=scaled("W2", 1 + 1e-6)), GD, "W2 moves 1.000001 times as far as U asks"),
    "missing block": lambda: (rows(gradient=scaled("b1", 0.0)), GD, "b1 does not move: its gradient is missing"),
    "little of a block": lambda: (rows(gradient=scaled("b1", 0.015)), GD, "b1 moves 0.015 times as far as U asks"),
    "sum": lambda: (loop(U, X0, 1e-3, STEPS, change=lambda g, k: 30 * g), nl.GD(1e-3), "every block moves 30 times as far as U asks (there are 30 samples)"),
    "L1": lambda: (rows(gradient=lambda x: U.gradient(x) + 1e-2 * np.sign(x)), GD, "the steps have an L1 penalty of 0.01 times the signs of the parameters"),
    "L1, heavy ball": lambda: (
        rows(gradient=lambda x: U.gradient(x) + 1e-3 * np.sign(x), momentum=0.9), BALL, "the steps have an L1 penalty of 0.001 times the signs",
    ),
    "average": lambda: (averaged(rows(), 0.9), GD, "rows are running averages of the parameters with a decay of 0.9,"),
    "slow average": lambda: (averaged(rows(decay=0.01), 0.999), nl.GD(LR, weight_decay=0.01), "rows are running averages of the parameters with a decay of 0.999,"),
    "corrected average": lambda: (
        np.concatenate([X0[None], averaged(np.concatenate([0 * X0[None], rows()[1:]]), 0.9)[1:] / (1 - 0.9 ** np.arange(1, STEPS + 1)[:, None])]),
        GD, "rows are running averages of the parameters with a decay of 0.9,",
    ),
    "mean": lambda: (means(), GD, "rows are means of all parameters so far, not the parameters themselves"),
    "mean from the first step on": lambda: (
        np.concatenate([rows()[:1], np.cumsum(rows()[1:], axis=0) / np.arange(1, STEPS + 1)[:, None]]), GD, "rows are means of all parameters so far",
    ),
    "every third": lambda: (rows()[::3], GD, "rows are 3 steps apart, not 1: every=3"),
    "every third, heavy ball": lambda: (rows(momentum=0.9)[::3], BALL, "rows are 3 steps apart, not 1: every=3"),
    "every third, leapfrog": lambda: (
        nl.integrate(U, nl.Leapfrog(LR**2), X0, STEPS, record_every=3, record_params=True, laws=None).params, nl.Leapfrog(LR**2),
        "rows are 3 steps apart, not 1: every=3",
    ),
    "weights of unit length": lambda: (rows(gradient=of_unit_weights), GD, "no step changes the length of any neuron's weights in W1 to first order"),
    "a step that is not taken, and eight halves": lambda: (
        rows(change=lambda g, k: g * (0.5 if 0 < k < 9 else k > 0)), GD, "every block moves in the right direction, 0 to 0.5 times as far",
    ),
    "momentum that is a millionth less": lambda: (
        rows(momentum=0.9 - 1e-6), BALL, "the steps have a momentum of 0.899999, where 0.9 is declared",
    ),
    "a velocity that is dropped": lambda: (
        np.concatenate([rows(momentum=0.9)[:30], loop(U, rows(momentum=0.9)[30], LR, 30, momentum=0.9)]), BALL,
        "the steps have no momentum, where 0.9 is declared (1 of 60 steps, from row 30)",
    ),
    "ascent": lambda: (rows(change=lambda g, k: -g), GD, "every block moves -1 times as far as U asks"),
}  # fmt: skip


@pytest.mark.parametrize("name", CAUSES)
def test_a_usual_cause_is_named(name):
    recorded, algorithm, words = CAUSES[name]()
    report = nl.check(U, recorded, dynamics=algorithm)
    assert report.verdict == "broken"
    (finding,) = report.findings
    assert finding.startswith(words)
    assert streamed(U, algorithm, recorded).findings == report.findings


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (2 / 3, "0.6667 times as far as U asks (2/3, as where squares are averaged over samples and outputs)"),
        (2.0, "2 times as far as U asks (as where the ½ of the loss is left out)"),
        (60.0, "60 times as far as U asks (there are 30 samples, and the loss has a ½)"),
        (0.7, "0.7 times as far as U asks: its loss"),
    ],
)
def test_losses_that_are_counted_otherwise(factor, words):
    report = nl.check(V, loop(V, Y0, 1e-3, 30, change=lambda g, k: factor * g), dynamics=nl.GD(1e-3))
    (finding,) = report.findings
    assert words in finding


def test_causes_that_are_none_of_the_usual_have_no_reason():
    def permuted(x):
        out = U.gradient(x)
        net.unpack(out)["W2"][...] = net.unpack(out)["W2"][::-1].copy()
        return out

    (finding,) = nl.check(U, rows(gradient=permuted), dynamics=GD).findings
    assert finding.startswith("W2 does not move along -∇U")
    findings = nl.check(
        U, rows(change=stale(30)), dynamics=GD
    ).findings  # in all steps it might be bfloat16's round-off
    assert all("does not move along -∇U" in finding and "(from row 30)" in finding for finding in findings)
    assert len(findings) == 6
    fewer = U.network.potential(U.X[:-1], U.y[:-1])
    (finding,) = nl.check(U, rows(gradient=fewer.gradient), dynamics=GD).findings
    assert finding.endswith("or with other data")  # which one of the two, steps alone do not tell


def test_samples_are_told_where_no_law_is():
    (finding,) = nl.check(V, loop(V, Y0, LR, 30, batches=BATCHES), dynamics=GD).findings
    batches = "minibatches (then batches= or minibatches=True)"
    assert finding == f"every step is along the gradient of 8 of the 30 samples: {batches}"
    (finding,) = nl.check(V, loop(V, Y0, LR, 30, batches=BATCHES[:1] * 30), dynamics=GD).findings
    assert finding == "every step is along the gradient of the same 8 of the 30 samples"
    # other data are no samples of these
    other = V.network.potential(V.X + 0.1, V.y)
    for finding in nl.check(V, loop(other, Y0, LR, 30), dynamics=GD).findings:
        assert "does not move along -∇U" in finding


def test_steps_that_run_away_are_no_rows_apart():
    # from 10 on steps of any number lead to infinity
    steep = nl.potentials.Callable(lambda x: ((x**6).sum() / 6, x**5), 40)
    recorded = 10 + np.cumsum(np.random.default_rng(0).standard_normal((6, 40)), axis=0)
    for algorithm in (nl.GD(0.1), nl.Leapfrog(0.1), nl.NAGD(0.1)):
        assert "apart" not in str(nl.check(steep, recorded, dynamics=algorithm).findings)


def test_twice_the_rate_is_not_taken_for_every_second_row():
    small = np.float32(1e-3)  # so small that two steps are one of twice the length, to the round-off of the rows
    for recorded in (loop(U, X0.astype("f4"), 2 * small, 30), loop(U, X0.astype("f4"), small, 60)[::2]):
        (finding,) = nl.check(U, recorded.astype("f4"), dynamics=nl.GD(float(small))).findings
        assert "times as far as U asks" in finding


def test_a_first_step_that_is_not_damped_is_no_fault():
    report = nl.check(U, rows(momentum=0.9, dampening=0.5), dynamics=nl.HeavyBall(LR, 0.9, 0.5))
    assert report.verdict == "holds"
    assert "2 times as long: PyTorch leaves the dampening out of it" in report.limits[0]
    report = nl.check(U, rows(momentum=0.9), dynamics=nl.HeavyBall(LR, 0.9))
    assert report.limits[0].startswith("a gradient that is wrong by less")


def test_a_heavy_ball_may_begin_with_a_velocity():
    ball, v = nl.HeavyBall(0.02, 0.9), 0.1 * np.random.default_rng(0).standard_normal(U.n_params)
    run = nl.integrate(U, ball, X0, 60, velocity=v, record_params=True, laws=None)
    for recorded in (run.params, run.params[30:]):
        report = nl.check(U, recorded, dynamics=ball)
        assert report.verdict == "holds"
        assert "it is not one from rest" in report.limits[0]
    assert nl.check(U, run.params, dynamics=ball, velocity=v).limits[0].startswith("a gradient that is wrong by less")
    assert nl.check(U, run.params, dynamics=ball, velocity=2 * v).verdict == "broken"
    spoilt = run.params.copy()
    spoilt[40:] += 1e-9  # the first step excuses no other
    assert nl.check(U, spoilt, dynamics=ball).verdict == "broken"


def test_small_errors_of_doubles_are_no_products_in_bfloat16():
    def raw(x):  # uphill by a multiple of the gradient
        return U.gradient(x + 0.02 * U.gradient(x))

    report = nl.check(U, rows(gradient=raw), dynamics=GD)
    assert report.verdict == "broken"
    assert not any("bfloat16" in finding for finding in report.findings)


def test_samples_that_all_have_a_negative_share_are_no_minibatch():
    few = U.part(range(10))
    report = nl.check(
        U, loop(U, X0, 1e-3, 9, gradient=lambda x: -U.gradient(x) - few.gradient(x)), dynamics=nl.GD(1e-3)
    )
    assert not any("samples" in finding for finding in report.findings)


def test_a_clipped_length_is_pytorchs_or_named_as_optaxs():
    length = first_length() / 4
    (finding,) = nl.check(U, rows(change=clipped(length)), dynamics=nl.GD(LR, clip=length)).findings
    assert finding.startswith("gradients are clipped to")
    assert "optax" in finding
    (finding,) = nl.check(U, rows(change=clipped(length)), dynamics=nl.GD(LR, clip=0.9 * length)).findings
    assert "optax" not in finding


def test_batches_make_the_motion_checkable():
    recorded = rows(batches=BATCHES)
    assert nl.check(U, recorded, dynamics=GD, batches=BATCHES).verdict == "holds"
    laws_only = nl.check(U, recorded, dynamics=GD, minibatches=True)
    assert laws_only.verdict == "holds"
    assert "the motion was not checked" in laws_only.limits[0]
    mse = problem("relu", loss="mse", widths=(3, 5, 2), n=12)[1]
    few = [np.arange(k % 5, 12) for k in range(20)]
    uneven = loop(mse, np.ones(mse.n_params), 0.01, 20, batches=few)
    blind = nl.check(mse, uneven, dynamics=nl.GD(0.01), minibatches=True)
    assert blind.limits[0].endswith("and any error in b2")
    # a scaled gradient passes all laws, and not the motion
    tripled = rows(batches=BATCHES, change=lambda g, k: 3 * g)
    assert nl.check(U, tripled, dynamics=GD, minibatches=True).ok
    (finding,) = nl.check(U, tripled, dynamics=GD, batches=BATCHES).findings
    assert finding.startswith("every block moves 3 times as far as U asks")
    for shift, words in ((1, "after"), (-1, "before")):
        moved = [BATCHES[(k + shift) % STEPS] for k in range(STEPS)]
        (finding,) = nl.check(U, recorded, dynamics=GD, batches=moved).findings
        assert finding.startswith(f"batches are one step off: each row has the batch of the step {words}")


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_batches_of_steps_between_rows(momentum):
    algorithm = nl.HeavyBall(LR, momentum) if momentum else GD
    recorded = rows(batches=BATCHES, momentum=momentum)[::5]
    assert nl.check(U, recorded, dynamics=algorithm, batches=BATCHES, every=5).verdict == "holds"
    assert nl.check(U, recorded, dynamics=algorithm, batches=BATCHES[::-1], every=5).verdict == "broken"
