"""Checks of laws during training: one contraction per tensor and law in each checked step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .._base import checks, html
from .._base.floating import rangeless
from .._base.precision import EPSILON
from .._base.types import Array
from .anchor import Anchor, AnchorCheck
from .averaged import AverageCheck, Averaging, averaging_of
from .causes import reasons
from .defects import Defects
from .finding import Finding, allowance, largest, ratio, scale_of, scaled, verdict
from .inputs import averages, read_pair, shapes_of
from .law import Law, law_list
from .localise import coverage
from .trees import Tree, require_finite


class Watch:
    """Monitor of laws in a training loop, made by `nl.watch`: call it with parameters and gradients.

    Attributes
    ----------
    broken : list of Law
        Laws that were found broken.
    findings : list of Finding
        One for each broken law, made at the first step that breaks it; `str` of it is a sentence.
    coverage : Coverage
        The tensors that the laws lock together, and the errors that no law detects.
    n_calls, n_checked : int
        Number of calls, and of those that were checked.
    problem : str
        Why a step could not be checked, of the first such step; '' if all could.
    """

    def __init__(
        self,
        laws: Sequence[Law],
        every: int,
        raise_on_broken: bool,
        eps: float,
        averaging: Averaging | None = None,
        anchor: Anchor | None = None,
    ) -> None:
        self.laws = list(laws)
        self.findings: list[Finding] = []
        self._every, self._raise, self._eps = every, raise_on_broken, eps
        self._shapes = shapes_of(self.laws)
        self.coverage = coverage(self.laws, self.names)
        self._worst = np.zeros(len(self.laws))
        self._tolerance = np.zeros(len(self.laws))
        self._factors = np.array([allowance(law, 1.0) for law in self.laws])
        self._defects = Defects([], [])
        self._sizes = np.zeros(0)  # for each number of each law, the largest size of its terms so far
        self.n_calls = self.n_checked = 0
        self.problem = ""
        self._averages = None if averaging is None else AverageCheck(self.laws, averaging)
        self._anchor = None if anchor is None else AnchorCheck(anchor)

    @property
    def broken(self) -> list[Law]:
        """Laws that were found broken, in that order."""
        return list(dict.fromkeys(finding.law for finding in self.findings))

    @property
    def names(self) -> list[str]:
        """Names of the tensors that the laws tie together."""
        return list(self._shapes)

    @property
    def ok(self) -> bool:
        """Whether steps were checked and no law was broken."""
        return bool(self.n_checked) and not self.findings and not self.problem

    def __call__(
        self, params: Tree, grads: Tree, state: Tree | None = None, *, logits: Any = None, labels: Any = None
    ) -> list[Finding]:
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
        logits, labels : array_like, optional
            With `anchor=`: what the cross-entropy of this step sees, shapes (..., classes) and (...).

        Returns
        -------
        list of Finding
            Laws that were seen broken for the first time.

        Raises
        ------
        AssertionError
            If a law is broken and `raise_on_broken` was asked for.
        TypeError, ValueError
            With `raise_on_broken`, as `assert_symmetric`; otherwise `problem` and `report` say it, and training goes on.
        """
        if state is not None and self._averages is None:
            raise TypeError("state needs a watch of averages; expected nl.watch(laws, averaging=β)")
        if logits is not None and (self._anchor is None or labels is None):
            raise TypeError(
                "logits need labels, and a watch that knows the head: nl.watch(laws, anchor=nl.tensors.Anchor(…))"
            )
        if self.n_calls % self._every:
            self.n_calls += 1
            return []
        try:
            new = self.check(params, grads, state, logits=logits, labels=labels)
        except (TypeError, ValueError) as error:
            if self._raise:
                raise
            self.problem = self.problem or f"step {self.n_calls - 1} could not be checked: {error}"
            return []
        if new and self._raise:
            raise AssertionError("\n".join(map(str, new)))
        return new

    @rangeless
    def check(
        self,
        params: Tree,
        grads: Tree,
        state: Tree | None = None,
        *,
        logits: Any = None,
        labels: Any = None,
        step: int | None = None,
    ) -> list[Finding]:
        """Check the laws at one step, independent of `every`; raise if that is not possible.

        Parameters
        ----------
        params, grads, state, logits, labels
            As in a call.
        step : int, optional
            Its number, by default that of the call.

        Returns
        -------
        list of Finding
            Laws that were seen broken for the first time.

        Raises
        ------
        TypeError, ValueError
            If an array is missing, None, sparse, not finite, or of another shape than the law was found with.
        """
        call, self.n_calls = self.n_calls, self.n_calls + 1
        step = call if step is None else step
        x, g, eps = read_pair(self._shapes, params, grads, self._anchor.anchor.names if self._anchor else ())
        m = None if state is None else averages(x, state)
        eps = max(eps, self._eps)
        new = self._check(step, x, g, eps)
        if self._averages and m:
            new += self._averages.check(call, x, m[0], max(eps, m[1]), [*self.broken, *(f.law for f in new)])
        if self._anchor and logits is not None:
            new += self._anchor.check(step, x, g, logits, labels, eps)
        self.findings += new
        return new

    def _check(self, step: int, x: Mapping[str, Array], g: Mapping[str, Array], eps: float) -> list[Finding]:
        if not self.n_checked:
            scales = [scale_of(law, x, g).reshape(-1) for law in self.laws]
            self._sizes, self._defects = np.concatenate(scales), Defects(self.laws, [scale.size for scale in scales])
        ratios = ratio(self._defects.totals(x, g), self._sizes)
        worst, allowed = np.maximum.reduceat(ratios, self._defects.starts[:-1]), eps * self._factors
        if not np.isfinite(worst).all():
            require_finite(x, "params")
            require_finite(g, "grads")
            raise ValueError("products of params and grads are beyond the range of a double; scale the loss")
        self.n_checked += 1
        new = []
        for i in np.flatnonzero(worst > allowed):
            worst[i], finding = self._judge_again(int(i), step, x, g, float(allowed[i]))
            new += [finding] if finding else []
        larger = worst * self._tolerance >= self._worst * allowed
        if larger.any():
            self._worst, self._tolerance = np.where(larger, (worst, allowed), (self._worst, self._tolerance))
        if not new:
            return new
        why = reasons([finding.law for finding in new], self.laws, self.coverage, self.names, x, g, eps)
        return [replace(finding, reason=reason) for finding, reason in zip(new, why, strict=True)]

    def _judge_again(
        self, i: int, step: int, x: Mapping[str, Array], g: Mapping[str, Array], allowed: float
    ) -> tuple[float, Finding | None]:
        """Return the defect of a law relative to its largest terms so far, and a finding if it is broken.

        Near a minimum a gradient is a sum over samples that cancels, or a softmax less a label: its round-off is that of the
        summands, which are not known and do not shrink. The terms are recomputed only for a law that seems to be broken.
        """
        law = self.laws[i]
        defect, scale = scaled(law, x, g)
        largest_so_far = self._sizes[self._defects.part(i)].reshape(scale.shape)  # a view
        if not any(finding.law is law and finding.subject == "gradient" for finding in self.findings):
            np.maximum(largest_so_far, scale, out=largest_so_far)
            worst, index = largest(ratio(defect, largest_so_far))
            if worst > allowed:
                shrunk = float(largest_so_far[index] / scale[index]) if scale[index] else 1.0
                return worst, Finding(law, step, index, worst * shrunk, allowed * shrunk)
        return largest(ratio(defect, largest_so_far))[0], None

    def report(self) -> str:
        """Return the table of laws, the findings and the coverage as text."""
        lines = [f"{self.n_checked} of {self.n_calls} steps checked against {len(self.laws)} laws"]
        lines += [f"{'worst':>8} {'allowed':>8}  law"]
        lines += [
            f"{worst:8.1e} {allowed:8.1e}  {'BROKEN ' if verdict(worst, allowed) == 'broken' else ''}{name}"
            for name, _, worst, allowed in self.rows()
        ]
        lines += [f"→ {finding}" for finding in self.findings]
        lines += [self.problem] if self.problem else []
        return "\n".join([*lines, str(self.coverage)])

    def __repr__(self) -> str:
        state = f"{len(self.findings)} broken" if self.findings else "none broken"
        return f"<Watch: {len(self.laws)} laws, {self.n_checked} steps checked, {state}>"

    def _repr_html_(self) -> str:
        rows = [(name, worst, allowed, verdict(worst, allowed)) for name, _, worst, allowed in self.rows()]
        return html.table(repr(self)[1:-1], rows, ("law", "worst", "allowed", "verdict"))

    def rows(self) -> Iterator[tuple[str, Law, float, float]]:
        """Yield (name, law, worst ratio, tolerance) of every law, then of the laws of averages, then of the anchor."""
        for law, worst, allowed in zip(self.laws, self._worst, self._tolerance, strict=True):
            yield law.name or law.formula, law, float(worst), float(allowed)
        if self._averages:
            for law, worst, allowed in zip(self.laws, self._averages.worst, self._averages.tolerance, strict=True):
                if allowed:
                    yield f"{law.name or law.formula}, in the average", law, float(worst), float(allowed)
        if self._anchor and self._anchor.law:
            yield self._anchor.law.name, self._anchor.law, self._anchor.worst, self._anchor.tolerance


def watch(
    laws: Iterable[Law],
    every: int = 1,
    raise_on_broken: bool = False,
    *,
    precision: str | None = None,
    averaging: Averaging | float | None = None,
    anchor: Anchor | None = None,
) -> Watch:
    """Return a monitor of laws, to be called with parameters and gradients in a training loop.

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
    anchor : Anchor, optional
        The head of a cross-entropy. In calls with `logits=` and `labels=`, the absolute scale of its gradient is checked, too, and
        with it that of all tensors that the laws lock to it.

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
    laws = law_list(laws)
    raise_on_broken = checks.boolean(raise_on_broken, "raise_on_broken")
    eps = 0.0 if precision is None else EPSILON[checks.one_of(precision, "precision", EPSILON)]
    how = None if averaging is None else averaging_of(averaging)
    if anchor is not None:
        checks.instance(anchor, "anchor", Anchor, "an nl.tensors.Anchor")
    return Watch(laws, checks.integer(every, "every", minimum=1), raise_on_broken, eps, how, anchor)


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
