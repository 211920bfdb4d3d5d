"""The assertions for others' test suites pass for what is right and name what is wrong."""

import numpy as np
import pytest
from problems import ACTIVATIONS, LOSSES, miscomputed, problem, refusals, times

import noetherlite as nl
from noetherlite._kernels import reference


def single(U):
    """Return the gradient in float32, by NumPy."""
    oracle = U.problem("float32")
    return lambda x: reference.value_and_gradient(oracle, x.astype(np.float32), slice(None))[1]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_right_gradients_pass(activation, loss):
    _, U, x = problem(activation, loss, n=40)
    oracle = U.problem("float64")
    nl.testing.assert_gradient(U, lambda x: reference.value_and_gradient(oracle, x, slice(None))[1])
    nl.testing.assert_gradient(U, single(U)(x), x)
    nl.testing.assert_gradient(U, np.array([U.gradient(x), U.gradient(2 * x)]), [x, 2 * x])
    assert single(U)(x).dtype == np.float32
    # Negative control: the rounding of float32 is no rounding of float64.
    with pytest.raises(AssertionError, match="is wrong at point 0"):
        nl.testing.assert_gradient(U, single(U)(x).astype(np.float64) * (1 + 1e-9), x)


@pytest.mark.parametrize("size", [1e-10, 1.0])
def test_a_wrong_block_is_named_and_no_other(size):
    net, U, x = problem("relu", "nll", widths=(3, 5, 4, 3), n=30)
    for block in net.blocks:
        gradient = U.gradient(x)
        part = net.unpack(gradient)[block.name]
        where = np.unravel_index(int(np.argmax(np.abs(part))), part.shape)
        part[where] *= 1 - size
        with pytest.raises(AssertionError) as caught:
            nl.testing.assert_gradient(U, gradient, x)
        first, *lines = str(caught.value).splitlines()
        assert first.endswith("is wrong at point 0:")
        assert [line.split(":")[0].strip() for line in lines] == [block.name]
        assert f"most at {block.name}[{', '.join(map(str, where))}]" in lines[0]


def test_a_scale_shows_as_a_ratio():
    net, U, _ = problem("tanh", "nll", widths=(3, 5, 3), n=30)
    with pytest.raises(AssertionError) as caught:
        nl.testing.assert_gradient(U, lambda x: 30 * U.gradient(x))
    assert str(caught.value).count("30 times ∇U along it") == len(net.blocks)


def test_the_dtype_is_what_a_gradient_is_judged_by():
    _, U, x = problem("tanh", "nll", n=40)
    rounded = single(U)(x).astype(np.float64)  # all of its entries are float32 numbers
    with pytest.raises(AssertionError, match="is wrong at point 0"):
        nl.testing.assert_gradient(U, rounded, x)
    nl.testing.assert_gradient(U, rounded, x, precision="float32")
    with pytest.raises(AssertionError, match="is wrong at point 0"):
        nl.testing.assert_gradient(U, 1.01 * rounded, x, precision="float32")
    with pytest.raises(ValueError, match="precision='single' is not known"):
        nl.testing.assert_gradient(U, rounded, x, precision="single")


def test_digits_that_differ_are_shown():
    _, U, x = problem("tanh", "nll", n=40)
    gradient = U.gradient(x)
    gradient[3] += 1e-9
    with pytest.raises(AssertionError) as caught:
        nl.testing.assert_gradient(U, gradient, x)
    told = str(caught.value).split("; most at W1[")[1].split("], ")[1].split(";")[0]
    shown, expected = told.split(" instead of ")
    assert shown != expected
    assert 0 < abs(float(shown) - float(expected)) < 1e-8


def test_the_gradient_is_asked_for_at_its_own_copy():
    _, U, x = problem("tanh")
    before = x.copy()

    def spoils(point):
        gradient = U.gradient(point)
        point[:] = np.nan
        return gradient

    nl.testing.assert_gradient(U, spoils, x)
    np.testing.assert_array_equal(x, before)


def test_assert_law_holds():
    _, U, x = problem("relu", "nll", widths=(3, 5, 4, 3), n=30)
    run = nl.integrate(U, nl.GD(0.05), x, 50, record_params=True)
    assert nl.testing.assert_law_holds(U, run.params, run.t, nl.GD(0.05), motion=True).ok
    nl.testing.assert_law_holds(U, run.params, run.t, laws="scaling:1")

    wrong = nl.integrate(miscomputed(U, times(0, "b2")), nl.GD(0.05), x, 50, record_params=True)
    nl.testing.assert_law_holds(U, wrong.params, wrong.t, nl.GD(0.05), laws=["scaling:1", "translation:W"])
    with pytest.raises(AssertionError, match=r"does not hold: scaling:2 \(broken\)") as caught:
        nl.testing.assert_law_holds(U, wrong.params, wrong.t, nl.GD(0.05))
    assert "layer 2, neuron" in str(caught.value)
    assert "b2 does not move: its gradient is missing" in str(caught.value)
    with pytest.raises(AssertionError, match=r"b2 \(broken\)"):
        nl.testing.assert_law_holds(U, wrong.params, wrong.t, nl.GD(0.05), laws="scaling:1", motion=True)
    still = np.zeros((5, U.n_params))
    with pytest.raises(AssertionError, match="not decidable"):
        nl.testing.assert_law_holds(U, still, np.arange(5.0), laws="scaling:1")


U = nl.potentials.Harmonic(np.diag([1.0, 2.0]))


test_bad_input = refusals(
    [
        (lambda: nl.testing.assert_gradient(None, [1.0], [1.0]), TypeError, "U must be a potential"),
        (lambda: nl.testing.assert_gradient(U, [1.0, 2.0]), TypeError, "x must be given"),
        (lambda: nl.testing.assert_gradient(U, [1.0, 2.0], [1.0]), ValueError, r"x must have shape \(2,\) or \(K, 2\)"),
        (lambda: nl.testing.assert_gradient(U, [1.0], [1.0, 1.0]), ValueError, r"gradient must have shape \(2,\)"),
        (lambda: nl.testing.assert_gradient(U, np.ones((3, 2)), np.ones((2, 2))), ValueError, "gradient has 3 rows"),
        (lambda: nl.testing.assert_gradient(U, [np.nan, 1.0], [1.0, 1.0]), ValueError, "gradient must be finite"),
        (lambda: nl.testing.assert_gradient(U, lambda x: "no"), TypeError, "gradient must hold real numbers"),
    ]
)
