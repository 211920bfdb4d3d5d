"""Laws watched while a model trains: one contraction per tensor and law, in the loop, on the arrays that it has anyway."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .. import _html, _validate
from .._types import Array, Float64Array
from .law import Law
from .localise import Coverage, coverage, factors, terms
from .trees import EPSILON, Tree, matched, named_arrays

# Multiples of ε times the scale of a law that a correct gradient may leave; transformers in float32 and bfloat16 leave two.
_ROUND_OFF = 8


def judge(law: Law, params: Mapping[str, Array], grads: Mapping[str, Array], eps: float) -> tuple[Float64Array, float]:
    """Return |defect|/scale of every component, and the ratio that round-off allows.

    A gradient that should be zero has no scale of its own: it is that of the largest.
    """
    defect, scale = law.defect(params, grads)
    if law.kind == "null":
        scale = np.full_like(scale, max(np.sqrt(np.mean(np.square(g))) for g in grads.values()))
    summands = max(math.prod(m.leg.seen_shape) / m.leg.size for m in law.members)
    ratio = np.abs(defect) / np.maximum(scale, np.finfo(float).tiny)
    # Signs of rounding errors are as good as random: sums of n have √n of them, and a norm of n entries √n/n of that.
    return np.where(scale > 0, ratio, 0.0), _ROUND_OFF * eps * (1 + math.log2(1 + summands) / 8)


@dataclass(frozen=True)
class Finding:
    """One law that broke.

    Attributes
    ----------
    law : Law
        The law.
    step : int
        The step, counted in calls, at which it was first seen broken.
    where : tuple of int
        The component that is furthest off: (entry,), or (block, row, column).
    ratio, tolerance : float
        |defect| relative to |c||X||G|, and what round-off allows.
    reason : str
        What kind of fault looks like that, where the terms tell.
    """

    law: Law
    step: int
    where: tuple[int, ...]
    ratio: float
    tolerance: float
    reason: str = ""

    def __str__(self) -> str:
        place = ""
        if math.prod(self.law.blocks or (self.law.size,)) > 1 and self.where:
            inside = ", ".join(map(str, self.where))
            place = f", component {inside}" if len(self.where) == 1 else f", block {self.where[0]}"
        text = (
            f"{self.law.name or self.law.formula} is broken since step {self.step}{place}: {self.ratio:.1e} of its terms,"
            f" where round-off allows {self.tolerance:.0e}"
        )
        return f"{text}; {self.reason}" if self.reason else text


class Watch:
    """What `nl.watch` returns: call it with params and grads in the loop.

    Attributes
    ----------
    broken : list of Law
        Laws that were seen broken.
    findings : list of Finding
        One for each, made when it was first seen; `str` of it is a sentence.
    coverage : Coverage
        Which tensors the laws lock together, and which errors none of them sees.
    """

    def __init__(self, laws: Sequence[Law], every: int, raise_on_broken: bool, eps: float) -> None:
        self.laws = list(laws)
        self.findings: list[Finding] = []
        self._every, self._raise, self._eps = every, raise_on_broken, eps
        self._names = list(dict.fromkeys(name for law in self.laws for name in law.tensors))
        self.coverage = coverage(self.laws, self._names)
        self._worst = np.zeros(len(self.laws))
        self._tolerance = np.zeros(len(self.laws))
        self._calls = self._checked = 0
        self._problem = ""

    @property
    def broken(self) -> list[Law]:
        """Laws that were seen broken, in the order in which they broke."""
        return [finding.law for finding in self.findings]

    @property
    def ok(self) -> bool:
        """Whether steps were checked and no law was broken."""
        return bool(self._checked) and not self.findings and not self._problem

    def __call__(self, params: Tree, grads: Tree) -> list[Finding]:
        """Check the laws at one step, if it is due.

        Parameters
        ----------
        params, grads : mapping of str to array_like, or nested ones
            Parameters at which the gradient was taken, and the gradient, before clipping and weight decay. What the laws do not
            name is not looked at.

        Returns
        -------
        list of Finding
            Laws that were seen broken for the first time.

        Raises
        ------
        AssertionError
            If a law is broken and `raise_on_broken` was asked for.
        TypeError, ValueError
            As `assert_symmetric` with `raise_on_broken`; else what is wrong is kept for `report` and training goes on.
        """
        step = self._calls
        self._calls += 1
        if step % self._every:
            return []
        try:
            x, g, eps = gathered_pair(self.laws, params, grads)
        except (TypeError, ValueError) as error:
            if self._raise:
                raise
            self._problem = self._problem or f"step {step} could not be checked: {error}"
            return []
        return self._check(step, x, g, max(eps, self._eps))

    def _check(self, step: int, x: Mapping[str, Array], g: Mapping[str, Array], eps: float) -> list[Finding]:
        self._checked += 1
        new = []
        for i, law in enumerate(self.laws):
            ratio, tolerance = judge(law, x, g, eps)
            worst = float(ratio.max())
            self._worst[i], self._tolerance[i] = max(self._worst[i], worst), tolerance
            if worst > tolerance and law not in self.broken:
                where = tuple(int(k) for k in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
                new.append(Finding(law, step, where, worst, tolerance))
        if new:
            wrong = factors(terms(self.laws, self._names, x, g), self._names, self.coverage)
            new = [replace(finding, reason=_reason(finding.law, wrong, self.coverage)) for finding in new]
        self.findings += new
        if new and self._raise:
            raise AssertionError("\n".join(map(str, new)))
        return new

    def report(self) -> str:
        """Return the table of laws, the findings, and what no law sees."""
        lines = [f"{self._checked} of {self._calls} steps checked against {len(self.laws)} laws"]
        lines += [f"{'worst':>8} {'allowed':>8}  law"]
        for law, worst, tolerance in zip(self.laws, self._worst, self._tolerance, strict=True):
            lines.append(
                f"{worst:8.1e} {tolerance:8.1e}  {'BROKEN ' if worst > tolerance else ''}{law.name or law.formula}"
            )
        lines += [f"→ {finding}" for finding in self.findings]
        lines += [self._problem] if self._problem else []
        return "\n".join([*lines, str(self.coverage)])

    def __repr__(self) -> str:
        state = f"{len(self.findings)} broken" if self.findings else "none broken"
        return f"<Watch: {len(self.laws)} laws, {self._checked} steps checked, {state}>"

    def _repr_html_(self) -> str:
        rows = [
            (law.name or law.formula, float(worst), float(tolerance), "broken" if worst > tolerance else "holds")
            for law, worst, tolerance in zip(self.laws, self._worst, self._tolerance, strict=True)
        ]
        return _html.table(repr(self)[1:-1], rows, ("law", "worst", "allowed", "verdict"))


def watch(laws: Iterable[Law], every: int = 1, raise_on_broken: bool = False, *, precision: str | None = None) -> Watch:
    """Return a watch over laws, to be called with parameters and gradients in a training loop.

    Parameters
    ----------
    laws : iterable of Law
        Of `nl.scan`, or read by `nl.tensors.load`.
    every : int
        Steps between two checks; the others cost nothing.
    raise_on_broken : bool
        Raise AssertionError at the first broken law, for test suites. A watch never stops a training run otherwise.
    precision : {"float64", "float32", "bfloat16", "float16"}, optional
        Of the computation, where it is not that of the arrays: "bfloat16" under autocast, whose gradients are float32.

    Returns
    -------
    Watch
        Call it; `.broken`, `.findings`, `.coverage`, `.report()`.

    Raises
    ------
    TypeError, ValueError
        If `laws` has none, or entries that are no laws.

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([3, 4, 2], "relu")
    >>> U = net.potential(nl.datasets.gaussian_classes(n=20, n_features=3, n_classes=2, rng=0))
    >>> def gradient(params):
    ...     return net.unpack(U.gradient(net.pack(params)))
    >>> params = net.unpack(net.init(rng=0, bias_std=1))
    >>> watch = nl.watch(nl.scan(gradient, params).laws())
    >>> for step in range(3):
    ...     grads = gradient(params)
    ...     new = watch(params, grads)
    ...     params = {name: params[name] - 0.1 * grads[name] for name in params}
    >>> watch.ok
    True
    """
    laws = list(laws)
    wrong = [law for law in laws if not isinstance(law, Law)]
    if wrong or not laws:
        raise TypeError(
            f"laws must be laws, as nl.scan(...).laws() returns them; got {_validate.describe(wrong[0] if wrong else laws)}"
        )
    eps = 0.0 if precision is None else EPSILON[_validate.one_of(precision, "precision", EPSILON)]
    return Watch(laws, _validate.integer(every, "every", minimum=1), raise_on_broken, eps)


def gathered_pair(laws: Sequence[Law], params: Tree, grads: Tree) -> tuple[dict[str, Array], dict[str, Array], float]:
    """Return the arrays that laws name, from trees that may have more, and machine ε of their numbers.

    Raises
    ------
    ValueError
        If a law names a tensor that is not there, or with another shape.
    """
    wanted = {m.tensor: tuple(math.prod(sizes) for sizes in m.leg.splits) for law in laws for m in law.members}
    x, eps = named_arrays(params, "params", only=wanted)
    g, other = named_arrays(grads, "grads", only=wanted)
    for name, shape in wanted.items():
        if name not in x:
            raise ValueError(f"params has no {name!r}, which a law names{_validate.suggestion(name, x)}")
        if x[name].shape != shape:
            raise ValueError(
                f"params[{name!r}] must have the shape {shape} that the law was found with, got {x[name].shape}"
            )
    return x, matched(x, g), max(eps, other)


def _reason(law: Law, factors: Mapping[str, float], seen: Coverage) -> str:
    """Return in words which tensors' factors would explain a broken law."""
    texts = []
    for name, value in factors.items():
        if name not in law.tensors:
            continue
        (group,) = [group for group in seen.groups if name in group]
        hint = (
            ": a partial sum?"
            if 0 < value < 1 and _is_whole(1 / value)
            else ": counted twice?"
            if _is_whole(value)
            else ""
        )
        if value == 0:
            texts.append(f"{name} gets no gradient: detached?")
        elif len(group) == 2:
            (other,) = set(group) - {name}
            texts.append(
                f"the gradient of {name} is {value:.4g} times what that of {other} asks for, or one of both is wrong"
            )
        else:
            texts.append(f"the gradient of {name} is {value:.4g} times what the other tensors ask for{hint}")
    return ", ".join(texts[:3])


def _is_whole(value: float) -> bool:
    return value > 1.5 and abs(value - round(value)) < 0.01 * value


def assert_symmetric(params: Tree, grads: Tree, laws: Iterable[Law], *, precision: str | None = None) -> None:
    """Assert that a gradient obeys laws to the precision of its numbers.

    Parameters
    ----------
    params, grads : mapping of str to array_like, or nested ones
        Parameters and the gradient at them; what the laws do not name is not looked at.
    laws : iterable of Law
        Of `nl.scan`, or read by `nl.tensors.load`.
    precision : {"float64", "float32", "bfloat16", "float16"}, optional
        Of the computation, where it is not that of the arrays.

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
    watch(laws, raise_on_broken=True, precision=precision)(params, grads)
