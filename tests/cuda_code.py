"""The machine code that numba-cuda makes of a kernel, with no GPU and no driver: what its compiler says about it."""

import gc
import re
from contextlib import contextmanager
from types import SimpleNamespace
from typing import NamedTuple
from unittest.mock import patch

from cuda.core import Linker, LinkerOptions, ObjectCode
from numba import cuda

OPTIONS = ["debug", "fastmath", "launch_bounds", "lineinfo", "opt"]  # what cuda.jit and cuda.compile both take
CALL = re.compile(r"\bcall(?:\.uni)?\s+(?:\([^)]*\)\s*,\s*)?([^\s,;]+)")
FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")


class Code(NamedTuple):
    """A kernel with all that it calls; bytes are of one thread, summed over the functions that were not inlined."""

    ptx: str
    cubin: bytes
    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    calls: list[str]  # the functions' mangled names, once for each call that is left in `ptx`


def assembled(kernel, signature, *, cc=(9, 0)):
    """Return the `Code` of a `cuda.jit` kernel for a tuple of numba types, made in the way in which a launch makes it.

    By default numba optimises at link time: the PTX is then what the linker makes, not what the front end gives to it.
    A launch asks for sm_90a where `cc` is (9, 0), which is `cc=(9, 0, "a")`.
    """
    options = kernel.targetoptions
    lto = options["lto"]
    # The functions that it calls ask the driver for the device.
    device = SimpleNamespace(compute_capability=cc[:2])
    # Millions of small objects that all stay: to go through them for garbage takes a sixth of the time.
    with patch("numba.cuda.dispatcher.get_current_device", return_value=device), _without_garbage_collection():
        code, _ = cuda.compile(
            kernel.py_func,
            signature,
            device=False,
            cc=cc,
            abi="numba",
            output="ltoir" if lto else "ptx",
            **{name: options[name] for name in OPTIONS},
        )
    link = {
        "arch": "sm_" + "".join(map(str, cc)),
        "max_register_count": options.get("max_registers"),
        "link_time_optimization": lto or None,
        "ptxas_options": "-v",
    }
    ptx = _linked(code, "ptx", ptx=True, **link)[0].rstrip(b"\0\n").decode() if lto else code
    cubin, log = _linked(code, "cubin", **link)
    registers = max(map(int, REGISTERS.findall(log)))
    stack, stores, loads = (sum(map(int, sizes)) for sizes in zip(*FRAME.findall(log), strict=True))
    return Code(ptx, cubin, registers, stack, stores, loads, CALL.findall(ptx))


@contextmanager
def _without_garbage_collection():
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _linked(code, target, **options):
    """Return the cubin that nvJitLink makes of PTX (str) or LTO-IR (bytes), and its log."""
    source = ObjectCode.from_ptx(code.encode()) if isinstance(code, str) else ObjectCode.from_ltoir(code)
    linker = Linker(source, options=LinkerOptions(**options))
    return linker.link(target).code, linker.get_info_log()
