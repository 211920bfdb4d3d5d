"""Checks of laws on checkpoints: sums in an optimiser's averages, the exact law of a step, and the values of the quantities."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .._base import html
from .._base.checks import one_of
from .._base.floating import underflowing
from .._base.precision import EPSILON
from .._base.types import Array
from .averaged import Averaging, averaging_of
from .finding import Finding, allowance, largest, leeway, ratio
from .inputs import require_shapes, shapes_of
from .law import Kind, Law, Member, law_list
from .legs import Leg
from .names import named
from .round_off import COARSE, verdict
from .states import aligned, averages_in, shared_names
from .trees import Tree, leaves, matched, named_arrays, require_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_AVERAGE, _STEP = "averaged gradient", "step"
_REASON = (
    "the average has something that a gradient has not: a wrong gradient, clipping tensor by tensor, or weight decay"
)


@dataclass(frozen=True)
class Check:
    """The check of one law on a checkpoint.

    Attributes
    ----------
    law : Law
        The law.
    subject : str
        "averaged gradient" for the sum in one state, "step" for the exact law between two.
    ratio, tolerance : float
        The largest defect relative to its terms, and what round-off allows.
    limit : float
        What it allows gradients that sum over 2²⁰ samples and positions.
    """

    law: Law
    subject: str
    ratio: float
    tolerance: float
    limit: float = 0.0

    @property
    def verdict(self) -> str:
        """Return "holds", "broken" beyond the limit, or "not decidable" between."""
        return verdict(self.ratio, self.tolerance, self.limit)


@dataclass(frozen=True)
class Charge:
    """The values of the quantity of a law: |Q| over its components.

    Attributes
    ----------
    law : Law
        The law; blocks wider than 512 are reduced to eight random products.
    least, median, most : float
        |Q|.
    balance : float
        Median of |Q| relative to its terms: 0 if they balance, 1 if one side is zero.
    """

    law: Law
    least: float
    median: float
    most: float
    balance: float


@dataclass(frozen=True, repr=False)
class Audit:
    """The result of `nl.tensors.audit`.

    Attributes
    ----------
    checks : list of Check
        The checks that could be decided.
    charges : list of Charge
        The values of the laws' quantities.
    findings : list of Finding
        One for each check that is broken; `str` of it is a sentence.
    limits : tuple of str
        What was not decided, and why.
    """

    checks: list[Check]
    charges: list[Charge]
    findings: list[Finding]
    limits: tuple[str, ...] = ()

    @property
    def broken(self) -> list[Law]:
        """Laws that are broken."""
        return list(dict.fromkeys(finding.law for finding in self.findings))

    @property
    def ok(self) -> bool:
        """Whether something was checked and no law is broken."""
        return bool(self.checks) and not self.findings

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plot |Q| of every law: a line from the least to the largest component, a dot at the median."""
        from .plots import spreads

        return spreads([(_title(c.law), c.least, c.median, c.most) for c in self.charges], ax)

    def _check_rows(self) -> list[tuple[str, str, float, float, str]]:
        return [(_title(c.law), c.subject, c.ratio, c.tolerance, c.verdict) for c in self.checks]

    def _charge_rows(self) -> list[tuple[str, int, float, float, float, float]]:
        return [(_title(c.law), c.law.size, c.least, c.median, c.most, c.balance) for c in self.charges]

    def __str__(self) -> str:
        lines = [f"{'defect':>8} {'allowed':>8}  verdict  law"] if self.checks else []
        lines += [f"{r:8.1e} {t:8.1e}  {v:7}  {name}, {of}" for name, of, r, t, v in self._check_rows()]
        lines += [f"→ {finding}" for finding in self.findings]
        lines += [f"{'min |Q|':>9} {'median':>9} {'max':>9} {'of terms':>9}  quantity of"] if self.charges else []
        lines += [
            f"{low:9.2e} {mid:9.2e} {high:9.2e} {rel:9.2e}  {name}"
            for name, _, low, mid, high, rel in self._charge_rows()
        ]
        return "\n".join([*lines, *self.limits])

    def __repr__(self) -> str:
        state = f"{len(self.findings)} broken" if self.findings else "none broken"
        return f"<Audit: {len(self.checks)} checks, {state}, {len(self.charges)} quantities>"

    def _repr_html_(self) -> str:
        checks = html.table(repr(self)[1:-1], self._check_rows(), ("law", "in", "defect", "allowed", "verdict"))
        head = ("quantity of", "components", "min |Q|", "median", "max", "of its terms")
        return checks + html.table("quantities", self._charge_rows(), head)


@underflowing
def audit(
    params: Tree,
    laws: Iterable[Law] | None = None,
    state: Tree | None = None,
    *,
    following: Tree | None = None,
    averaging: Averaging | float = 0.9,
    precision: str | None = None,
) -> Audit:
    """Check one checkpoint, or the states of an optimiser one step apart, against laws.

    In an average of gradients that began at zero, what is zero in every gradient is zero: null and translation laws need no
    trajectory. Every other law needs the average one step later. The values of the quantities Q need parameters only.

    Parameters
    ----------
    params : mapping of str to array_like, or nested ones
        Parameters; a prefix that all names have, such as "module.", is left aside.
    laws : iterable of Law, optional
        Of `nl.scan`, or read by `nl.tensors.load`. By default those that the state itself shows: tensors that are zero in it,
        and axes along which it sums to zero.
    state : tree, optional
        The optimiser's state at these parameters: averages by name, or a `state_dict` of an optimiser of PyTorch.
    following : tree, optional
        The state after the next step.
    averaging : Averaging or float
        How the optimiser averages gradients, or β alone.
    precision : {"float64", "float32", "bfloat16", "float16"}, optional
        Of the computation, where it is not that of the arrays: "bfloat16" under autocast.

    Returns
    -------
    Audit
        `print` it; ``.checks``, ``.charges``, ``.findings``, ``.limits``, ``.plot()``.

    Raises
    ------
    TypeError, ValueError
        If neither laws nor a state are given, or an array that a law names is missing, or of another shape, or not finite.

    Examples
    --------
    >>> import noetherlite as nl
    >>> net = nl.Network([3, 4, 2], "relu")
    >>> U = net.potential(nl.datasets.gaussian_classes(n=20, n_features=3, n_classes=2, rng=0))
    >>> def gradient(params):
    ...     return net.unpack(U.gradient(net.pack(params)))
    >>> params = net.unpack(net.init(rng=0, bias_std=1))
    >>> average = {name: 0.1 * g for name, g in gradient(params).items()}  # after the first step of Adam
    >>> for check in nl.tensors.audit(params, state=average).checks:
    ...     print(check.law, check.verdict)
    shift of W2: W2[1] holds
    shift of b2: b2 holds
    """
    how = averaging_of(averaging)
    eps = 0.0 if precision is None else EPSILON[one_of(precision, "precision", EPSILON)]
    if following is not None and state is None:
        raise ValueError("following needs state, the averages one step before")
    for tree, called in ((params, "params"), (state, "state"), (following, "following")):
        if tree is not None or called == "params":
            require_tree(tree, called)
    tensors = dict(leaves(params))
    averages = None if state is None else averages_in(state, list(tensors), "state")
    audited = None if laws is None else law_list(laws)
    x, eps_params = named_arrays(aligned(tensors, _tensors_to_audit(audited, tensors, averages), "params"), "params")
    m, eps_state = _matched_averages(x, averages, "state")
    next_averages = None if following is None else averages_in(following, list(tensors), "following")
    m_next, eps_following = _matched_averages(x, next_averages, "following")
    eps = max(eps, eps_params, eps_state, eps_following)
    limits: list[str] = []
    if audited is None:
        audited, limits = _laws_shown_by(m, how, eps)
    require_shapes(shapes_of(audited), x)
    checks, findings = _check_laws(audited, x, m, m_next, how, eps)
    limits += _undecided(audited, checks, how)
    return Audit(checks, _charges(audited, x), findings, tuple(limits))


def _tensors_to_audit(
    laws: Sequence[Law] | None, params: Mapping[str, Any], state: Mapping[str, Any] | None
) -> list[str]:
    """Return the names of the tensors to audit: those of the laws, or by default all that have averages in the state."""
    if laws is not None:
        return list(dict.fromkeys(name for law in laws for name in law.tensors))
    if state is None:
        raise ValueError("laws or state is needed: parameters alone do not say what is conserved")
    common = shared_names(params, state)
    if not common:
        raise ValueError(
            f"state has no averages by the names of params ({', '.join(list(params)[:3])}, …); it has"
            f" {', '.join(list(state)[:3])}, …"
        )
    return common


def _matched_averages(
    x: Mapping[str, Array], tensors: Mapping[str, Any] | None, called: str
) -> tuple[dict[str, Array], float]:
    """Return the averages of the tensors x, {} without a state, and machine ε of their numbers."""
    if tensors is None:
        return {}, 0.0
    m, eps = named_arrays(aligned(tensors, list(x), called), called)
    return matched(x, m, called), eps


def _check_laws(
    laws: Sequence[Law],
    x: Mapping[str, Array],
    m: Mapping[str, Array],
    m_next: Mapping[str, Array],
    how: Averaging,
    eps: float,
) -> tuple[list[Check], list[Finding]]:
    checks, findings = [], []
    for law in laws:
        judged = [(_AVERAGE, how.judge_sum(law, m, eps))] if m else []
        judged += [(_STEP, how.judge(law, x, m, m_next, eps))] if m_next else []
        for subject, result in judged:
            if result is not None:
                worst, index = largest(result[0])
                most = result[1] * leeway(law, eps)
                checks.append(Check(law, subject, worst, result[1], most))
                if worst > most:
                    findings.append(Finding(law, None, index, worst, most, _REASON, subject))
    return checks, findings


def _undecided(laws: Sequence[Law], checks: Sequence[Check], how: Averaging) -> list[str]:
    decided = {id(check.law) for check in checks}
    count = sum(id(law) not in decided for law in laws)
    if not count:
        return []
    reason = "; a decay in the average leaves the sums to it, too" if how.decay else ""
    return [
        f"{count} of {len(laws)} laws were not decided: they need the optimiser's state and the one a step later{reason}"
    ]


def _charges(laws: Sequence[Law], x: Mapping[str, Array]) -> list[Charge]:
    """Return the values of the quantities; rotations have none."""
    charges = []
    for law in laws:
        if law.kind != "rotate":
            size = np.abs(law.quantity(x))
            share = ratio(*law.defect(x, x))
            charges.append(
                Charge(law, float(size.min()), float(np.median(size)), float(size.max()), float(np.median(share)))
            )
    return charges


def _laws_shown_by(m: Mapping[str, Array], how: Averaging, eps: float) -> tuple[list[Law], list[str]]:
    """Return the null and translation laws of single tensors that averages obey."""
    if eps > COARSE:
        return [], [f"averages of precision {eps:.0e} are too coarse to see laws in: give laws"]
    if how.decay:
        return [], ["a decay in the average hides sums that would be zero: give laws"]
    laws = []
    for name, array in m.items():
        splits = tuple((n,) for n in array.shape)
        axes = tuple(axis for axis, n in enumerate(array.shape) if n > 1)
        candidates: list[tuple[Kind, tuple[int, ...]]] = [("null", axes)]
        if axes:
            candidates += [("translate", components) for components in itertools.combinations(axes, len(axes) - 1)]
        for kind, components in candidates:
            law = Law(kind, (Member(Leg(name, splits, components), 1.0),))
            judged = how.judge_sum(law, m, eps)
            assert judged is not None
            few = how.enlarged * allowance(replace(law, kind="translate"), eps)  # small averages are not zero
            if largest(judged[0])[0] <= few:
                laws.append(law)
                if kind == "null":
                    break  # the sums of zeros add nothing
    limits = [] if laws else ["no tensor of the state is zero or sums to zero along an axis"]
    return [replace(law, name=named(law)) for law in laws], limits


def _title(law: Law) -> str:
    return law.name or law.formula
