"""Content stands for what a value is, never its name or its text: sweeps of other data, code or closures do not go on."""

import dataclasses
import enum
import functools
import json
import logging
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest

import noetherlite as nl
from noetherlite._base import identity
from noetherlite._base.identity import UnidentifiedError, digest
from noetherlite._cli.main import main

X = np.random.default_rng(0).normal(size=(2000, 3))
X2 = X.copy()
X2[1000, 1] += 1e-9  # in the middle, where NumPy's text has dots
GRID = {"lr": [0.1]}
FACTOR = 2.0


def train(X, lr, rng):
    return {"sum": float(lr * X.sum())}


@dataclasses.dataclass
class Problem:
    X: np.ndarray
    lr: float = 0.1

    def train(self, lr, rng):
        return train(self.X, lr, rng)


class Plain:
    """An object whose text holds its address."""

    def __init__(self, X):
        self.X = X

    def __call__(self, lr, rng):
        return train(self.X, lr, rng)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


def closed_over(X):
    def run(lr, rng):
        return train(X, lr, rng)

    return run


def with_default(X):
    def run(lr, rng, *, data=X):
        return train(data, lr, rng)

    return run


def nested(X):
    return functools.partial(train, functools.partial(dict, deep=[{"X": X}])()["deep"][0]["X"])


def potential(X):
    U = nl.Network([3, 2]).potential(nl.Dataset(X, np.arange(len(X)) % 2, "data"))
    return functools.partial(lambda U, lr, rng: {"sum": float(U.X.sum())}, U)


def callable_potential(X):
    U = nl.potentials.Callable(lambda x: (X.sum(), 0 * x), 2)
    return functools.partial(lambda U, lr, rng: {"sum": U.value([0.0, 0.0])}, U)


MAKERS = [
    functools.partial(functools.partial, train),
    nested,
    closed_over,
    with_default,
    potential,
    callable_potential,
    Plain,
    lambda X: Problem(X).train,
    lambda X: functools.partial(train, X=X.tolist() and X),
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_sweep_does_not_go_on_with_other_data(make, tmp_path):
    first = nl.sweep(make(X), GRID, out=tmp_path)
    assert nl.sweep(make(X.copy()), GRID, out=tmp_path).results == first.results  # made anew: the same content
    with pytest.raises(ValueError, match=r"holds another sweep: its function .* is another in: ") as error:
        nl.sweep(make(X2), GRID, out=tmp_path)
    assert " at 0x" not in str(error.value)
    assert "0x" not in (tmp_path / "sweep.json").read_text()


def test_what_differs_is_named(tmp_path):
    nl.sweep(functools.partial(train, X), GRID, out=tmp_path)
    words = r"train\(<ndarray \(2000, 3\)>\) is another in: argument 0; to go on"
    with pytest.raises(ValueError, match=words) as error:
        nl.sweep(functools.partial(train, X2), GRID, out=tmp_path)
    key = str(error.value).split("give key='")[1].split("'")[0]
    assert nl.sweep(functools.partial(train, X2), GRID, out=tmp_path, key=key).status == "completed"


def test_code_of_one_name_is_told_apart(tmp_path):
    def make(body):
        space = {"__name__": "user"}
        exec(f"FACTOR = 3\ndef helper(lr):\n    return {body}\ndef f(lr, rng):\n    return {{'x': helper(lr)}}", space)
        return space["f"]

    nl.sweep(make("FACTOR * lr"), GRID, out=tmp_path)
    nl.sweep(make("FACTOR * lr  # a comment"), GRID, out=tmp_path)
    with pytest.raises(ValueError, match="is another in: global helper"):
        nl.sweep(make("FACTOR + lr"), GRID, out=tmp_path)
    changed = make("FACTOR * lr")
    changed.__globals__["FACTOR"] = 4
    with pytest.raises(ValueError, match="is another in: global helper"):
        nl.sweep(changed, GRID, out=tmp_path)
    changed.__code__ = (lambda lr, rng: {"x": 2 * lr}).__code__
    with pytest.raises(ValueError, match="is another in: code, global helper; it was written by Python 3"):
        nl.sweep(changed, GRID, out=tmp_path)


def test_what_cannot_be_identified_needs_a_key(tmp_path):
    unidentifiable = functools.partial(lambda lock, lr, rng: {"x": lr}, threading.Lock())
    with pytest.raises(TypeError, match=r"argument 0 is a _thread.lock.*give key="):
        nl.sweep(unidentifiable, GRID, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert nl.sweep(unidentifiable, GRID).status == "completed"  # nothing is kept: nobody asks what it was
    nl.sweep(unidentifiable, GRID, out=tmp_path / "out", key="of Monday")
    assert nl.sweep(unidentifiable, GRID, out=tmp_path / "out", key="of Monday").specification["key"] == "of Monday"
    with pytest.raises(ValueError, match="its key is 'of Monday', not 'of Tuesday'"):
        nl.sweep(unidentifiable, GRID, out=tmp_path / "out", key="of Tuesday")
    with pytest.raises(ValueError, match=r"its number of members is 1, not 2"):
        nl.sweep(unidentifiable, {"lr": [0.1, 0.2]}, out=tmp_path / "out", key="of Monday")
    nl.sweep(lambda lr, rng: {"x": lr}, GRID, out=tmp_path / "out2", key="of Monday")
    with pytest.raises(ValueError, match="begun with key='of Monday': give that"):
        nl.sweep(lambda lr, rng: {"x": lr}, GRID, out=tmp_path / "out2")
    for key in ("", 3):
        with pytest.raises(TypeError, match="key must be a non-empty string"):
            nl.sweep(unidentifiable, GRID, key=key)


def test_folders_of_versions_that_knew_names_alone(tmp_path):
    nl.sweep(train_module := functools.partial(train, X), GRID, out=tmp_path)
    content = json.loads((tmp_path / "sweep.json").read_text())
    old = {name: value for name, value in content.items() if name not in ("key", "content")}
    (tmp_path / "sweep.json").write_text(json.dumps(old))
    assert nl.load_sweep(tmp_path).status == "completed"
    with pytest.raises(ValueError, match=r"knew its function .* by name alone") as error:
        nl.sweep(train_module, GRID, out=tmp_path)
    assert f"give key={old['function']!r}" in str(error.value)
    assert nl.sweep(train_module, GRID, out=tmp_path, key=old["function"]).status == "completed"
    (tmp_path / "sweep.json").write_text(json.dumps({**content, "content": [1]}))
    with pytest.raises(ValueError, match="not the manifest"):
        nl.load_sweep(tmp_path)


PAIRS = {
    "integer and float": (1, 1.0),
    "integer and truth": (1, True),
    "text and number": ("1", 1),
    "bytes and text": (b"a", "a"),
    "list and tuple": ([1], (1,)),
    "nesting": ([[1], 2], [[1, 2]]),
    "order of a mapping": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "order of a list": ([1, 2], [2, 1]),
    "zero and minus zero": (0.0, -0.0),
    "precision": (np.ones(3), np.ones(3, "f4")),
    "shape": (np.ones((2, 3)), np.ones((3, 2))),
    "byte order": (np.ones(3, "<i4"), np.ones(3, ">i4")),
    "scalar and array": (np.float64(1), 1.0),
    "mask": (np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[1, 0])),
    "objects in an array": (np.array([1, "a"], object), np.array([1, "b"], object)),
    "times": (np.array(["2020-01-01"], "M8[D]"), np.array(["2020-01-02"], "M8[D]")),
    "members": (Colour.RED, Colour.BLUE),
    "networks": (nl.Network([2, 3, 2]), nl.Network([2, 3, 2], bias=False)),
    "data": (nl.datasets.polygon(3), nl.datasets.polygon(3, label=0.7)),
    "algorithms": (nl.GD(0.1), nl.GD(0.2)),
    "potentials": (nl.potentials.Harmonic(np.eye(2)), nl.potentials.Harmonic(2 * np.eye(2))),
    "methods": (Problem(X).train, Problem(X2).train),
    "generators": (np.random.default_rng(0), np.random.default_rng(1)),
    "paths": (Path("a"), Path("b")),
    "loggers": (logging.getLogger("a"), logging.getLogger("b")),
    "modules": (np, json),
    "functions of NumPy": (np.sin, np.cos),
    "built-in methods": ([1].index, [2].index),
    "caches": (functools.cache(lambda: 1), functools.cache(lambda: 2)),
    "classes": (type("A", (), {"x": 1}), type("A", (), {"x": 2})),
    "namespaces": (types.SimpleNamespace(x=1), types.SimpleNamespace(x=2)),
    "mutability": (bytearray(b"ab"), bytearray(b"ac")),
    "proxies": (types.MappingProxyType({"a": 1}), types.MappingProxyType({"a": 2})),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_what_differs_has_another_digest(pair):
    one, other = map(digest, pair)
    assert one != other
    assert [one, other] == [*map(digest, pair)]


def test_cached_properties_do_not_change_the_digest():
    class Lazy:
        @functools.cached_property
        def slow(self):
            return 3

    lazy, U = Lazy(), potential(X).args[0]
    before = digest(lazy), digest(U)
    assert lazy.slow == 3
    U.value_and_gradient(np.zeros(U.n_params))
    assert (digest(lazy), digest(U)) == before


def test_lists_that_contain_themselves_or_are_deep():
    loop = []
    loop.append(loop)
    assert digest(loop) != digest([[]])
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UnidentifiedError, match="recursion"):
        digest(deep)


@pytest.mark.parametrize("value", [threading.Lock(), (i for i in [1]), sys.stdout, sys._getframe()])
def test_what_has_no_content_is_refused(value):
    with pytest.raises(UnidentifiedError, match=r"\[1\] is a .*, which cannot be identified"):
        digest([1, value])


PROGRAM = """
import dataclasses, functools, sys
import numpy as np, noetherlite as nl
from noetherlite._base.identity import digest, parts
@dataclasses.dataclass(frozen=True)
class D:
    names: frozenset
    more: list = dataclasses.field(default_factory=list)
def f(lr, rng, kinds=frozenset("abcdef")):
    return {"x": lr in {"a", "b", "c", "d"} and D(frozenset("xyz")) and np.pi}
print(digest(D(frozenset("abcdefgh"))), digest({"x", "y", "z"}), parts(functools.partial(f, lr=nl.Network([2, 3, 2]))))
"""


def test_digests_are_those_of_other_processes():
    """Neither the order of sets, which is drawn anew in each, nor addresses enter."""

    def told(seed):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        command = [sys.executable, "-c", PROGRAM]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert told("1") == told("2") != ""


def test_installed_functions_with_plain_values_are_told_by_their_names():
    assert identity.identified_by_name(functools.partial(nl.integrate, steps=[1, {"a": None}]))
    for other in (train, functools.partial(nl.integrate, X), nl.GD(0.1).__init__, lambda: 0):
        assert not identity.identified_by_name(other)


def test_modules_of_ones_own_are_their_files(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def module(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        sys.modules.pop(name, None)
        return __import__(name)

    module("own_inner", "def g(x):\n    return x\n")
    outer = "import own_inner\nfrom own_inner import g\ndef h(x):\n    return g(x)\n"
    first = digest(module("own_outer", outer))
    assert digest(module("own_outer", outer)) == first
    module("own_inner", "def g(x):\n    return x + 1\n")
    assert digest(module("own_outer", outer)) != first
    for name in ("own_inner", "own_outer"):
        del sys.modules[name]


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_arrays_of_frameworks(framework):
    package = pytest.importorskip(framework)
    make = package.tensor if framework == "torch" else package.numpy.array
    assert digest(make([1.0, 2.0])) == digest(make([1.0, 2.0])) != digest(make([1.0, 3.0]))


def test_resume_refuses_another_python_function(tmp_path):
    def bowl(scale):
        return nl.potentials.Callable(lambda x: (scale * x @ x / 2, scale * x), 2)

    path = tmp_path / "run.ckpt"
    options = {"steps": 9, "record_every": 3}
    half = nl.integrate(bowl(1.0), nl.GD(0.1), [1.0, 2.0], **options, checkpoint=path, callback=lambda s: s.step == 3)
    assert half.status == "stopped"
    with pytest.raises(ValueError, match=r"at the start it is 2.50(25|2499)\d*, and 2.5 was recorded"):
        nl.resume(path, bowl(1.001))
    whole = nl.integrate(bowl(1.0), nl.GD(0.1), [1.0, 2.0], **options)
    assert np.array_equal(nl.resume(path, bowl(1.0)).loss, whole.loss)


def test_configurations_are_told_apart_by_the_files_they_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("it.toml").write_text(
        '[network]\nwidths = [3, 2]\n[data]\nsource = "npz"\npath = "data"\n[algorithm]\nname = "GD"\nlr = 0.1\n'
        '[run]\nsteps = 3\n[output]\nplots = []\n[sweep]\n"algorithm.lr" = [0.1]\n'
    )
    for inputs, code in ((X, 0), (X, 0), (X2, 1)):
        np.savez("data.npz", X=inputs, y=np.arange(len(inputs)) % 2)
        assert main(["sweep", "it.toml", "--no-progress"]) == code
        assert main(["run", "it.toml", "--no-progress"]) == code
    assert "holds another sweep" in (error := capsys.readouterr().err)
    assert "--force writes over them" in error


def test_sweeps_of_configurations_of_early_versions_go_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("it.toml").write_text(
        '[network]\nwidths = [3, 2]\n[data]\nsource = "gaussian_classes"\nn_features = 3\nn_classes = 2\n'
        '[algorithm]\nname = "GD"\nlr = 0.1\n[run]\nsteps = 3\n[sweep]\n"algorithm.lr" = [0.1]\n'
    )
    assert main(["sweep", "it.toml", "--no-progress"]) == 0
    content = json.loads(Path("out/it/sweep.json").read_text())
    assert content["content"] == {}  # the function's description says all
    Path("out/it/sweep.json").write_text(json.dumps({k: v for k, v in content.items() if k not in ("key", "content")}))
    assert main(["sweep", "it.toml", "--no-progress"]) == 0
