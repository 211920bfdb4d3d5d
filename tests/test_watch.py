"""Laws watched while a model trains: correct gradients never break one, planted faults are named as what they are."""

import copy
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from models import decoder, mlp

import noetherlite as nl
from noetherlite._tensors import defects
from noetherlite._tensors.finding import judge
from noetherlite._tensors.law import Law, Member
from noetherlite._tensors.legs import Leg
from noetherlite._tensors.localise import coverage


@pytest.fixture(scope="module")
def gpt():
    """A transformer, its laws, and a point with its gradient, away from where the laws were found."""
    model = decoder()
    rng = np.random.default_rng(3)
    point = {name: x + 0.3 * rng.normal(size=x.shape) for name, x in model.params.items()}
    return model, nl.scan(model.gradient, model.params, draws=10).laws(), point, model.gradient(point)


def planted(grads, **factors):
    """The gradient with tensors multiplied by factors; `__` stands for a dot."""
    out = {name: g.copy() for name, g in grads.items()}
    for name, factor in factors.items():
        out[name.replace("__", ".")] *= factor
    return out


def test_a_correct_gradient_breaks_nothing(gpt):
    _, laws, params, grads = gpt
    watch = nl.watch(laws)
    assert watch(params, grads) == []
    assert watch.ok
    assert not watch.findings
    nl.testing.assert_symmetric(params, grads, laws)


LN_2 = "gain of h.0.ln_2 with its readers"
LN_1 = "gain of h.0.ln_1 with its readers"
QK, VO = "queries and keys of layer 0 (2 heads)", "values and output of layer 0 (2 heads)"

# A table: what is wrong, which laws break and what is said about the first.
FAULTS = {
    "a norm's gain lacks an all-reduce": (
        {"h__0__ln_2__weight": 0.5},
        {LN_2},
        "the gradient of h.0.ln_2.weight is 0.5 times what the other tensors ask for: a partial sum?",
    ),
    "a block is counted twice": (
        {"h__0__mlp__up__weight": 2, "h__0__mlp__up__bias": 2, "h__0__mlp__down__weight": 2},
        {LN_2},
        "h.0.mlp.up.weight is 2 times what the other tensors ask for: counted twice?",
    ),
    "the value bias is detached": ({"h__0__attn__v__bias": 0}, {VO}, "h.0.attn.v.bias gets no gradient: detached?"),
    "the key's gradient is 10 % small": (
        {"h__0__attn__k__weight": 0.9},
        {QK, LN_1},
        "the gradient of h.0.attn.k.weight is 0.9 times",
    ),
    "the embedding's gradient is halved": (
        {"wte__weight": 0.5},
        {"shift of wte and wpe"},
        "wte.weight is 0.5 times what that of wpe.weight asks for",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_planted_faults_are_named(gpt, name):
    _, laws, params, grads = gpt
    factors, broken, sentence = FAULTS[name]
    watch = nl.watch(laws)
    new = watch(params, planted(grads, **factors))
    assert {law.name for law in watch.broken} == broken
    assert sentence in str(new[0])
    assert not watch.ok


def test_a_parameter_that_is_zero_is_not_detached(gpt):
    """Biases begin at zero: their terms say nothing of their gradients, and two tensors are left, of which either may be wrong."""
    model, laws, params, _ = gpt
    params = params | {"h.0.ln_2.bias": np.zeros(6)}
    (finding,) = nl.watch(laws)(params, planted(model.gradient(params), h__0__mlp__up__weight=2))
    assert "detached" not in str(finding)
    words = "h.0.ln_2.weight is 0.5 times what that of h.0.mlp.up.weight asks for, or one of both is wrong"
    assert words in str(finding)


def test_a_wrong_row_of_the_head_is_found(gpt):
    _, laws, params, grads = gpt
    wrong = planted(grads)
    wrong["lm_head.weight"][3] *= 1.01
    watch = nl.watch(laws)
    watch(params, wrong)
    assert {law.name for law in watch.broken} == {"shift of lm_head.weight", "gain of ln_f with its readers"}


def test_all_gradients_by_one_factor_go_unseen(gpt):
    """Directions that no law sees, which the coverage names."""
    _, laws, params, grads = gpt
    watch = nl.watch(laws)
    assert watch(params, {name: 7 * g for name, g in grads.items()}) == []
    assert "as wholes would go unseen" in watch.report()


def test_one_neuron_is_told_from_the_others():
    model = mlp([3, 4, 5, 3], "relu")
    laws = nl.scan(model.gradient, model.params, draws=10).laws()
    grads = model.gradient(model.params)
    grads["0.weight"][2] *= 1 + 1e-9
    (finding,) = nl.watch(laws)(model.params, grads)
    assert finding.law.formula == "0.weight[0] + 0.bias[0] − 2.weight[1]"
    assert finding.where == (2,)
    assert "component 2" in str(finding)


def test_training_in_every_precision():
    """Forty steps of gradient descent: no law is ever called broken, in float64 nor in float32."""
    model = mlp([3, 4, 5, 3], "relu", samples=40)
    laws = nl.scan(model.gradient, model.params, draws=10).laws()
    for dtype in (np.float64, np.float32):
        params = {name: x.astype(dtype) for name, x in model.params.items()}
        watch = nl.watch(laws)
        for _ in range(40):
            grads = {name: g.astype(dtype) for name, g in model.gradient(params).items()}
            watch(params, grads)
            params = {name: params[name] - dtype(0.1) * grads[name] for name in params}
        assert watch.ok, watch.report()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.uncounted
def test_near_a_minimum_round_off_is_that_of_what_cancels(dtype):
    """Seven samples, fitted by Adam: single gradients leave more than their own terms allow, and no law is called broken."""
    model = mlp([3, 4, 5, 3], "relu")
    laws = nl.scan(model.gradient, model.params, draws=10).laws()
    params = {name: x.astype(dtype) for name, x in model.params.items()}
    m, v = ({name: np.zeros_like(x) for name, x in params.items()} for _ in range(2))
    watch, alone = nl.watch(laws), 0.0
    for step in range(1, 201):
        grads = {name: g.astype(dtype) for name, g in model.gradient(params).items()}
        watch(params, grads)
        for law in laws:
            ratios, tolerance = judge(law, params, grads, float(np.finfo(dtype).eps))
            alone = max(alone, float(ratios.max()) / tolerance)
        for name, g in grads.items():
            m[name], v[name] = 0.9 * m[name] + 0.1 * g, 0.999 * v[name] + 0.001 * g * g
            rate = dtype(0.02 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step))
            params[name] = (params[name] - rate * m[name] / (np.sqrt(v[name]) + dtype(1e-8))).astype(dtype)
    assert watch.ok, watch.report()
    assert alone > 1 or dtype is np.float32


def test_the_precision_of_the_computation_must_be_told(gpt):
    _, laws, params, grads = gpt
    rng = np.random.default_rng(0)
    noisy = {name: (g * (1 + 2.0**-8 * rng.uniform(-1, 1, g.shape))).astype(np.float32) for name, g in grads.items()}
    # A gradient that is zero has the noise of what it is a difference of.
    laws = [law for law in laws if law.kind != "null"]
    assert nl.watch(laws)(params, noisy)
    assert not nl.watch(laws, precision="bfloat16")(params, noisy)
    assert nl.watch(laws, precision="bfloat16")(params, planted(noisy, h__0__ln_2__weight=0.5))


def test_coverage_is_what_laws_lock(gpt):
    _, laws, params, grads = gpt
    watch = nl.watch(laws)
    assert {frozenset(group) for group in watch.coverage.groups} == {
        frozenset({"wte.weight", "wpe.weight"}),
        frozenset(
            {"h.0.ln_1.weight", "h.0.ln_1.bias"}
            | {f"h.0.attn.{part}" for part in ("q.weight", "q.bias", "k.weight", "v.weight", "v.bias", "o.weight")}
        ),
        frozenset({"h.0.ln_2.weight", "h.0.ln_2.bias", "h.0.mlp.up.weight"}),
        frozenset({"ln_f.weight", "ln_f.bias", "lm_head.weight"}),
    }
    assert watch.coverage.unseen == 8
    # A factor on one group as a whole is not seen; on half of it, it is.
    for group in watch.coverage.groups:
        whole = {name: 3 * g if name in group else g for name, g in grads.items()}
        assert nl.watch(laws)(params, whole) == []
        part = {name: 3 * g if name == group[0] else g for name, g in grads.items()}
        assert nl.watch(laws)(params, part)


def test_a_law_of_whole_tensors_locks_none():
    law = Law("whole", tuple(Member(Leg(name, ((2,), (2,)), ()), 1.0) for name in "abc"))
    seen = coverage([law], list("abc"))
    assert (seen.groups, seen.unseen) == ((), 2)


@pytest.mark.parametrize("factor", [0.5, 0.9, 0.995, 1.01])
def test_a_law_of_the_whole_stream_hides_no_factor(factor):
    """Its sum over the tensors of one group is not zero; and of factors near one, the one that no other tensor has is wrong."""
    rng = np.random.default_rng(0)
    x, g = ({name: rng.normal(size=6) for name in "abcde"} for _ in range(2))
    g["c"] = (x["a"] * g["a"] + x["b"] * g["b"]) / x["c"]
    g["e"] *= (x["c"] @ g["c"] + x["d"] @ g["d"]) / (x["e"] @ g["e"])
    legs = [Member(Leg(name, ((6,),), (0,)), sign) for name, sign in (("a", 1.0), ("b", 1.0), ("c", -1.0))]
    stream = [Member(Leg(name, ((6,),), ()), sign) for name, sign in (("c", 1.0), ("d", 1.0), ("e", -1.0))]
    watch = nl.watch([Law("scale", tuple(legs)), Law("whole", tuple(stream))])
    assert watch(x, g) == []
    for name in "abc":
        finding, *_ = nl.watch(watch.laws)(x, g | {name: factor * g[name]})
        assert f"; the gradient of {name} is {factor} times what the other tensors ask for" in str(finding), name
    assert "combinations of factors on these 3 as wholes would go unseen (2 independent ones)" in watch.report()


def test_every_other_step_costs_nothing(gpt):
    _, laws, params, grads = gpt
    watch = nl.watch(laws, every=10)
    for step in range(20):
        watch(params, planted(grads, h__0__ln_2__weight=0.5) if step > 3 else grads)
    assert [finding.step for finding in watch.findings] == [10]
    assert "2 of 20 steps checked" in watch.report()


MIXED = [("gl", 0), ("gl", 1), ("rotate", 0), ("rotate", 1), ("complex", 0)]


@pytest.mark.parametrize("small", [0, 40, 1 << 14])
def test_all_laws_at_once_are_each_by_itself(gpt, monkeypatch, small):
    """Whatever size of tensors is small, with a slice, pairs of axes, components mixed in all ways and coefficients that are not one."""
    _, laws, params, grads = gpt
    cut = Leg("wte.weight", ((7,), (6,)), (1,), part=(0, 2, 5))
    pairs = Leg("wpe.weight", ((4,), (6,)), (1,), arranged=(2, 3), components=(1,))
    stream = (
        Member(Leg("wte.weight", ((7,), (6,)), (1,)), 2.0),
        Member(Leg("wpe.weight", ((4,), (6,)), (1,)), 1.5, True),
    )
    more = [
        *(Law(kind, stream, (2, 3), acting) for kind, acting in MIXED),
        Law("translate", (Member(cut, 2.0),)),
        Law("scale", (Member(pairs, 0.5), Member(replace(pairs, components=(1,)), -3.0))),
    ]
    monkeypatch.setattr(defects, "_SMALL", small)
    alone = [law.total(params, grads).reshape(-1) for law in [*laws, *more]]
    together = defects.Defects([*laws, *more], [part.size for part in alone]).totals(params, grads)
    atol = 1e-15 * max(np.abs(g).max() for g in grads.values()) * 50
    np.testing.assert_allclose(together, np.concatenate(alone), atol=atol)
    assert np.abs(alone[-1]).max() > 1e-3 * np.abs(grads["wpe.weight"]).max()  # they are no zeros


def test_only_what_laws_look_at_must_be_finite(gpt):
    """Shifts see no parameters; infinite ones are an error where a law multiplies them, and the step counts as unchecked."""
    _, laws, params, grads = gpt
    infinite = {name: np.where(np.arange(x.size).reshape(x.shape) == 1, np.inf, x) for name, x in params.items()}
    shift = [law for law in laws if law.tensors == ("wpe.weight",)]
    assert nl.watch(shift)(infinite, grads) == []
    watch = nl.watch(laws)
    watch(infinite, grads)
    assert watch.n_checked == 0
    assert "has entries that are not finite" in watch.problem
    assert watch(params, grads) == []
    assert watch.n_checked == 1


def test_products_beyond_the_range_of_a_double_are_not_checked(gpt):
    _, laws, params, grads = gpt
    watch = nl.watch(laws)
    with np.errstate(all="raise"):
        watch({name: 1e30 * x for name, x in params.items()}, {name: 1e300 * g for name, g in grads.items()})
    assert "products of params and grads are beyond the range of a double" in watch.problem
    assert not watch.ok


def test_each_law_is_told_once(gpt):
    _, laws, params, grads = gpt
    watch = nl.watch(laws)
    wrong = planted(grads, h__0__ln_2__weight=0.5)
    assert len(watch(params, wrong)) == 1
    assert watch(params, wrong) == []


def test_a_test_suite_may_ask_for_an_exception(gpt):
    _, laws, params, grads = gpt
    with pytest.raises(AssertionError, match=r"gain of h\.0\.ln_2 with its readers is broken since step 0"):
        nl.watch(laws, raise_on_broken=True)(params, planted(grads, h__0__ln_2__weight=0.5))
    with pytest.raises(AssertionError, match=r"(?s)a partial sum\?\nlocked together: .* as wholes would go unseen"):
        nl.testing.assert_symmetric(params, planted(grads, h__0__ln_2__weight=0.5), laws)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wte.weight": None}, "is None"),
        ({"wte.weight": np.ones((2, 2))}, "shape"),
        ({"wte.weight": np.full((7, 6), np.nan)}, "not finite"),
    ],
)
def test_a_watch_never_stops_training(gpt, change, message):
    _, laws, params, grads = gpt
    watch = nl.watch(laws)
    assert watch(params, grads | change) == []
    assert not watch.ok
    assert message in watch.report()
    with pytest.raises(ValueError, match=message):
        nl.testing.assert_symmetric(params, grads | change, laws)


class Deleted(dict):
    """A tree that cannot be read any more."""

    def items(self):
        raise RuntimeError("these buffers are gone")


def test_nothing_that_cannot_be_read_stops_training(gpt):
    _, laws, params, _ = gpt
    watch = nl.watch(laws)
    assert watch(params, Deleted()) == watch(params, None) == []
    assert watch.problem == "step 0 could not be checked: RuntimeError('these buffers are gone')"
    with pytest.raises(RuntimeError, match="gone"):
        nl.testing.assert_symmetric(params, Deleted(), laws)


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ({}, {"state": {}}, r"expected nl\.watch\(laws, averaging=β\)"),
        ({}, {"logits": np.ones((3, 7)), "labels": np.ones(3, int)}, "a watch that knows the head"),
        ({"anchor": nl.tensors.Anchor("lm_head.weight")}, {"logits": np.ones((3, 7))}, "logits need labels"),
        ({"anchor": nl.tensors.Anchor("lm_head.weight")}, {"labels": np.ones(3, int)}, "labels need logits"),
    ],
)
def test_what_a_watch_was_not_set_up_for_is_said_once(gpt, options, given, message):
    """It neither stops training nor hides: a warning, the report, and the laws are checked all the same."""
    _, laws, params, grads = gpt
    watch = nl.watch(laws, **options)
    with pytest.warns(UserWarning, match=message):
        assert watch(params, grads, **given) == []
    assert watch(params, grads, **given) == []
    assert (watch.n_checked, watch.ok) == (2, False)
    assert watch.problem in watch.report()
    (finding,) = watch(params, planted(grads, h__0__ln_2__weight=0.5), **given)
    assert "partial sum" in str(finding)
    with pytest.raises(TypeError, match=message):
        nl.watch(laws, raise_on_broken=True, **options)(params, grads, **given)
    with pytest.raises(TypeError, match=message):
        watch.check(params, grads, **given)


def test_a_missing_tensor_is_named(gpt):
    _, laws, params, grads = gpt
    with pytest.raises(ValueError, match=r"params has no 'wte.weight', which a law names"):
        nl.testing.assert_symmetric({n: x for n, x in params.items() if n != "wte.weight"}, grads, laws)
    words = r"grads has no entry for 'wte.weight', .* and 15 more; both must have the same"
    with pytest.raises(ValueError, match=words):
        nl.testing.assert_symmetric(params, {f"model.{n}": g for n, g in grads.items()}, laws)
    for none in ([], ["gl"]):
        with pytest.raises(TypeError, match="laws must be laws"):
            nl.watch(none)


def test_laws_in_a_file(gpt, tmp_path):
    _, laws, params, grads = gpt
    path = nl.tensors.dump(laws, tmp_path / "laws.json")
    assert nl.tensors.load(path) == laws
    nl.testing.assert_symmetric(params, grads, nl.tensors.load(path))


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.update(schema=9),
        lambda d: d.update(laws=3),
        lambda d: d["laws"][0].pop("members"),
        lambda d: d["laws"][0].update(kind="magic"),
        lambda d: d["laws"][0]["members"][0].update({"kept": [5]}),
        lambda d: d["laws"][0]["members"][0].update(shape=[[9], [9]]),
        lambda d: d["laws"][0].update(members=[]),
        lambda d: d["laws"][0].update(acting=None),
    ],
)
def test_damaged_files_of_laws_are_refused(gpt, tmp_path, damage):
    path = nl.tensors.dump(gpt[1], tmp_path / "laws.json")
    document = json.loads(path.read_text("utf-8"))
    damage(document)
    path.write_text(json.dumps(document), "utf-8")
    with pytest.raises(ValueError, match=r"laws\.json"):
        nl.tensors.load(path)


def test_no_file_of_laws(tmp_path):
    (tmp_path / "x.json").write_bytes(b"\xff\x00")
    with pytest.raises(ValueError, match="not a JSON file of laws"):
        nl.tensors.load(tmp_path / "x.json")


def test_results_are_ordinary_objects(gpt):
    _, laws, params, grads = gpt
    watch = nl.watch(laws)
    watch(params, planted(grads, h__0__ln_2__weight=0.5))
    for thing in (laws, watch.findings, watch.coverage, watch):
        again = pickle.loads(pickle.dumps(thing))
        assert str(again) == str(thing) == str(copy.deepcopy(thing))
    assert "broken" in watch._repr_html_()
    unchecked = nl.watch(laws)._repr_html_()
    assert "not decidable" in unchecked
    assert "holds" not in unchecked


def test_quantities_charges_and_sources(gpt):
    """Q̇ = J along a velocity, and J̇ = S where the velocity stays, for every law of a symmetric generator."""
    _, laws, params, _ = gpt
    rng = np.random.default_rng(0)
    velocities = {name: rng.normal(size=x.shape) for name, x in params.items()}
    step = 1e-6
    ahead = {name: x + step * velocities[name] for name, x in params.items()}
    behind = {name: x - step * velocities[name] for name, x in params.items()}
    for law in laws:
        slope = (law.quantity(ahead) - law.quantity(behind)) / (2 * step)
        charge = law.charge(params, velocities)
        scale = law.defect(params, velocities)[1].max()
        symmetric = 0.5 * (charge + charge.swapaxes(-1, -2)) if law.kind == "gl" else charge
        assert np.abs(slope - symmetric).max() < 1e-8 * scale
        growth = (law.charge(ahead, velocities) - law.charge(behind, velocities)) / (2 * step)
        assert np.abs(growth - law.source(velocities)).max() < 1e-8 * law.defect(velocities, velocities)[1].max()


def test_the_allowance_grows_with_the_precision(gpt):
    _, laws, params, grads = gpt
    double, single = (judge(laws[-1], params, grads, eps)[1] for eps in (2.0**-52, 2.0**-23))
    assert single / double == 2.0**29


def head_of(params, tokens=11, seed=0):
    """Logits of a head that is a layer of its own, labels of which some do not count, and the gradient of their loss."""
    rng = np.random.default_rng(seed)
    U, b = params["lm_head.weight"], rng.normal(size=len(params["lm_head.weight"]))
    h = rng.normal(size=(tokens, U.shape[1]))
    labels = rng.integers(0, len(U), tokens)
    labels[:3] = -100
    z = h @ U.T + b
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(3, tokens), labels[3:]] -= 1
    p[:3] = 0
    p /= (labels >= 0).sum()
    return {"lm_head.weight": U, "lm_head.bias": b}, {"lm_head.weight": p.T @ h, "lm_head.bias": p.sum(0)}, z, labels


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("factor", "said"), [(1, ""), (8, "8 times what the logits ask for: summed"), (0.25, "divided once")]
)
def test_the_anchor_sees_the_absolute_scale(gpt, dtype, factor, said):
    _, laws, params, grads = gpt
    head, slope, z, labels = head_of(params)
    laws = [law for law in laws if law.tensors == ("lm_head.weight",)]
    watch = nl.watch(laws, anchor=nl.tensors.Anchor("lm_head.weight", "lm_head.bias"))
    x, g = ({name: a.astype(dtype) for name, a in (grads | arrays).items()} for arrays in (head, slope))
    g = {name: dtype(factor) * a for name, a in g.items()}
    findings = watch(x, g, logits=z.reshape(1, 11, -1).astype(dtype), labels=labels.reshape(1, 11))
    assert [said in str(finding) for finding in findings] == ([True] if said else [])
    assert "absolute scale, by lm_head.weight" in watch.report()
    assert watch.ok == (not said)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.ones((3, 7)), np.ones(3), "labels must be integers"),
        (np.ones((3, 7)), np.ones(4, int), "shape"),
        (np.ones((3, 7)), np.full(3, 7), "from 0 to 6"),
        (np.ones((3, 7)), np.full(3, -100), "from 0 to 6"),
        (np.full((3, 7), np.nan), np.ones(3, int), "not finite"),
    ],
)
def test_wrong_logits_are_named(gpt, logits, labels, message):
    _, laws, params, grads = gpt
    watch = nl.watch(laws, anchor=nl.tensors.Anchor("lm_head.weight"))
    assert watch(params, grads, logits=logits, labels=labels) == []
    assert message in watch.report()


def test_an_anchor_needs_its_words(gpt):
    _, laws, params, grads = gpt
    with pytest.raises(ValueError, match="reduction"):
        nl.tensors.Anchor("lm_head.weight", reduction="median")
    watch = nl.watch(laws, anchor=nl.tensors.Anchor("head"))
    watch(params, grads)
    assert "params has no 'head', which the anchor names" in watch.report()
