"""Files of Kuzushiji-MNIST: the official ones or refused, downloaded whole or not at all."""

import gc
import gzip
import hashlib
import os
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from noetherlite import datasets
from noetherlite._problem import kmnist

SHARED = Path(__file__).parents[2] / "shared" / "data"
TEST_FILES = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture(autouse=True)
def isolated(tmp_path, monkeypatch):
    """No test sees the user's cache, a proxy or the official host."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(kmnist, "BASE_URL", "http://127.0.0.1:9/nobody-listens/")


def idx(array):
    """Return the IDX file of an array of bytes."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def files_below(folder):
    return sorted(path.name for path in Path(folder).rglob("*") if path.is_file())


# --- Kuzushiji-MNIST: the real files -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real():
    """Return the folder that has the real test split."""
    for base in filter(None, (os.environ.get("NOETHERLITE_DATA"), SHARED)):
        for folder in (Path(base) / "kmnist", Path(base)):
            if all((folder / f"{name}.gz").is_file() for name in TEST_FILES):
                return folder
    pytest.skip("the files of Kuzushiji-MNIST's test split are not here")


def test_real_kmnist(real):
    data = datasets.kmnist(n=None, split="test", root=real)
    assert data.name == "kmnist-test"
    assert data.X.shape == (10000, 784)
    assert data.X.dtype == np.float64
    assert data.X.flags.c_contiguous
    assert (data.X.min(), data.X.max()) == (0.0, 1.0)
    assert data.y.dtype == np.int64
    np.testing.assert_array_equal(np.bincount(data.y), np.full(10, 1000))
    np.testing.assert_array_equal(data.y[:8], [2, 9, 3, 8, 3, 3, 8, 3])  # the first bytes of the file


def test_real_kmnist_samples_are_drawn_without_replacement(real, monkeypatch):
    monkeypatch.setenv("NOETHERLITE_DATA", str(real))
    every = datasets.kmnist(n=None, split="test")
    some = datasets.kmnist(n=200, split="test", rng=7)
    rows = {image.tobytes(): label for image, label in zip(every.X, every.y, strict=True)}
    assert all(rows[image.tobytes()] == label for image, label in zip(some.X, some.y, strict=True))
    assert len({image.tobytes() for image in some.X}) == 200
    same = datasets.kmnist(n=200, split="test", rng=np.random.default_rng(7))
    np.testing.assert_array_equal(some.X, same.X)
    other = datasets.kmnist(n=200, split="test", rng=8)
    assert not np.array_equal(some.y, other.y)


def test_real_kmnist_plain_and_gzipped_are_the_same(real, tmp_path):
    for name in TEST_FILES:
        (tmp_path / name).write_bytes(gzip.decompress((real / f"{name}.gz").read_bytes()))
    plain = datasets.kmnist(n=50, split="test", root=tmp_path)
    gzipped = datasets.kmnist(n=50, split="test", root=real)
    np.testing.assert_array_equal(plain.X, gzipped.X)
    np.testing.assert_array_equal(plain.y, gzipped.y)


# --- Kuzushiji-MNIST: small files in its place, and a server for them --------------------------------------------


@pytest.fixture
def small(monkeypatch):
    """Put 30 images in the place of each split, and return their files: name -> bytes."""
    rng = np.random.default_rng(5)
    contents = {
        "images-idx3-ubyte": rng.integers(0, 256, (30, 28, 28), dtype=np.uint8),
        "labels-idx1-ubyte": rng.integers(0, 10, 30, dtype=np.uint8),
    }
    packed, table = {}, {}
    for split, prefix in (("train", "train-"), ("test", "t10k-")):
        official = []
        for kind, array in contents.items():
            plain = idx(array)
            zipped = gzip.compress(plain, mtime=0)
            packed |= {prefix + kind: plain, f"{prefix}{kind}.gz": zipped}
            # As for the real files, the uncompressed training split has no known checksum.
            sha256 = hashlib.sha256(plain).hexdigest() if split == "test" else None
            zipped_sha256 = hashlib.sha256(zipped).hexdigest()
            official.append(kmnist.OfficialFile(prefix + kind, array.shape, len(zipped), zipped_sha256, sha256))
        table[split] = tuple(official)
    monkeypatch.setattr(kmnist, "FILES", table)
    return packed


@pytest.fixture
def server(small, monkeypatch):
    """Serve the small files on this machine; `replies[name] = (status, announced length or None, body)` overrides."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.removeprefix("/kmnist/")
            httpd.requests.append(name)
            status, announced, body = httpd.replies.get(name, (200, len(small[name]), small[name]))
            self.send_response(status)
            if announced is not None:
                self.send_header("Content-Length", str(announced))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    pytest.importorskip("pooch", reason="needs the extra 'data'")
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.requests, httpd.replies = [], {}
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(kmnist, "BASE_URL", f"http://127.0.0.1:{httpd.server_port}/kmnist/")
    yield httpd
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def put(folder, small, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(small[name])


@pytest.mark.parametrize("subfolder", [".", "kmnist"])
@pytest.mark.parametrize("place", ["root", "environment", "cache"])
def test_kmnist_is_read_from_each_of_its_places(small, tmp_path, monkeypatch, place, subfolder):
    monkeypatch.delenv("NOETHERLITE_DATA", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    folder = tmp_path / ("cache/noetherlite" if place == "cache" else place)
    if place == "environment":
        monkeypatch.setenv("NOETHERLITE_DATA", str(folder))
    put(folder / subfolder, small, "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
    data = datasets.kmnist(n=None, root=folder if place == "root" else None)
    np.testing.assert_array_equal(data.y, np.frombuffer(small["train-labels-idx1-ubyte"][8:], np.uint8))


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/me/.cache"),
        ("linux", {"XDG_CACHE_HOME": ""}, "/home/me/.cache"),
        ("darwin", {}, "/home/me/Library/Caches"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local"),
        ("win32", {"LOCALAPPDATA": ""}, "/home/me/AppData/Local"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="paths are written the POSIX way")
def test_cache_folder_of_each_platform(monkeypatch, platform, environment, expected):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert kmnist._user_cache() == Path(expected)


def test_kmnist_missing_says_where_it_looked_and_touches_no_network(server, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte\.gz.*download=True.*root=") as caught:
        datasets.kmnist(n=5, root=tmp_path)
    assert str(tmp_path / "kmnist") in str(caught.value)
    assert server.requests == []
    assert files_below(tmp_path) == []


def test_uncompressed_training_files_are_not_used_unverified(small, tmp_path):
    put(tmp_path, small, "train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz")
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte was not used: only the \.gz form"):
        datasets.kmnist(n=5, root=tmp_path)


@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte", "t10k-labels-idx1-ubyte.gz"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"",
    ],
    ids=["flipped bit", "truncated", "longer", "empty"],
)
def test_files_that_are_not_the_official_ones_are_refused(small, tmp_path, name, damage):
    put(tmp_path, small, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    (tmp_path / name).write_bytes(damage(small[name]))
    words = rf"{name} is not the official file.*expected \d+.*SHA-256.*expected [0-9a-f]+"
    with pytest.raises(ValueError, match=words):
        datasets.kmnist(n=5, split="test", root=tmp_path)


def test_download_fetches_what_is_missing_once(server, tmp_path, capsys):
    data = datasets.kmnist(n=None, root=tmp_path, download=True)
    assert data.X.shape == (30, 784)
    names = ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]
    assert files_below(tmp_path / "kmnist") == server.requests == names
    again = datasets.kmnist(n=None, root=tmp_path, download=True)
    np.testing.assert_array_equal(data.X, again.X)
    assert server.requests == names
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "B/s" in printed.err  # the progress bar


FAILURES = {
    "not found": lambda good: (404, 0, b""),
    "corrupt": lambda good: (200, len(good), good[:-1] + b"?"),
    "breaks off": lambda good: (200, len(good), good[:-9]),
    "unannounced short": lambda good: (200, None, good[:-9]),
    "empty": lambda good: (200, 0, b""),
    "unannounced long": lambda good: (200, None, good + b"?"),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # requests leaves a connection open
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.uncounted
def test_failed_download_leaves_nothing_and_a_retry_succeeds(server, small, tmp_path, failure):
    name = "t10k-labels-idx1-ubyte.gz"
    server.replies[name] = FAILURES[failure](small[name])
    gc.freeze()  # of all objects, only those made from here on are searched at the end
    with pytest.raises(OSError, match="could not be downloaded") as caught:
        datasets.kmnist(n=5, split="test", root=tmp_path, download=True)
    assert name in str(caught.value)
    assert f"{kmnist.BASE_URL}{name}" in str(caught.value)
    assert files_below(tmp_path) == ["t10k-images-idx3-ubyte.gz"]  # the first file was good, and stays

    server.replies.clear()
    assert datasets.kmnist(n=5, split="test", root=tmp_path, download=True).n_samples == 5
    assert server.requests == ["t10k-images-idx3-ubyte.gz", name, name]
    del caught
    gc.collect()  # the broken connection, which another test would complain of


def test_download_without_a_server(small, tmp_path):
    pytest.importorskip("pooch", reason="needs the extra 'data'")
    with pytest.raises(OSError, match=r"train-images-idx3-ubyte\.gz could not be downloaded from http://127"):
        datasets.kmnist(n=5, root=tmp_path, download=True)
    assert files_below(tmp_path) == []


def test_without_pooch_it_says_what_to_install(small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pooch: pip install .noetherlite\[data\]"):
        datasets.kmnist(n=5, root=tmp_path, download=True)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"split": "tset"}, ValueError, r"split='tset' is not known \(did you mean 'test'\?\)"),
        ({"split": None}, ValueError, "split=None is not known"),
        ({"n": 0}, ValueError, "n=0 is out of range"),
        ({"n": 31}, ValueError, "n=31 is more than the 30 samples of split='train'"),
        ({"n": 2.0}, TypeError, "n must be an integer"),
        ({"n": 5, "rng": "seed"}, TypeError, "rng must be a seed"),
        ({"n": 5, "root": 3}, TypeError, "root must be the path of a folder, got 3"),
    ],
)
def test_kmnist_refuses(small, arguments, error, message):
    with pytest.raises(error, match=message):
        datasets.kmnist(**arguments)
