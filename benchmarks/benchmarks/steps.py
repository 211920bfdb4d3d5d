"""Steps: whole calls of `integrate` and `ensemble` on the workloads that peers are measured on, laws tracked."""

from __future__ import annotations

import statistics
import time

import peers
import workloads

WORKLOADS = {work.name: work for work in workloads.FIRST}
ROUNDS = 5


class Steps:
    """One call; the radial potential is run by leapfrog only."""

    params = (["tiny", "small", "middle", "paper", "ensemble", "radial"], ["GD", "Leapfrog"])
    param_names = ("workload", "algorithm")
    timeout = 300

    def setup(self, workload, algorithm):
        self.work = WORKLOADS[workload]
        known = {type(a).__name__: a for a in self.work.algorithms()}
        if algorithm not in known:
            raise NotImplementedError  # asv's word for: not to be measured
        self.run = peers.noetherlite(self.work, known[algorithm])
        self.run()  # compiled code is read from disk, or made

    def time_run(self, workload, algorithm):
        self.run()

    def track_steps_per_second(self, workload, algorithm):
        seconds = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            networks = self.run().networks
            seconds.append(time.perf_counter() - began)
        return self.work.steps * networks / statistics.median(seconds)

    track_steps_per_second.unit = "steps/s"
