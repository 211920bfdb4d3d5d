"""Learning rates of well-known schedules."""

from __future__ import annotations

import numpy as np

from .._base import checks
from .._base.types import Float64Array

KINDS = ("constant", "linear", "cosine", "step")


def schedule(
    kind: str,
    peak: float,
    steps: int,
    warm_up: int = 0,
    end: float = 0.0,
    every: int | None = None,
    factor: float = 0.1,
) -> Float64Array:
    """Return the learning rate of every step, for the `lr` of an algorithm.

    Parameters
    ----------
    kind : {"constant", "linear", "cosine", "step"}
        With N steps, w of them warm-up, k the number of a step from 0 on and u = (k − w)/(N − w): after a warm-up peak · k/w
        "constant": peak;
        "linear": peak + u (end − peak);
        "cosine": end + ½(1 + cos πu)(peak − end);
        "step": peak · factor^⌊(k − w)/every⌋.
    peak : float
        The largest rate, > 0.
    steps : int
        N ≥ 1.
    warm_up : int
        w < N; the first rate is then 0.
    end : float
        The rate that step N would have, ≥ 0; of "linear" and "cosine".
    every : int
        Steps at a rate; of "step".
    factor : float
        Factor of the rate after every `every` steps, > 0; of "step".

    Returns
    -------
    ndarray, shape (N,)

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; the message names it.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.schedule("cosine", 0.1, 6, warm_up=2)
    array([0.        , 0.05      , 0.1       , 0.08535534, 0.05      ,
           0.01464466])
    """
    kind = checks.one_of(kind, "kind", KINDS)
    peak = checks.real(peak, "peak", minimum=0.0, strict=True)
    N = checks.integer(steps, "steps", minimum=1)
    w = checks.integer(warm_up, "warm_up", minimum=0, maximum=N - 1)
    end, factor = checks.real(end, "end", minimum=0.0), checks.real(factor, "factor", minimum=0.0, strict=True)
    if (every is None) == (kind == "step"):
        raise ValueError(f"every must be given for kind='step', and for no other; got every={every}, kind={kind!r}")
    k = np.arange(N)
    u = np.maximum(k - w, 0) / (N - w)
    if kind == "linear":
        rates = peak + u * (end - peak)
    elif kind == "cosine":
        rates = end + 0.5 * (1 + np.cos(np.pi * u)) * (peak - end)
    elif every is not None:
        rates = peak * factor ** (np.maximum(k - w, 0) // checks.integer(every, "every", minimum=1))
    else:
        rates = np.full(N, peak)
    return np.where(k < w, peak * k / max(w, 1), rates)
