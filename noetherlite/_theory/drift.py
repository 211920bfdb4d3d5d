"""Drift of quantities by finite steps, minibatches, weight decay and momentum: its parts and its prediction (theory §10)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._base import axes, checks
from .._base.axes import COLOURS
from .._base.by_name import ByName
from .._base.floating import underflowing
from .._base.threads import threads
from .._base.types import Array, ArrayLike, Float64Array, IntArray, Seed
from .._kernels import layout
from .._motion.base import Algorithm
from .._motion.gradient_descent import GD
from .._motion.heavy_ball import HeavyBall
from .._problem.potentials import Potential
from .._run import frozen
from .._run.drive import drive
from .._run.outcome import members
from .._run.plan import Plan, check_problem, minibatches, motion
from .._run.runs import Runs
from .._run.supervisor import Supervisor
from .._symmetry.family import Family, NoetherSymmetry
from .._symmetry.find import watched
from . import charge_flow
from .drift_steps import DriftSupervisor

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class LawDrift:
    """The drift of one law's quantity Q along a run; R records, components of shape `shape`.

    Attributes
    ----------
    name : str
        The symmetry's name, for example "scaling:1".
    quantity : ndarray, shape (R, *shape)
        Q, as measured.
    lr, noise, decay, momentum, direction, projection : ndarray, shape (R, *shape)
        The parts of Q − Q_0; their sum is all of it, to round-off.
    first_order, second_order : ndarray, shape (R, *shape)
        Q by the continuous-time formulas, to first order in the step and with the inertia of finite steps; NaN for weight
        decay and a user's symmetry with both G and ξ, whose ⟨g(x), x⟩ is no multiple of Q, and for algorithms other than
        `GD` and `HeavyBall` at one rate without clipping.
    damping : str
        "overdamped", "critically damped" or "underdamped", of the second formula; "unknown" where it is NaN.
    """

    name: str
    quantity: Float64Array
    lr: Float64Array
    noise: Float64Array
    decay: Float64Array
    momentum: Float64Array
    direction: Float64Array
    projection: Float64Array
    first_order: Float64Array
    second_order: Float64Array
    damping: str

    @property
    def change(self) -> Float64Array:
        """Q − Q_0, shape (R, *shape)."""
        # without any record, as where the first gradient is not finite, the slice is empty
        return np.asarray(self.quantity - self.quantity[:1])

    @property
    def parts(self) -> dict[str, Float64Array]:
        """The parts of the drift by name."""
        return {name: getattr(self, name) for name in PARTS}

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {np.abs(part).max(initial=0.0):.3g}" for name, part in self.parts.items())
        return f"LawDrift({self.name!r}, max |Q - Q0| {np.abs(self.change).max(initial=0.0):.3g} of {sizes})"


# In the order of the rows of `DriftSupervisor.parts`, and those but the last two in the order of the kernels'.
PARTS = ("lr", "noise", "decay", "momentum", "direction", "projection")
# No algorithm has a velocity and projects.
_COLOURS_OF_PARTS = (*COLOURS[:4], COLOURS[5], COLOURS[3])


@dataclass(frozen=True, eq=False, repr=False)
class Drift(Mapping[str, LawDrift]):
    """The drift of every law along a run: `drift["scaling:1"]`; R records.

    Attributes
    ----------
    algorithm : Algorithm
        The algorithm.
    t : ndarray, shape (R,)
        Times, in units of the algorithm's step.
    step : ndarray of int, shape (R,)
        Steps.
    loss : ndarray, shape (R,)
        U on all samples.
    laws : mapping of str to LawDrift
        One per symmetry.
    x : ndarray, shape (P,)
        Final parameters.
    status, message : str
        The end of the run, as in `Trajectory`.
    """

    algorithm: Algorithm
    t: Float64Array
    step: IntArray
    loss: Float64Array
    laws: Mapping[str, LawDrift]
    x: Array
    status: str
    message: str

    def __getitem__(self, name: str) -> LawDrift:
        return self.laws[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.laws)

    def __len__(self) -> int:
        return len(self.laws)

    def __repr__(self) -> str:
        return f"Drift({self.algorithm}, {self.message}, laws {list(self.laws)})"

    def plot(self, name: str, component: int = 0, ax: Axes | None = None, **style: Any) -> Axes:
        """Plot the drift of one component of Q, its parts, and the prediction.

        Parameters
        ----------
        name : str
            The law's name, for example "scaling:1".
        component : int
            Flat index of the component, of the first by default.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        **style
            Passed to `Axes.plot` for the drift itself.
        """
        law = self.laws[checks.one_of(name, "name", self.laws)]
        component = checks.integer(component, "component", minimum=0, maximum=math.prod(law.change.shape[1:]) - 1)

        def one(values: Float64Array) -> Float64Array:
            return values.reshape(self.t.size, -1)[:, component]

        ax = axes.new_axes(ax)
        ax.plot(self.t, one(law.change), **axes.style_of(style, color="black", linewidth=3.0, label="$Q-Q_0$"))
        for (label, part), colour in zip(law.parts.items(), _COLOURS_OF_PARTS, strict=True):
            if part.any():
                ax.plot(self.t, one(part), color=colour, linewidth=1.0, label=label)
        predicted = one(law.second_order - law.quantity[:1])
        if not np.isnan(predicted).all():
            ax.plot(self.t, predicted, color=COLOURS[4], linestyle="--", label="continuous-time formula")
        axes.over_time(ax, "drift of $Q$")
        ax.set_title(f"{axes.short(name)}, component {component}")
        axes.legend_above(ax, rows=3)
        return ax


@underflowing
def drift(
    U: Potential,
    algorithm: Algorithm,
    x0: ArrayLike,
    steps: int,
    *,
    velocity: ArrayLike | None = None,
    t0: float | None = None,
    record_every: int = 1,
    laws: str | Sequence[str | NoetherSymmetry] = "all",
    batch_size: int | None = None,
    rng: Seed = None,
    backend: str = "auto",
    n_threads: int | None = None,
) -> Drift:
    """Run an algorithm, and split the drift of each law's quantity into its causes.

    Gradient flow conserves Q. A step that moves x by D changes it by Q̇(D) + ½B(D, D), exactly, with Q̇(D) = ⟨∇Q(x), D⟩. The same
    step is taken again, from the same x, without one cause after the other::

        D_1    with the gradient ḡ of all samples, without weight decay, and with a velocity to which ḡ alone has led,
        D_2    with the minibatch's gradient g in the place of ḡ, and with Langevin noise,
        D_3    with weight decay too, coupled or not,

    and with c(D) = Q̇(D) + ½B(D, D) the parts are::

        direction    Q̇(D_1), of first order in the step: what a preconditioner, a sign or a gradient of another point does;
                     zero for steps along the gradient at x, which is orthogonal to g(x),
        lr           ½B(D_1, D_1), of second order: the finite rate,
        noise        c(D_2) − c(D_1),
        decay        c(D_3) − c(D_2),
        momentum     c(D) − c(D_3): what the velocity carries beyond the present gradient; for Newtonian dynamics all of it,
        projection   c(D) − c(D_3) of `ProjectedGD`, which has no velocity, and whose D_1, D_2 and D_3 are those of the step before
                     it is projected: what the projection takes back, for scalings all that the other parts have made of Q.

    A preconditioner is the one that the step has with its gradient: squares of gradients so far are the run's. For gradient
    descent and the heavy ball with r = h/(1 − β), d = g + λx, v' = βv − d this is

        lr = ½r²B(ḡ, ḡ),   noise = ½r²(B(g, g) − B(ḡ, ḡ)),   decay = ½r²(B(d, d) − B(g, g)) − rλ⟨g(x), x⟩,
        momentum = hβQ̇(v) + ½h²B(v', v') − ½r²B(d, d) + (r − h)λ⟨g(x), x⟩,

    which kernels add up. Q̇(v) is the charge J = ⟨g(x), v⟩, and ½(J + Jᵀ) for a linear layer, whose Q belongs to the symmetric
    part of its generators; in a slow motion momentum makes B(d, d) larger by (1 + β)/(1 − β).

    Parameters
    ----------
    U : Potential
        The potential.
    algorithm : Algorithm
        Any, with its `weight_decay`, `clip` and schedule.
    x0 : array_like, shape (P,)
        Initial parameters.
    steps : int
        Number of steps, ≥ 0.
    velocity : array_like, shape (P,), optional
        Initial velocity, zero by default.
    t0 : float, optional
        Initial time, as for `integrate`.
    record_every : int
        Record step 0, every `record_every` steps, and the last. The predictions take B(ẋ, ẋ) as constant in between.
    laws : "all", or a sequence of names and symmetries
        As for `integrate`, except rotations, which have no Q.
    batch_size, rng, backend, n_threads
        As for `integrate`. With minibatches every step takes an additional gradient on all samples; with algorithms other than
        `GD` and `HeavyBall` at one rate, every step is taken up to four times, three times of them in NumPy.

    Returns
    -------
    Drift
        ``drift["scaling:1"].change``, its parts ``.lr``, ``.noise``, ``.decay``, ``.momentum``, ``.direction``,
        ``.projection``, and the predictions ``.first_order`` and ``.second_order``.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; the message names it.

    References
    ----------
    .. [1] D. Kunin et al., "Neural Mechanics: Symmetry and Broken Conservation Laws in Deep Learning Dynamics", ICLR 2021.

    Examples
    --------
    >>> import numpy as np, noetherlite as nl
    >>> net = nl.Network([2, 3, 2], "relu")
    >>> U = net.potential(nl.datasets.gaussian_classes(n=20, n_features=2, n_classes=2, rng=0))
    >>> run = nl.drift(U, nl.HeavyBall(0.05, 0.9, weight_decay=0.01), net.init(rng=0), 200, batch_size=5, rng=0)
    >>> law = run["scaling:1"]
    >>> bool(np.allclose(law.change, law.lr + law.noise + law.decay + law.momentum, rtol=0, atol=1e-13))
    True
    >>> law = nl.drift(U, nl.Adam(0.01), net.init(rng=0), 200)["scaling:1"]
    >>> bool(np.allclose(law.change, sum(law.parts.values()), rtol=0, atol=1e-13))
    True
    """
    check_problem(U, algorithm)
    steps = checks.integer(steps, "steps", minimum=0)
    every = checks.integer(record_every, "record_every", minimum=1)
    algorithm = algorithm.over(steps)
    x = checks.shaped(x0, "x0", (U.n_params,)).astype(np.float64)
    v, start = motion(algorithm, x.shape, velocity, t0)
    in_kernels = _in_kernels(algorithm)
    still = frozen.blocks(U, algorithm)
    frozen.refuse_motion(still, v)
    families = frozen.laws_left(
        watched(U, laws, minibatches=batch_size is not None), still, U.n_params, laws, algorithm
    )
    frozen.refuse_levels_lacking(U, algorithm, families, laws)
    plan = Plan(
        U,
        _with_quantity(families, laws),
        batch_size=batch_size,
        backend=checks.one_of(backend, "backend", ("auto", "cpu", "reference")),
        dtype="float64",
        steps=steps,
        reduce=False,
    )
    records = plan.records(1, steps, every, with_params=False, with_parts=in_kernels)
    runs = Runs(plan, (algorithm,), x[None], v[None], start, records, (minibatches(plan, rng, algorithm.has_noise),))
    supervisor = Supervisor(runs) if in_kernels else DriftSupervisor(runs)
    drive(runs, supervisor, threads(n_threads))
    supervisor.raise_if_part()
    ((status, message, _),) = members(runs, [supervisor.stopped[0]])
    written = records.step[0] >= 0
    step = records.step[0, written]
    all_parts = supervisor.parts if isinstance(supervisor, DriftSupervisor) else _of_kernels(records.parts[0])
    drifts, stop = {}, 0
    for s in plan.watched:
        begin, stop = stop, stop + s.n_generators
        Q, parts = records.quantity[0, written, begin:stop], all_parts[written, :, begin:stop]
        first = second = np.full_like(Q, np.nan)
        kind = "unknown"
        if in_kernels and step.size:
            J, source = (a[0, written, ..., begin:stop] for a in (records.charge, records.parts[:, :, layout.SOURCE]))
            rate = s.quantity_rate(J[0].reshape(s.shape)).ravel() * algorithm.has_velocity
            first, second, kind = _predicted(s, algorithm, step, Q, rate, source)
        arrays = [a.reshape(step.size, *s.shape) for a in (Q, *np.moveaxis(parts, 1, 0), first, second)]
        drifts[s.name] = LawDrift(s.name, *arrays, kind)  # type: ignore[call-arg]
    t = algorithm.times(start, step)
    return Drift(algorithm, t, step, records.loss[0, written], ByName(drifts, "law"), runs.x(0), status, message)


def _in_kernels(algorithm: Algorithm) -> bool:
    """Return whether kernels attribute the drift: gradient descent and the heavy ball at one rate, with all of the gradient."""
    plain = isinstance(algorithm, GD | HeavyBall) and algorithm.is_linear and not algorithm.has_schedule
    return plain and set(algorithm.constants) <= {1.0}  # no first step is longer than the others


def _of_kernels(parts: Float64Array) -> Float64Array:
    """Return the parts that kernels have added up, and zeros for direction and projection: steps are along the gradient."""
    columns = parts[:, [layout.LR, layout.NOISE, layout.DECAY, layout.MOMENTUM]]
    return np.concatenate([columns, np.zeros_like(columns[:, :2])], axis=1)


def _predicted(
    s: Family, algorithm: Algorithm, step: IntArray, Q: Float64Array, rate: Float64Array, source: Float64Array
) -> tuple[Float64Array, Float64Array, str]:
    """Return Q by the formulas of first and second order, and the kind of damping."""
    kappa = s.quantity_degree if algorithm.weight_decay else 0.0
    if kappa is None:
        return np.full_like(Q, np.nan), np.full_like(Q, np.nan), "unknown"
    square = np.diff(source, axis=0) / (algorithm.dt * np.diff(step)[:, None])
    first = charge_flow.first_order(algorithm, kappa, step, Q[0], square)
    second = charge_flow.second_order(algorithm, kappa, step, Q[0], rate, square)
    return first, second, charge_flow.damping(algorithm, kappa)


def _with_quantity(families: list[Family], laws: object) -> list[Family]:
    """Return the families with a quantity Q; raise ValueError for one without Q that was selected by name."""
    for s in families:
        if laws != "all" and not s.symmetric:
            raise ValueError(
                f"laws: {s.name!r} has no quantity Q whose drift could be attributed: its G is not symmetric"
            )
    return [s for s in families if s.symmetric]
