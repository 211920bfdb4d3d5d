"""Laws: what tracking them costs, and how far they hold."""

from __future__ import annotations

import statistics
import time

import numpy as np
import workloads

import noetherlite as nl

from .steps import ROUNDS, WORKLOADS

EPS = np.finfo(np.float64).eps


class Tracking:
    """Leapfrog with the scaling laws tracked at every step, and without any."""

    params = (["tiny", "small", "middle", "paper"],)
    param_names = ("workload",)

    def setup(self, workload):
        work = WORKLOADS[workload]
        net, X, y, (theta,) = work.problem()
        U, algorithm = net.potential(X, y), work.algorithms()[1]
        scalings = [f"scaling:{h}" for h in range(1, net.n_layers)]

        def run(laws):
            nl.integrate(U, algorithm, theta, work.steps, record_every=workloads.EVERY, laws=laws)

        self.tracked, self.untracked = (lambda: run(scalings)), (lambda: run(None))
        self.tracked()

    def time_tracked(self, workload):
        self.tracked()

    def time_untracked(self, workload):
        self.untracked()

    def track_cost(self, workload):
        """Return what tracking adds to a run's time; the two alternate, so that a slow moment hits both."""
        shares = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            self.tracked()
            middle = time.perf_counter()
            self.untracked()
            shares.append((middle - began) / (time.perf_counter() - middle) - 1)
        return 100 * statistics.median(shares)

    track_cost.unit = "%"


class Drift:
    """A smooth network run to t = 1: the Noether residual is of the algorithm's order, the exact law's is round-off."""

    params = (["GD", "Leapfrog", "NAGD"],)
    param_names = ("algorithm",)

    def setup(self, algorithm):
        rng = np.random.default_rng(0)
        net = nl.Network([4, 8, 8, 3], activation="swish")
        U = net.potential(rng.standard_normal((32, 4)), rng.integers(0, 3, 32))
        x0, make = net.init(rng=1, bias_std=0.1), getattr(nl, algorithm)
        steps = np.array([64, 128, 256, 512, 1024])
        self.dt = 1 / steps
        lrs = self.dt if algorithm == "GD" else self.dt**2
        self.laws = [
            nl.integrate(U, make(lr), x0, int(k), laws=["scaling:1"]).laws["scaling:1"]
            for lr, k in zip(lrs, steps, strict=True)
        ]

    def track_order(self, algorithm):
        """Return the exponent of the time per step in the largest Noether residual."""
        residuals = [np.abs(law.residual).max() for law in self.laws]
        return np.polyfit(np.log(self.dt), np.log(residuals), 1)[0]

    def track_exact_residual(self, algorithm):
        """Return the largest residual of the exact discrete law, in units of round-off of the largest quantity."""
        return max(np.abs(law.discrete_residual).max() / (EPS * np.abs(law.quantity).max()) for law in self.laws)

    track_order.unit = "exponent of dt"
    track_exact_residual.unit = "eps"
