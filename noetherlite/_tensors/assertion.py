"""The assertion of laws for one gradient, for test suites."""

from __future__ import annotations

from collections.abc import Iterable

from .law import Law
from .trees import Tree
from .watch import watch


def assert_symmetric(
    params: Tree,
    grads: Tree,
    laws: Iterable[Law],
    *,
    precision: str | None = None,
    summands: int | None = None,
) -> None:
    """Assert that a gradient obeys laws to the precision of its numbers.

    Parameters
    ----------
    params, grads : mapping of str to array_like, or nested ones
        Parameters and the gradient at them; what the laws do not name is not looked at.
    laws : iterable of Law
        Of `nl.scan`, or read by `nl.tensors.load`.
    precision : {"float64", "float32", "bfloat16", "float16"}, optional
        Of the computation, where it is not that of the arrays.
    summands : int, optional
        Number of samples, times positions, that the gradient sums, as in `nl.watch`: 1 for the smallest tolerance. If it is not
        given, they may be 2²⁰, and a law is broken beyond 10⁻⁴ of its terms in single precision, 2·10⁻¹³ in double precision.

    Raises
    ------
    AssertionError
        If a law is broken: the message names it, the component that is furthest off, its size against round-off and, where the
        terms tell, the tensor whose gradient is wrong.
    TypeError, ValueError
        If an array is missing, None, sparse, not finite, or of another shape than the law was found with.

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([3, 4, 2], "relu")
    >>> U = net.potential(nl.datasets.gaussian_classes(n=20, n_features=3, n_classes=2, rng=0))
    >>> def gradient(params):
    ...     return net.unpack(U.gradient(net.pack(params)))
    >>> params = net.unpack(net.init(rng=0, bias_std=1))
    >>> laws = nl.scan(gradient, params).laws()
    >>> nl.testing.assert_symmetric(params, gradient(params), laws)
    """
    watch(laws, raise_on_broken=True, precision=precision, summands=summands)(params, grads)
