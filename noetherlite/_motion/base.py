"""What an algorithm is: its step, the time it takes, its exact discrete laws, and what its recorded steps imply."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from .._base import checks
from .._base.complete import require
from .._base.types import Float64Array, IntArray
from .._kernels import layout
from .._kernels.rules import Method
from .dynamics import Dynamics

Force = Callable[[int, Float64Array], Float64Array]  # (number of the evaluation, point y) ↦ ∇U(y) + λy
Rounded = Callable[[Float64Array], Float64Array]  # x ↦ x as a recording holds it
Gradients = tuple[IntArray, Float64Array, Float64Array]  # record (K,), points (K, P), ∇U + λy there (K, P)


class Terms(NamedTuple):
    """Which terms the exact law of a symmetry g(x) = Gx + ξ has."""

    still: bool  # G = 0
    skew: bool  # ⟨Gv, v⟩ = 0, of which G = 0 is a case
    has_quantity: bool  # G is symmetric, so that there is a Q
    decays: bool  # there is weight decay, and ⟨g(x), x⟩ ≠ 0


@dataclass(frozen=True, repr=False)
class Algorithm(ABC):
    """A discrete algorithm; use one of its subclasses.

    Attributes
    ----------
    lr : float
        The paper's learning rate: η for gradient descent and heavy ball, s = h² for the others.
    weight_decay : float
        λ ≥ 0, for every algorithm: ∇U(x) + λx takes the place of ∇U(x), as if the potential were U + ½λ|x|². It breaks the
        laws of scalings, linear layers and translations in the way that theory §10 says, which their exact discrete
        forms take into account; those of rotations survive. Keyword only.

    Notes
    -----
    A new one is a file beside this one, with a subclass that is a frozen dataclass, and its line in `algorithms.ALGORITHMS`.
    It has all abstract members of this class, without which it cannot be written down, and those that are not as here:
    `dt`, `singular_start`, `has_velocity`, `momentum`, `gradients_per_step`, `takes_velocity`, `undamped_first_step`,
    `following`. Everything else in the package asks these members, the kernels its `method` (`docs/extending.md`).
    """

    lr: float
    weight_decay: float = field(default=0.0, kw_only=True)

    def __init_subclass__(cls, abstract: bool = False) -> None:
        """Refuse a class that lacks members, unless it is there to be inherited from."""
        super().__init_subclass__()
        if not abstract:
            require(cls, "algorithm")

    def __post_init__(self) -> None:
        object.__setattr__(self, "lr", checks.real(self.lr, "lr", minimum=0.0, strict=True))
        object.__setattr__(self, "weight_decay", checks.real(self.weight_decay, "weight_decay", minimum=0.0))

    def __repr__(self) -> str:
        shown = {name: value for name, value in dataclasses.asdict(self).items() if name != "weight_decay" or value}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @property
    def dt(self) -> float:
        """Time per step."""
        return math.sqrt(self.lr)

    @property
    @abstractmethod
    def dynamics(self) -> Dynamics:
        """The continuous dynamics this algorithm follows as lr → 0."""

    @property
    @abstractmethod
    def order(self) -> int:
        """Order in `dt` of the laws' discretisation error at a fixed final time."""

    @property
    def singular_start(self) -> bool:
        """Whether the algorithm divides by t and so cannot start at t = 0."""
        return False

    @property
    def has_velocity(self) -> bool:
        """Whether a velocity is part of its state."""
        return True

    @property
    @abstractmethod
    def method(self) -> Method:
        """Its rules, which the kernels are made of."""

    def kernel(self, t0: float) -> layout.Algorithm:
        """Return the numbers that its rules read, for a start at t0."""
        d, law = self.dynamics, {"Q": layout.OF_Q, "J": layout.OF_J, "μJ": layout.OF_MU_J}[self.law_of]
        return layout.Algorithm(law, self.dt, d.mass, d.gamma, d.alpha, t0, self.weight_decay, self.momentum)

    def specification(self) -> dict[str, Any]:
        """Return the name and the parameters, ready for JSON."""
        return {"name": type(self).__name__, **dataclasses.asdict(self)}

    # --- its exact discrete laws (theory §6, §10) ----------------------------------------------------------------------

    @property
    def momentum(self) -> float:
        """β of a velocity that every step multiplies by the same β; 0 for the others."""
        return 0.0

    @property
    @abstractmethod
    def law_of(self) -> Literal["Q", "J", "μJ"]:
        """What its exact laws balance from step to step: the quantity, the charge, or the charge times μ(t)."""

    @property
    @abstractmethod
    def push(self) -> float:
        """What a step makes of a force of size 1: in Q, relative to |g(x)|, or in the velocity."""

    @abstractmethod
    def exact_law(self, terms: Terms) -> str:
        """Return the exact law of a symmetry as a formula in LaTeX."""

    @abstractmethod
    def letters(self) -> dict[str, str]:
        """Return what the letters of `exact_law` are that not all algorithms have."""

    # --- what its recorded steps imply, for `check` --------------------------------------------------------------------

    @abstractmethod
    def fewest_rows(self, known_start: bool) -> int:
        """Return how many rows a gradient takes; `known_start` is a start at t = 0, or with a known velocity."""

    @property
    @abstractmethod
    def gain(self) -> float:
        """Round-off ε|x| of positions makes up to ε·gain·|x| in the gradient that they imply."""

    @property
    @abstractmethod
    def reach(self) -> float:
        """How far a force of size 1 moves x in a step."""

    @abstractmethod
    def implied_gradients(self, x: Float64Array, t0: float, velocity: Float64Array | None) -> Gradients:
        """Return the gradients that positions imply: the update rule solved for ∇U + λy.

        Parameters
        ----------
        x : ndarray, shape (R, P)
            Positions, one row per step.
        t0 : float
            Time of the first.
        velocity : ndarray, shape (P,), or None
            Velocity at the first row, where it is known and `takes_velocity`.

        Returns
        -------
        record : ndarray of int, shape (K,)
            Row that each gradient belongs to.
        points, gradients : ndarray, shape (K, P)
            Where it was taken, and ∇U + λy there.
        """

    @abstractmethod
    def walk(
        self, x: Float64Array, v: Float64Array, t: float, steps: int, force: Force, rounded: Rounded
    ) -> tuple[Float64Array, Float64Array]:
        """Return x and v after so many steps from time t on, both `rounded` after each."""

    @property
    def gradients_per_step(self) -> int:
        """1, or 2 where a step begins and ends with one."""
        return 1

    @property
    def takes_velocity(self) -> bool:
        """Whether the first of its steps is known only where the velocity at its start is: whose memory is a velocity alone."""
        return False

    @property
    def undamped_first_step(self) -> float:
        """How many times as long the first step is where its dampening is left out of it."""
        return 1.0

    @classmethod
    def following(cls, dynamics: Dynamics, dt: float, t0: float) -> Algorithm | None:
        """Return the algorithm of this class that a recording of `dynamics`, dt apart from time t0 on, may be of, or None."""
        return None
