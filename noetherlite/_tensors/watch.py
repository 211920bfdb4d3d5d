"""Checks of laws during training: one contraction per tensor and law in each checked step."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .._base import checks, html
from .._base.floating import rangeless
from .._base.precision import EPSILON
from .._base.types import Array, Float64Array
from .anchor import Anchor, AnchorCheck
from .averaged import AverageCheck, Averaging, averaging_of
from .causes import reasons
from .defects import Defects
from .finding import Finding, allowance, divisors, largest, limit, ratio, scale_of, scaled
from .inputs import averages, read_pair, shapes_of, with_gradient
from .law import Law, law_list
from .localise import coverage
from .round_off import RoundOffHistory, many_summands, verdict
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
        summands: int | None = None,
        averaging: Averaging | None = None,
        anchor: Anchor | None = None,
    ) -> None:
        self.laws = list(laws)
        self.findings: list[Finding] = []
        self._every, self._raise, self._eps, self._summands = every, raise_on_broken, eps, summands
        self._shapes = shapes_of(self.laws)
        self.coverage = coverage(self.laws, self.names)
        # Gradients that should vanish are compared with others: with all that there are, where laws name no other.
        self._vanishing = all(law.kind == "null" for law in self.laws)
        self._levels, self._tolerances = RoundOffHistory(len(self.laws)), dict[float, Float64Array]()
        self._defects = Defects([], [])
        self._sizes = np.zeros(0)  # for each number of each law, the largest size of its terms so far
        self._divisors = np.zeros(0)  # the same, infinite where it is zero
        self.n_calls = self.n_checked = 0
        self.problem = ""
        self._averages = None if averaging is None else AverageCheck(self.laws, averaging, summands)
        self._anchor = None if anchor is None else AnchorCheck(anchor, summands)

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
            With `raise_on_broken`, as `assert_symmetric`, or if the watch was not set up for `state`, `logits` or `labels`. Otherwise `problem`
            and `report` say it, and training goes on; of these, a warning says it once.
        """
        if self.n_calls % self._every:
            self.n_calls += 1
            return []
        unexpected = self._unexpected(state, logits, labels)
        if unexpected and not self._raise:
            if not self.problem:
                warnings.warn(f"{unexpected}; not looked at", stacklevel=2)
            self.problem = self.problem or unexpected
            state, logits, labels = None if self._averages is None else state, None, None
        try:
            new = self.check(params, grads, state, logits=logits, labels=labels)
        except Exception as error:  # whatever it is, training goes on
            if self._raise:
                raise
            reason = str(error) if isinstance(error, TypeError | ValueError) else repr(error)
            self.problem = self.problem or f"step {self.n_calls - 1} could not be checked: {reason}"
            return []
        if new and self._raise:
            raise AssertionError("\n".join(map(str, [*new, self.coverage])))
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
            If an array is missing, None, sparse, not finite, or of another shape than the law was found with, or if the watch was
            not set up for `state` or `logits`.
        """
        if unexpected := self._unexpected(state, logits, labels):
            raise TypeError(unexpected)
        call, self.n_calls = self.n_calls, self.n_calls + 1
        step = call if step is None else step
        others = [*self._anchor.anchor.names] if self._anchor else []
        if self._vanishing:
            others += with_gradient(params, grads)
        x, g, eps = read_pair(self._shapes, params, grads, others)
        m = None if state is None else averages(x, state)
        eps = max(eps, self._eps)
        new = self._check(step, x, g, eps)
        if self._averages and m:
            new += self._averages.check(call, x, m[0], max(eps, m[1]), [*self.broken, *(f.law for f in new)])
        if self._anchor and logits is not None:
            new += self._anchor.check(step, x, g, logits, labels, eps)
        self.findings += new
        return new

    def _unexpected(self, state: Tree | None, logits: Any, labels: Any) -> str:
        """Return the objection to arguments that the watch was not set up for; "" if there is none."""
        if state is not None and self._averages is None:
            return "state needs a watch of averages; expected nl.watch(laws, averaging=β)"
        missing = self._anchor is None or logits is None or labels is None
        if missing and not (logits is None and labels is None):
            return "logits need labels, labels need logits, and both a watch that knows the head: nl.watch(laws, anchor=nl.tensors.Anchor(…))"
        return ""

    def _check(self, step: int, x: Mapping[str, Array], g: Mapping[str, Array], eps: float) -> list[Finding]:
        if not self.n_checked:
            scales = [scale_of(law, x, g).reshape(-1) for law in self.laws]
            self._sizes, self._defects = np.concatenate(scales), Defects(self.laws, [scale.size for scale in scales])
            self._divisors = divisors(self._sizes)
        ratios = np.abs(self._defects.totals(x, g)) / self._divisors
        worst, (tolerances, single) = np.maximum.reduceat(ratios, self._defects.starts[:-1]), self._tolerances_at(eps)
        allowed = self._levels.allowed(tolerances)
        limits = np.maximum(allowed, single)
        if not np.isfinite(worst).all():
            require_finite(x, "params")
            require_finite(g, "grads")
            raise ValueError("products of params and grads are beyond the range of a double; scale the loss")
        self.n_checked += 1
        new = []
        for i in map(int, np.flatnonzero(worst > allowed)):
            worst[i], finding = self._judge_again(i, step, x, g, float(limits[i]))
            new += [finding] if finding else []
        self._levels.add(worst, tolerances, limits)
        if not new:
            return new
        why = reasons([finding.law for finding in new], self.laws, self.coverage, self.names, x, g, tolerances)
        return [replace(finding, reason=reason) for finding, reason in zip(new, why, strict=True)]

    def _tolerances_at(self, eps: float) -> Float64Array:
        """Return for each law the ratio that round-off of a single check allows, and the limit, shape (2, laws)."""
        if eps not in self._tolerances:
            self._tolerances[eps] = np.array(
                [[f(law, eps, self._summands) for law in self.laws] for f in (allowance, limit)]
            )
        return self._tolerances[eps]

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
            self._divisors[self._defects.part(i)] = divisors(largest_so_far).reshape(-1)
            worst, index = largest(ratio(defect, largest_so_far))
            if worst > allowed:
                shrunk = float(largest_so_far[index] / scale[index]) if scale[index] else 1.0
                return worst, Finding(law, step, index, worst * shrunk, allowed * shrunk)
        return largest(ratio(defect, largest_so_far))[0], None

    def report(self) -> str:
        """Return the table of laws, the findings and the coverage as text."""
        lines = [f"{self.n_checked} of {self.n_calls} steps checked against {len(self.laws)} laws"]
        lines += [f"{'worst':>8} {'allowed':>8}  law"]
        rows = list(self.judged())
        lines += [
            f"{worst:8.1e} {allowed:8.1e}  {'BROKEN ' if verdict == 'broken' else ''}{name}"
            for name, _, worst, allowed, verdict in rows
        ]
        lines += [f"→ {finding}" for finding in self.findings]
        lines += [
            f"not decidable: {name}; {many_summands(worst / allowed)}"
            for name, _, worst, allowed, verdict in rows
            if verdict == "not decidable" and allowed
        ]
        lines += [self.problem] if self.problem else []
        return "\n".join([*lines, str(self.coverage)])

    def __repr__(self) -> str:
        state = f"{len(self.findings)} broken" if self.findings else "none broken"
        return f"<Watch: {len(self.laws)} laws, {self.n_checked} steps checked, {state}>"

    def _repr_html_(self) -> str:
        rows = [(name, worst, allowed, verdict) for name, _, worst, allowed, verdict in self.judged()]
        return html.table(repr(self)[1:-1], rows, ("law", "worst", "allowed", "verdict"))

    def rows(self) -> Iterator[tuple[str, Law, float, float]]:
        """Yield (name, law, worst ratio, tolerance) of every law, then of the laws of averages, then of the anchor."""
        for name, law, worst, allowed, _ in self.judged():
            yield name, law, worst, allowed

    def judged(self) -> Iterator[tuple[str, Law, float, float, str]]:
        """Yield the rows with their verdicts: "holds", "broken" or "not decidable"."""
        for law, row in zip(self.laws, self._levels.verdicts(), strict=True):
            yield law.name or law.formula, law, *row
        if self._averages:
            for law, row in zip(self.laws, self._averages.levels.verdicts(), strict=True):
                if row[1]:
                    yield f"{law.name or law.formula}, in the average", law, *row
        if self._anchor and self._anchor.law:
            law, worst, allowed = self._anchor.law, self._anchor.worst, self._anchor.tolerance
            yield law.name, law, worst, allowed, verdict(worst, allowed)


def watch(
    laws: Iterable[Law],
    every: int = 1,
    raise_on_broken: bool = False,
    *,
    precision: str | None = None,
    summands: int | None = None,
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
    summands : int, optional
        Number N of samples, times positions, that a gradient sums: √N ε is allowed beside 8 ε, and beyond it a law is broken. If it
        is not given, what is beyond 8 ε and within the round-off of 2²⁰ summands is not decidable, which the report says.
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

    Notes
    -----
    A defect is compared with the largest terms that its law had so far. Near a minimum the terms cancel: round-off is that of what
    they are differences of, which are not known, and grows gradually. A law is therefore broken where its defect exceeds what
    round-off of one step allows, and eight times the largest defect before; or 256 times that allowance. Gradients that should
    vanish are nothing but round-off: of these, 2²⁰ summands are assumed at least.

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
    counted = None if summands is None else checks.integer(summands, "summands", minimum=1)
    return Watch(laws, checks.integer(every, "every", minimum=1), raise_on_broken, eps, counted, how, anchor)
