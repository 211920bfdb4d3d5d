"""Laws watched while a model trains: one contraction per tensor and law, in the loop, on the arrays that it has anyway."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from .._base import checks, html
from .._base.types import Array, Float64Array
from .averaged import AverageCheck, Averaging, averaging_of
from .finding import Finding, allowance, largest, ratio, scaled
from .law import Law, given
from .localise import Coverage, coverage, factors, terms
from .trees import EPSILON, Tree, matched, named_arrays


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

    def __init__(
        self, laws: Sequence[Law], every: int, raise_on_broken: bool, eps: float, averaging: Averaging | None = None
    ) -> None:
        self.laws = list(laws)
        self.findings: list[Finding] = []
        self._every, self._raise, self._eps = every, raise_on_broken, eps
        self._names = list(dict.fromkeys(name for law in self.laws for name in law.tensors))
        self.coverage = coverage(self.laws, self._names)
        self._worst = np.zeros(len(self.laws))
        self._tolerance = np.zeros(len(self.laws))
        self._sizes = np.zeros(len(self.laws))
        self._calls = self._checked = 0
        self._problem = ""
        self._averages = None if averaging is None else AverageCheck(self.laws, averaging)

    @property
    def broken(self) -> list[Law]:
        """Laws that were seen broken, in the order in which they broke."""
        return list(dict.fromkeys(finding.law for finding in self.findings))

    @property
    def ok(self) -> bool:
        """Whether steps were checked and no law was broken."""
        return bool(self._checked) and not self.findings and not self._problem

    def __call__(self, params: Tree, grads: Tree, state: Tree | None = None) -> list[Finding]:
        """Check the laws at one step, if it is due.

        Parameters
        ----------
        params, grads : mapping of str to array_like, or nested ones
            Parameters at which the gradient was taken, and the gradient, before clipping and weight decay. What the laws do not
            name is not looked at.
        state : mapping of str to array_like, or nested ones, optional
            The optimiser's averaged gradients by the same names, with `averaging=`: Adam's exp_avg, SGD's momentum_buffer, as
            they are *before* the step that uses `grads`. {} before the first step. The law of a step is judged in the next
            call, so that every step has to be watched; without `state` it is not, nor where `every` is above 1.

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
        if state is not None and self._averages is None:
            raise TypeError("state was given to a watch that knows nothing of it; expected nl.watch(laws, averaging=β)")
        step = self._calls
        self._calls += 1
        if step % self._every:
            return []
        try:
            x, g, eps = gathered_pair(self.laws, params, grads)
            m = None if state is None else averages(x, state)
        except (TypeError, ValueError) as error:
            if self._raise:
                raise
            self._problem = self._problem or f"step {step} could not be checked: {error}"
            return []
        eps = max(eps, self._eps)
        new = self._check(step, x, g, eps)
        if self._averages and m:
            new += self._averages.check(step, x, m[0], max(eps, m[1]), [*self.broken, *(f.law for f in new)])
        self.findings += new
        if new and self._raise:
            raise AssertionError("\n".join(map(str, new)))
        return new

    def _check(self, step: int, x: Mapping[str, Array], g: Mapping[str, Array], eps: float) -> list[Finding]:
        self._checked += 1
        known = [finding.law for finding in self.findings if finding.subject == "gradient"]
        new = []
        for i, law in enumerate(self.laws):
            defect, scale = scaled(law, x, g)
            worst, where = largest(ratio(defect, scale))
            tolerance = allowance(law, eps) * self._shrunk(i, scale)
            if worst * self._tolerance[i] >= self._worst[i] * tolerance:
                self._worst[i], self._tolerance[i] = worst, tolerance
            if worst > tolerance and law not in known:
                new.append(Finding(law, step, where, worst, tolerance))
        if new:
            wrong = factors(terms(self.laws, self._names, x, g), self._names, self.coverage)
            new = [replace(finding, reason=_reason(finding.law, wrong, self.coverage)) for finding in new]
        return new

    def _shrunk(self, i: int, scale: Float64Array) -> float:
        """Return by how much the terms of a law have shrunk since they were largest.

        Near a minimum a gradient is a sum over samples that cancels, or a softmax less a label: its round-off is that of the
        summands, which are not seen and do not shrink.
        """
        size = float(np.sqrt(np.mean(np.square(scale))))
        self._sizes[i] = max(size, self._sizes[i])
        return float(self._sizes[i]) / size if size else 1.0

    def report(self) -> str:
        """Return the table of laws, the findings, and what no law sees."""
        lines = [f"{self._checked} of {self._calls} steps checked against {len(self.laws)} laws"]
        lines += [f"{'worst':>8} {'allowed':>8}  law"]
        lines += [
            f"{worst:8.1e} {allowed:8.1e}  {'BROKEN ' if worst > allowed else ''}{name}"
            for name, worst, allowed in self._rows()
        ]
        lines += [f"→ {finding}" for finding in self.findings]
        lines += [self._problem] if self._problem else []
        return "\n".join([*lines, str(self.coverage)])

    def __repr__(self) -> str:
        state = f"{len(self.findings)} broken" if self.findings else "none broken"
        return f"<Watch: {len(self.laws)} laws, {self._checked} steps checked, {state}>"

    def _repr_html_(self) -> str:
        rows = [
            (name, worst, allowed, "broken" if worst > allowed else "holds") for name, worst, allowed in self._rows()
        ]
        return html.table(repr(self)[1:-1], rows, ("law", "worst", "allowed", "verdict"))

    def _rows(self) -> Iterator[tuple[str, float, float]]:
        """Yield every law, the worst ratio that was seen and what round-off allows; those of the average after all."""
        for law, worst, allowed in zip(self.laws, self._worst, self._tolerance, strict=True):
            yield law.name or law.formula, float(worst), float(allowed)
        if self._averages:
            for law, worst, allowed in zip(self.laws, self._averages.worst, self._averages.tolerance, strict=True):
                if allowed:
                    yield f"{law.name or law.formula}, in the average", float(worst), float(allowed)


def watch(
    laws: Iterable[Law],
    every: int = 1,
    raise_on_broken: bool = False,
    *,
    precision: str | None = None,
    averaging: Averaging | float | None = None,
) -> Watch:
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
    averaging : Averaging or float, optional
        How the optimiser averages gradients, or β alone: Adam's first. The averages are then watched, too, in calls with
        `state=`: what happened between the gradient and the average, such as clipping tensor by tensor, breaks their laws.

    Returns
    -------
    Watch
        Call it; ``.broken``, ``.findings``, ``.coverage``, ``.report()``.

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
    laws = given(laws)
    raise_on_broken = checks.boolean(raise_on_broken, "raise_on_broken")
    eps = 0.0 if precision is None else EPSILON[checks.one_of(precision, "precision", EPSILON)]
    how = None if averaging is None else averaging_of(averaging)
    return Watch(laws, checks.integer(every, "every", minimum=1), raise_on_broken, eps, how)


def gathered_pair(laws: Sequence[Law], params: Tree, grads: Tree) -> tuple[dict[str, Array], dict[str, Array], float]:
    """Return the arrays that laws name, from trees that may have more, and machine ε of their numbers.

    Raises
    ------
    ValueError
        If a law names a tensor that is not there, or with another shape.
    """
    wanted = {name for law in laws for name in law.tensors}
    x, eps = named_arrays(params, "params", only=wanted)
    g, other = named_arrays(grads, "grads", only=wanted)
    fit(laws, x)
    return x, matched(x, g), max(eps, other)


def fit(laws: Sequence[Law], x: Mapping[str, Array]) -> None:
    """Raise ValueError if a law names a tensor that is not there, or with another shape."""
    wanted = {m.tensor: tuple(math.prod(sizes) for sizes in m.leg.splits) for law in laws for m in law.members}
    for name, shape in wanted.items():
        if name not in x:
            raise ValueError(f"params has no {name!r}, which a law names{checks.suggestion(name, x)}")
        if x[name].shape != shape:
            raise ValueError(
                f"params[{name!r}] must have the shape {shape} that the law was found with, got {x[name].shape}"
            )


def averages(params: Mapping[str, Array], state: Tree) -> tuple[dict[str, Array], float]:
    """Return averaged gradients of tensors, zeros for an empty tree, and machine ε of their numbers.

    Raises
    ------
    ValueError
        If names or shapes do not match.
    """
    if isinstance(state, Mapping) and not state:
        return {name: np.zeros_like(x) for name, x in params.items()}, 0.0
    m, eps = named_arrays(state, "state", only=params)
    return matched(params, m, "state"), eps


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
