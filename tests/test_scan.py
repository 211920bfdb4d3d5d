"""Symmetries of any model, found from its gradients: the catalogue of architectures comes out, and nothing that is not there."""

import re

import numpy as np
import pytest
from models import Model, convnet, decoder, lora, mlp, norm, recurrent
from problems import EPS, refusals

import noetherlite as nl
from noetherlite._tensors.legs import Leg, coarsening
from noetherlite._tensors.nullspace import relations

LLAMA = {"norm_kind": "rms", "bias": False, "positions": False, "mlp": "swiglu"}
EXACT = 200 * EPS  # gradients that are correct leave a few ε of the terms of a law


def scanned(model, **options):
    return nl.scan(model.gradient, model.params, **options)


def formulas(scan):
    return {(law.kind, law.group, law.formula) for law in scan.relations}


def gpt_layer(h):
    """The laws of a layer of the transformers below with biases and LayerNorm: width 6, two heads of three, five neurons."""
    a = f"h.{h}.attn"
    return {
        ("translate", "R^6", f"{a}.o.weight[1]"),
        ("translate", "R^1", f"{a}.o.bias"),
        ("translate", "R^5", f"h.{h}.mlp.down.weight[1]"),
        ("translate", "R^1", f"h.{h}.mlp.down.bias"),
        ("null", "R^6", f"{a}.k.bias[0]"),
        ("gl", "GL(3) × 2", f"{a}.q.weight[0] + {a}.q.bias[0] − {a}.k.weight[0]"),
        ("gl", "GL(3) × 2", f"{a}.v.weight[0] + {a}.v.bias[0] − {a}.o.weight[1]"),
        (
            "scale",
            "R₊^6",
            f"h.{h}.ln_1.weight[0] + h.{h}.ln_1.bias[0] − {a}.q.weight[1] − {a}.k.weight[1] − {a}.v.weight[1]",
        ),
        ("scale", "R₊^6", f"h.{h}.ln_2.weight[0] + h.{h}.ln_2.bias[0] − h.{h}.mlp.up.weight[1]"),
    }


EMBEDDING = {
    ("translate", "R^7", "wte.weight[0]"),
    ("translate", "R^4", "wpe.weight[0]"),
    ("translate", "R^6", "wte.weight[1] − wpe.weight[1]"),
}
HEAD = {
    ("translate", "R^6", "lm_head.weight[1]"),
    ("scale", "R₊^6", "ln_f.weight[0] + ln_f.bias[0] − lm_head.weight[1]"),
}
LLAMA_NORMS = {
    (
        "scale",
        "R₊^6",
        "h.0.ln_1.weight[0] − h.0.attn.q.weight[1] − h.0.attn.k.weight[1] − h.0.attn.v.weight[1]",
    ),
    ("scale", "R₊^6", "h.0.ln_2.weight[0] − h.0.mlp.up.weight[1] − h.0.mlp.gate.weight[1]"),
    ("scale", "R₊^6", "ln_f.weight[0] − lm_head.weight[1]"),
    ("translate", "R^6", "lm_head.weight[1]"),
    ("scale", "R₊^5", "h.0.mlp.up.weight[0] − h.0.mlp.down.weight[1]"),
}
V_AND_O = "h.0.attn.v.weight[0] − h.0.attn.o.weight[1]"
STREAM = ("whole", "R₊", "wte.weight + h.0.attn.o.weight + h.0.mlp.down.weight")

RECURRENT_HEAD = {("translate", "R^4", "head.weight[1]"), ("translate", "R^1", "head.bias")}
LAST_CONVOLUTION = {
    ("gl", "GL(3)", "conv2.weight[0] + conv2.bias[0] − fc.weight[1]"),
    ("translate", "R^3", "fc.weight[1]"),
    ("translate", "R^1", "fc.bias"),
}
ROTARY = ("complex", "C* × 4", "h.0.attn.q.weight[0] − h.0.attn.k.weight[0]")

CATALOGUE = {
    "relu": (
        lambda: mlp([3, 4, 5, 3], "relu"),
        {
            ("scale", "R₊^4", "0.weight[0] + 0.bias[0] − 2.weight[1]"),
            ("scale", "R₊^5", "2.weight[0] + 2.bias[0] − 4.weight[1]"),
            ("translate", "R^5", "4.weight[1]"),
            ("translate", "R^1", "4.bias"),
        },
    ),
    "square": (
        lambda: mlp([3, 4, 3], "square", loss="mse"),
        {("scale", "R₊^4", "0.weight[0] + 0.bias[0] − 2 2.weight[1]")},
    ),
    "linear": (
        lambda: mlp([3, 4, 5, 2], "linear", loss="mse"),
        {
            ("gl", "GL(4)", "0.weight[0] + 0.bias[0] − 2.weight[1]"),
            ("gl", "GL(5)", "2.weight[0] + 2.bias[0] − 4.weight[1]"),
        },
    ),
    "tanh": (
        lambda: mlp([3, 4, 3], "tanh"),
        {("translate", "R^4", "2.weight[1]"), ("translate", "R^1", "2.bias")},
    ),
    "GPT": (decoder, EMBEDDING | gpt_layer(0) | HEAD),
    "GPT of two layers": (lambda: decoder(layers=2), EMBEDDING | gpt_layer(0) | gpt_layer(1) | HEAD),
    "GPT with ReLU": (
        lambda: decoder(mlp="relu"),
        EMBEDDING
        | gpt_layer(0)
        | HEAD
        | {("scale", "R₊^5", "h.0.mlp.up.weight[0] + h.0.mlp.up.bias[0] − h.0.mlp.down.weight[1]")},
    ),
    # A tied embedding is written to the stream and read from it: of its own laws, none is left but that with the positions.
    "tied": (lambda: decoder(tied=True), gpt_layer(0) | (EMBEDDING - {("translate", "R^7", "wte.weight[0]")})),
    "fused": (
        lambda: decoder(fused=True, bias=False),
        (EMBEDDING | HEAD)
        | {
            ("translate", "R^6", "h.0.attn.o.weight[1]"),
            ("translate", "R^5", "h.0.mlp.down.weight[1]"),
            ("gl", "GL(3) × 2", "h.0.attn.c_attn.weight{0:6}[0] − h.0.attn.c_attn.weight{6:12}[0]"),
            ("gl", "GL(3) × 2", "h.0.attn.c_attn.weight{12:18}[0] − h.0.attn.o.weight[1]"),
            ("scale", "R₊^6", "h.0.ln_1.weight[0] + h.0.ln_1.bias[0] − h.0.attn.c_attn.weight[1]"),
            ("scale", "R₊^6", "h.0.ln_2.weight[0] + h.0.ln_2.bias[0] − h.0.mlp.up.weight[1]"),
        },
    ),
    "Llama": (
        lambda: decoder(**LLAMA, rope="half", heads=4, kv_heads=2, width=4),
        LLAMA_NORMS | {("gl", "GL(4) × 2", V_AND_O), ROTARY},
    ),
    "Llama, interleaved rotary positions, grouped heads": (
        lambda: decoder(**LLAMA, rope="interleaved", heads=4, kv_heads=2, width=4),
        LLAMA_NORMS | {("gl", "GL(4) × 2", V_AND_O), ROTARY},
    ),
    "Phi 3, rotary positions in a fused axis": (
        lambda: decoder(**LLAMA, rope="half", width=4, fused=True),
        (LLAMA_NORMS - {law for law in LLAMA_NORMS if "attn.q" in law[2]})
        | {
            ("scale", "R₊^6", "h.0.ln_1.weight[0] − h.0.attn.c_attn.weight[1]"),
            ("complex", "C* × 4", "h.0.attn.c_attn.weight{0:8}[0] − h.0.attn.c_attn.weight{8:16}[0]"),
            ("gl", "GL(4) × 2", "h.0.attn.c_attn.weight{16:24}[0] − h.0.attn.o.weight[1]"),
        },
    ),
    "two heads of queries to one of keys": (
        lambda: decoder(**LLAMA, heads=4, kv_heads=2, width=2),
        LLAMA_NORMS | {("gl", "GL(2) × 2", V_AND_O), ("gl", "GL(2) × 2", "h.0.attn.q.weight[0] − h.0.attn.k.weight[0]")},
    ),
    # The slices of queries and of the output are laws of single components already: their sums are no new ones.
    "one head of keys": (
        lambda: decoder(**LLAMA, heads=2, kv_heads=1, width=4),
        LLAMA_NORMS
        | {
            ("gl", "GL(4)", "h.0.attn.q.weight{0:4}[0] + h.0.attn.q.weight{4:8}[0] − h.0.attn.k.weight[0]"),
            ("gl", "GL(4)", "h.0.attn.v.weight[0] − h.0.attn.o.weight{0:4}[1] − h.0.attn.o.weight{4:8}[1]"),
        },
    ),
    "Llama, interleaved rotary positions, ε = 0": (
        lambda: decoder(**LLAMA, rope="interleaved", width=4, eps=0.0),
        LLAMA_NORMS | {("gl", "GL(4) × 2", V_AND_O), ROTARY, STREAM},
    ),
    "Qwen 3": (
        lambda: decoder(**LLAMA, rope="half", heads=4, kv_heads=2, width=4, qk_norm=True, eps=0.0),
        LLAMA_NORMS
        | {
            ("gl", "GL(4) × 2", V_AND_O),
            ("scale", "R₊^4", "h.0.attn.q.weight[0]"),
            ("scale", "R₊^2", "h.0.attn.k.weight[0]"),
            ("scale", "R₊^2", "h.0.attn.q_norm.weight[0] − h.0.attn.k_norm.weight[0]"),
            STREAM,
        },
    ),
    "experts": (
        lambda: decoder(**(LLAMA | {"mlp": "moe"}), rope="half", width=4),
        (LLAMA_NORMS - {law for law in LLAMA_NORMS if "mlp" in law[2]})
        | {
            ("gl", "GL(4) × 2", V_AND_O),
            ROTARY,
            ("translate", "R^6", "h.0.gate.weight[1]"),
            ("scale", "R₊^10", "h.0.experts.up[0, 1] − h.0.experts.down[0, 2]"),
            ("scale", "R₊^6", "h.0.ln_2.weight[0] − h.0.gate.weight[1] − h.0.experts.gate[2] − h.0.experts.up[2]"),
        },
    ),
    "classifier": (
        lambda: decoder(classes=3),
        EMBEDDING | gpt_layer(0) | HEAD | {("translate", "R^1", "lm_head.bias")},
    ),
    "BatchNorm": (
        lambda: convnet(eps=0.0),
        LAST_CONVOLUTION | {
            ("null", "R^4", "conv1.bias[0]"),
            ("scale", "R₊^4", "conv1.weight[0]"),
            ("scale", "R₊^4", "bn1.norm.weight[0] + bn1.norm.bias[0] − conv2.weight[1]"),
        },
    ),
    "convolution with GELU": (lambda: convnet(batch_norm=False, activation="gelu"), LAST_CONVOLUTION),
    "LoRA": (
        lora,
        {("gl", "GL(2)", "lora_A.weight[0] − lora_B.weight[1]"), ("translate", "R^5", "head.weight[1]")},
    ),
    "LSTM": (recurrent, RECURRENT_HEAD | {("translate", "R^16", "rnn.bias_ih_l0[0] − rnn.bias_hh_l0[0]")}),
    # The third gate has the second bias inside a product.
    "GRU": (
        lambda: recurrent("gru"),
        RECURRENT_HEAD | {
            ("translate", "R^4", "rnn.bias_ih_l0{0:4}[0] − rnn.bias_hh_l0{0:4}[0]"),
            ("translate", "R^4", "rnn.bias_ih_l0{4:8}[0] − rnn.bias_hh_l0{4:8}[0]"),
        },
    ),
    "ReLU recurrence": (
        lambda: recurrent("relu"),
        RECURRENT_HEAD | {
            (
                "scale",
                "R₊^4",
                "rnn.weight_ih_l0[0] + rnn.weight_hh_l0[0] + rnn.bias_ih_l0[0] + rnn.bias_hh_l0[0] − rnn.weight_hh_l0[1]"
                " − head.weight[1]",
            ),
            ("translate", "R^4", "rnn.bias_ih_l0[0] − rnn.bias_hh_l0[0]"),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CATALOGUE)
def test_exactly_the_catalogue_comes_out(name):
    model, expected = CATALOGUE[name]
    whole = any(kind == "whole" for kind, *_ in expected)
    scan = scanned(model(), draws=None if whole else 10 if "two" in name else 8)
    assert formulas(scan) == expected
    assert all(law.residual < EXACT for law in scan.relations)
    assert all(law.gap > 1e10 for law in scan.relations)
    assert not (whole and scan.limits)


def test_without_gains_the_residual_stream_may_be_rotated():
    scan = scanned(decoder(mlp="relu", norm_kind="rms", gains=False, eps=0.0, bias=False), draws=8)
    (turn,) = [law for law in scan.relations if law.kind == "rotate"]
    assert turn.group == "O(6)"
    assert {(m.tensor, m.axis) for m in turn.members} == {
        ("wte.weight", 1), ("wpe.weight", 1), ("h.0.attn.q.weight", 1), ("h.0.attn.k.weight", 1), ("h.0.attn.v.weight", 1),
        ("h.0.attn.o.weight", 0), ("h.0.mlp.up.weight", 1), ("h.0.mlp.down.weight", 0), ("lm_head.weight", 1),
    }  # fmt: skip
    assert turn.residual < EXACT


def test_the_catalogue_of_symmetries_comes_out():
    net = nl.Network([3, 4, 5, 2], ["relu", "polynomial(2)"], loss="nll")
    U = net.potential(nl.datasets.gaussian_classes(n=20, n_features=3, n_classes=2, rng=0))
    scan = nl.scan(lambda p: net.unpack(U.gradient(net.pack(p))), net.unpack(net.init(rng=0, bias_std=1)))
    assert formulas(scan) == {
        ("scale", "R₊^4", "W1[0] + b1[0] − W2[1]"),
        ("scale", "R₊^5", "W2[0] + b2[0] − 2 W3[1]"),
        ("translate", "R^5", "W3[1]"),
        ("translate", "R^1", "b3"),
    }
    assert [s.name for s in nl.symmetries(U)] == ["scaling:1", "scaling:2", "translation:b", "translation:W", "time"]


def test_more_draws_only_where_they_are_needed():
    model = mlp([3, 4, 3], "relu")
    few = nl.scan_pairs([(p, model.gradient(p)) for p in moved(model, 2)])
    assert any(law.kind == "scale" for law in few.relations)
    assert "whole tensors" in few.limits[0]


def moved(model, count, seed=0):
    rng = np.random.default_rng(seed)
    return [{name: x + 0.3 * rng.normal(size=x.shape) for name, x in model.params.items()} for _ in range(count)]


def test_pairs_and_functions_agree():
    model = decoder()
    pairs = [(p, model.gradient(p)) for p in moved(model, 8)]
    assert formulas(nl.scan_pairs(pairs)) == formulas(scanned(model, draws=8))


def test_single_precision():
    model = mlp([3, 4, 5, 3], "relu")
    params = {name: x.astype(np.float32) for name, x in model.params.items()}
    single = nl.scan(lambda p: {n: g.astype(np.float32) for n, g in model.gradient(p).items()}, params)
    assert formulas(single) == formulas(scanned(model))
    assert single.eps == np.finfo(np.float32).eps


def test_near_an_initialiser_points_are_drawn_where_laws_show():
    """Weights of 0.02, zero biases and unit gains in single precision: near them, laws are missing, which is said."""
    model = decoder()
    rng = np.random.default_rng(0)

    def single(arrays):
        return {name: x.astype("f4") for name, x in arrays.items()}

    def gradient(point):
        return single(model.gradient(point))

    params = single({name: 0.02 * rng.normal(size=x.shape) for name, x in model.params.items()})
    for name, x in params.items():
        if x.ndim == 1:
            x[:] = not name.endswith("bias")
    scan = nl.scan(gradient, params, draws=8)
    assert formulas(scan) == CATALOGUE["GPT"][1]
    assert "weights were scaled to 1/√inputs" in scan.limits[0]
    assert "wte.weight, wpe.weight, h.0.attn.q.weight and 6 more" in scan.limits[0]
    near = nl.scan(gradient, params, draws=8, spread=0.1)
    assert formulas(near) != CATALOGUE["GPT"][1]
    assert "laws may be missing, or sums of others" in near.limits[0]
    assert not any("1/√inputs" in sentence for sentence in scanned(model, draws=8).limits)


def test_views_tell_how_an_axis_is_divided():
    """Queries, keys and values of different sizes in one axis, as heads: told by a view of each third of it."""
    model = decoder(fused=True, bias=False, heads=2, width=3)
    views = {"c_attn.weight": {"axis": 0, "shape": (3, 2, 3)}}
    kinds = {(law.kind, law.group) for law in scanned(model, views=views, draws=8).relations}
    assert ("gl", "GL(3) × 2") in kinds


def test_trees_of_any_depth():
    model = mlp([3, 4, 3], "relu")

    def nested(arrays):
        return {"params": {str(k): {kind: arrays[f"{k}.{kind}"] for kind in ("weight", "bias")} for k in (0, 2)}}

    def gradient(flat):
        return nested(model.gradient({name.removeprefix("params."): x for name, x in flat.items()}))

    scan = nl.scan(gradient, nested(model.params))
    assert "params.0.weight[0] + params.0.bias[0] − params.2.weight[1]" in {f for *_, f in formulas(scan)}


def test_a_scan_shows_its_laws():
    scan = scanned(decoder(), draws=8)
    text = str(scan)
    assert "queries and keys of layer 0 (2 heads)" in text
    assert "gain of h.0.ln_1 with its readers" in text
    assert "no law reaches h.0.mlp.up.bias" in text
    assert scan._repr_html_().count("<tr>") == len(scan.relations) + 1
    ax = scan.plot()
    assert [t.get_text() for t in ax.get_yticklabels()] == list(scan.shapes)


test_wrong_gradients_are_named = refusals(
    [
        (3, TypeError, "gradient must be a function"),
        (lambda p: {"w": p["w"]}, ValueError, "grads has no entry for 'b'"),
        (lambda p: {"w": p["w"][:1], "b": p["b"]}, ValueError, r"grads\['w'\] must have the shape \(2, 3\)"),
        (lambda p: {"w": None, "b": p["b"]}, ValueError, r"gradient\(params\)\['w'\] is None"),
        (lambda p: {"w": p["w"] * np.nan, "b": p["b"]}, ValueError, "not finite"),
        (lambda p: {"w": p["w"].astype(complex), "b": p["b"]}, TypeError, "real numbers"),
    ],
    lambda gradient: nl.scan(gradient, {"w": np.ones((2, 3)), "b": np.ones(2)}),
)


test_wrong_views_are_named = refusals(
    [
        ({"x": {"axis": 0, "shape": (1,)}}, "names no tensor"),
        ({3: {"axis": 0, "shape": (1,)}}, r"views\[3\] names no tensor"),
        ({"w": {"axis": 0, "shape": (3, 2)}}, "has 6 entries, but axis 0 of 'w' has 2"),
        ({"w": {"axis": 2, "shape": (3, 2)}}, "axis"),
    ],
    lambda views: nl.scan(lambda p: p, {"w": np.ones((2, 3))}, views=views),
)


def test_the_gradient_may_keep_one_buffer():
    """A function that returns the same arrays every time: they are copied, and the caller's points are not changed."""
    model = mlp([3, 4, 3], "relu")
    buffer = {name: np.zeros_like(x) for name, x in model.params.items()}

    def gradient(params):
        for name, g in model.gradient(params).items():
            buffer[name][...] = g
            params[name][...] = 0
        return buffer

    assert formulas(nl.scan(gradient, model.params)) == formulas(scanned(model))


def test_relations_between_columns():
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(3, 40))
    columns = np.stack([a, b, a + 2 * b, c, 3 * c], axis=1)
    none = np.zeros((0, 5))
    result = relations(columns, 2.0**-52, none)
    assert {tuple(row) for row in result.relations} == {(1, 2, -1, 0, 0), (0, 0, 0, 3, -1)}
    known = np.array([[0, 0, 0, 3.0, -1]])
    assert relations(columns, 2.0**-52, known).relations.tolist() == [[1, 2, -1, 0, 0]]
    noisy = columns + 1e-6 * rng.normal(size=columns.shape)
    assert not relations(noisy, 2.0**-52, none).relations.size


def test_coarsening_of_components():
    axis = Leg("w", ((6,), (4,)), (0,))
    pairs = Leg("w", ((6,), (4,)), (0,), None, (2, 3), (0,))
    assert coarsening(axis, pairs)[0] == (0, 0, 0, 1, 1, 1)
    assert coarsening(pairs, axis) is None
    half = Leg("w", ((6,), (4,)), (0,), (0, 3, 6))
    assert coarsening(axis, half)[0] == (-1, -1, -1, 0, 1, 2)
    assert coarsening(Leg("w", ((6,), (4,)), (1,)), axis) is None


def test_large_random_tensors_have_no_laws():
    """In single precision a sum of many random products is small, but not as small as round-off."""
    rng = np.random.default_rng(0)
    shapes = {"wte": (600, 96), "wpe": (64, 96), "c_attn": (96, 288), "c_fc": (96, 384), "c_attn.bias": 288, "ln": 96}

    def drawn():
        return {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}

    assert nl.scan_pairs([(drawn(), drawn()) for _ in range(3)]).relations == []


def small_network():
    net = nl.Network([3, 4, 2], "relu")
    U = net.potential(nl.datasets.gaussian_classes(n=20, n_features=3, n_classes=2, rng=0))
    return net.unpack(net.init(rng=0, bias_std=1)), lambda params: net.unpack(U.gradient(net.pack(params)))


def test_a_matrix_without_gradient_is_seen_whatever_its_shape(monkeypatch):
    params, gradient = small_network()

    def detached(params):
        return {name: 0 * g if name == "W1" else g for name, g in gradient(params).items()}

    scan = nl.scan(detached, params, draws=3)
    assert ("null", "R^12", "W1[0, 1]") in formulas(scan)
    assert scan.free == ["b1"]
    with pytest.raises(AssertionError, match="no gradient in W1"):
        nl.testing.assert_symmetric(params, gradient(params), scan.laws())
    monkeypatch.setattr("noetherlite._tensors.search.LARGEST", 11)
    assert "no gradient in W1, too large for a law" in nl.scan(detached, params, draws=3).limits


def test_coarse_numbers_are_refused():
    """Their tolerance is a tenth of a law's terms, and most sums are laws by chance."""
    params, gradient = small_network()
    with pytest.raises(ValueError, match="of precision 1e-03 are too coarse"):
        nl.scan(gradient, {name: x.astype(np.float16) for name, x in params.items()}, draws=3)


def test_sizes_of_a_view_are_a_sequence():
    params, gradient = small_network()
    with pytest.raises(TypeError, match=r"views\['W1'\]\['shape'\] must be a sequence of integers, got 4"):
        nl.scan(gradient, params, views={"W1": {"axis": 0, "shape": 4}})


@pytest.mark.parametrize(("field", "value"), [("coefficient", "NaN"), ("coefficient", '"1"'), ("inverse", '"no"')])
def test_members_of_a_damaged_file_are_refused(field, value, tmp_path):
    params, gradient = small_network()
    path = nl.tensors.dump(nl.scan(gradient, params, draws=3).laws(), tmp_path / "laws.json")
    path.write_text(re.sub(rf'"{field}": [^,\s]+', f'"{field}": {value}', path.read_text(), count=1))
    with pytest.raises(ValueError, match=f"law 0 is damaged: .*{field}"):
        nl.tensors.load(path)


def test_dropout_on_a_stream_takes_its_shifts_away():
    """A scan draws the masks that training draws: laws of a scan without them break in a correct run."""
    rng = np.random.default_rng(0)
    X, y, params = (
        rng.normal(size=(7, 4)),
        rng.normal(size=(7, 3)),
        {"W": rng.normal(size=(5, 4)), "U": rng.normal(size=(3, 5))},
    )

    def masked(params, share=0.8):
        mask = rng.random((7, 5)) < share
        return Model(
            params, lambda p: ((norm((X @ p["W"].T) * mask, "layer", 0.1) @ p["U"].T - y) ** 2).sum()
        ).gradient(params)

    whole, dropped = nl.scan(lambda params: masked(params, 1), params), nl.scan(masked, params)
    behind = ("translate", "R^3", "U[0]")  # what is normalised sums to zero
    assert formulas(whole) == {("translate", "R^4", "W[1]"), behind}
    assert formulas(dropped) == {behind}
    assert nl.watch(whole.laws())(params, masked(params))
