"""Elementary functions of the kernels: within two units in the last place of exact values, and no calls in the loops made of them."""

import math
import re

import numba
import numpy as np
import pytest

import noetherlite as nl
from noetherlite._kernels import elementary, noise, pointwise, powers
from noetherlite._kernels.cpu import loops, rules, tiles
from noetherlite._kernels.functions import ACTIVATIONS
from noetherlite._kernels.jit import inlined
from noetherlite._motion.algorithms import ALGORITHMS
from noetherlite._problem.catalogue import CATALOGUE

mpmath = pytest.importorskip("mpmath", reason="the exact values")
NEAR, WIDE, SINGLE = (-1.5, 1.5), (-600.0, 600.0), (-80.0, 80.0)
# Exact value, ranges in double and in single precision (none where that is computed in doubles), and the values at −∞ and ∞.
FUNCTIONS = {
    "exp": (mpmath.exp, [NEAR, WIDE], [NEAR, SINGLE], (0.0, None)),
    "expm1": (mpmath.expm1, [NEAR, (-39, 700)], [NEAR, (-39, 80)], (-1.0, None)),
    "tanh": (mpmath.tanh, [NEAR, (0.5, 0.6), (-8, 8)], [NEAR, (0.5, 0.6), (-8, 8)], (-1.0, 1.0)),
    "logistic": (lambda z: 1 / (1 + mpmath.exp(-z)), [NEAR, (-3, -1), WIDE], [NEAR, (-3, -1), SINGLE], (0.0, 1.0)),
    "log1p": (mpmath.log1p, [(0, 1), (0, 1e-3)], [(0, 1), (0, 1e-3)], None),
    "softplus": (lambda z: mpmath.log1p(mpmath.exp(z)), [NEAR, WIDE], [NEAR, SINGLE], (0.0, np.inf)),
    "erf": (mpmath.erf, [NEAR, (-7, 7)], [NEAR, (-5, 5)], (-1.0, 1.0)),
    "sin": (mpmath.sin, [NEAR, (-1e6, 1e6)], None, None),
    "cos": (mpmath.cos, [NEAR, (-1e6, 1e6)], None, None),
    "log": (mpmath.log, [(0.5, 2), (1e-90, 1e90), (1e-310, 1e-300)], None, (None, np.inf)),
    "power": (lambda z: z ** mpmath.mpf(2.5), [(0.5, 2), (1e-90, 1e90)], [(0.5, 2), (1e-10, 1e10)], None),
}
BOTH = [
    (name, kind) for name in FUNCTIONS for kind in (np.float64, np.float32) if kind is np.float64 or FUNCTIONS[name][2]
]


def function(name):
    if name == "power":
        return lambda z: powers.power(z, type(z)(2.5))
    return getattr(powers if name == "log" else elementary, name)


def units(f, exact, ranges, kind):
    """The largest error in units of the exact value's last place, at random points and at small ones."""
    rng = np.random.default_rng(0)
    z = [rng.uniform(*ends, 200) for ends in ranges]
    if exact in (mpmath.sin, mpmath.cos):
        z.append(0.5 * np.pi * np.arange(-30, 30))  # near their zeros, too
    if ranges[0][0] == 0.5:
        z += [np.exp(rng.uniform(*np.log(ends), 100)) for ends in ranges]
    else:
        z.append(rng.uniform(*ranges[0], 50) * 1e-7)
    largest = 0.0
    with mpmath.workprec(160):
        for point in np.concatenate(z).astype(kind):
            want = exact(mpmath.mpf(float(point)))
            unit = max(float(np.spacing(kind(abs(float(want))))), 1e-300)
            largest = max(largest, float(abs(mpmath.mpf(float(f(point))) - want) / unit))
    return largest


@pytest.mark.parametrize(("name", "kind"), BOTH)
def test_within_two_units_in_the_last_place(name, kind):
    exact, *ranges = FUNCTIONS[name][:3]
    assert units(function(name), exact, ranges[kind is np.float32], kind) <= 2


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_an_error_of_three_units_is_seen(kind):
    """Negative control."""
    wrong = kind(1 + 3 * np.finfo(kind).eps)
    assert units(lambda z: kind(elementary.tanh(z)) * wrong, mpmath.tanh, [NEAR], kind) > 2


@pytest.mark.needs_jit
@pytest.mark.parametrize("p", [0.5, 1.0, 3.0, 100.5])
def test_other_powers(p):
    for kind, largest in ((np.float64, 2**9.0), (np.float32, 2**6.0)):
        ends = (largest ** (-1 / p), largest ** (1 / p))
        assert units(lambda z, p=p: powers.power(z, type(z)(p)), lambda z, p=p: z ** mpmath.mpf(p), [ends], kind) <= 2


@pytest.mark.needs_jit
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_functions_of_nan_and_infinity(kind):
    for name in FUNCTIONS:
        f, ends = function(name), FUNCTIONS[name][3]
        assert np.isnan(f(kind(np.nan)))
        for point, want in zip((-np.inf, np.inf), ends or (None, None), strict=True):
            assert want is None or f(kind(point)) == want


@pytest.mark.needs_jit
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_powers_of_zero_of_negative_and_of_extreme_numbers(kind):
    tiny, inf = np.finfo(kind).tiny, kind(np.inf)
    assert powers.power(kind(tiny / 8), kind(0.5)) == pytest.approx(math.sqrt(float(tiny) / 8), rel=1e-6)  # subnormal
    assert powers.power(kind(0), kind(0.5)) == 0
    assert powers.power(kind(-2), kind(0.5)) == 0
    assert powers.power(kind(0), kind(0)) == 1
    assert powers.power(inf, kind(0.5)) == np.inf
    assert powers.power(kind(1e30), kind(50)) == np.inf
    assert powers.power(kind(1e-30), kind(50)) == 0


def test_negative_zero_stays_negative():
    for name in ("tanh", "erf"):
        for kind in (np.float64, np.float32):
            assert np.signbit(kind(getattr(elementary, name)(kind(-0.0))))


CALL = r"(?m)^\s+(?:callq?|blr?)\s.*"
PACKED = {
    "float64": r"v?mulpd|v?fn?madd\w*pd|f(?:mul|mla)\s+v\d+\.2d",
    "float32": r"v?mulps|v?fn?madd\w*ps|f(?:mul|mla)\s+v\d+\.4s",
}
CONVERSION = r"cvt(?:ps2pd|pd2ps|ss2sd|sd2ss)|fcvtn|fcvtl"


def machine_code(loop, *arguments):
    """The machine code of a loop, without the wrapper for Python."""
    options = {name: loop.targetoptions[name] for name in ("fastmath", "error_model", "nogil")}
    anew = numba.njit(**options)(loop.py_func)  # code that comes from disk cannot be read
    anew.compile(arguments)
    text = next(iter(anew.inspect_asm().values()))
    return re.search(rf"(?ms)^_ZN\S*{loop.__name__}\S*:$(.*?)^\.Lfunc_end", text)[1]


def assembly(loop, dtype):
    """The machine code of an activation's loop."""
    vector = numba.typeof(np.empty(0, dtype))
    vectors = (vector,) * (3 if loop.__name__.startswith("d_activate") else 2)
    return machine_code(loop, numba.from_dtype(np.dtype(dtype)), *vectors)


def seen(body, dtype):
    """Return the functions that machine code calls, whether it has packed arithmetic, and its conversions between the precisions."""
    return re.findall(CALL, body), bool(re.search(PACKED[dtype], body)), len(re.findall(CONVERSION, body))


DEAR = [name for name, kind in CATALOGUE.items() if kind.flops or name == "repu"]
QUICK = ["tanh", "repu"]


@pytest.mark.needs_jit
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in DEAR])
def test_loops_are_vectorised_and_call_nothing(name, dtype):
    sigma = ACTIVATIONS[CATALOGUE[name].code]
    in_doubles = dtype == "float32" and name in ("sin", "cos")
    for loop in (loops.values(sigma.value, sigma.in_place), loops.slopes(sigma.slope, sigma.in_place)):
        calls, packed, conversions = seen(assembly(loop, dtype), "float64" if in_doubles else dtype)
        assert not calls
        assert packed
        assert in_doubles or conversions == 0


@pytest.mark.needs_jit
@pytest.mark.parametrize("name", ["ExponentiatedGradient", pytest.param("SteepestDescent", marks=pytest.mark.slow)])
def test_steps_with_powers_and_exponentials_are_vectorised_and_call_nothing(name):
    step = ALGORITHMS[name](0.1).method.rules[2]
    calls, packed, _ = seen(machine_code(rules.loop(step, "float64"), *(numba.int64,) * 3), "float64")
    assert not calls
    assert packed


@pytest.mark.needs_jit
def test_normal_numbers_are_vectorised_and_call_nothing():
    arguments = numba.uint64, numba.int64, numba.typeof(np.empty(0))
    calls, packed, _ = seen(machine_code(noise.draw, *arguments), "float64")
    assert not calls
    assert packed


@pytest.mark.needs_jit
def test_calls_and_conversions_are_seen():
    """Negative control: the C library's function of one number, and a constant in doubles."""
    calls, packed, _ = seen(assembly(loops.values(inlined(lambda c, z: math.tanh(z)), True), "float64"), "float64")
    assert calls
    assert not packed
    assert seen(assembly(loops.values(inlined(lambda c, z: 0.3 * z * z + z), True), "float32"), "float32")[2] > 0


@pytest.mark.needs_jit
def test_single_precision_is_that_of_the_functions():
    """A network in float32 differs from one in float64 by what its numbers are rounded by, and is not the rounded one of doubles."""
    z = np.linspace(-4, 4, 200).astype(np.float32)
    single = np.array([elementary.tanh(x) for x in z], np.float32)
    double = np.array([elementary.tanh(np.float64(x)) for x in z])
    assert np.abs(single - double).max() <= 2 * np.finfo(np.float32).eps
    assert (single != double.astype(np.float32)).any()
    assert pointwise.exp(np.float32(0.3)) == pointwise.exp(np.float64(np.float32(0.3)))  # the losses' stays in doubles


@pytest.mark.needs_jit
@pytest.mark.parametrize("name", ["swish", "gelu", "gelu_tanh"])
def test_slopes_made_of_the_value_at_zero_and_far_from_it(name):
    sigma = ACTIVATIONS[CATALOGUE[name].code]
    for kind in (np.float64, np.float32):
        for point in (0.0, 1e-320, -1e-320, 1e-40, -1e-30, 1e-29, -1e-3, 0.7, -3.0, 30.0, -30.0):
            z = kind(point)
            want = sigma.slope_array(1.0, np.array([float(z)]))[0]
            slope = sigma.slope(kind(1), z, kind(sigma.value(kind(1), z)))
            # Roundings, of which that of s is multiplied by z.
            assert slope == pytest.approx(want, rel=0, abs=8 * float(np.finfo(kind).eps) * max(1, abs(point)))


@pytest.mark.needs_jit
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_the_slope_of_swish_by_beta_has_its_digits_where_s_is_near_one(kind):
    slope = ACTIVATIONS[CATALOGUE["swish"].code].d_parameter
    for c, z in ((1.0, 7.5), (0.5, -30.0), (-2.0, 9.0), (1.0, 40.0), (3.0, 0.01)):
        c, z, eps = kind(c), kind(z), float(np.finfo(kind).eps)
        e = math.exp(-abs(float(c) * float(z)))
        want = float(z) ** 2 * e / (1 + e) ** 2
        assert float(slope(c, z)) == pytest.approx(want, rel=(8 + abs(float(c) * float(z))) * eps)


@pytest.mark.parametrize(("activation", "parts"), [("relu", 1), ("tanh", 2), ("swish(1.0)", 2)])
def test_threads_share_small_networks_of_dear_activations(activation, parts):
    U = nl.Network([10, 32, 32, 3], activation).potential(np.zeros((100, 10)), np.arange(100) % 3)
    assert len(tiles.empty(U.problem(), 100, 2).values) == parts
