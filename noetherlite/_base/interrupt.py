"""Ctrl-C that waits: for the next record of a run, and for the end of a function that is being compiled."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any


class Interrupt:
    """While it is entered, Ctrl-C sets `requested` instead of raising KeyboardInterrupt; pressed again it raises.

    Only where Python's own handler is in force, and in the main thread, which is the one that signals come to. What is being
    compiled, in whatever thread, raises KeyboardInterrupt at the first press, as soon as it may: see `between_functions`.
    """

    def __init__(self) -> None:
        self.requested = False
        self._installed = False

    def __enter__(self) -> Interrupt:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(self, *error: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not _compilations.stop() and self.requested:
            raise KeyboardInterrupt
        self.requested = True


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """While it is entered, Ctrl-C waits: what several calls change is never left between two of them."""
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
    """How many compilations are going on, in all threads and one inside the other, and whether Ctrl-C was pressed since."""

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
        """Let those that are going on end in KeyboardInterrupt; return whether there are any."""
        if self._running and not self._stopping:
            self._stopping = True
            # Nothing is there to say it to, or Ctrl-C came while it was being written to.
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
    """Compile one function, under the compiler's lock; Ctrl-C raises KeyboardInterrupt before it or after it.

    In between it could come while LLVM calls back into Python, which loses both the exception and the machine code; or to
    half a file. Functions that are compiled inside of this one, since it calls them, are other places to stop at.
    """
    with _compilations:
        with Interrupt(), lock:
            _compilations.raise_if_stopping()
            yield
        _compilations.raise_if_stopping()
