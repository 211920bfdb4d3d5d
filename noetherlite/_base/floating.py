"""Underflow, which is no error in this library: what is too small for a double is rounded, at the worst to zero."""

from __future__ import annotations

import numpy as np

# For the doors of the library, so that a program's np.seterr(all="raise") finds errors of its own and not e^(−1000) = 0.
# Overflow, division by zero and what is invalid are looked after where they may happen.
underflowing = np.errstate(under="ignore")
