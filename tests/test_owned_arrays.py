"""Arrays of the caller: functions that fill one buffer again and again, arrays that change later, and masks."""

import copy

import numpy as np
import pytest
from problems import problem

import noetherlite as nl

C = nl.potentials.Callable


def filling(gradient, n):
    """Return a gradient that writes into one buffer and returns that, as `p.grad.numpy()` does in PyTorch."""
    buffer = np.zeros(n)

    def fill(x):
        buffer[:] = gradient(x)
        return buffer

    return fill


def test_gradients_may_fill_one_buffer():
    _, U, x = problem("tanh")
    fill = filling(U.gradient, U.n_params)
    nl.testing.assert_gradient(U, fill)
    filled, fresh = (C(lambda x, g=g: (U.value(x), g(x)), U.n_params) for g in (fill, U.gradient))
    nl.testing.assert_gradient(filled, U.gradient)
    one, two = filled.gradient(x), filled.gradient(2 * x)
    assert not np.array_equal(one, two)
    rotation = np.zeros((U.n_params, U.n_params))
    rotation[0, 1], rotation[1, 0] = 1.0, -1.0
    for algorithm in (nl.GD(0.05), nl.NAGD(0.01), nl.Leapfrog(0.01)):
        a, b = (nl.integrate(V, algorithm, x, 20, record_params=True) for V in (filled, fresh))
        np.testing.assert_array_equal(a.params, b.params)
        assert nl.check(filled, a.params, a.t, algorithm).verdict == "holds"
        reports = (nl.check(V, a.params[::2], a.t[::2], algorithm.dynamics) for V in (filled, fresh))
        np.testing.assert_array_equal(*(report.motion["x"].residual for report in reports))
    a, b = (nl.reference_flow(V, nl.ND, x, [0.0, 0.1, 0.2]) for V in (filled, fresh))
    np.testing.assert_array_equal(a.x, b.x)
    assert nl.symmetry_defect(filled, nl.Symmetry(rotation)) == nl.symmetry_defect(fresh, nl.Symmetry(rotation))
    wave = [nl.discover(C(lambda x, g=g: (0.5 * x @ x, g(x)), 3), rng=0) for g in (filling(np.copy, 3), np.copy)]
    assert wave[0].dimension == wave[1].dimension == 3


def test_potentials_do_not_change_with_the_arrays_they_were_made_of():
    rng = np.random.default_rng(0)
    for loss in ("mse", "nll"):
        net = nl.Network([3, 4, 2], "tanh", loss=loss)
        X = rng.standard_normal((9, 3))
        y = rng.standard_normal((9, 2)) if loss == "mse" else rng.integers(0, 2, 9)
        U, x = net.potential(X, y), net.init(rng=0)
        before = U.gradient(x)
        X *= 2
        y[:] = y[::-1].copy()
        np.testing.assert_array_equal(U.gradient(x), before)
    A = np.diag([1.0, 2.0])
    H = nl.potentials.Harmonic(A)
    A[0, 0] = 5
    assert H.value([1.0, 0.0]) == 0.5
    data = nl.datasets.gaussian_classes(n=20, n_features=2, n_classes=2, rng=0)
    assert nl.Network([2, 3, 2]).potential(data).X is data.X  # a Dataset says that it is shared


def test_what_is_done_to_a_potential_counts_at_its_next_evaluation():
    """It is evaluated in the memory of the evaluation before, with the numbers of now."""
    for loss in ("mse", "nll"):
        net, U, x = problem("tanh", loss)
        before, half = U.gradient(x), net.potential(0.5 * U.X, U.y).gradient(x)
        assert not np.array_equal(before, half)
        U.X *= 0.5
        np.testing.assert_array_equal(U.gradient(x), half)
        U.X = 2 * U.X
        np.testing.assert_array_equal(U.gradient(x), before)
        np.testing.assert_array_equal(copy.deepcopy(U).gradient(x), before)
        U.y = np.roll(U.y, 1, axis=0)
        np.testing.assert_array_equal(U.gradient(x), net.potential(U.X, U.y).gradient(x))
        assert not np.array_equal(U.gradient(x), before)


def test_recordings_are_not_changed():
    _, U, x = problem("tanh")
    run = nl.integrate(U, nl.GD(0.05), x, 20, record_params=True)
    rows = run.params.copy()
    rows.flags.writeable = False
    nl.check(U, rows, run.t, nl.GD(0.05))
    nl.check(U, rows[::2], run.t[::2], nl.GF)


MASKED = np.ma.masked_array([1.0, 2.0], [False, True])
U2 = nl.potentials.Harmonic(np.diag([1.0, 2.0]))
SMALL = nl.Network([1, 2, 2], "tanh", loss="nll")
HEAD, TWO_CLASSES = nl.tensors.Anchor("U"), ({"U": np.eye(2)}, {"U": np.eye(2)})


@pytest.mark.parametrize(
    "call",
    [
        lambda: U2.gradient(MASKED),
        lambda: nl.integrate(U2, nl.GD(0.1), MASKED, 3),
        lambda: nl.integrate(U2, nl.Leapfrog(0.1), [1.0, 1.0], 3, velocity=MASKED),
        lambda: nl.testing.assert_gradient(U2, MASKED, [1.0, 1.0]),
        lambda: nl.testing.assert_gradient(U2, lambda x: np.ma.masked_array(U2.gradient(x), [False, True])),
        lambda: C(lambda x: (1.0, MASKED), 2).gradient([1.0, 1.0]),
        lambda: nl.check(U2, [[1.0, 1.0], [0.9, 0.8]], MASKED, nl.GD(0.1)),
        lambda: nl.check(U2, np.ma.masked_array([[1.0]], [[True]]), None, nl.GD(0.1)),
        lambda: nl.Monitor(U2, nl.GD(0.1)).step(MASKED),
        lambda: nl.scan(lambda params: params, {"x": MASKED}),
        lambda: nl.scan(lambda params: {"x": MASKED}, {"x": np.ones(2)}),
        lambda: nl.tensors.audit({"x": np.ones(2)}, state={"x": MASKED}),
        lambda: HEAD.judge(*TWO_CLASSES, MASKED, 0, 0.0),
        lambda: HEAD.judge(*TWO_CLASSES, np.eye(2), np.ma.masked_array([0, 1], [False, True]), 0.0),
        lambda: nl.Dataset(np.ma.masked_array([[1.0, 2.0]], [[False, True]]), [0]),
        lambda: nl.Dataset([[1.0], [2.0]], np.ma.masked_array([0, 1], [False, True])),
        lambda: SMALL.potential([[1.0], [2.0]], np.ma.masked_array([0, 1], [False, True])),
        lambda: SMALL.predict(SMALL.init(rng=0), np.ma.masked_array([[1.0], [2.0]], [[False], [True]])),
        lambda: nl.ntk.predict(np.eye(2), MASKED, [0.0], nl.GF),
        lambda: nl.reference_flow(U2, nl.GF, MASKED, [0.0, 1.0]),
        lambda: nl.potentials.Harmonic(np.ma.masked_array(np.eye(2), [[True, False], [False, False]])),
        lambda: nl.rebalance(SMALL, np.ma.masked_array(SMALL.init(rng=0), np.arange(10) == 3), {}),
        lambda: SMALL.unpack(np.ma.masked_array(SMALL.init(rng=0), np.arange(10) == 3)),
        lambda: nl.Symmetry(np.ma.masked_array(np.eye(2), [[True, False], [False, False]])),
        lambda: nl.convert.from_keras(SMALL, [np.ma.masked_array(np.ones((1, 2)), [[True, False]]), np.ones(2), np.ones((2, 2)), np.ones(2)]),
    ],
)  # fmt: skip
def test_masks_are_not_lost_without_a_word(call):
    with pytest.raises(ValueError, match="must have no masked entries, got 1 of"):
        call()


def test_masked_arrays_without_a_masked_entry_are_arrays():
    whole = np.ma.masked_array([1.0, 2.0], [False, False])
    np.testing.assert_array_equal(U2.gradient(whole), U2.gradient([1.0, 2.0]))


class OnAnotherDevice:
    """A tensor as PyTorch has it on a GPU: no array, until it is detached and brought over."""

    def __init__(self, array, at="cuda", has_gradient=True):
        self.array, self.at, self.has_gradient = array, at, has_gradient
        self.dtype, self.shape = f"torch.{array.dtype}", array.shape

    def __array__(self, *args, **kwargs):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def detach(self):
        return OnAnotherDevice(self.array, self.at, has_gradient=False)

    def cpu(self):
        return OnAnotherDevice(self.array, "cpu", self.has_gradient)

    def numpy(self, *, force=False):
        if not force and (self.at != "cpu" or self.has_gradient):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return self.array


def test_tensors_on_another_device_are_brought_over():
    """Everywhere arrays are taken, each once; the control is a tensor that stays where it is."""
    net, U, x = problem("tanh")
    far = OnAnotherDevice(x)
    assert U.value(far) == U.value(x)
    assert net.potential(OnAnotherDevice(np.asarray(U.X)), OnAnotherDevice(np.asarray(U.y))).value(far) == U.value(x)
    run, same = (nl.integrate(U, nl.GD(0.1), start, 3, backend="reference", record_params=True) for start in (x, far))
    np.testing.assert_array_equal(run.x, same.x)
    assert nl.check(U, OnAnotherDevice(run.params), dynamics=nl.GD(0.1)).verdict == "holds"
    parts, layers = net.unpack(x), range(1, net.n_layers + 1)
    pairs = [{"kernel": OnAnotherDevice(parts[f"W{h}"].T), "bias": OnAnotherDevice(parts[f"b{h}"])} for h in layers]
    tree = {f"Dense_{k}": pair for k, pair in enumerate(pairs)}
    np.testing.assert_array_equal(nl.convert.from_flax(net, tree), x)
    stays = OnAnotherDevice(x)
    stays.numpy = lambda *, force: OnAnotherDevice.numpy(stays)
    words = r"x must be an array of real numbers, and cannot be read \(TypeError: can't convert cuda"
    with pytest.raises(TypeError, match=words):
        U.value(stays)
