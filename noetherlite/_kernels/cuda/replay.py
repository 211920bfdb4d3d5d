"""Launches that are made again and again: recorded as a graph of the driver, and replayed by one call to it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from numba import config, cuda

from .jit import checked


def new_stream() -> Any:
    """Return a stream that launches can be recorded on; the default one in the simulator, which has no other."""
    settings: Any = config
    return 0 if settings.ENABLE_CUDASIM else cuda.stream()


class Replay:
    """The same launches as one call.

    The first call makes them one by one, as what they need is compiled and loaded then; the second records them, which takes
    as long; further ones take the host some microseconds. What changes between calls must lie in the device's memory.

    Parameters
    ----------
    launches : callable
        () ↦ None; makes the launches, all on the stream, and neither allocates nor copies.
    stream : numba.cuda.cudadrv.driver.Stream or 0
        The stream; with 0 nothing is recorded.
    """

    def __init__(self, launches: Callable[[], None], stream: Any) -> None:
        self._launches, self._stream = launches, stream
        self._calls, self._graph = 0, None

    def __call__(self) -> None:
        self._calls += 1
        if self._stream == 0 or self._calls == 1:
            self._launches()
            return
        from cuda.bindings import driver

        if self._graph is None:
            self._graph = self._recorded()
        checked(driver.cuGraphLaunch(self._graph, int(self._stream.handle)))

    def _recorded(self) -> Any:
        from cuda.bindings import driver

        handle, mode = int(self._stream.handle), driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        checked(driver.cuStreamBeginCapture(handle, mode))
        try:
            with cuda.defer_cleanup():  # memory that is freed meanwhile, of another run, would end the recording
                self._launches()
        finally:
            graph = checked(driver.cuStreamEndCapture(handle))
        runnable = checked(driver.cuGraphInstantiate(graph, 0))
        checked(driver.cuGraphDestroy(graph))
        weakref.finalize(self, driver.cuGraphExecDestroy, runnable)
        return runnable
