"""cuBLAS, by its C interface: the products of whole matrices that the device does best."""

from __future__ import annotations

import ctypes
import functools
from typing import Any, NamedTuple

from numba import cuda

# Bytes that cuBLAS may work in, as much as it asks for on a Hopper; it then allocates nothing, which recorded launches may not.
WORKSPACE = 32 << 20
_ROUTINES = {"float64": ("cublasDgemm_v2", ctypes.c_double), "float32": ("cublasSgemm_v2", ctypes.c_float)}


class Operand(NamedTuple):
    """A matrix, column by column, in an array on the device."""

    array: Any
    begin: int
    ld: int  # distance of its columns
    transposed: bool = False


class Library:
    """cuBLAS with a handle and a workspace.

    Raises
    ------
    RuntimeError
        If the library cannot be loaded, or a call fails.
    """

    def __init__(self) -> None:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        library = load_nvidia_dynamic_lib("cublas")
        self._library = ctypes.CDLL(library.abs_path)
        self._handle, self._workspace = ctypes.c_void_p(), cuda.device_array(WORKSPACE, "uint8")
        self._call("cublasCreate_v2", ctypes.byref(self._handle))

    def use(self, stream: Any) -> None:
        """Make all that follows on a stream."""
        self._call("cublasSetStream_v2", self._handle, ctypes.c_void_p(int(stream.handle)))
        size = ctypes.c_size_t(self._workspace.nbytes)
        self._call("cublasSetWorkspace_v2", self._handle, _address(self._workspace, 0), size)

    def product(self, A: Operand, B: Operand, C: Operand, n: int, m: int, depth: int) -> None:
        """C (n × m) = A (n × depth) B, in their precision, without TF32."""
        name, number = _ROUTINES[str(A.array.dtype)]
        one, zero = number(1), number(0)
        self._call(
            name, self._handle, int(A.transposed), int(B.transposed), n, m, depth,
            ctypes.byref(one), _address(A.array, A.begin), A.ld, _address(B.array, B.begin), B.ld,
            ctypes.byref(zero), _address(C.array, C.begin), C.ld,
        )  # fmt: skip

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status != 0:
            raise RuntimeError(f"{name} of cuBLAS returns {status}")


def _address(array: Any, begin: int) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.__cuda_array_interface__["data"][0] + begin * array.dtype.itemsize)


@functools.cache
def library() -> Library | None:
    """Return cuBLAS, None where there is none."""
    try:
        return Library()
    except Exception:  # the loaders of CUDA's parts raise exceptions of many types
        return None
