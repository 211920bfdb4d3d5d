"""Files that appear complete or not at all."""

from __future__ import annotations

import errno
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

# A file's arrays may take so many bytes, and so many times what the file has: deflated zeros could take a thousand times that.
_SMALL = 1 << 26
_MOST_INFLATED = 100
_LONGEST = 160  # bytes of a name that are kept in that of the temporary file beside it; systems allow 255
# Names that stand for what a program has open: a pipe of the shell's, or a file that is not to be exchanged under it.
_OPEN = ("/dev", "/dev/fd", "/proc/self/fd")


@contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `target`; at the end flush it to disk and rename it, on an error remove it.

    A link stays one, and the file that it points to is replaced; the permissions of a file that was there are kept. Into what
    is no file, a pipe or a device, all is written at the end.

    Raises
    ------
    OSError
        If `target` is a folder, is write-protected or cannot be written.
    """
    before = _status(target)
    if before is not None and stat.S_ISDIR(before.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if before is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it is write-protected", str(target))
    if before is not None and (not stat.S_ISREG(before.st_mode) or str(target.parent) in _OPEN):
        whole = io.BytesIO()
        yield whole
        with target.open("wb", buffering=0) as there:
            _write_all(there, whole.getbuffer())
        return
    target = followed(target)
    # Not by tempfile, which makes files that nobody else may read: results have the permissions of any new file.
    name = temporary(target)
    made = name.open("x+b")
    try:
        with made as file:
            yield file
            file.flush()
            if before is not None:
                os.chmod(name, stat.S_IMODE(before.st_mode))
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def followed(path: Path) -> Path:
    """Return the path of the file that a link points to, be it there or not; any other path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def temporary(target: Path) -> Path:
    """Return a new name for a file beside `target`."""
    return target.with_name(f"{_beside(target)}.{secrets.token_hex(8)}.tmp")


def leftovers(target: Path) -> Iterator[Path]:
    """Yield the temporary files that writers of `target` which were killed have left beside it."""
    target = followed(target)
    yield from target.parent.glob(f"{glob.escape(_beside(target))}.*.tmp")


def _beside(target: Path) -> str:
    """Return what the name of a temporary file for `target` begins with; a long name is cut, and told by a hash."""
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
    """Write to what may take a part at a time, as pipes do."""
    while content:
        content = content[file.write(content) :]


def suffixed(path: str | os.PathLike[str], name: str = "path") -> Path:
    """Return the path with the suffix .npz, which writers add where it is missing."""
    target = checks.path(path, name)
    return target if target.suffix == ".npz" else target.with_name(target.name + ".npz")


def present(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file to read: as it is given, or with the suffix that writers add where only that one is there."""
    target = checks.path(path)
    return suffixed(target) if target.name and not target.is_file() and suffixed(target).is_file() else target


def arrays(path: Path, only: Collection[str] | None = None) -> dict[str, Any]:
    """Return the arrays of an .npz file, or only some of them, by their names.

    Read as well where it was unpacked and zipped again: other files in it, and a folder around all arrays, are left aside.

    Raises
    ------
    FileNotFoundError
        If there is no such file, nor one with .npz at its end.
    ValueError
        If it is no .npz file, is damaged, would take far more memory than the file is large, or holds Python objects,
        which are never unpickled.
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
    """Return the parts of an archive that are arrays, by the arrays' names."""
    found = {
        part.filename.removesuffix(".npy"): part
        for part in archive.infolist()
        if part.filename.endswith(".npy") and not part.filename.startswith("__MACOSX/")
    }
    if archive.namelist() and not found:
        raise ValueError(f"it holds {', '.join(archive.namelist()[:5])}, and no array (.npy)")
    around = {name.partition("/")[0] for name in found if "/" in name}
    if len(around) == 1 and all("/" in name for name in found):
        return {name.partition("/")[2]: part for name, part in found.items()}
    return found


def _array(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> Any:
    """Return one array, after comparing what its header announces with the bytes there are."""
    with archive.open(part) as file:
        version = np.lib.format.read_magic(file)
        if version > (2, 0):
            raise ValueError(f"{part.filename} has version {version} of the format; expected up to 2.0")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if not dtype.hasobject and math.prod(shape) * dtype.itemsize != part.file_size - file.tell():
            raise ValueError(f"{part.filename} announces shape {shape} of {dtype}, and has {part.file_size} bytes")
    with archive.open(part) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
