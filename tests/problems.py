"""Small random networks, data and parameters that several test files share."""

import numpy as np
import pytest

import noetherlite as nl
from noetherlite._cli.signatures import shown
from noetherlite._kernels import reference
from noetherlite._problem.activations import EXAMPLES, parse
from noetherlite._problem.network import Network

EPS = np.finfo(np.float64).eps
SMOOTH = ["linear(0.7)", "polynomial(2)", "polynomial(3)", "swish", "swish(1.3)", "tanh"]
KINKED = ["relu", "leaky_relu(0.1)", "repu(2)", "repu(1.5)"]
for example in EXAMPLES:  # of the catalogue, those of another name
    if parse(example).name not in {parse(a).name for a in SMOOTH + KINKED}:
        (KINKED if parse(example).is_piecewise or parse(example).has_other_kinks else SMOOTH).append(example)
ACTIVATIONS = SMOOTH + KINKED
HOMOGENEOUS = [a for a in ACTIVATIONS if parse(a).degree is not None]
LOSSES = ["mse", "nll"]
BACKENDS = ["reference", pytest.param("cpu", marks=pytest.mark.needs_jit)]
FIELDS = ("quantity", "charge", "source_integral", "residual", "discrete_residual")  # of the record of a law


def data(net, n, rng):
    """Return n standard normal inputs and targets or labels for `net`."""
    X = rng.standard_normal((n, net.widths[0]))
    if net.loss == "nll":
        return X, rng.integers(0, net.widths[-1], n)
    return X, rng.standard_normal((n, net.widths[-1]))


def point(net, rng):
    """Return generic parameters: no bias and no β at its initial value."""
    return net.init(rng, bias_std=0.5) * rng.uniform(0.5, 1.5, net.n_params)


def problem(activation, loss="mse", bias=True, widths=(3, 5, 4, 2), n=9, seed=1):
    """Return (net, U, θ)."""
    rng = np.random.default_rng(seed)
    net = Network(widths, activation, bias=bias, loss=loss)
    return net, net.potential(*data(net, n, rng)), point(net, rng)


def verdicts(run):
    """The verdicts of a run's laws."""
    return {law.verdict for law in run.laws.values()}


def assert_same(one, other):
    """All that two runs recorded is the same, bit for bit."""
    for name in ("t", "step", "loss", "energy", "x", "v", "params", "solver_residual"):
        _assert_equal(getattr(one, name), getattr(other, name), name)
    assert list(one.observed) == list(other.observed)
    for name, values in one.observed.items():
        _assert_equal(values, other.observed[name], name)
    assert list(one.laws) == list(other.laws)
    for name, law in one.laws.items():
        for field in FIELDS:
            _assert_equal(getattr(law, field), getattr(other.laws[name], field), name)
    assert (one.status, one.message, one.n_gradients) == (other.status, other.message, other.n_gradients)


def leave_unrendered(monkeypatch):
    """Write a word in place of every picture."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, file, **_: file.write(b"a picture"))


def _assert_equal(one, other, name):
    """Where two arrays have other bytes, which take far less time to compare, NumPy says which entries differ."""
    a, b = np.asarray(one), np.asarray(other)
    if (a.dtype, a.shape) != (b.dtype, b.shape) or a.tobytes() != b.tobytes():
        np.testing.assert_array_equal(one, other, err_msg=name)


def assert_same_to_round_off(plain, other, steps, eps=EPS):
    """Assert that two runs with recorded parameters are the same, but for the order in which they add numbers."""
    # Every step rounds numbers of the size of the parameters a few hundred times; differences grow at most linearly in stable runs.
    tolerance = 64 * steps * eps
    size = max(np.abs(plain.params).max(), 1)
    for field in ("loss", "energy", "x", "v", "params"):
        np.testing.assert_allclose(getattr(other, field), getattr(plain, field), atol=tolerance * size, rtol=0)
    assert list(plain.laws) == list(other.laws)
    for name, law in plain.laws.items():
        scale = max(np.nanmax(np.abs(law.quantity)), 1)
        for field in ("quantity", "charge", "source_integral", "residual"):
            mine, theirs = getattr(other.laws[name], field), getattr(law, field)
            np.testing.assert_allclose(mine, theirs, atol=tolerance * scale, rtol=0, err_msg=name)
        assert np.abs(other.laws[name].discrete_residual).max() < tolerance * scale


def assert_resumes(path, U, algorithm, x0, steps, at=12, **options):
    """A run that is stopped at a record and resumed from its checkpoint is the whole run; return the latter."""
    whole = nl.integrate(U, algorithm, x0, steps, **options)
    stop = {"checkpoint": path, "checkpoint_every": 4, "callback": lambda snapshot: snapshot.step == at}
    stopped = nl.integrate(U, algorithm, x0, steps, **options, **stop)
    assert (stopped.status, stopped.step[-1]) == ("stopped", at)
    resumed = nl.resume(path)
    assert_same(resumed, whole)
    assert dict(resumed.specification) == dict(whole.specification)
    return whole


def miscomputed(U, spoil):
    """U with a gradient that `spoil` changes in place, as {"W1": ..., ...}."""

    def value_and_gradient(x):
        value, gradient = U.value_and_gradient(x)
        spoil(U.network.unpack(gradient))
        return value, gradient

    return nl.potentials.Callable(value_and_gradient, U.n_params)


def times(factor, block, entries=...):
    """For `miscomputed`: so many times the entries of a block."""

    def spoil(parts):
        parts[block][entries] *= factor

    return spoil


def add_to_gradients(monkeypatch, amount=1e-6):
    """Let the NumPy oracle evaluate gradients that are not the potential's."""
    right = reference.value_and_gradient

    def wrong(problem, x, samples):
        value, gradient = right(problem, x, samples)
        return value, amount + gradient

    monkeypatch.setattr(reference, "value_and_gradient", wrong)


def streamed(U, algorithm, rows, batches=None, states=None, **options):
    """The report of a monitor that is given a recording row by row, in one buffer again and again."""
    watch, buffer = nl.Monitor(U, algorithm, **options), np.empty_like(rows[0])
    for k, row in enumerate(rows):
        buffer[:] = row
        batch = None if batches is None or k >= len(batches) else batches[k]
        watch.step(buffer, batch, **{name: values[k] for name, values in (states or {}).items()})
    return watch.report()


def toml(value):
    """A value as a configuration file writes it."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(entry)}' for key, entry in value.items())} }}"
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list | tuple) else shown(value)


def configuration(algorithm, run="steps = 20", network="widths = [3, 4, 3]", n=12, features=3, more=""):
    """The text of a configuration file: a network on classes of normal inputs."""
    data = f'source = "gaussian_classes"\nn = {n}\nn_features = {features}\nrng = 0'
    sections = {"network": network, "data": data, "algorithm": algorithm, "run": run}
    return "".join(f"[{name}]\n{text}\n" for name, text in sections.items()) + more


def refusals(cases, call=lambda function: function()):
    """A test of arguments that `call` must refuse: each with its error, ValueError if none is named, and words of the message."""

    @pytest.mark.parametrize("case", cases, ids=[case[-1] for case in cases])
    def test(case):
        argument, *kind, words = case
        with pytest.raises(*kind or [ValueError], match=words):
            call(argument)

    return test
