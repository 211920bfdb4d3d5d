"""The kind of fault that looks like the laws that broke, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .._base.types import Array, Float64Array
from .finding import scale_of
from .law import Law
from .localise import Coverage, Factor, factors, terms

_FEWEST = 3  # broken components that one decay has to explain, and tensors of a group that clipping has


def reasons(
    broken: Sequence[Law],
    laws: Sequence[Law],
    coverage: Coverage,
    tensors: Sequence[str],
    x: Mapping[str, Array],
    g: Mapping[str, Array],
    tolerances: Float64Array,
) -> list[str]:
    """Return for each broken law what would explain it, from the terms of all laws; "" where nothing does."""
    decay = _decay(laws, x, g, tolerances)
    if decay:
        return [decay] * len(broken)
    wrong = factors(terms(laws, tensors, x, g), tensors, coverage, g)
    scaled_apart = {name: text for group in coverage.groups if (text := _clipping(group, wrong)) for name in group}
    return [next((scaled_apart[n] for n in law.tensors if n in scaled_apart), _factors(law, wrong)) for law in broken]


def _decay(laws: Sequence[Law], x: Mapping[str, Array], g: Mapping[str, Array], tolerances: Float64Array) -> str:
    """Return a sentence if g is a correct gradient plus λx: the defect of every law is then λ times that of x itself; else ""."""
    scale = np.concatenate([scale_of(law, x, g).reshape(-1) for law in laws])
    totals = [law.total(x, g).reshape(-1) for law in laws]
    allowed, defect = np.repeat(tolerances, [total.size for total in totals]), np.concatenate(totals)
    used = scale > 0
    for which, decayed in (("", x), (" of matrices", {name: a if a.ndim > 1 else 0 * a for name, a in x.items()})):
        change = np.concatenate([law.total(x, decayed).reshape(-1) for law in laws])
        size = np.concatenate([law.scale(x, decayed).reshape(-1) for law in laws])
        d, q = defect[used] / scale[used], change[used] / scale[used]
        factor = float(d @ q / (q @ q)) if q.any() else 0.0
        round_off = 2 * allowed[used] * (1 + abs(factor) * size[used] / scale[used])
        several = np.count_nonzero(np.abs(d) > allowed[used]) >= _FEWEST  # one number explains one by chance
        explained = np.linalg.norm(d - factor * q) <= np.linalg.norm(d) / 2  # of round-off alone, little is
        if several and explained and (np.abs(d - factor * q) <= round_off).all():
            return f"the gradient has {factor:.4g} times the parameters{which} added to it: weight decay?"
    return ""


def _clipping(group: Sequence[str], wrong: Mapping[str, Factor]) -> str:
    """Return a sentence if most gradients of a group have a factor that no other has; else ""."""
    values = [wrong[name].value for name in group if name in wrong and wrong[name].value > 0]
    distinct = sum(np.isclose(values, value, rtol=1e-2).sum() == 1 for value in values)
    if distinct < _FEWEST or 2 * distinct <= len(group):
        return ""
    return (
        f"gradients have factors of their own, from {min(values):.3g} to {max(values):.3g} of what the other tensors ask for:"
        " clipped tensor by tensor?"
    )


def _factors(law: Law, wrong: Mapping[str, Factor]) -> str:
    """Return a sentence with the tensors of a broken law and the factors of their gradients that would explain it; "" if none would."""
    texts = []
    for name in (name for name in wrong if name in law.tensors):
        value, other_names = wrong[name].value, wrong[name].others
        if value == 0:
            texts.append(f"{name} gets no gradient: detached?")
        elif len(other_names) == 1:
            texts.append(
                f"the gradient of {name} is {value:.4g} times what that of {other_names[0]} asks for, or one of both is wrong"
            )
        else:
            partial, twice = 0 < value < 1 and is_integer(1 / value), is_integer(value)
            hint = ": a partial sum?" if partial else ": counted twice?" if twice else ""
            texts.append(f"the gradient of {name} is {value:.4g} times what the other tensors ask for{hint}")
    return ", ".join(texts[:3])


def is_integer(value: float) -> bool:
    """Return whether a factor is an integer above 1, to a relative error of 1 %."""
    return value > 1.5 and abs(value - round(value)) < 0.01 * value
