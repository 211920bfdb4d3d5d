"""The oracle: the mathematics of the kernels in plain NumPy, with samples as rows.

Every compiled kernel is tested against this file. It also integrates potentials given as Python functions, and its forward
pass accepts complex θ, so that gradients can be tested by complex step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import layout, noise, pointwise
from .functions import ACTIVATIONS, LOSSES, POTENTIALS
from .layout import EVALUATIONS, PHASE, STEPS_DONE
from .reference_laws import generators, pair, quantity_rate, translation
from .rules import Method

A = NDArray[Any]

# --- network -----------------------------------------------------------------------------------------------------------


def sigma(code: int, c: Any, z: A) -> A:
    """Return σ(z); c is a number, or the neurons' β of shape (n,)."""
    return ACTIVATIONS[code].value_array(c, z)


def d_sigma(code: int, c: Any, z: A) -> A:
    """Return σ′(z)."""
    return ACTIVATIONS[code].slope_array(c, z)


def d_sigma_d_beta(code: int, beta: A, z: A) -> A:
    """Return ∂σ/∂β of an activation whose β is trained."""
    derivative = ACTIVATIONS[code].d_parameter_array
    assert derivative is not None
    return derivative(beta, z)


def layers(problem: layout.Problem, x: A) -> list[tuple[A, A | None, A | None]]:
    """Return (W_h, b_h or None, β_h or None) for h = 1 … L, views into x."""
    out: list[tuple[A, A | None, A | None]] = []
    widths = problem.widths.tolist()
    for (W, b, beta), m, n in zip(problem.offsets.tolist(), widths[:-1], widths[1:], strict=True):
        out.append(
            (
                x[W : W + n * m].reshape(n, m),
                x[b : b + n] if b >= 0 else None,
                x[beta : beta + n] if beta >= 0 else None,
            )
        )
    return out


def forward(problem: layout.Problem, x: A, X: A) -> tuple[list[A], list[A]]:
    """Return z_h (N, n_h) for h = 1 … L and a_h for h = 0 … L−1."""
    zs, activations = [], [X]
    for h, (W, b, beta) in enumerate(layers(problem, x)):
        z = activations[-1] @ W.T
        zs.append(z if b is None else z + b)
        if h < len(problem.offsets) - 1:
            c = problem.parameter[h] if beta is None else beta
            activations.append(sigma(problem.activation[h], c, zs[-1]))
    return zs, activations


def signals(problem: layout.Problem, x: A, zs: list[A], delta: A) -> Iterator[tuple[int, A, A | None]]:
    """Yield h, ∂/∂z_h (…, N, n_h) and, sample by sample, ∂/∂β_h (or None) for h = L … 1, from ∂/∂z_L = delta."""
    blocks = layers(problem, x)
    d_beta = None
    for h in range(len(blocks), 0, -1):
        yield h, delta, d_beta
        if h > 1:
            beta, z = blocks[h - 2][2], zs[h - 2]
            upstream = delta @ blocks[h - 1][0]
            d_beta = None if beta is None else upstream * d_sigma_d_beta(problem.activation[h - 2], beta, z)
            delta = upstream * d_sigma(problem.activation[h - 2], problem.parameter[h - 2] if beta is None else beta, z)


def backward(problem: layout.Problem, x: A, zs: list[A], activations: list[A], delta: A) -> A:
    """Return Σ_s ⟨delta_s, ∂f_s/∂θ⟩ per leading index: delta (…, N, n_L) ↦ (…, P)."""
    gradient = np.empty((*delta.shape[:-2], x.size), delta.dtype)
    for h, signal, d_beta in signals(problem, x, zs, delta):
        W, b, beta = problem.offsets[h - 1].tolist()
        dW = signal.swapaxes(-1, -2) @ activations[h - 1]
        m, n = dW.shape[-2:]
        gradient[..., W : W + m * n] = dW.reshape(*delta.shape[:-2], m * n)
        if b >= 0:
            gradient[..., b : b + m] = signal.sum(axis=-2)
        if d_beta is not None:
            gradient[..., beta : beta + m] = d_beta.sum(axis=-2)
    return gradient


def loss(problem: layout.Problem, f: A, samples: Any = slice(None)) -> tuple[Any, A]:
    """Return U and ∂U/∂f for outputs f (N, n_L) of these samples."""
    y = (problem.labels if problem.labels.size else problem.targets)[samples]
    record = LOSSES[problem.loss]
    if not record.weighted:
        values, delta = record.arrays(problem.parameter[-1], f, y)
        return values.sum() / len(f), delta / len(f)
    weight = y[:, -1:]
    values, delta = record.arrays(problem.parameter[-1], f, y[:, :-1])
    return (values.reshape(len(f), -1) * weight).sum() / len(f), weight * delta / len(f)


def network_value(problem: layout.Problem, x: A) -> Any:
    """Return U(x); complex for complex x."""
    return loss(problem, forward(problem, x, problem.X)[0][-1])[0]


def value_and_gradient(problem: layout.Problem, x: A, samples: Any = slice(None)) -> tuple[Any, A]:
    """Return U(x) and ∇U(x), on these samples of a network's data; complex for complex x."""
    if problem.kind == layout.RADIAL:
        square = x @ x
        return 0.1 * (square - 1) ** 2 + 0.08, 0.4 * (square - 1) * x
    if problem.kind == layout.HARMONIC:
        force = problem.matrix @ x
        return 0.5 * (x @ force), force
    if problem.kind >= layout.GIVEN:
        given, force = POTENTIALS[problem.kind - layout.GIVEN], np.empty_like(x)
        given.gradient(x, force)
        return given.value(x), force
    zs, activations = forward(problem, x, problem.X[samples])
    value, delta = loss(problem, zs[-1], samples)
    return value, backward(problem, x, zs, activations, delta)


def jacobian(problem: layout.Problem, x: A) -> A:
    """Return ∂f/∂θ of shape (N, n_L, P) for the inputs in `problem`."""
    N, n = problem.X.shape[0], int(problem.widths[-1])
    out = np.empty((N, n, x.size))
    for s in range(N):
        zs, activations = forward(problem, x, problem.X[s : s + 1])
        out[s] = backward(problem, x, zs, activations, np.eye(n)[:, None, :])
    return out


# --- runs --------------------------------------------------------------------------------------------------------------


class Run:
    """One run, step by step, with the same state, laws and records as the compiled one.

    `evaluate` is x, samples ↦ (U, ∇U) with `samples` the indices of a minibatch, or a slice of all.
    """

    def __init__(
        self,
        evaluate: Callable[[A, Any], tuple[float, A]],
        method: Method,
        algorithm: layout.Algorithm,
        laws: layout.Laws,
        batches: layout.Batches,
        state: layout.State,
        records: layout.Records,
    ) -> None:
        self.evaluate, self.method, self.algorithm, self.laws, self.batches = evaluate, method, algorithm, laws, batches
        self.state, self.records = state, records
        self.full = batches.size == batches.order.size
        self.symmetric = np.repeat(laws.symmetric, np.diff(laws.start)).astype(bool)

    def fading(self, t: float, later: float) -> float:
        """Return μ(t)/μ(later) − 1."""
        m, gamma, alpha = self.algorithm.mass, self.algorithm.gamma, self.algorithm.alpha
        if alpha > 0 and t == 0:
            return -1.0
        fading = alpha / m * math.log1p((t - later) / later) if alpha > 0 else 0.0
        return math.expm1(gamma / m * (t - later) + fading)

    @property
    def rate(self) -> float:
        """The time per step, of this one where there is a schedule."""
        a, step = self.algorithm, self.state.counts[STEPS_DONE]
        return float(a.rates[step]) if a.rates.size else a.h

    @property
    def time(self) -> float:
        """When the step that is due begins."""
        a, step = self.algorithm, self.state.counts[STEPS_DONE]
        return float(a.times[step]) if a.times.size else a.t0 + step * a.h

    @property
    def shares(self) -> Any:
        """What the rates of coordinates are of the largest, in this step; 1 where they are the same."""
        return self.algorithm.shares_at(int(self.state.counts[STEPS_DONE]))

    def weighed(self, b: A) -> A:
        """Return a vector in the metric: b_i over the share of rate i, 0 where that is frozen."""
        shares = self.algorithm.shares
        return np.divide(b, shares, out=np.zeros_like(b), where=shares > 0) if self.algorithm.metric else b

    def charge(self, x: A, v: A) -> A:
        """Return J of every law."""
        return self.pair(x, v) + translation(self.laws, self.weighed(v))

    def quantity(self, x: A) -> A:
        """Return Q of every law."""
        return 0.5 * self.pair(x, x) + translation(self.laws, self.weighed(x))

    def decayed(self, x: A) -> A:
        """Return x by the shares of λ."""
        return self.algorithm.decays * x if self.algorithm.decays.size else x

    def pull(self, x: A) -> A:
        """Return λ⟨g(x), x⟩ of every law, and with an ascent all of ⟨g(x), d⟩ = λ⟨g(x), x⟩ − ⟨Gδ, d − λx⟩, δ = ρ∇U/|∇U|."""
        s, decay, decayed = self.state, self.algorithm.weight_decay, self.decayed(x)
        lost = decay * (pair(self.laws, x, decayed) + translation(self.laws, decayed))
        if not self.algorithm.ascent:
            return lost
        way = pair(self.laws, s.y, self.weighed(s.gradient) - decay * decayed)
        return lost - (quantity_rate(self.laws, way) if self.algorithm.law == layout.OF_Q else way)

    def pair(self, a: A, b: A) -> A:
        """Return B(a, b) of every law."""
        return pair(self.laws, a, self.weighed(b))

    def take_gradient(self, x: A, again: bool = False) -> None:
        """Set the gradient to ∇U(x) + λx, and the loss to U(x), of the samples that are due, or `again` of the last ones."""
        s, a = self.state, self.algorithm
        if again and not self.full:
            self._go_back(a.accumulated)
        samples = [self._due() for _ in range(1 if self.full else a.accumulated)]
        gradient = self._mean_gradient(x, samples)
        if a.ascent:
            size = float(np.linalg.norm(gradient))
            s.y[:] = (a.ascent / size if size > 0 else 0.0) * gradient
            gradient = self._mean_gradient(x + s.y, samples)
        if math.isfinite(a.clip):
            gradient = gradient * min(1.0, a.clip / (float(np.linalg.norm(gradient)) + 1e-6))
        s.gradient[:] = gradient + a.weight_decay * self.decayed(x)
        if a.metric:
            s.gradient[:] *= a.shares
        if not math.isfinite(s.loss[0]):
            s.counts[PHASE] = layout.DIVERGED

    def _mean_gradient(self, x: A, samples: list[Any]) -> A:
        """Return the mean of ∇U(x) on minibatches, and set the loss to U(x) of the last of them."""
        gradients = []
        for chosen in samples:
            self.state.loss[0], gradient = self.evaluate(x, chosen)
            gradients.append(gradient)
        return gradients[0] if len(gradients) == 1 else np.mean(gradients, axis=0)

    def draw_noise(self) -> None:
        """Set y to the normal numbers of the step, in a metric times √share."""
        noise.draw(self.batches.key, int(self.state.counts[STEPS_DONE]), self.state.y)
        if self.algorithm.metric:
            self.state.y[:] *= np.sqrt(self.algorithm.shares)

    def _go_back(self, n: int) -> None:
        """Return to the minibatch that was due n minibatches ago."""
        batches, counts = self.batches, self.state.counts
        per_epoch, before = batches.order.size // batches.size, int(counts[EVALUATIONS])
        counts[EVALUATIONS] -= n
        if (epoch := (before - n) // per_epoch) != before // per_epoch:
            pointwise.shuffle(batches.key, epoch, batches.order)

    def _due(self) -> Any:
        """Return the samples of the gradient that is due, which then is no longer."""
        batches, evaluation = self.batches, int(self.state.counts[EVALUATIONS])
        self.state.counts[EVALUATIONS] += 1
        if self.full:
            return slice(None)
        per_epoch = batches.order.size // batches.size
        position = evaluation % per_epoch
        if position == 0:
            pointwise.shuffle(batches.key, evaluation // per_epoch, batches.order)
        return batches.order[position * batches.size : (position + 1) * batches.size].copy()

    def _start(self) -> None:
        s = self.state
        if not self.method.looks_ahead:
            self.take_gradient(s.x)
            if s.counts[PHASE] == layout.DIVERGED:
                return
        s.counts[PHASE] = layout.RUNNING
        if self.algorithm.law == layout.OF_Q:
            s.origin[:] = self.quantity(s.x)
            return
        s.charge[:] = self.charge(s.x, s.v)
        s.source[:] = self.pair(s.v, s.v)
        s.origin[:] = s.charge

    def _step(self) -> None:
        s = self.state
        if s.parts.size:
            self._attribute()
        self.method.plain(self, self.time)

    def _attribute(self) -> None:
        s, a = self.state, self.algorithm
        rate = a.h / (1 - a.momentum)
        d = s.gradient
        g = d - a.weight_decay * s.x
        v = a.momentum * s.v - d
        everything = g if self.full else self.evaluate(s.x, slice(None))[1]
        from_all, from_batch, decayed, moved = (pair(self.laws, b, b) for b in (everything, g, d, v))
        pull = self.pull(s.x)
        s.parts[layout.LR] += 0.5 * rate**2 * from_all
        s.parts[layout.NOISE] += 0.5 * rate**2 * (from_batch - from_all)
        s.parts[layout.DECAY] += 0.5 * rate**2 * (decayed - from_batch) - rate * pull
        s.parts[layout.MOMENTUM] += 0.5 * (a.h**2 * moved - rate**2 * decayed) + (rate - a.h) * pull
        s.parts[layout.MOMENTUM] += a.h * a.momentum * quantity_rate(self.laws, s.charge)
        s.parts[layout.SOURCE] += a.h * moved

    def integrate_source(self, t: float, h: float) -> None:
        """Add the step from t to t + h to ∫ μS ds, by the trapezoidal rule."""
        s = self.state
        source = self.pair(s.v, s.v)
        self.fade(t, t + h, s.integral, s.source)
        s.integral[:] += 0.5 * h * (s.source + source)
        s.source[:] = source

    def fade(self, t: float, later: float, *sums: A) -> None:
        """Convert sums in units of μ(t) to units of μ(later)."""
        for a in sums:
            a += self.fading(t, later) * a

    def _record(self) -> None:
        s, a, r = self.state, self.algorithm, self.records
        step = int(s.counts[STEPS_DONE])
        row = step // r.every if step % r.every == 0 else r.step.size - 1
        at_x = not self.method.looks_ahead and self.full and not a.ascent
        loss = s.loss[0] if at_x else self.evaluate(s.x, slice(None))[0]
        if not math.isfinite(loss):
            s.counts[PHASE] = layout.DIVERGED
            return
        r.loss[row] = loss
        x, v = s.x.astype(np.float64), s.v.astype(np.float64)
        r.excess[row] = 0.5 * (a.mass * (v @ self.weighed(v)) + a.weight_decay * (x @ self.decayed(x)))
        if s.sizes.size:
            vectors, norm = (x if a.law == layout.OF_Q else v, s.gradient), generators(self.laws, x)
            s.sizes[:] = np.maximum(s.sizes, [norm * np.abs(self.weighed(b)).max(initial=0.0) for b in vectors])
        if r.parts.shape[0]:
            r.parts[row] = s.parts
        if r.params.shape[0]:
            r.params[row] = s.x
        r.quantity[row] = self.quantity(s.x)
        r.integral[row] = s.integral
        if a.law == layout.OF_Q:
            r.charge[row] = self.charge(s.x, -s.gradient)
        else:
            r.charge[row] = self.charge(s.x, s.v)
        r.discrete[row] = self.defect()
        r.step[row] = step  # written last: a row with its step is complete

    def defect(self) -> A:
        """Return the exact discrete residual of every law at the present step."""
        s, a = self.state, self.algorithm
        if a.law == layout.OF_Q:
            return np.asarray(np.where(self.symmetric, self.quantity(s.x) - s.origin, s.integral) - s.balance)
        if a.law != layout.OF_MU_J:
            return s.balance.copy()  # the defects, summed step by step
        return np.asarray(self.charge(s.x, s.v) - s.origin - s.balance)

    def advance(self, n_steps: int) -> None:
        """Take `n_steps` steps and record; the first call also evaluates and records the start.

        A step that an exception interrupts, such as Ctrl-C in a user's potential, is undone.
        """
        s = self.state
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # divergence is reported by the phase
            for i in range(-1 if s.counts[PHASE] == layout.NEW else 0, n_steps):
                saved = [array.copy() for array in s]
                try:
                    if not self._advance(at_start=i < 0):
                        return
                except BaseException:
                    for array, values in zip(s, saved, strict=True):
                        array[...] = values
                    raise

    def _advance(self, at_start: bool) -> bool:
        """Evaluate the start or take a step, and record it if it is due; return whether the run continues."""
        s, r = self.state, self.records
        if at_start:
            self._start()
        elif s.counts[PHASE] == layout.RUNNING:
            self._step()
        if s.counts[PHASE] == layout.DIVERGED:
            return False
        s.counts[STEPS_DONE] += not at_start
        if s.counts[STEPS_DONE] % r.every == 0 or s.counts[STEPS_DONE] == r.last:
            self._record()
        return bool(s.counts[PHASE] == layout.RUNNING)
