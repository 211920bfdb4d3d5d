"""A law on named tensors: which legs a symmetry acts on, and what follows from it for parameters, gradients and velocities."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .._base import checks
from .._base.types import Array, Float64Array
from .legs import Leg, gathered, sums

Kind = Literal["scale", "gl", "rotate", "complex", "whole", "translate", "null"]
_WIDEST = 512  # components of a block whose matrix M is formed
_PROJECTIONS = 8
SAMPLE = 24


@dataclass(frozen=True)
class Member:
    """One leg that a symmetry acts on.

    Attributes
    ----------
    leg : Leg
        The axes.
    coefficient : float
        c_ℓ: by which multiple of the generator it is acted on.
    inverse : bool
        Whether it is acted on by the inverse transpose.
    """

    leg: Leg
    coefficient: float
    inverse: bool = False

    @property
    def tensor(self) -> str:
        """Name of the tensor."""
        return self.leg.tensor

    @property
    def axis(self) -> int | tuple[int, ...]:
        """The tensor's own axis that is acted on; several where components are pairs, () where it is acted on as a whole."""
        axes = self.leg.axes
        return axes[0] if len(axes) == 1 else axes


@dataclass(frozen=True)
class Law:
    """A relation between contractions of legs that holds for every gradient (theory §12).

    Attributes
    ----------
    kind : str
        "scale", "gl", "rotate", "complex", "whole", "translate" or "null".
    members : tuple of Member
        Legs of equal size n.
    blocks : tuple of int
        How the n components are arranged, for the kinds that mix them: (heads, width), for example.
    acting : int or None
        The axis of `blocks` that is mixed; None for kinds that act on each component alone.
    name : str
        What it is called.
    residual, gap : float
        From the scan that found it: the largest defect relative to |c||X||G|, and the ratio of the singular values that tell it
        from what is no relation.
    """

    kind: Kind
    members: tuple[Member, ...]
    blocks: tuple[int, ...] = ()
    acting: int | None = None
    name: str = ""
    residual: float = np.nan
    gap: float = np.nan

    @property
    def size(self) -> int:
        """Number of components n of every member."""
        return self.members[0].leg.size

    @property
    def n_equations(self) -> int:
        """Number of independent numbers that are zero."""
        if self.acting is None:
            return self.size
        width = self.blocks[self.acting]
        return self.size // width * {"gl": width * width, "rotate": width * (width - 1) // 2, "complex": 2}[self.kind]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the tensors it ties together."""
        return tuple(dict.fromkeys(member.tensor for member in self.members))

    def restricted(self, tensor: str) -> Law:
        """Return the terms of one tensor, as a law of its own."""
        return replace(self, members=tuple(m for m in self.members if m.tensor == tensor))

    @property
    def group(self) -> str:
        """The group that acts, in symbols."""
        copies = 1 if self.acting is None else int(np.prod(self.blocks)) // self.blocks[self.acting]
        times = f" × {copies}" if copies > 1 else ""
        width = self.size // copies
        return {
            "scale": f"R₊^{self.size}",
            "whole": "R₊",
            "translate": f"R^{self.size}",
            "null": f"R^{self.size}",
            "gl": f"GL({width}){times}",
            "rotate": f"O({width}){times}",
            "complex": f"C*{times}",
        }[self.kind]

    def check(self) -> None:
        """Raise ValueError if the members do not fit together."""
        if not self.members:
            raise ValueError("a law must have members")
        sizes = {member.leg.size for member in self.members}
        if len(sizes) > 1:
            raise ValueError(f"members must have equally many components, got {sorted(sizes)}")
        if any(m.leg.arranged and math.prod(m.leg.arranged) != math.prod(m.leg.kept_sizes) for m in self.members):
            raise ValueError("the arrangement of a member must have as many entries as its axes")
        matrix = self.kind in ("gl", "rotate", "complex")
        if matrix != (self.acting is not None) or (matrix and math.prod(self.blocks) != self.size):
            raise ValueError(
                f"blocks={self.blocks} and acting={self.acting} do not fit kind={self.kind!r}, {self.size} components"
            )

    def quantity(self, params: Mapping[str, Array]) -> Float64Array:
        """Return Q = ½⟨x, Gx⟩ + ⟨ξ, x⟩, which gradient flow conserves; zeros for rotations, which have none."""
        if self.kind in ("translate", "null"):
            return self.defect(params, params)[0]
        return 0.5 * self.defect(params, params)[0]

    def charge(self, params: Mapping[str, Array], velocities: Mapping[str, Array]) -> Float64Array:
        """Return J = ⟨g(x), v⟩; momentum flows obey d(μJ)/dt = μS."""
        return self.defect(params, velocities)[0]

    def source(self, velocities: Mapping[str, Array]) -> Float64Array:
        """Return S = ⟨Gv, v⟩."""
        if self.kind in ("translate", "null"):
            return np.zeros(self.size)
        return self.defect(velocities, velocities)[0]

    def defect(
        self, params: Mapping[str, Array], grads: Mapping[str, Array], *, sampled: bool = False
    ) -> tuple[Float64Array, Float64Array]:
        """Return Σ_ℓ c_ℓ M_ℓ of a gradient, which is zero for a correct one, and its scale Σ_ℓ |c_ℓ||X||G|, in one shape.

        Round-off of a gradient's entries is relative to the typical size of its tensor, not to their own: |G|² is that of the
        component and the mean over all.

        Parameters
        ----------
        params, grads : mapping of str to ndarray
            X and ∂U/∂X for all members.
        sampled : bool
            Of matrix kinds, look at the pairs of a few components only.

        Returns
        -------
        tuple of ndarray
            Shape (n,) or, for matrix kinds, (blocks…, width, width); for blocks wider than 512, products with the same
            eight random pairs of vectors, (blocks…, 8).
        """
        terms = [
            (member.coefficient, *self._contraction(member, params[member.tensor], grads[member.tensor], sampled))
            for member in self.members
        ]
        total = np.asarray(sum(c * value for c, value, _ in terms))
        scale = np.asarray(sum(abs(c) * size for c, _, size in terms))
        return (_complex_parts(total, scale)) if self.kind == "complex" else (total, scale)

    def _contraction(self, member: Member, x: Array, g: Array, sampled: bool) -> tuple[Float64Array, Float64Array]:
        if self.acting is None:
            field = "translate" if self.kind in ("translate", "null") else "scale"
            value, g2, y2 = gathered(member.leg, sums(field, member.leg.plain, x, g))
            return value, np.sqrt((g2 + g2.mean()) * y2)
        a, b = self._blocks_of(member, x, sampled), self._blocks_of(member, g, sampled)
        width = a.shape[-2]
        if width > _WIDEST:
            left, right = _vectors(width)
            if member.inverse:
                left, right = right, left
            value, scale = _projected(a, b, left, right)
            if self.kind == "rotate":
                value, scale = value - _projected(a, b, right, left)[0], 2 * scale
            return (-value if member.inverse else value), scale
        M = b @ a.swapaxes(-1, -2)
        g2 = np.square(b).sum(-1)
        scale = np.sqrt(g2 + g2.mean())[..., :, None] * np.linalg.norm(a, axis=-1)[..., None, :]
        if self.kind == "rotate":
            upper = np.triu_indices(width, 1)
            M, scale = M - M.swapaxes(-1, -2), scale + scale.swapaxes(-1, -2)
            return M[..., upper[0], upper[1]], scale[..., upper[0], upper[1]]
        return (-M.swapaxes(-1, -2), scale.swapaxes(-1, -2)) if member.inverse else (M, scale)

    def _blocks_of(self, member: Member, array: Array, sampled: bool) -> Float64Array:
        """Return a tensor as (blocks, acting, rest)."""
        assert self.acting is not None
        places = np.moveaxis(np.arange(self.size).reshape(self.blocks), self.acting, -1)
        places = places.reshape(-1, places.shape[-1])
        if sampled:
            places = places[: SAMPLE // 4, :SAMPLE]
            rows = member.leg.some_rows(array, places.reshape(-1))
        else:
            rows = member.leg.rows(array)[places.reshape(-1)]
        return rows.reshape(*places.shape, -1).astype(np.float64, copy=False)

    @property
    def formula(self) -> str:
        """The identity as text: the contraction of each member's axis, minus where it is acted on by the inverse."""
        terms = []
        for member in self.members:
            c = member.coefficient * (-1 if member.inverse else 1)
            part, axis = member.leg.part, member.axis
            cut = f"{{{part[1]}:{part[2]}}}" if part else ""
            place = "" if axis == () else f"[{axis if isinstance(axis, int) else ', '.join(map(str, axis))}]"
            size = "" if abs(c) == 1 else f"{abs(c):.4g} "
            terms.append(f"{'+' if c > 0 else '−'} {size}{member.tensor}{cut}{place}")
        return " ".join(terms).removeprefix("+ ")

    def __str__(self) -> str:
        return f"{self.name or self.kind}: {self.formula}"


def given(laws: Iterable[Law], fewest: int = 1) -> list[Law]:
    """Return the laws that were given.

    Raises
    ------
    TypeError
        If there are fewer, or entries that are no laws.
    """
    expected = "laws, as nl.scan(...).laws() and nl.tensors.load return them"
    held = checks.items(laws, "laws", expected)
    wrong = [law for law in held if not isinstance(law, Law)]
    if wrong or len(held) < fewest:
        raise TypeError(f"laws must be {expected}; got {checks.describe(wrong[0] if wrong else held)}")
    return held


def _complex_parts(M: Float64Array, scale: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the parts of 2 × 2 blocks along 1 and i: the trace and the skew part, (blocks, 2)."""
    parts = np.stack([M[..., 0, 0] + M[..., 1, 1], M[..., 0, 1] - M[..., 1, 0]], axis=-1)
    sizes = np.stack([scale[..., 0, 0] + scale[..., 1, 1], scale[..., 0, 1] + scale[..., 1, 0]], axis=-1)
    return parts, sizes


def _vectors(width: int) -> tuple[Float64Array, Float64Array]:
    rng = np.random.default_rng(width)
    return rng.normal(size=(_PROJECTIONS, width)), rng.normal(size=(_PROJECTIONS, width))


def _projected(
    x: Float64Array, g: Float64Array, left: Float64Array, right: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return leftᵀ M right for pairs of vectors, M = g xᵀ, and its scale; shape (blocks, pairs)."""
    a, b = left @ g, right @ x
    return (a * b).sum(-1), np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
