"""Scalar mathematics, written once: what activations and losses are made of, and the shuffle of minibatches.

Only what compiles for CPU and GPU alike appears here.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from .jit import addressed, compiled, inlined, scalar

LOG2_E = 1 / math.log(2)
# ln 2 in two parts, the first with so few digits that n·LN2_HIGH is exact.
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10


@scalar
def remainder(z, n):
    """r = z − n ln 2."""
    return (z - n * LN2_HIGH) - n * LN2_LOW


@scalar
def exponential_tail(r):
    """(e^r − 1 − r)/r² for |r| ≤ ½ ln 2: Taylor's series of e^r to degree 13."""
    p = 1 / 6227020800
    p = p * r + 1 / 479001600
    p = p * r + 1 / 39916800
    p = p * r + 1 / 3628800
    p = p * r + 1 / 362880
    p = p * r + 1 / 40320
    p = p * r + 1 / 5040
    p = p * r + 1 / 720
    p = p * r + 1 / 120
    p = p * r + 1 / 24
    p = p * r + 1 / 6
    return p * r + 0.5


@scalar
def exp(z):
    """e^z without branches or calls, so that loops over it are vectorised; relative error below 2 ε.

    z = n ln 2 + r with |r| ≤ ½ ln 2; Taylor's series of degree 13 for e^r, then 2^n by setting the exponent's bits.
    Below −700 it is 0: subnormal results would slow every product they enter by a factor of a hundred. Above 709 it keeps
    the value there, 8e307. NaN stays NaN.
    """
    vanishes = z < -700.0
    z = -700.0 if vanishes else (709.0 if z > 709.0 else z)
    n = math.floor(z * LOG2_E + 0.5)
    r = remainder(z, n)
    p = exponential_tail(r) * r + 1.0
    p = p * r + 1.0
    return 0.0 if vanishes else p * np.int64((np.int64(n) + 1023) << 52).view(np.float64)


@addressed
def power(z, p):
    """z^p for an integer p ≥ 0 by repeated products: right for negative z, and vectorised."""
    result = z * 0 + 1
    for _ in range(p):
        result *= z
    return result


# Which samples a gradient is of, and which steps are recorded.


@inlined
def minibatch(evaluation, size, n):
    """Return the epoch of the gradient with this number, and where in its order of the n samples the minibatch begins."""
    per_epoch = n // size
    return evaluation // per_epoch, evaluation % per_epoch * size


@inlined
def is_recorded(step, every, last):
    """Whether a step is recorded: step 0, every so many steps, and the last."""
    return step % every == 0 or step == last


@inlined
def row_of(step, every, rows):
    """Return the row of a step that is recorded."""
    return step // every if step % every == 0 else rows - 1


@inlined
def next_row(row, program, step, every, last):
    """Return the row of the program to do after `row`, and whether a step (or the start) is over with it.

    After the start and after a step come the rows of a record where that step is recorded, then those of the next step.
    """
    row += 1
    end = program.rows.shape[0]
    if row == program.step or row == program.record:
        row = program.record if is_recorded(step, every, last) else end
    return (program.step, True) if row == end else (row, False)


@inlined
def radial(square):
    """Return U = (|x|² − 1)²/10 + 2/25, the potential of GU's Figures 3–6, of |x|²."""
    return 0.1 * (square - 1) ** 2 + 0.08


@inlined
def d_radial(square, x):
    """Return ∂U/∂x_i of that potential, of |x|² and x_i."""
    return 0.4 * (square - 1) * x


@addressed
def mix(key, counter):
    """Return 64 pseudo-random bits, a pure function of (key, counter) (the finaliser of SplitMix64)."""
    z = np.uint64(key) + np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


if numba.config.DISABLE_JIT:
    _mix = mix

    def mix(key, counter):
        with np.errstate(over="ignore"):  # it is meant to overflow, of which only NumPy's own numbers warn
            return _mix(key, counter)


@compiled
def shuffle(key, epoch, order):
    """Fill `order` with a permutation that is a pure function of (key, epoch) (Fisher–Yates)."""
    n = order.size
    stream = mix(key, epoch)
    for i in range(n):
        order[i] = i
    for i in range(n - 1, 0, -1):
        # 53 random bits as a fraction in [0, 1): the bias of at most (i+1)·2^-53 is far below any use of it.
        fraction = np.float64(mix(stream, i) >> np.uint64(11)) * 2.0**-53
        j = int(fraction * (i + 1))
        order[i], order[j] = order[j], order[i]
