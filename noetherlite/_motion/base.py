"""The base class of algorithms: step, time step, exact discrete laws, and the inverse of the update for `check`."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._base.complete import require
from .._base.types import Float64Array, IntArray
from .._kernels import layout
from .._kernels.rules import Method
from .dynamics import Dynamics
from .settings import Settings

Force = Callable[[int, Float64Array], Float64Array]  # (number of the evaluation, point y) ↦ ∇U(y) + λy
Rounded = Callable[[Float64Array], Float64Array]  # x ↦ x rounded to the precision of a recording
Ends = tuple[Float64Array, Float64Array]  # x and v after some steps
Gradients = tuple[IntArray, Float64Array, Float64Array]  # record (K,), points y (K, P), ∇U + λy (K, P)


def no_gradients(algorithm: Algorithm, x: Float64Array, t0: float, velocity: Float64Array | None) -> Gradients:
    """Return none: the `implied_gradients` of an algorithm that `implies_gradients` from no positions."""
    return np.arange(0), x[:0], x[:0]


def _borders(*each: NDArray[Any]) -> NDArray[np.int64]:
    """Return the coordinates, but the first, that differ from the one before in one of the vectors (P,), which may be empty."""
    changes = [np.flatnonzero(a[1:] != a[:-1]) + 1 for a in each]
    return np.unique(np.concatenate(changes)).astype(np.int64)


class Memory(NamedTuple):
    """The averages of an optimiser, as its `update` takes them; None where one is not known."""

    m: Float64Array | None = None  # the average of the gradient
    s: Float64Array | None = None  # and of its squares


class RecordedStep(NamedTuple):
    """A step of an optimiser whose averages `check` follows."""

    numbers: layout.Algorithm  # with the rates of this step
    k: int
    x: Float64Array
    following: Float64Array  # x after it
    now: Memory  # the averages before it
    later: Memory  # and what is recorded of those after it

    @property
    def descent(self) -> Float64Array | None:
        """(x_k − x_{k+1})/η; None where a rate is zero."""
        return None if np.any(self.numbers.h == 0) else (self.x - self.following) / self.numbers.h


class Terms(NamedTuple):
    """The properties that decide which terms the exact law of a symmetry g(x) = Gx + ξ has."""

    still: bool  # G = 0
    skew: bool  # ⟨Gv, v⟩ = 0, which G = 0 implies
    has_quantity: bool  # G is symmetric, so that a quantity Q exists
    decays: bool  # weight decay λ > 0 and ⟨g(x), x⟩ ≠ 0


@dataclass(frozen=True, repr=False)
class Algorithm(Settings, ABC):
    """A discrete algorithm; use one of its subclasses.

    Attributes
    ----------
    lr : float
        The paper's learning rate: η for gradient descent, heavy ball and the optimisers, s = h² for the others. Where
        `takes_schedule`, an array with a rate for each step, or a function of the step that is evaluated before a run, is taken
        too; where `takes_blocks`, a rate for each block, such as {"W1": 0.1, "rest": 0.01}. `lr` is then the largest of them.
        With rates by block the laws are those of the metric M = lr/lr_i: Q = ½⟨x, MGx⟩ + ⟨Mξ, x⟩, J = ⟨Mg(x), ẋ⟩; for the
        optimisers of an averaged gradient they do not depend on the rates. A block may have a schedule of its own: where the ratios are
        constant, so is the metric; where they change, gradient descent (as a heavy ball without momentum) and the heavy ball have the law
        of ⟨g(x), v⟩ instead, which needs no metric, and Q is not conserved; methods with mass refuse it.
    weight_decay : float
        λ ≥ 0, for every algorithm: ∇U(x) + λx takes the place of ∇U(x), as if the potential were U + ½λ|x|². It breaks the
        continuous laws of scalings, linear layers and translations (theory §10), but not those of rotations; the exact
        discrete laws include it. Or λ for each block, 0 where a block is not named. Keyword only.
    clip : float or None
        The largest norm c of ∇U: a longer one is multiplied by c/(|∇U| + 10⁻⁶) before λx is added, as
        `torch.nn.utils.clip_grad_norm_` does (`optax.clip_by_global_norm` has no 10⁻⁶). All exact laws hold with it, as the
        gradient stays orthogonal to g. Keyword only.
    grad_accumulation : int
        Minibatches of a step: its gradient is the mean of so many minibatches' gradients. Keyword only.
    sam : float
        ρ of `SAM`, 0 without. Keyword only.

    Notes
    -----
    A new algorithm is a file beside this one, with a subclass that is a frozen dataclass, and a row of
    `algorithms.ALGORITHMS`. It defines all abstract members of this class and overrides the defaults that do not fit, such as `dt`,
    `has_velocity`, `push`, `momentum`, `fewest_rows`, `gain`, `reach`, `gradients_per_step`, `takes_velocity`, `following`.
    The kernels use its `method` (`docs/extending.md`), the rest of the package these members only.
    """

    has_noise: ClassVar[bool] = False
    """Whether steps draw random numbers, from a key that a run makes of its `rng`."""
    is_implicit: ClassVar[bool] = False
    """Whether a step is the solution of an equation; its moment then holds the largest error that the solver has left."""
    projects: ClassVar[bool] = False
    """Whether steps end on the levels of the scaling laws, all of which a run then has to watch."""
    starts_anywhere: ClassVar[bool] = True
    """Whether its next steps depend on nothing but positions and the velocity between them."""
    takes_velocity: ClassVar[bool] = False
    """Whether the first gradient is determined only together with the initial velocity."""

    bias_corrected: ClassVar[tuple[int, ...]] = ()
    """Positions in `constants` of the 1 − β of averages that steps divide by 1 − β^k."""

    def __init_subclass__(cls, abstract: bool = False) -> None:
        """Raise TypeError for a concrete class that lacks abstract members."""
        super().__init_subclass__()
        if not abstract:
            require(cls, "algorithm")

    @property
    def dt(self) -> float:
        """Time per step: η of first-order dynamics, h = √lr of others."""
        return self.lr if self.dynamics.mass == 0 else math.sqrt(self.lr)

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

    def kernel(self, t0: float, blocks: Sequence[Any] = ()) -> layout.Algorithm:
        """Return the numbers that its rules read, for a start at t0; blocks have a name, a start and a stop."""
        d, law = self.dynamics, {"Q": layout.OF_Q, "J": layout.OF_J, "μJ": layout.OF_MU_J}[self.law_of]
        numbers = float(self.dt), d.mass, d.gamma, d.alpha, t0, self.coupled_decay, self.momentum
        constants = (*map(float, self.constants), *[0.0] * layout.N_CONSTANTS)[: layout.N_CONSTANTS]
        if self._schedule is not None:
            raise ValueError("lr is a function of the step, which only nl.integrate and nl.ensemble evaluate")
        clip = math.inf if self.clip is None else self.clip
        none, decay = np.empty(0), self.coupled_decay
        rates, times = (self._each_dt, self.times(t0, np.arange(len(self.rates)))) if self.rates else (none, none)
        shares, decays = self.shares(blocks)
        each: dict[str, Any] = {"shares": shares, "metric": int(self.makes_metric and shares.size > 0)}
        if self.ratios_change:
            each = dict(zip(("shares", "block"), self.lr.table(blocks), strict=True))  # type: ignore[union-attr]
        borders = _borders(each.get("block", shares), decays)
        return layout.Algorithm(
            law,
            *numbers,
            constants,
            clip,
            rates,
            times,
            decays=decays,
            ascent=self.sam,
            pull=1.0 if self.sam else decay,
            accumulated=self.grad_accumulation,
            borders=borders,
            **each,
        )

    @property
    def constants(self) -> tuple[float, ...]:
        """Numbers that its rules read beyond the common ones, at most `layout.N_CONSTANTS`."""
        return ()

    @property
    def coupled_decay(self) -> float:
        """λ of ∇U(x) + λx: the weight decay, where it is not one of x itself."""
        return self.weight_decay

    @property
    def without_decay(self) -> Algorithm:
        """The algorithm without weight decay."""
        return dataclasses.replace(self, weight_decay=0.0)

    @property
    def without_noise(self) -> Algorithm:
        """The algorithm without random numbers."""
        return self

    def settled(self, force: Float64Array, step: int) -> Float64Array:
        """Return the velocity before a step to which a constant ∇U + λx has led: momentum then adds nothing of its own.

        Zero where no β says how long a gradient is remembered.
        """
        return -self.push / (1 - self.momentum) * force if self.momentum else np.zeros_like(force)

    @property
    def is_linear(self) -> bool:
        """Whether a step is linear in the gradient, so that it is the same in other coordinates."""
        return self.clip is None and not self.sam and not self.has_blocks

    @property
    def implies_gradients(self) -> bool:
        """Whether recorded positions give the gradients back."""
        return True

    def times(self, t0: float, step: IntArray | int) -> Float64Array:
        """Return the times of steps, counted from a start at t0."""
        if not self.rates:
            return np.asarray(t0 + step * self.dt)
        return np.asarray(t0 + np.concatenate([[0.0], np.cumsum(self._each_dt)])[step])

    def step_times(self, steps: int) -> Float64Array:
        """Return the times that the first steps take, shape (steps,)."""
        return self._each_dt[:steps] if self.rates else np.full(steps, self.dt)

    @property
    def _each_dt(self) -> Float64Array:
        rates = np.array(self.rates)
        return rates * (self.dt / self.lr) if self.dynamics.mass == 0 else np.sqrt(rates)

    # --- exact discrete laws (theory §6, §10) -------------------------------------------------------------------------

    @property
    def momentum(self) -> float:
        """β, for algorithms that multiply the velocity by the same β in every step; 0 for others."""
        return 0.0

    @property
    @abstractmethod
    def law_of(self) -> Literal["Q", "J", "μJ"]:
        """The term that the exact laws balance from step to step: the quantity, the charge, or the charge times μ(t)."""

    @property
    def push(self) -> float:
        """Effect of a unit force in one step: on Q, relative to |g(x)|, or on the velocity; η, or h/m."""
        return self.dt / (self.dynamics.mass or 1)

    @abstractmethod
    def exact_law(self, terms: Terms) -> str:
        """Return the exact law of a symmetry as a formula in LaTeX."""

    def letters(self) -> dict[str, str]:
        """Return the meanings of those letters in `exact_law` that differ between algorithms: Q and η, or J and h."""
        if self.law_of == "Q":
            return {"Q": "its quantity", "η": f"{self.lr:g}"}
        return {"J = ⟨g(x), v⟩": "its charge", "h": f"{self.dt:.4g}, the time per step"}

    # --- the inverse of the update, for `check` -----------------------------------------------------------------------

    def fewest_rows(self, known_start: bool) -> int:
        """Return the number of rows that determine a gradient; `known_start`: the start is at t = 0 or its velocity is known."""
        return 2

    @property
    def gain(self) -> float:
        """Factor from the round-off ε|x| of positions to the round-off of the gradient that they imply: 2/η + λ, or 4m/h² + λ."""
        mass = self.dynamics.mass
        return (4 * mass / self.dt**2 if mass else 2 / self.dt) + self.weight_decay

    @property
    def reach(self) -> float:
        """Displacement of x by a unit force in one step: η, or h²/m."""
        return self.dt**2 / self.dynamics.mass if self.dynamics.mass else self.dt

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
            The points y where the gradients were taken, and ∇U + λy.
        """

    @abstractmethod
    def walk(self, x: Float64Array, v: Float64Array, t: float, steps: int, force: Force, rounded: Rounded) -> Ends:
        """Return x and v after a number of steps from time t on, `rounded` after each step."""

    @property
    def states(self) -> dict[str, str]:
        """PyTorch's names of its states, each with the field of `Memory` that it belongs to; empty if `check` takes no states."""
        return {}

    def memory_of(self, name: str, values: Float64Array) -> Float64Array:
        """Return the values of the field of `Memory` for a recorded state of this name."""
        return values

    def implied_force(self, step: RecordedStep) -> Float64Array | None:
        """Return ∇U + λx of a recorded step; None if nothing implies it."""
        return None

    def iterated(
        self, numbers: layout.Algorithm, block: Any, x: Float64Array, later: Float64Array
    ) -> tuple[Float64Array, Float64Array] | None:
        """Return what iterations have made of a block, and what the step from x to `later` multiplies it by; None where there are no iterations."""
        return None

    @property
    def gradients_per_step(self) -> int:
        """1, or 2 for steps that begin and end with a gradient."""
        return 1

    @property
    def undamped_first_step(self) -> float:
        """Ratio of the first step without dampening, as in PyTorch, to that with it."""
        return 1.0

    @classmethod
    def following(cls, dynamics: Dynamics, dt: float, t0: float) -> Algorithm | None:
        """Return the algorithm of this class for `dynamics` with time step dt from t0 on, or None if there is none."""
        return None
