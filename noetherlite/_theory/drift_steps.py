"""The drift of Q under any algorithm: every step is taken again without one cause after the other (theory §10).

A step moves x by D and Q by Q̇(D) + ½B(D, D), exactly, with Q̇(D) = ⟨∇Q(x), D⟩. The same step, from the same x, moves it by

    D_1 with the gradient of all samples, no weight decay, and a velocity to which that gradient alone has led,
    D_2 with the gradient of the minibatch, the velocity to which it has led, and the noise of Langevin dynamics,
    D_3 with the weight decay too,

and the differences of what these do to Q are the parts of its drift. They are taken without laws, and so are not projected: of an
algorithm that projects, what is left is the projection's. All come from the algorithm's step in NumPy, which every algorithm has, so
that there is nothing here about any of them.
"""

from __future__ import annotations

import numpy as np

from .._base.types import Float64Array
from .._kernels import layout, reference
from .._kernels.layout import STEPS_DONE
from .._kernels.reference_laws import pair, quantity_rate, translation
from .._problem.blocks import blocks_of
from .._run.backends import Backend, in_numpy
from .._run.runs import Runs
from .._run.supervisor import Supervisor
from .._symmetry.records import table

LR, NOISE, DECAY, MOMENTUM, DIRECTION, PROJECTION = range(6)
N_PARTS = 6


class DriftSupervisor(Supervisor):
    """A supervisor of one run that looks at every step, and adds up the parts of the drift of Q.

    Attributes
    ----------
    parts : ndarray, shape (R, 6, K)
        What each cause has added to Q until each record, in the order of the constants above.
    """

    def __init__(self, runs: Runs) -> None:
        super().__init__(runs)
        plan, algorithm = runs.plan, runs.algorithms[0]
        self.parts: Float64Array = np.full((runs.records.step.shape[1], N_PARTS, int(plan.laws.start[-1])), np.nan)
        self._sum = np.zeros(self.parts.shape[1:])
        self._algorithm, self._undecayed = algorithm, algorithm.without_decay
        quiet = self._undecayed.without_noise
        blocks = blocks_of(plan.U)
        numbers = runs.kernels[0]
        self._kernels = numbers, self._undecayed.kernel(runs.t0, blocks), quiet.kernel(runs.t0, blocks)
        decay = numbers.weight_decay * (numbers.decays if numbers.decays.size else 1.0)
        self._decay = decay * (numbers.shares if numbers.metric else 1.0)  # of the gradient that a state has
        self._no_laws = table([], plan.n_params, plan.dtype)
        self._evaluate = in_numpy(plan)
        self._before: list[Float64Array] = []  # x, D_1, D_2, D_3 of the step that is due

    def pauses(self) -> tuple[int, ...]:
        """Return 1: it looks at every step."""
        return (*super().pauses(), 1)

    @property
    def sees_starts(self) -> bool:
        """True: a step is credited to what was before it."""
        return True

    def look(self, group: slice, taken: int, backend: Backend) -> str:
        """Credit the step that was taken, and take the one that is due without its causes."""
        runs = self.runs
        state, records = layout.views(runs.state, 0), layout.views(runs.records, 0)
        if taken:
            self._credit(state.x)
        done = int(state.counts[STEPS_DONE])
        if runs.at_record(group):
            self.parts[np.flatnonzero(records.step == done)] = self._sum
        if done < records.last:
            self._before = self._displacements(state, done)
        return super().look(group, taken, backend)

    def _credit(self, following: Float64Array) -> None:
        """Add the parts of a step."""
        x, *moved = self._before
        gone = [self._changes(x, d) for d in (*moved, following - x)]
        changes = [first + second for first, second in gone]
        self._sum[DIRECTION] += gone[0][0]
        self._sum[LR] += gone[0][1]
        rest = PROJECTION if self._algorithm.projects else MOMENTUM
        for part, without, included in zip((NOISE, DECAY, rest), changes[:-1], changes[1:], strict=True):
            self._sum[part] += included - without

    def _changes(self, x: Float64Array, d: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return Q̇(d) and ½B(d, d) of every law."""
        laws = self.runs.plan.laws
        a = self._kernels[0]
        weighed = d
        if a.metric:  # rates by block are a metric of Q; nothing moves where they are 0
            weighed = np.divide(d, a.shares, out=np.zeros_like(d), where=a.shares > 0)
        return quantity_rate(laws, pair(laws, x, weighed) + translation(laws, weighed)), 0.5 * pair(laws, d, weighed)

    def _displacements(self, state: layout.State, done: int) -> list[Float64Array]:
        """Return x and the displacements D_1, D_2, D_3 from there."""
        plan, (numbers, bare, quiet) = self.runs.plan, self._kernels
        some, decays = plan.drawn < plan.n_samples or self._algorithm.has_noise, self._algorithm.weight_decay > 0
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            everything = self._taken(state, done, quiet, None)
            undecayed = state.gradient - self._decay * state.x
            bare_step = self._taken(state, done, bare, undecayed) if some else everything
            decayed = self._taken(state, done, numbers, state.gradient) if decays else bare_step
        return [state.x.copy(), everything, bare_step, decayed]

    def _taken(
        self, state: layout.State, done: int, numbers: layout.Algorithm, gradient: Float64Array | None
    ) -> Float64Array:
        """Return the displacement of a step with this gradient at x, where None is that of all samples."""
        runs, method, stream = self.runs, self._algorithm.method, self.runs.streams[0]
        copy = layout.views(layout.new_states(1, state.x.size, 0, runs.plan.dtype, False, method.has_moment), 0)
        for name in ("x", "v", "gradient", "moment", "counts"):
            getattr(copy, name)[...] = getattr(state, name)
        batches = stream._replace(order=stream.order.copy())
        if gradient is None:
            batches = batches._replace(size=batches.order.size)
        records = layout.views(runs.records, 0)
        run = reference.Run(self._evaluate, method, numbers, self._no_laws, batches, copy, records)
        if gradient is None:
            run.take_gradient(copy.x)
            copy.counts[...] = state.counts
        else:
            copy.gradient[...] = gradient
        copy.v[...] = self._algorithm.settled(copy.gradient, done)
        method.plain(run, run.time)
        return np.asarray(copy.x - state.x)
