"""Ensembles and single networks on a GPU, where there is one that noetherlite can use: the cases of benchmarks/gpu.py."""

from __future__ import annotations

import statistics
import time

import gpu

from .steps import ROUNDS

CASES = {case.name: case for case in (*map(gpu.ensemble, (1024, 16384)), gpu.single(64, 1024), gpu.single(1024, 1024))}


class OnGPU:
    """One call, laws tracked; without a GPU, or without the extra that it needs, nothing is measured."""

    params = (list(CASES), list(gpu.DTYPES), ["GD", "Leapfrog"])
    param_names = ("case", "dtype", "algorithm")
    timeout = 300

    def setup(self, case, dtype, algorithm):
        why = gpu.objection()
        if why:
            raise NotImplementedError(why)
        self.case = CASES[case]
        (known,) = (a for a in self.case.algorithms() if type(a).__name__ == algorithm)
        self.run = gpu.noetherlite(self.case, known, dtype, "cuda")
        self.run()  # compiled code is read from disk, or made

    def time_run(self, case, dtype, algorithm):
        self.run()

    def track_steps_per_second(self, case, dtype, algorithm):
        seconds = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            self.run()
            seconds.append(time.perf_counter() - began)
        return self.case.steps * self.case.networks / statistics.median(seconds)

    track_steps_per_second.unit = "steps/s"
