"""Elementary functions of the kernels: within two units in the last place of exact values, and no calls in their loops."""

import re

import numba
import numpy as np
import pytest

from noetherlite._kernels import elementary, pointwise
from noetherlite._kernels.cpu import loops
from noetherlite._kernels.jit import inlined

mpmath = pytest.importorskip("mpmath", reason="the exact values")
NEAR, WIDE = (-1.5, 1.5), (-600.0, 600.0)
# Exact value, ranges, and the values at −∞ and ∞.
FUNCTIONS = {
    "expm1": (mpmath.expm1, [NEAR, (-39, 700)], (-1.0, None)),
    "tanh": (mpmath.tanh, [NEAR, (-8, 8)], (-1.0, 1.0)),
    "logistic": (lambda z: 1 / (1 + mpmath.exp(-z)), [NEAR, WIDE], (0.0, 1.0)),
    "log1p": (mpmath.log1p, [(0, 1), (0, 1e-3)], None),
    "softplus": (lambda z: mpmath.log1p(mpmath.exp(z)), [NEAR, WIDE], (0.0, np.inf)),
    "erf": (mpmath.erf, [NEAR, (-7, 7)], (-1.0, 1.0)),
    "sin": (mpmath.sin, [NEAR, (-1e6, 1e6)], None),
    "cos": (mpmath.cos, [NEAR, (-1e6, 1e6)], None),
}


def units(name, f):
    """The largest error in units of the exact value's last place, at random points and at small ones."""
    exact, ranges, _ = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.uniform(*ends, 300) for ends in ranges] + [rng.uniform(*ranges[0], 50) * 1e-7])
    if name in ("sin", "cos"):
        z = np.concatenate([z, 0.5 * np.pi * np.arange(-30, 30)])  # near their zeros, too
    largest = 0.0
    with mpmath.workprec(160):
        for point in z:
            want = exact(mpmath.mpf(float(point)))
            largest = max(largest, float(abs(float(f(point)) - want) / max(np.spacing(abs(float(want))), 1e-300)))
    return largest


@pytest.mark.parametrize("name", FUNCTIONS)
def test_within_two_units_in_the_last_place(name):
    assert units(name, getattr(elementary, name)) <= 2


def test_the_measure_sees_three_units():
    """Negative control."""
    assert units("tanh", lambda z: elementary.tanh(z) * (1 + 3 * np.finfo(float).eps)) > 2


@pytest.mark.needs_jit
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_not_finite(name):
    f, ends = getattr(elementary, name), FUNCTIONS[name][2]
    assert np.isnan(f(np.nan))
    for point, want in zip((-np.inf, np.inf), ends or (None, None), strict=True):
        assert want is None or f(point) == want
    assert f(np.float32(0.5)) == f(0.5)


def test_zeros_have_their_sign():
    for name in ("tanh", "erf"):
        assert np.signbit(getattr(elementary, name)(-0.0))


def calls(function):
    """What a loop over a function of one number calls, and whether it has packed arithmetic of doubles."""
    loop = loops.values(inlined(lambda c, z: function(z)), True)
    loop.compile((numba.float64, *(numba.typeof(np.empty(0)),) * 2))
    assembly = next(iter(loop.inspect_asm().values()))
    body = re.search(r"(?ms)^_ZN\S*activate\S*:$(.*?)^\.Lfunc_end", assembly)[1]  # without the wrapper for Python
    return re.findall(r"\bcallq?\b.*|\bbl\b.*", body), bool(re.search(r"v?mulpd|v?fmadd\w*pd|fmul\s+v\d+\.2d", body))


@pytest.mark.needs_jit
@pytest.mark.parametrize("name", [*FUNCTIONS, "exp"])
def test_loops_are_vectorised_and_call_nothing(name):
    assert calls(getattr(elementary, name, pointwise.exp)) == ([], True)


@pytest.mark.needs_jit
def test_calls_are_seen():
    """Negative control: the C library's function of one number."""
    import math

    found, packed = calls(math.tanh)
    assert found
    assert not packed
