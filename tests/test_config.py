"""Configuration files: what they make, and that every error is told, at once, with what is allowed."""

import inspect
import re
import struct
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import toml

import noetherlite as nl
from noetherlite._cli import config, toml_file
from noetherlite._cli.config import ALGORITHMS, SOURCES, Config
from noetherlite._cli.signatures import keys, printable
from noetherlite._cli.toml_file import LARGEST, ConfigError

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.toml"))

GOOD = {
    "network": {"widths": [4, 5, 3], "activation": "relu", "bias": True, "loss": "nll"},
    "data": {"source": "gaussian_classes", "n": 30, "n_features": 4},
    "initial": {"scheme": "he", "bias_std": 0.1, "rng": 3},
    "algorithm": {"name": "NAGD", "lr": 0.01, "alpha": 4},
    "run": {"steps": 20, "record_every": 5, "laws": ["scaling:1"]},
    "output": {"name": "it", "plots": ["loss", "scaling:1"]},
}


def text(sections):
    lines = []
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key} = {toml(value)}" for key, value in values.items())]
    return "\n".join(lines)


def changed(section, **values):
    """GOOD with some values of a section changed; None takes a key away."""
    merged = {**GOOD[section], **values}
    return {**GOOD, section: {key: value for key, value in merged.items() if value is not None}}


@pytest.fixture
def read(tmp_path):
    def make(sections, name="it.toml"):
        path = tmp_path / name
        path.write_text(sections if isinstance(sections, str) else text(sections), "utf-8")
        return Config(path)

    return make


def errors(made):
    with pytest.raises(ConfigError) as refused:
        made.job()
    lines = str(refused.value).splitlines()
    assert all(line.startswith(f"{made.path}: ") for line in lines)
    return [line.removeprefix(f"{made.path}: ") for line in lines]


# --- what a file makes -------------------------------------------------------------------------------------------------


def test_a_file_makes_the_objects_that_its_words_say(read):
    job = read(GOOD).job()
    net = nl.Network([4, 5, 3], "relu")
    assert job.U.network == net
    assert np.array_equal(job.U.X, nl.datasets.gaussian_classes(n=30, n_features=4, rng=0).X)
    assert job.algorithm == nl.NAGD(0.01, alpha=4)
    assert np.array_equal(job.start, net.init(rng=3, scheme="he", bias_std=0.1))
    assert job.arguments == {"steps": 20, "record_every": 5, "laws": ["scaling:1"], "rng": 0, "velocity": None}
    assert job.output == config.Output("it", ["loss", "scaling:1"])
    assert job.n_bytes == nl.memory(job.U, 20, record_every=5, laws=["scaling:1"])


def test_only_what_has_no_default_is_needed(read):
    wanted = {
        "network": {"widths": [784, 10]},
        "data": {"source": "glyphs"},
        "algorithm": {"name": "GD", "lr": 1},
        "run": {"steps": 0},
    }
    job = read(wanted, "a file of mine!.toml").job()
    assert np.array_equal(job.start, nl.Network([784, 10]).init(rng=0))
    assert job.output == config.Output("a-file-of-mine", ("loss",))
    assert read(wanted, "'.toml").job().output.name == "run"


def test_an_ensemble_has_members_or_learning_rates(read):
    plain = {**GOOD, "output": {}}
    many = read({**plain, "run": {**GOOD["run"], "members": 3}}).job()
    seeds = np.random.default_rng(3).spawn(3)
    assert np.array_equal(many.start, [many.U.network.init(seed, "he", 0.1) for seed in seeds])
    rates = read({**plain, "algorithm": {"name": "GD", "lr": [0.1, 0.2]}}).job()
    assert rates.algorithm == [nl.GD(0.1), nl.GD(0.2)]
    assert np.array_equal(rates.start, [rates.U.network.init(3, "he", 0.1)] * 2)
    assert read({**plain, "run": {**GOOD["run"], "members": 1}}).job().start.shape == (1, many.U.n_params)
    (error,) = errors(read({**plain, "algorithm": {"name": "GD", "lr": [0.1, 0.2]}, "run": {"steps": 1, "members": 2}}))
    assert error == "[run] members=2: expected none where [algorithm] lr lists 2 runs"


def test_a_start_and_data_are_read_from_beside_the_file(read, tmp_path, monkeypatch):
    net = nl.Network([4, 5, 3])
    x = net.init(rng=9)
    v = np.arange(net.n_params, dtype=float)
    np.savez(tmp_path / "start.npz", x=x, v=v)
    data = nl.datasets.gaussian_classes(n=12, n_features=4, rng=5)
    np.savez(tmp_path / "data.npz", X=data.X, y=data.y)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    moving = {
        **GOOD,
        "data": {"source": "npz", "path": "data.npz"},
        "initial": {"path": "start.npz"},
        "algorithm": {"name": "Leapfrog", "lr": 0.01},
    }
    job = read(moving).job()
    assert np.array_equal(job.U.X, data.X)
    assert np.array_equal(job.start, x)
    assert np.array_equal(job.arguments["velocity"], v)
    assert read({**moving, "algorithm": {"name": "GD", "lr": 0.01}}).job().arguments["velocity"] is None
    run = nl.integrate(job.U, nl.Leapfrog(0.01), x, steps=5, velocity=v)
    run.save(tmp_path / "start.npz")
    assert np.array_equal(read(moving).job().start, run.x)


def test_files_of_the_format_of_mnist_are_beside_the_file(read, tmp_path, monkeypatch):
    inputs, labels = np.random.default_rng(0).integers(256, size=(5, 2, 2)).astype(np.uint8), [0, 1, 2, 0, 1]
    (tmp_path / "images").write_bytes(struct.pack(">BBBB3I", 0, 0, 8, 3, *inputs.shape) + inputs.tobytes())
    (tmp_path / "labels").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, 5) + bytes(labels))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    sections = {**GOOD, "data": {"source": "idx", "inputs": "images", "targets": "labels"}}
    made = read(sections)
    assert np.array_equal(made.job().U.X, inputs.reshape(5, 4) / 255)
    assert toml_file.digests(made.path, sections).keys() == {"images", "labels"}


def test_weights_and_balance_are_those_of_the_library(read, tmp_path):
    classes, samples = [1.0, 2.0, 0.5], np.random.default_rng(0).uniform(0, 2, 30)
    np.savez(tmp_path / "w.npz", sample_weight=samples)
    sections = changed("data", class_weight=classes, sample_weight="w.npz")
    job = read({**sections, "initial": {"balance": 0.25, "scale": 2.0}}).job()
    data = nl.datasets.gaussian_classes(n=30, n_features=4, rng=0)
    wanted = job.U.network.potential(data, class_weight=classes, sample_weight=samples)
    x = job.U.network.init(0, balance=0.25, scale=2.0)
    assert np.array_equal(job.start, x)
    assert not np.array_equal(x, job.U.network.init(0, scale=2.0))
    assert job.U.value(x) == wanted.value(x)
    assert job.U.value(x) != job.U.network.potential(data).value(x)
    listed = read(
        {**changed("data", sample_weight=samples.tolist()), "network": {**GOOD["network"], "loss": "nll(0.1)"}}
    )
    assert np.array_equal(listed.job().U.given_weights["sample_weight"], samples)
    content = toml_file.read(listed.path)
    assert toml_file.digests(listed.path, content) == {}
    content["data"]["sample_weight"] = "w.npz"
    (before,) = toml_file.digests(listed.path, content).values()
    np.savez(tmp_path / "w.npz", sample_weight=samples + 1)
    assert toml_file.digests(listed.path, content) != {"w.npz": before}


def test_a_start_must_fit_the_network(read, tmp_path):
    started = {**GOOD, "initial": {"path": "start.npz"}}
    np.savez(tmp_path / "start.npz", theta=np.zeros(43))
    assert "holds ['theta']; expected x" in errors(read(started))[0]
    np.savez(tmp_path / "start.npz", x=np.zeros(42))
    assert "x of path must have shape (43,), got (42,)" in errors(read(started))[0]


def test_a_machine_that_does_not_tell_its_memory_is_trusted(read, monkeypatch):
    def unknown(name):
        raise ValueError(name)

    monkeypatch.setattr("os.sysconf", unknown)
    assert read({**changed("run", steps=10**12, laws=[]), "output": {}}).job().n_bytes > 1e12


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_are_good_and_their_comments_are_too(path, tmp_path):
    Config(path).job()
    # Keys that are commented out with their defaults: put in, they change nothing.
    whole = re.sub(r"(?m)^# (\w+ = )", r"\1", path.read_text("utf-8"))
    if whole != path.read_text("utf-8"):
        given = tomllib.loads(whole)
        given["run"].pop("batch_size", None)  # "all samples without it": no value says that
        (tmp_path / path.name).write_text(text(given), "utf-8")
        explicit, plain = Config(tmp_path / path.name).job(), Config(path).job()
        assert explicit.U.network == plain.U.network
        assert np.array_equal(explicit.U.X, plain.U.X)
        assert np.array_equal(explicit.start, plain.start)
        defaults = {k: p.default for k, p in inspect.signature(nl.integrate).parameters.items()} | {"rng": 0}
        for key, value in explicit.arguments.items():
            assert np.array_equal(plain.arguments.get(key, defaults[key]), value), key


def test_comments_were_tried_above():
    """Negative control: the pattern finds commented keys in every section but [algorithm] of the first example."""
    example = (EXAMPLES[0].parent / "gradient_descent.toml").read_text("utf-8")
    assert set(re.findall(r"(?m)^# (\w+) = ", example)) == {
        "bias", "loss", "rng", "bias_std", "record_params", "laws", "batch_size", "dtype"
    }  # fmt: skip


def test_examples_show_each_dynamics():
    used = [tomllib.loads(path.read_text("utf-8"))["algorithm"]["name"] for path in EXAMPLES]
    assert {"GD", "HeavyBall", "Leapfrog", "NAGD", "ConformalLeapfrog"} <= set(used) <= set(ALGORITHMS)
    assert {kind(0.1).dynamics for kind in ALGORITHMS.values()} <= {ALGORITHMS[name](0.1).dynamics for name in used}


def test_every_algorithm_and_source_of_the_library_can_be_named():
    assert {"GD", "Leapfrog", "NAGD", "ConformalLeapfrog"} <= set(ALGORITHMS)
    assert "Algorithm" not in ALGORITHMS
    assert {"glyphs", "kmnist", "icosahedron", "polygon", "gaussian_classes", "npz"} <= set(SOURCES)
    assert set(SOURCES) == set(nl.datasets.__all__) - {"Dataset"}
    assert set(keys(nl.integrate, config.NOT_IN_RUN)) >= {"steps", "laws", "batch_size", "dtype", "t0", "record_params"}


# --- errors ------------------------------------------------------------------------------------------------------------


def test_all_errors_are_told_at_once(read):
    told = errors(
        read(
            """
[network]
widths = [4, -5, 3]
actvation = "relu"
bias = "yes"
loss = "nl"
[dta]
[data]
source = "gaussian_classes"
n = 0
n_features = 4.5
[initial]
scheme = "lecunn"
bias_std = -1
[algorithm]
name = "NAGD"
lr = "0.1"
alpha = 2
[run]
step = 5
record_every = 0
dtype = "float16"
laws = 5
[output]
name = "../it"
plots = "loss"
"""
        )
    )
    assert [re.match(r"\[\w+\]( \w+)?", error)[0] for error in told] == [
        "[dta]", "[network] actvation", "[network] bias", "[network] widths", "[network] loss", "[data] n_features",
        "[data] n", "[algorithm] lr", "[algorithm] alpha", "[run] step", "[run] laws", "[run] steps", "[run] record_every",
        "[run] dtype", "[initial] scheme", "[initial] bias_std", "[output] plots", "[output] name",
    ]  # fmt: skip
    everything = "\n".join(told)
    for words in (
        "(did you mean 'data'?)",
        "(did you mean 'activation'?); expected widths, activation, bias, loss",
        'bias = "yes": expected true or false',
        "widths[1]=-5 is out of range; expected an integer >= 1",
        "loss='nl' is not known (did you mean 'nll'?); expected one of 'mse', 'nll', 'mse_mean', ",
        "n_features = 4.5: expected an integer",
        'lr = "0.1": expected a number',
        "alpha=2 is out of range",
        "(did you mean 'steps'?)",
        "laws = 5: expected text in quotes or a list",
        "steps is missing; expected an integer",
        "record_every=0 is out of range; expected an integer >= 1",
        "dtype='float16' is not known",
        "(did you mean 'lecun'?)",
        "name='../it': expected up to 100 letters, digits, '_' and '-'",
    ):
        assert words in everything, words


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        (changed("algorithm", name="NAG"), "name='NAG' is not known (did you mean 'NAGD'?); expected one of 'GD'"),
        (changed("algorithm", name="gd"), "name='gd' is not known (did you mean 'GD'?)"),
        (changed("algorithm", name="SGD"), "name='SGD' is not known: it is 'GD' with batch_size= of the run"),
        (changed("algorithm", name=None), "[algorithm] name is missing; expected one of 'GD'"),
        (changed("algorithm", lr=None), "[algorithm] lr is missing; expected a number"),
        (changed("algorithm", lr=[]), "[algorithm] lr = []: expected a number"),
        (changed("algorithm", lr=[0.1, -1]), "[algorithm] lr=-1 is out of range"),
        (changed("algorithm", lr=True), "[algorithm] lr = true: expected a number"),
        (changed("algorithm", gamma=1), "gamma = 1: unknown key"),
        (changed("data", source="glyps"), "(did you mean 'glyphs'?)"),
        (changed("data", source=3), "source=3 is not known"),
        (changed("data", n_features=5), "[data] and [network] do not fit: X must have 4 columns"),
        (changed("data", n_classes=4), "out of range; expected labels in 0..2"),
        (changed("data", separation=-1), "separation=-1 is out of range"),
        (changed("network", activation=["relu", "relu"]), "activation has 2 entries"),
        (changed("network", activation="rellu"), "(did you mean 'relu'?)"),
        (changed("network", widths=4), "widths = 4: expected a list"),
        (changed("network", widths=["4", 3]), "widths[0] must be an integer"),
        (changed("run", steps=-1), "steps=-1 is out of range"),
        (changed("run", steps=1.5), "steps = 1.5: expected an integer"),
        (changed("run", batch_size=31), "batch_size=31 is out of range; expected an integer >= 1 and <= 30"),
        (changed("run", laws=["scaling:2"]), "'scaling:2' is not known"),
        (changed("run", laws=["rotation"]), "'rotation' is not a symmetry"),
        (changed("run", backend="gpu"), "backend='gpu' is not known"),
        (changed("run", rng="x"), 'rng = "x": expected an integer'),
        (changed("run", rng=-1), "rng"),
        (changed("run", t0=-1), "t0=-1 is out of range"),
        (changed("run", members=0), "members=0 is out of range"),
        (changed("run", members="3"), "members must be an integer"),
        (changed("run", checkpoint_every=0), "checkpoint_every=0 is out of range; expected an integer >= 1"),
        (changed("run", checkpoint_every=-1.0), "checkpoint_every=-1.0 is out of range"),
        (changed("run", checkpoint_every="x"), 'checkpoint_every = "x": expected a number'),
        (changed("run", checkpoint="x"), 'checkpoint = "x": unknown key (did you mean \'checkpoint_every\'?)'),
        (changed("run", velocity=[1]), "velocity = [1]: unknown key"),
        (changed("run", progress=True), "progress = true: unknown key"),
        (changed("run", steps=10**30), "is out of range"),
        (changed("run", steps=10**15), "this machine has"),
        (changed("output", plots=["scaling:2"]), "plots[0]='scaling:2' is not known (did you mean 'scaling:1'?)"),
        (changed("output", name=""), "name='': expected"),
        (changed("initial", path="start.npz", scheme=None, rng=None, bias_std=None), "No such file"),
        ({**changed("run", members=2), "initial": {"path": "start.npz"}}, "path holds one start"),
        ({**changed("network", bias=5), "initial": {"path": 5}}, "path = 5: expected text in quotes"),
        ({**changed("network", bias=5), "initial": {"path": "start.npz", "rng": 1}}, "rng = 1: unknown key"),
        (changed("run", members=2), "plots[1]='scaling:1' is not known; expected one of 'loss'"),
        (changed("initial", balance="no"), 'balance = "no": expected a number'),
        ({**changed("initial", balance=0.0), "network": {"widths": [4, 5, 3], "activation": "tanh"}}, "[initial] balance=0 needs hidden layers"),
        (changed("data", class_weight=[1, 2]), "[data] and [network] do not fit: class_weight must have shape (3,), got (2,)"),
        (changed("data", class_weight=3), "[data] class_weight = 3: expected a list"),
        (changed("data", sample_weight=[1]), "sample_weight must have shape (30,), got (1,)"),
        (changed("data", sample_weight=[-1.0] * 30), "sample_weight must hold numbers >= 0, got -1 at index 0"),
        (changed("data", sample_weight="none.npz"), "No such file"),
        (changed("data", class_weights=[1]), "unknown key (did you mean 'class_weight'?)"),
        ({**GOOD, "network": 5}, ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_an_error_names_section_key_value_and_what_is_allowed(sections, words, read):
    if not words:
        told = errors(read("network = 5\n" + text({k: v for k, v in GOOD.items() if k != "network"})))
        assert told[0] == "network = 5: expected a section [network]"
        return
    assert any(words in error for error in errors(read(sections)))


def test_one_error_is_told_once(read):
    assert len(errors(read(changed("algorithm", lr=-1)))) == 1
    assert len(errors(read(changed("network", widths=[4, 0, 3], activation=["relu"])))) == 1
    assert len(errors(read(changed("run", steps=-1)))) == 1
    for path in ({}, {"path": 3}, {"path": "."}):
        (error,) = errors(read({**GOOD, "data": {"source": "npz", **path}}))
        assert error.startswith("[data] path")
    assert errors(read({**GOOD, "initial": {"path": 3}})) == ["[initial] path = 3: expected text in quotes"]


def test_an_empty_file_is_told_what_is_needed(read):
    assert errors(read("")) == [
        "[network] widths is missing; expected a list",
        f"[data] source is missing; expected one of {', '.join(map(repr, SOURCES))}",
        f"[algorithm] name is missing; expected one of {', '.join(map(repr, ALGORITHMS))}",
        "[run] steps is missing; expected an integer",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[network\n", "not valid TOML"),
        (b"widths = [1,\n", "not valid TOML"),
        (b"a = 1\na = 2", "not valid TOML"),
        (b"\xff\xfe", "not UTF-8 text"),
        (b"#" * (LARGEST + 1), "longer than"),
        (b"a = " + b"[" * 20_000, "not valid TOML"),
    ],
)
def test_what_is_no_toml_is_refused(content, words, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        Config(path)


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "it.toml"
    path.write_bytes(text(GOOD).replace("\n", "\r\n").encode("utf-8-sig"))
    assert Config(path).job().algorithm == nl.NAGD(0.01, alpha=4)


def test_a_missing_file_or_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        Config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"directory|denied"):
        Config(tmp_path)


# --- a file from elsewhere ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../x", "/tmp/x", "a/b", "a\\\\b", ".", "..", ".hidden", "a.b", "x" * 101, "C:x", "a\\u0000"]
)
def test_names_cannot_leave_their_folder(name, read):
    made = read(text(changed("output", name="NAME")).replace("NAME", name))
    assert any("letters, digits" in error for error in errors(made))


def test_a_file_can_neither_use_the_network_nor_choose_where_data_are_kept(read):
    told = errors(read({**GOOD, "data": {"source": "kmnist", "download": True, "root": "/tmp/x"}}))
    assert any("download = true: unknown key" in error for error in told)
    assert any("root = " in error and "unknown key" in error for error in told)


def test_no_control_characters_reach_the_terminal(read):
    told = errors(read(text(GOOD) + '\n["net\\u001b[31mwork"]\n"st\\u0007\\neps" = 1\n'))
    assert told == [error for error in told if error.isprintable()]
    assert any("x1b" in error for error in told)
    assert printable("ü → θ") == "ü → θ"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 40) | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_is_changed_the_file_is_used_or_refused(data, tmp_path_factory):
    """Any value in the place of any other: a job, or a ConfigError in which every line names the file; nothing else."""
    sections = {name: dict(values) for name, values in GOOD.items()}
    for _ in range(data.draw(st.integers(1, 3))):
        section = data.draw(st.sampled_from(list(GOOD)))
        key = data.draw(st.sampled_from([*GOOD[section], "rng", "members", "batch_size", "t0", "label"]))
        value = data.draw(VALUES)
        if key in ("n", "n_features", "widths") and not isinstance(value, str | bool):
            value = data.draw(st.integers(-3, 40))  # the data are made: no gigabytes here
        if value is None:
            sections[section].pop(key, None)
        else:
            sections[section][key] = value
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_text(text(sections), "utf-8", newline="\n")
    told, job = "", None
    try:
        job = Config(path).job()
    except ConfigError as error:
        told = str(error)
    assert bool(told) != bool(job)
    assert all(line.startswith(f"{path}: ") for line in told.splitlines())


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(data, tmp_path_factory):
    original = data.draw(st.sampled_from(EXAMPLES)).read_bytes()
    start = data.draw(st.integers(0, len(original)))
    stop = data.draw(st.integers(start, min(start + 30, len(original))))
    path = tmp_path_factory.getbasetemp() / "damaged.toml"
    path.write_bytes(original[:start] + data.draw(st.binary(max_size=20)) + original[stop:])
    try:
        made = Config(path)
    except ConfigError as error:
        made = error
    assert isinstance(made, Config) or str(made).startswith(f"{path}: ")
