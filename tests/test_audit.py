"""Checkpoints held against laws: what averages and states show, files of every kind, and what is wrong with others."""

import json
import pickle

import numpy as np
import pytest
from models import decoder, mlp

import noetherlite as nl
from noetherlite._cli.main import main
from noetherlite.tensors import Averaging, audit

ADAM = Averaging(0.9)


class Training:
    """Some steps of Adam's average and a rule of signs, with decay λ into the average."""

    def __init__(self, model, steps, decay=0.0, change=lambda g: g, draws=10):
        self.laws = nl.scan(model.gradient, model.params, draws=draws).laws()
        x = {n: a.copy() for n, a in model.params.items()}
        m = {n: np.zeros_like(a) for n, a in x.items()}
        for k in range(steps):
            self.before, self.average = x, m
            g = change(model.gradient(x))
            m = {n: 0.9 * m[n] + 0.1 * (g[n] + decay * x[n]) for n in x}
            if k < steps - 1:
                x = {n: x[n] - 0.01 * np.sign(m[n]) for n in x}
        self.params, self.next = x, m


@pytest.fixture(scope="module")
def relu():
    return Training(mlp([3, 4, 5, 3], "relu"), 6)


def test_one_state_shows_shifts_and_two_show_every_law(relu):
    one = audit(relu.params, relu.laws, relu.average)
    assert one.ok
    assert {(c.law.kind, c.subject) for c in one.checks} == {("translate", "averaged gradient")}
    assert "2 of 4 laws were not decided" in one.limits[0]
    two = audit(relu.params, relu.laws, relu.average, following=relu.next)
    assert two.ok
    assert not two.limits
    assert [c.law for c in two.checks if c.subject == "step"] == relu.laws
    assert max(c.ratio for c in two.checks) < 1e-14


def test_what_is_wrong_is_found(relu):
    rows = {n: a.copy() for n, a in relu.average.items()}
    rows["4.weight"][1] *= 1 + 1e-9
    audited = audit(relu.params, relu.laws, rows)
    assert [law.formula for law in audited.broken] == ["4.weight[1]"]
    assert "shift of 4.weight is broken in the averaged gradient, component" in str(audited)
    assert not audited.ok
    wrong = audit(relu.params, relu.laws, relu.average, following=relu.next, averaging=0.8)
    assert {f.law.kind for f in wrong.findings} == {"scale"}
    assert {f.subject for f in wrong.findings} == {"step"}
    clipped = Training(mlp([3, 4, 5, 3], "relu"), 2, change=lambda g: {n: a / np.linalg.norm(a) for n, a in g.items()})
    assert audit(clipped.params, clipped.laws, clipped.average, following=clipped.next).broken


@pytest.mark.parametrize(("size", "said"), [(1e-13, "not decidable"), (1e-9, "broken"), (0, "holds")])
def test_what_long_sums_may_leave_is_not_decidable(relu, size, said):
    """The number of samples that a gradient summed is not in a checkpoint."""
    average = {name: m.copy() for name, m in relu.average.items()}
    average["4.weight"][1] *= 1 + 30 * size
    audited = audit(relu.params, relu.laws, average)
    assert [c.verdict for c in audited.checks if c.law.tensors == ("4.weight",)] == [said]
    assert audited.ok == (said != "broken")


def test_decay_in_the_average():
    done = Training(mlp([3, 4, 5, 3], "relu"), 5, decay=0.1)
    assert len(audit(done.params, done.laws, done.average).broken) == 2  # decay that was not declared
    told = Averaging(0.9, decay=0.1)
    two = audit(done.params, done.laws, done.average, following=done.next, averaging=told)
    assert two.ok
    assert len(two.checks) == 4
    one = audit(done.params, done.laws, done.average, averaging=told)
    assert not one.checks
    assert "a decay in the average leaves the sums to it, too" in one.limits[0]


def test_laws_that_a_state_shows_by_itself(relu):
    shown = audit(relu.params, state=relu.average)
    assert {c.law.formula for c in shown.checks} == {"4.weight[1]", "4.bias"}
    rng = np.random.default_rng(0)
    noise = {n: rng.normal(size=a.shape) for n, a in relu.params.items()}
    none = audit(relu.params, state=noise)
    assert not none.checks
    assert not none.ok
    assert "no tensor of the state is zero or sums to zero" in str(none)
    assert "give laws" in str(audit(relu.params, state=noise, averaging=Averaging(0.9, decay=0.1)))
    assert "too coarse" in str(audit(relu.params, state={n: a.astype(np.float16) for n, a in noise.items()}))


@pytest.mark.needs_jit  # not for its own sake: gradients of a transformer by complex steps
def test_a_transformer_without_laws():
    """The key bias is zero and writers sum to zero, in one state (theory §13)."""
    model = decoder(tied=False)
    m = {n: 0.1 * g for n, g in model.gradient(model.params).items()}
    kinds = {(c.law.kind, c.law.formula) for c in audit(model.params, state=m).checks}
    block = [f"h.0.{name}.{part}" for name in ("attn.o", "mlp.down") for part in ("weight[1]", "bias")]
    shifts = ["wte.weight[0]", "wpe.weight[0]", "lm_head.weight[1]", *block]
    assert kinds == {("null", "h.0.attn.k.bias[0]"), *(("translate", name) for name in shifts)}


def test_quantities_are_summed_up(relu):
    charges = audit(relu.params, relu.laws).charges
    first = next(c for c in charges if c.law.formula == "0.weight[0] + 0.bias[0] − 2.weight[1]")
    W, b, V = (relu.params[name] for name in ("0.weight", "0.bias", "2.weight"))
    Q = np.abs((W**2).sum(1) + b**2 - (V**2).sum(0)) / 2
    assert np.allclose([first.least, first.median, first.most], [Q.min(), np.median(Q), Q.max()], rtol=1e-14)
    assert 0 < first.balance < 1
    balanced = {n: np.ones_like(a) for n, a in relu.params.items()}
    law = nl.tensors.Law("scale", first.law.restricted("0.weight").members)
    assert audit(balanced, [law]).charges[0].most == 1.5


def test_an_audit_as_text_page_and_plot(relu):
    result = audit(relu.params, relu.laws, relu.average)
    assert "min |Q|" in str(result)
    assert "holds" in result._repr_html_()
    assert str(pickle.loads(pickle.dumps(result))) == str(result)
    axes = result.plot()
    assert [label.get_text() for label in axes.get_yticklabels()] == [c.law.name for c in result.charges]
    import matplotlib.pyplot as plt

    plt.close(axes.figure)


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "called",
    [
        "{}",
        "{}.exp_avg",
        "exp_avg.{}",
        "state.{}.exp_avg",
        "optimizer/momentum_buffer/{}",
        "0.mu.{}",
        "module.{}",
        "module.{}.exp_avg",
    ],
)
def test_names_of_averages(relu, called):
    state = {called.format(n): a for n, a in relu.average.items()}
    state |= {"step": np.array(6), "0.weight.exp_avg_sq": np.ones((4, 3))} if "{}.exp_avg" in called else {}
    assert len(audit(relu.params, relu.laws, state).checks) == 2
    wrapped = {f"model.{n}": a for n, a in relu.params.items()}
    assert len(audit(wrapped, relu.laws, state).checks) == 2
    for params, averages in ((relu.params, state), (wrapped, relu.average)):
        assert [c.law.formula for c in audit(params, state=averages).checks] == ["4.weight[1]", "4.bias"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "laws or state is needed"),
        ({"laws": []}, TypeError, "laws must be laws"),
        ({"laws": ["gl"]}, TypeError, "laws must be laws"),
        ({"following": {}}, ValueError, "following needs state"),
        ({"state": 3}, TypeError, "state must be a mapping of names to arrays, got 3"),
        ({"state": {"4.bias": np.ones(3)}, "following": "a"}, TypeError, "following must be a mapping of names"),
        ({"state": {"other": np.ones(3)}}, ValueError, "state has no averages by the names of params"),
        ({"state": {"4.bias": np.ones(2)}}, ValueError, r"state\['4.bias'\] must have the shape"),
        ({"state": {"4.bias": np.array([1, np.nan, 0])}}, ValueError, "not finite"),
        ({"state": {"4.bias": np.ones(3)}, "precision": "int8"}, ValueError, "precision"),
        ({"state": {"4.bias": np.ones(3)}, "averaging": 2}, ValueError, "beta must be below 1"),
    ],
)
def test_wrong_arguments(relu, arguments, error, message):
    with pytest.raises(error, match=message):
        audit(relu.params, **arguments)


def test_tensors_that_do_not_fit(relu):
    less = {n: a for n, a in relu.params.items() if n != "4.weight"}
    with pytest.raises(ValueError, match=r"params has no '4.weight'"):
        audit(less, relu.laws)
    with pytest.raises(ValueError, match=r"params\['4.weight'\] must have the shape \(3, 5\)"):
        audit(relu.params | {"4.weight": np.ones((5, 3))}, relu.laws)
    twice = {f"{part}.{n}": a for n, a in relu.params.items() for part in ("model", "ema")}
    with pytest.raises(ValueError, match=r"more than once, under 'model\.', 'ema\.'"):
        audit(twice, relu.laws)


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path, monkeypatch, relu):
    monkeypatch.chdir(tmp_path)
    np.savez("weights.npz", **relu.params)
    np.savez("adam.npz", **{f"{n}.exp_avg": a for n, a in relu.average.items()})
    np.savez("next.npz", **{f"{n}.exp_avg": a for n, a in relu.next.items()})
    nl.tensors.dump(relu.laws, "laws.json")
    return tmp_path


def test_the_command(files, capsys, relu):
    words = ["audit", "weights.npz", "--optimizer", "adam.npz", "--next", "next.npz", "--laws", "laws.json"]
    assert main([*words, "--json", "--plot", "it.png"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"]
    assert len(answer["checks"]) == 6
    assert len(answer["quantities"]) == 4
    assert answer["files"] == ["it.png"]
    assert (files / "it.png").read_bytes()[:4] == b"\x89PNG"
    assert main([*words, "--beta", "0.5"]) == 3
    assert "is broken in the step" in capsys.readouterr().out
    assert main(["audit", "weights", "--optimizer", "adam.npz"]) == 0  # the suffix may be missing, as elsewhere
    assert "shift of 4.weight" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["weights.npz"], 2, "--optimizer or --laws is needed"),
        (["weights.npz", "--laws", "laws.json", "--next", "next.npz"], 2, "--next needs --optimizer"),
        (["none.npz", "--laws", "laws.json"], 1, "No such file"),
        (["none.safetensors", "--laws", "laws.json"], 1, "none.safetensors"),
        (["laws.json", "--laws", "laws.json"], 1, "must end in .npz, .safetensors"),
        (["weights.npz", "--laws", "weights.npz"], 1, "not a JSON file of laws"),
        (["adam.npz", "--laws", "laws.json"], 1, "params has no"),
        (["weights.npz", "--laws", "laws.json", "--beta", "1"], 2, "beta must be below 1"),
    ],
)
def test_wrong_words(files, capsys, words, code, message):
    if words[0].endswith(".safetensors"):
        pytest.importorskip("safetensors")
    assert main(["audit", *words]) == code
    assert message in capsys.readouterr().err


def test_safetensors(files, relu, capsys):
    numpy_file = pytest.importorskip("safetensors.numpy")
    numpy_file.save_file(relu.params, "weights.safetensors")
    numpy_file.save_file({f"exp_avg.{n}": a for n, a in relu.average.items()}, "adam.safetensors")
    assert main(["audit", "weights.safetensors", "--optimizer", "adam.safetensors", "--laws", "laws.json"]) == 0
    assert "averaged gradient" in capsys.readouterr().out
    (files / "bad.safetensors").write_bytes(b"nothing at all, and no header")
    with pytest.raises(ValueError, match=r"bad\.safetensors' is not a readable \.safetensors file"):
        nl.tensors.read("bad.safetensors")


def test_bfloat16_keeps_its_precision(files):
    """Written byte by byte, so that no other package is needed: 1.5 and −2 in bfloat16."""
    pytest.importorskip("safetensors")
    short, single = (
        {"dtype": d, "shape": [n], "data_offsets": at} for d, n, at in (("BF16", 2, [4, 8]), ("F32", 1, [0, 4]))
    )
    header = json.dumps({"b": short, "a": single}).encode()
    body = np.array([3.0], "<f4").tobytes() + np.array([0x3FC0, 0xC000], "<u2").tobytes()
    (files / "it.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + body)
    tree = nl.tensors.read("it.safetensors")
    arrays, eps = nl._tensors.trees.named_arrays(tree, "it")
    assert arrays["b"].tolist() == [1.5, -2.0]
    assert arrays["a"].tolist() == [3.0]
    assert eps == 2.0**-7


def test_without_the_package_the_extra_is_named(files, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "safetensors", None)
    (files / "it.safetensors").write_bytes(b"")
    assert main(["audit", "it.safetensors", "--laws", "laws.json"]) == 1
    assert 'pip install "noetherlite[safetensors]"' in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "torch", None)
    (files / "it.pt").write_bytes(b"")
    with pytest.raises(RuntimeError, match="needs PyTorch"):
        nl.tensors.read("it.pt")


def test_python_objects_are_never_unpickled(files):
    class Trap:
        def __reduce__(self):
            return (open, ("trapped", "w"))

    np.savez("trap.npz", a=np.array([Trap()], dtype=object))
    with pytest.raises(ValueError, match=r"trap\.npz' is not a readable \.npz file"):
        nl.tensors.read("trap.npz")
    pytest.importorskip("torch")
    (files / "trap.pt").write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(ValueError, match=r"trap\.pt' is not a file of tensors"):
        nl.tensors.read("trap.pt")
    (files / "trap.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="reads: EOFError"):
        nl.tensors.read("trap.pt")
    assert not (files / "trapped").exists()


@pytest.fixture(scope="module")
def trained():
    """A model of PyTorch after two steps, and optimisers: one that keeps names, one that counts, one of two groups."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)).double()
    named = list(model.named_parameters())
    groups = [{"params": [p for n, p in named if n.endswith(end)]} for end in ("bias", "weight")]
    optimisers = {
        "counted": torch.optim.AdamW(model.parameters(), lr=1e-3),
        "SGD": torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9),
        "groups": torch.optim.Adam(groups, lr=1e-3),
        "plain": torch.optim.SGD(model.parameters(), lr=1e-3),
    }
    for _ in range(2):
        loss = torch.nn.functional.cross_entropy(model(torch.randn(9, 3, dtype=torch.float64)), torch.arange(9) % 3)
        model.zero_grad()
        loss.backward()
        for optimiser in optimisers.values():
            optimiser.step()
    return torch, model.state_dict(), {name: optimiser.state_dict() for name, optimiser in optimisers.items()}


@pytest.mark.parametrize("name", ["counted", "SGD"])
def test_files_of_pytorch(files, trained, name, capsys):
    torch, weights, optimisers = trained
    torch.save({"model": weights, "optimizer": optimisers[name]}, "all.pt")
    torch.save(weights, "weights.pt")
    assert main(["audit", "weights.pt", "--optimizer", "all.pt", "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert {c["name"] for c in checks} == {"shift of 2.weight", "shift of 2.bias"}


def test_optimisers_of_pytorch_that_do_not_say_whose_averages(trained):
    _, weights, optimisers = trained
    with pytest.raises(ValueError, match="4 parameters in 2 groups and has no names"):
        audit(weights, state=optimisers["groups"])
    told = json.loads(json.dumps(optimisers["groups"]["param_groups"]))
    told[0]["param_names"], told[1]["param_names"] = ["0.bias", "2.bias"], ["0.weight", "2.weight"]
    assert len(audit(weights, state=optimisers["groups"] | {"param_groups": told}).checks) == 2
    with pytest.raises(ValueError, match="state has no averaged gradients"):
        audit(weights, state=optimisers["plain"])


def test_the_momentum_of_rmsprop_is_no_average_of_gradients():
    """It averages gradients that were divided by their sizes, which obey no law: correct runs were found broken."""
    slots = {"step": np.array(1.0), "square_avg": np.ones((2, 3)), "momentum_buffer": np.ones((2, 3))}
    state = {"state": {0: slots}, "param_groups": [{"params": [0]}]}
    with pytest.raises(ValueError, match="state is of RMSProp"):
        audit({"weight": np.ones((2, 3))}, state=state)
