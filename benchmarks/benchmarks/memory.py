"""Memory: what a run allocates, by tracemalloc, and a process's peak."""

from __future__ import annotations

import tracemalloc

import peers

from .steps import WORKLOADS


class Memory:
    """Leapfrog, laws tracked, recorded every tenth step."""

    params = (["tiny", "small", "middle", "paper", "ensemble"],)
    param_names = ("workload",)

    def setup(self, workload):
        work = WORKLOADS[workload]
        self.run = peers.noetherlite(work, work.algorithms()[1])
        self.run()

    def peakmem_run(self, workload):
        self.run()

    def track_bytes(self, workload):
        tracemalloc.start()
        try:
            self.run()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    track_bytes.unit = "bytes"
