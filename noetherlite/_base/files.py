"""Files that appear complete or not at all."""

from __future__ import annotations

import errno
import functools
import glob
import hashlib
import io
import math
import os
import secrets
import stat
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from . import checks

# The arrays of a file may take _SMALL bytes plus _MOST_INFLATED times the size of the file: deflated zeros expand 1000 times.
_SMALL = 1 << 26
_MOST_INFLATED = 100
_LONGEST = 160  # bytes of a file's name kept in the name of its temporary file; file systems allow 255
# Folders whose entries are open file descriptors, such as a shell's pipe: they are written to, not replaced.
_OPEN = ("/dev", "/dev/fd", "/proc/self/fd")


@contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `target`; at the end flush it to disk and rename it, on an error remove it.

    Of a symbolic link the file that it points to is replaced, with the permissions that it had. To a pipe or a device
    the content is written at the end. OSError if `target` is a folder, is write-protected or cannot be written.
    """
    status = writable(target)
    if status is not None and (not stat.S_ISREG(status.st_mode) or str(target.parent) in _OPEN):
        buffer = io.BytesIO()
        yield buffer
        with target.open("wb", buffering=0) as stream:
            _write_all(stream, buffer.getbuffer())
        return
    target = followed(target)
    # Not by tempfile, whose files have mode 0600: results get the permissions of any new file.
    name = temporary(target)
    opened = name.open("x+b")
    try:
        with opened as file:
            yield file
            file.flush()
            if status is not None:
                os.chmod(name, stat.S_IMODE(status.st_mode))
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException as error:
        name.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # of a write, as to a full disk
            error.filename = str(target)
        raise


def writable(target: Path) -> os.stat_result | None:
    """Return the status of a file that is to be written, None where there is none.

    OSError, which else would come after the work, if it is a folder, is write-protected, or would be in a folder that does not exist.
    """
    status = _status(target)
    if status is None:
        if not (parent := followed(target).parent).is_dir():
            raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(parent))
    elif stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    elif not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it is write-protected", str(target))
    return status


def write_text(target: Path, text: str) -> None:
    """Write text in UTF-8; the file appears complete or not at all."""
    with replacing(target) as file:
        file.write(text.encode())


def followed(path: Path) -> Path:
    """Return the path that a symbolic link points to, whether or not it exists; any other path unchanged."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def temporary(target: Path) -> Path:
    """Return the path of a new temporary file in the folder of `target`."""
    return target.with_name(f"{_temporary_prefix(target)}.{secrets.token_hex(8)}.tmp")


def leftovers(target: Path) -> Iterator[Path]:
    """Yield the temporary files of `target` that killed processes left behind."""
    target = followed(target)
    yield from target.parent.glob(f"{glob.escape(_temporary_prefix(target))}.*.tmp")


def _temporary_prefix(target: Path) -> str:
    """Return the first part of the names of temporary files for `target`; of a long name, its beginning and a hash."""
    name = os.fsencode(target.name)
    if len(name) <= _LONGEST:
        return f".{target.name}"
    return f".{name[:_LONGEST].decode(errors='ignore')}-{hashlib.sha256(name).hexdigest()[:16]}"


def _status(target: Path) -> os.stat_result | None:
    try:
        return target.stat()
    except FileNotFoundError:
        return None


def _write_all(file: IO[bytes], content: memoryview) -> None:
    """Write to a stream whose `write` may take a part of the content, such as a pipe."""
    while content:
        content = content[file.write(content) :]


def suffixed(path: str | os.PathLike[str], name: str = "path") -> Path:
    """Return the path with the suffix .npz, which writers add where it is missing."""
    target = checks.path(path, name)
    if not target.name:
        raise ValueError(f"{name} must be that of a file, got {checks.describe(path)}")
    return target if target.suffix == ".npz" else target.with_name(target.name + ".npz")


def present(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file to read: `path`, or `path` with .npz if only that file exists."""
    target = checks.path(path)
    return suffixed(target) if target.name and not target.is_file() and suffixed(target).is_file() else target


def arrays(path: Path, only: Collection[str] | None = None) -> dict[str, Any]:
    """Return the arrays of an .npz file, or only some of them, by their names.

    Archives that were unpacked and zipped again are read too: other files, and one folder around all arrays, are ignored.
    FileNotFoundError if there is no such file, nor one with .npz at its end; ValueError if it is no .npz file, is damaged, would
    take far more memory than the file is large, or holds Python objects, which are never unpickled.
    """
    path = present(path)
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            size = sum(part.file_size for part in archive.infolist())
            if size > _SMALL + _MOST_INFLATED * path.stat().st_size:
                raise ValueError(f"its parts announce {size:,} bytes, far more than the file has")
            return {
                name: _array(archive, part) for name, part in _parts(archive).items() if only is None or name in only
            }
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many kinds for a damaged file
        raise ValueError(f"path={str(path)!r} is not a readable .npz file: {error}") from error


def _parts(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the members of an archive that are arrays, by the names of the arrays."""
    parts = {
        part.filename.removesuffix(".npy"): part
        for part in archive.infolist()
        if part.filename.endswith(".npy") and not part.filename.startswith("__MACOSX/")
    }
    if archive.namelist() and not parts:
        raise ValueError(f"it holds {', '.join(archive.namelist()[:5])}, and no array (.npy)")
    folders = {name.partition("/")[0] for name in parts if "/" in name}
    if len(folders) == 1 and all("/" in name for name in parts):
        return {name.partition("/")[2]: part for name, part in parts.items()}
    return parts


def _array(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> Any:
    """Return one array, after checking its header's shape and dtype against the number of bytes."""
    with archive.open(part) as file:
        version = np.lib.format.read_magic(file)
        if version > (2, 0):
            raise ValueError(f"{part.filename} has version {version} of the format; expected up to 2.0")
        width = 2 if version == (1, 0) else 4
        length = file.read(width)
        shape, by_columns, dtype = _header(version, length + file.read(int.from_bytes(length, "little")))
        if dtype.hasobject:
            raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
        size = math.prod(shape) * dtype.itemsize
        if size != part.file_size - file.tell():
            raise ValueError(f"{part.filename} announces shape {shape} of {dtype}, and has {part.file_size} bytes")
        content = bytearray(size)
        if file.readinto(content) != size:  # type: ignore[attr-defined]
            raise ValueError(f"{part.filename} ends early")
    # `np.load` would read the header once more, which of small arrays takes most of the time
    return np.ndarray(shape, dtype, content, order="F" if by_columns else "C")


# A file has few kinds of arrays, and to read their headers takes longer than all else of small ones.
@functools.lru_cache(maxsize=256)
def _header(version: tuple[int, int], content: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and dtype from what follows the version of the format."""
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(io.BytesIO(content))
