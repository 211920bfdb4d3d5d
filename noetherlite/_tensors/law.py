"""A law on named tensors: which legs a symmetry acts on, and what follows from it for parameters, gradients and velocities."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .._base import checks
from .._base.types import Array, Float64Array, IntArray
from .contraction import Contraction, Products, Sums
from .legs import Leg

Kind = Literal["scale", "gl", "rotate", "complex", "whole", "translate", "null"]
SHIFTS = ("translate", "null")  # kinds whose generator is a constant ξ, so that ⟨g(x), m⟩ does not depend on x


@dataclass(frozen=True)
class Member:
    """One leg that a symmetry acts on.

    Attributes
    ----------
    leg : Leg
        The axes.
    coefficient : float
        c_ℓ, the multiple of the generator that acts on it.
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

    @functools.cached_property
    def signed(self) -> float:
        """c_ℓ, or −c_ℓ where the inverse acts."""
        return -self.coefficient if self.inverse else self.coefficient

    @property
    def axis(self) -> int | tuple[int, ...]:
        """The axis of the tensor that is acted on; several where components are pairs, () where it is acted on as a whole."""
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
        Its name, for example "neurons between W1 and b1".
    residual, gap : float
        From the scan that found it: the largest defect relative to |c||X||G|, and the ratio of the smallest singular value
        that is no relation to its own.
    """

    kind: Kind
    members: tuple[Member, ...]
    blocks: tuple[int, ...] = ()
    acting: int | None = None
    name: str = ""
    residual: float = np.nan
    gap: float = np.nan

    @functools.cached_property
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

    @functools.cached_property
    def tensors(self) -> tuple[str, ...]:
        """Names of the tensors it ties together."""
        return tuple(dict.fromkeys(member.tensor for member in self.members))

    def restricted(self, tensor: str) -> Law:
        """Return a law with the terms of one tensor alone."""
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
        value = self.defect(params, params)[0]
        return value if self.kind in SHIFTS else 0.5 * value

    def charge(self, params: Mapping[str, Array], velocities: Mapping[str, Array]) -> Float64Array:
        """Return J = ⟨g(x), v⟩; momentum flows obey d(μJ)/dt = μS."""
        return self.defect(params, velocities)[0]

    def source(self, velocities: Mapping[str, Array]) -> Float64Array:
        """Return S = ⟨Gv, v⟩."""
        if self.kind in SHIFTS:
            return np.zeros(self.size)
        return self.defect(velocities, velocities)[0]

    def defect(
        self, params: Mapping[str, Array], grads: Mapping[str, Array], *, sampled: bool = False
    ) -> tuple[Float64Array, Float64Array]:
        """Return Σ_ℓ c_ℓ M_ℓ of a gradient, which is zero for a correct one, and its scale Σ_ℓ |c_ℓ||X||G|, in one shape.

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
        return self.total(params, grads, sampled=sampled), self.scale(params, grads, sampled=sampled)

    def total(self, params: Mapping[str, Array], grads: Mapping[str, Array], *, sampled: bool = False) -> Float64Array:
        """Return the first part of `defect` alone."""
        M: Float64Array | float = 0.0
        for name, c, contraction in self._contractions:
            term = contraction.total(params[name], grads[name], sampled)
            M = M + term if c == 1 else M - term if c == -1 else M + c * term
        assert isinstance(M, np.ndarray)
        if self.kind != "complex":
            return M
        return np.stack([M[..., 0, 0] + M[..., 1, 1], M[..., 0, 1] - M[..., 1, 0]], axis=-1)  # the parts along 1 and i

    def scale(self, params: Mapping[str, Array], grads: Mapping[str, Array], *, sampled: bool = False) -> Float64Array:
        """Return the second part of `defect` alone."""
        terms = [
            abs(c) * contraction.size(params[name], grads[name], sampled) for name, c, contraction in self._contractions
        ]
        size = functools.reduce(operator.add, terms)
        if self.kind != "complex":
            return size
        return np.stack([size[..., 0, 0] + size[..., 1, 1], size[..., 0, 1] + size[..., 1, 0]], axis=-1)

    @functools.cached_property
    def _contractions(self) -> tuple[tuple[str, float, Contraction], ...]:
        """Tensor, signed coefficient and contraction of every member."""
        return tuple((m.tensor, m.signed, self._contraction(m)) for m in self.members)

    def _contraction(self, member: Member) -> Contraction:
        if self.acting is None:
            return Sums(member.leg, self.kind in SHIFTS)
        return Products(member.leg, self.blocks, self.acting, member.inverse, self.kind == "rotate")

    def places(self) -> Iterator[IntArray]:
        """Yield for every member of a law that mixes components where in its flattened tensor they are, (blocks, width, rest)."""
        for _, _, contraction in self._contractions:
            assert isinstance(contraction, Products)
            yield contraction.places()

    @property
    def formula(self) -> str:
        """The identity as text: the contraction of each member's axis, minus where it is acted on by the inverse."""
        terms = []
        for member in self.members:
            c = member.signed
            part, axis = member.leg.part, member.axis
            cut = f"{{{part[1]}:{part[2]}}}" if part else ""
            place = "" if axis == () else f"[{axis if isinstance(axis, int) else ', '.join(map(str, axis))}]"
            size = "" if abs(c) == 1 else f"{abs(c):.4g} "
            terms.append(f"{'+' if c > 0 else '−'} {size}{member.tensor}{cut}{place}")
        return " ".join(terms).removeprefix("+ ")

    def __str__(self) -> str:
        return f"{self.name or self.kind}: {self.formula}"


def law_list(laws: Iterable[Law], fewest: int = 1) -> list[Law]:
    """Return the argument `laws` as a list.

    TypeError if there are fewer than `fewest`, or an entry is not a Law.
    """
    expected = "laws, as nl.scan(...).laws() and nl.tensors.load return them"
    items = checks.items(laws, "laws", expected)
    wrong = [law for law in items if not isinstance(law, Law)]
    if wrong or len(items) < fewest:
        raise TypeError(f"laws must be {expected}; got {checks.describe(wrong[0] if wrong else items)}")
    return items
