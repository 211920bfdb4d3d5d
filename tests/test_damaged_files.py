"""Readers of files that are damaged or hostile: the file's content, or a documented error, in bounded memory."""

import io
import json
import tracemalloc
import warnings
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import noetherlite as nl
from noetherlite._base.files import arrays
from noetherlite._cli.config import Config
from noetherlite._cli.toml_file import ConfigError
from noetherlite._run import checkpoint_file

EXAMPLES = Path(__file__).parent.parent / "examples"
MUTATIONS = 150
MOST = 80_000_000  # bytes that reading a small file may take


def problem():
    net = nl.Network([2, 3, 2])
    return net.potential(nl.datasets.gaussian_classes(n=8, n_features=2, n_classes=2, rng=0)), net.init(rng=0)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One real file of each kind, small, and what reads it."""
    folder = tmp_path_factory.mktemp("files")
    U, x0 = problem()
    run = nl.integrate(U, nl.GD(0.1), x0, 4, record_params=True, checkpoint=folder / "run.ckpt")
    run.save(folder / "run.npz")
    np.savez(folder / "data.npz", X=U.X, y=U.y)
    config = (EXAMPLES / "gradient_descent.toml").read_text("utf-8")
    small = config.replace("n = 256", "n = 16").replace("[784, 32, 16, 10]", "[784, 4, 3, 10]")
    assert len(small) == len(config) - 3
    (folder / "config.toml").write_text(small, "utf-8")
    return {
        "trajectory": (folder / "run.npz", nl.load),
        "checkpoint": (folder / "run.ckpt.npz", lambda path: nl.resume(path)),
        "data": (folder / "data.npz", nl.datasets.npz),
        "toml": (folder / "config.toml", lambda path: Config(path).job()),
    }


def mutations(content, rng):
    """Truncated, with bits flipped, bytes set to extremes, pieces cut out, doubled and exchanged."""
    for k in range(MUTATIONS):
        out = bytearray(content)
        a, b = sorted(rng.integers(0, len(out), 2))
        b = min(b, a + 64)
        if k % 6 == 0:
            del out[a:]
        elif k % 6 == 1:
            out[a] ^= 1 << int(rng.integers(8))
        elif k % 6 == 2:
            out[a:b] = bytes([int(rng.choice([0, 1, 127, 128, 255]))]) * (b - a)
        elif k % 6 == 3:
            del out[a:b]
        elif k % 6 == 4:
            out[a:a] = out[a:b]
        else:  # the ends, where formats keep their tables
            end = len(out) - 1 - int(rng.integers(min(300, len(out))))
            out[end] = int(rng.integers(256))
        yield bytes(out)


@contextmanager
def bounded_memory():
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MOST


@pytest.mark.parametrize("kind", ["trajectory", "checkpoint", "data", "toml"])
def test_mutated_files(files, kind, tmp_path):
    path, read = files[kind]
    read(path)  # as it was written
    content, refused = path.read_bytes(), 0
    target = tmp_path / path.name
    for changed in mutations(content, np.random.default_rng(0)):
        target.write_bytes(changed)
        text = target.name
        with bounded_memory(), warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                read(target)
            except (ValueError, TypeError, MemoryError) as error:
                refused += 1
                text = str(error)
        assert target.name.split(".")[0] in text  # the message names the file
    assert refused > MUTATIONS // 4
    if kind == "checkpoint":
        assert refused == sum(changed != content for changed in mutations(content, np.random.default_rng(0)))


def npz(**parts):
    """An .npz file with the bytes of its members as given."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(f"{name}.npy", content)
    return out.getvalue()


def member(shape, content, dtype="<f8"):
    """An array's bytes with a header that announces `shape`."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"shape": shape, "fortran_order": False, "descr": dtype})
    return out.getvalue() + content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: member((2**40,), bytes(64)), "announces shape"),
        (lambda: member((2**62, 4), bytes(64)), "announces shape"),
        (lambda: member((-1,), bytes(64)), ""),
        (lambda: member((2 * 10**7,), bytes(2 * MOST)), "far more than the file has"),
        (lambda: member((1,), b"\x80\x04N.", "|O"), "Object arrays cannot be loaded"),
        (lambda: b"\x93NUMPY\x03\x00" + bytes(100), "version"),
        (lambda: b"nothing", ""),
    ],
    ids=["2^40", "2^64", "negative", "zip bomb", "pickle", "version", "nothing"],
)
def test_hostile_npz(tmp_path, content, message):
    path = tmp_path / "run.npz"
    path.write_bytes(npz(t=content()))
    assert path.stat().st_size < 2_000_000
    for read in (arrays, nl.load, nl.datasets.npz):
        with bounded_memory(), pytest.raises(ValueError, match=f"run.npz.*{message}"):
            read(path)


def test_what_is_fair_is_read(tmp_path):
    """The control: compressed files of ordinary data are no bombs."""
    path = tmp_path / "data.npz"
    np.savez_compressed(path, X=np.zeros((1000, 784)), y=np.arange(1000) % 10)
    assert nl.datasets.npz(path).X.shape == (1000, 784)


def test_large_and_deep_configurations(tmp_path):
    path = tmp_path / "config.toml"
    for text in ("a = " + "[" * 5000, "x" * (1 << 20), "[network]\nwidths = [" + "1," * 10000 + "1]", "\0", "\xff"):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(ConfigError, match=r"config\.toml"):
            Config(path).job()


def spoilt(header, parts, rng):
    """One member exchanged for another's array, cut, of another kind, or gone; or one entry of the header."""
    name = str(rng.choice(sorted(parts)))
    how = int(rng.integers(6))
    if how == 0:
        del parts[name]
    elif how == 1:
        parts[name] = parts[name][:-1]
    elif how == 2:
        parts[name] = parts[name].astype("U8")
    elif how == 3:
        parts[name] = parts[name][None]
    elif how == 4:
        parts["step"] = parts["step"][..., ::-1]
        name = "step"
    else:
        name = str(rng.choice(["message", "n_gradients", "specification", "laws", "members", "status"]))
        header[name] = [None]
    return name


@pytest.mark.parametrize("many", [False, True])
def test_arrays_that_do_not_fit_together(tmp_path, many):
    """Whole files, whose members are another run's: each is refused by name, and none is taken by `load` to fall over later."""
    U, x0 = problem()
    if many:
        run = nl.ensemble(U, nl.GD(0.1), [x0, x0, x0], 4)
    else:
        run = nl.integrate(U, nl.GD(0.1), x0, 4, record_params=True)
    path, rng = run.save(tmp_path / "run.npz"), np.random.default_rng(0)
    whole = arrays(path)
    for _ in range(60):
        parts = dict(whole)
        header = json.loads(str(parts.pop("header")))
        name = spoilt(header, parts, rng)
        np.savez(path, header=np.array(json.dumps(header)), **parts)
        if name == "params" and name not in parts:
            assert nl.load(path).params is None
            continue
        with pytest.raises(ValueError, match=r"run.npz") as caught:
            nl.load(path)
        # what has the shape of t or x is compared with them
        assert name in str(caught.value) or name in ("t", "x"), name


@pytest.mark.parametrize("name", ["state/x", "state/counts", "records/loss", "records/step", "start/x", "keys"])
def test_a_checkpoint_whose_arrays_do_not_fit(tmp_path, name):
    U, path = nl.potentials.Radial(2), tmp_path / "a.npz"
    nl.integrate(U, nl.GD(0.1), [1.0, 0.5], 4, checkpoint=path)
    header, written = checkpoint_file.read(path)
    for other in (written[name][..., :0], written[name].astype("U4")):
        checkpoint_file.write(path, header, written | {name: other})
        with pytest.raises(ValueError, match=f"a.npz' is not a checkpoint: {name} must h"):
            nl.resume(path)
