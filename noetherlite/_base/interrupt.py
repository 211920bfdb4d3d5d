"""Deferred Ctrl-C: until the next record of a run, or the end of a compilation; and whether it ends more than a run."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from types import FrameType
from typing import Any

# Whether a run is a part of something that Ctrl-C ends as a whole.
_AS_A_WHOLE: ContextVar[bool] = ContextVar("_AS_A_WHOLE", default=False)


@contextlib.contextmanager
def as_a_whole() -> Iterator[None]:
    """Context of runs of which some records are no result, such as those of a sweep's member: Ctrl-C in one raises KeyboardInterrupt.

    Elsewhere a run that Ctrl-C stops returns what it has recorded.
    """
    token = _AS_A_WHOLE.set(True)
    try:
        yield
    finally:
        _AS_A_WHOLE.reset(token)


def raise_if_part() -> None:
    """Raise KeyboardInterrupt in a context of `as_a_whole`; called where Ctrl-C was pressed in a run."""
    if _AS_A_WHOLE.get():
        raise KeyboardInterrupt("Ctrl-C in a run that is a part of something")


class Interrupt:
    """Context in which the first Ctrl-C sets `requested` and the second raises KeyboardInterrupt.

    It has an effect only in the main thread, which receives signals, and only if Python's default handler is installed. A
    compilation in any thread raises KeyboardInterrupt at the first Ctrl-C, at its next safe point: see `between_functions`.
    """

    def __init__(self) -> None:
        self.requested = False
        self._installed = False

    def defer(self) -> None:
        """Begin to defer Ctrl-C, if that is not done yet."""
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and not self._installed and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True

    def restore(self) -> None:
        """Give Ctrl-C back to Python."""
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._installed = False

    def __enter__(self) -> Interrupt:
        self.defer()
        return self

    def __exit__(self, *error: object) -> None:
        self.restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not _compilations.stop() and self.requested:
            raise KeyboardInterrupt
        self.requested = True


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Context in which Ctrl-C is deferred to the end, so that changes made by several calls are never left incomplete."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    pressed: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: pressed.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    for arguments in pressed:
        handler(*arguments)


class _Compilations:
    """Number of running compilations, in all threads and nested, and whether Ctrl-C was pressed during them."""

    def __init__(self) -> None:
        self._counting = threading.Lock()
        self._running = 0
        self._stopping = False

    def __enter__(self) -> None:
        with self._counting:
            self._running += 1

    def __exit__(self, *error: object) -> None:
        with self._counting:
            self._running -= 1
            self._stopping = self._stopping and self._running > 0

    def stop(self) -> bool:
        """Request the running compilations to raise KeyboardInterrupt; return whether there are any."""
        if self._running and not self._stopping:
            self._stopping = True
            # Standard error may be missing or closed, or Ctrl-C came during a write to it.
            with contextlib.suppress(AttributeError, RuntimeError, OSError, ValueError):
                sys.stderr.write("\nnoetherlite is compiling; it stops after the present function, in some seconds\n")
        return self._running > 0

    def raise_if_stopping(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self._stopping:
            raise KeyboardInterrupt("Ctrl-C while noetherlite was compiling")


_compilations = _Compilations()


@contextlib.contextmanager
def between_functions(lock: AbstractContextManager[Any]) -> Iterator[None]:
    """Context of the compilation of one function, under the compiler's lock; Ctrl-C raises before it or after it.

    During it, an exception could be raised while LLVM calls back into Python, which loses the exception and the machine code,
    or while a cache file is written. Nested compilations, of the functions that this one calls, are further safe points.
    """
    with _compilations:
        with Interrupt(), lock:
            _compilations.raise_if_stopping()
            yield
        _compilations.raise_if_stopping()
