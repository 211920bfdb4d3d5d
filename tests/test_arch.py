"""Architectures of blocks: their gradients, the symmetries of their wiring, and exact counts of their laws (theory §14)."""

import dataclasses
import pickle
from fractions import Fraction

import numpy as np
import pytest
from problems import EPS, refusals

import noetherlite as nl
from noetherlite import arch
from noetherlite._arch.layers import along
from noetherlite._arch.numbers import Jets
from noetherlite._arch.wires import DIAGONAL
from noetherlite._kernels import modular
from noetherlite._kernels.modular import PRIME
from noetherlite._theory import count_table, model_counting
from noetherlite._theory.brackets import Span, residues

MODELS = {
    "gpt": arch.Transformer(d=4, heads=2, mlp_width=5, positions_learned=6, causal=True),
    "llama": arch.Transformer(d=4, heads=2, kv_heads=1, mlp="swiglu", norm="rms", bias=False, rope=True, qk_norm=True),
    "tied": arch.Transformer(d=4, embed=3, tied=True, loss="nll"),
    "no gain": arch.Model(arch.Embedding(2, 4), arch.Residual(arch.RMSNorm(4, gain=False), arch.Attention(4)), arch.RMSNorm(4, gain=False), arch.Dense(4, 3), loss="nll"),
    "experts": arch.Model(arch.Embedding(2, 3), arch.Experts(3, 2, 3), arch.Dense(3, 2), loss="mse"),
    "image": arch.Model(arch.Convolution(2, 3, 3, 2, bias=True), arch.Activation("relu"), arch.Convolution(3, 2, 2, 2), loss="mse"),
    "kernels": arch.Model(arch.Conv1d([1, 3, 1], [3, 3], "linear"), loss="mse"),
    "batch": arch.Model(arch.Dense(2, 3, bias=True), arch.BatchNorm(3), arch.Activation("relu"), arch.Dense(3, 2), loss="mse"),
    "adapter": arch.Model(arch.LowRank(3, 4, 2), arch.Activation("tanh"), arch.Dense(4, 2), loss="mse"),
    "stream": arch.Model(arch.Dense(2, 3), arch.Residual(arch.MLP([3, 4, 3], "relu", bias=True)), arch.Dense(3, 3), loss="nll"),
}  # fmt: skip


def problem(model, seed=0, positions=6):
    """Random parameters and data: (params, X, y), 16 positions for images."""
    rng = np.random.default_rng(seed)
    params = model.init(rng)
    X = rng.normal(size=(3, 16 if model is MODELS["image"] else positions, model.inputs))
    shape = model.predict(params, X).shape
    return params, X, rng.normal(size=shape) if model.loss != "nll" else rng.integers(0, model.outputs, shape[:2])


def flat_field(model, generator, theta):
    """g(θ) of a generator."""
    field = np.zeros(model.n_params)
    np.add.at(field, generator.rows, generator.coefficients * np.append(theta, 1.0)[generator.columns])
    return field


# --- evaluation in float64 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_complex_steps(name):
    model = MODELS[name]
    params, X, y = problem(model)
    gradient = model.pack(model.gradient(params, X, y))
    rng = np.random.default_rng(1)
    for _ in range(3):
        direction = {name: rng.normal(size=params[name].shape) for name in model.trained}
        moved = params | {name: params[name] + 1e-30j * direction[name] for name in model.trained}
        slope = model.value_and_gradient(moved, X, y)[0].imag / 1e-30
        along = model.pack(direction)
        # two sums of P products, each of which is itself a sum of a few hundred
        assert abs(slope - gradient @ along) <= 300 * EPS * (abs(gradient) @ abs(along))


@pytest.mark.parametrize("name", MODELS)
def test_the_wiring_s_symmetries_leave_the_loss_alone(name):
    model = MODELS[name]
    params, X, y = problem(model)
    theta, gradient = model.pack(params), model.pack(model.gradient(params, X, y))
    fields = [flat_field(model, g, theta) for g in model.generators()]
    assert fields
    for g, field in zip(model.generators(), fields, strict=True):
        assert abs(field @ gradient) <= 300 * EPS * (np.linalg.norm(field) * np.linalg.norm(gradient)), g.name
    wrong = gradient * np.random.default_rng(2).uniform(0.5, 1.5, gradient.size)  # negative control: no gradient
    assert max(abs(field @ wrong) / (np.linalg.norm(field) * np.linalg.norm(wrong)) for field in fields) > 1e-3


def test_one_hot_tokens_have_a_symmetry_against_positions():
    model = arch.Transformer(d=4, embed=3, tied=True, positions_learned=6, tokens=True, eps=0.1)
    params, _, y = problem(model)
    X = np.eye(3)[np.random.default_rng(0).integers(0, 3, (3, 6))]
    opposite = [g for g in model.generators() if g.name.startswith("tokens")]
    assert len(opposite) == 4
    for inputs, is_law in ((X, True), (X + 0.1, False)):
        gradient = model.pack(model.gradient(params, inputs, y))
        fields = [flat_field(model, g, model.pack(params)) for g in opposite]
        assert all((abs(f @ gradient) < 300 * EPS * np.linalg.norm(gradient)) == is_law for f in fields)


@pytest.mark.parametrize("name", ["gpt", "no gain", "experts", "stream"])
@pytest.mark.uncounted
def test_scan_finds_the_wiring_without_a_framework(name):
    """As many equations as the wiring has symmetries whose generators are legs of tensors; splits into heads are named."""
    model = MODELS[name]
    params, X, y = problem(model)
    scan = nl.scan(lambda p: model.gradient(p, X, y), params)
    wired = {g.name.rpartition(": ")[2] for g in model.generators()}
    kinds = {"scale": "scale", "gl": "gl", "shift": "translate", "null": "null", "rotate": "rotate"}
    relations = {relation.kind for relation in scan.relations}
    expected = {kinds[kind] for kind in wired & set(kinds)}
    assert expected <= relations <= expected | {"whole"}


SQUARE = arch.Model(arch.Convolution(1, 2, 3, 2), loss="mse")
test_what_does_not_fit_is_refused = refusals(
    [
        (lambda: arch.Model(arch.Dense(2, 3), arch.Dense(4, 2)), "takes 4 features, but 3 come in"),
        (lambda: arch.Model(arch.Residual(arch.Dense(3, 2))), "Residual return 2 features for 3"),
        (lambda: arch.Model(arch.Activation("relu")), "no block says"),
        (
            lambda: nl.count_laws(arch.Chain(arch.Dense(2, 2), arch.Residual(arch.Convolution(2, 2, 2)))),
            "return 1 positions for 2",
        ),
        (
            lambda: nl.count_laws(arch.Chain(arch.Embedding(2, 2, 2), arch.BatchNorm(2))),
            "3 positions come in; expected positions_learned=2",
        ),
        (lambda: arch.Attention(3, heads=3, kv_heads=2), "expected a divisor"),
        (lambda: arch.Attention(3, head_width=3, rope=True), "even number with rope"),
        (lambda: arch.Chain(3), TypeError, r"blocks must be blocks of nl\.arch"),
        (lambda: SQUARE.predict(SQUARE.init(0), np.zeros((1, 5, 1))), r"X has 5 positions; expected s\^2"),
        (lambda: SQUARE.predict({}, np.zeros((1, 9, 1))), r"params lacks 'convolution.W'"),
        (lambda: nl.count_laws(SQUARE, X=[[1.0]], theta=[0.0]), "theta and X are for a Network"),
        (lambda: nl.count_laws(arch.Transformer(positions_learned=2, tokens=True)), "net has inputs that are one-hot"),
        (lambda: nl.count_laws(SQUARE, memory=10.0), "counting takes"),
    ]
)


# --- exact numbers ---------------------------------------------------------------------------------------------------


def jets(rng, *shape):
    return rng.integers(1, PRIME, shape, dtype=np.uint64)


def test_functions_of_jets_obey_their_equations():
    rng = np.random.default_rng(0)
    numbers = Jets(3, jets(rng, 5))
    a = jets(rng, 5, 2, 4)
    one = np.zeros_like(a)
    one[..., 0] = 1
    e, opposite = numbers.exp(a), numbers.exp(numbers.multiply(a, numbers.constant(Fraction(-1))))
    assert (numbers.multiply(e, opposite) == one).all()
    assert (numbers.multiply(a, numbers.reciprocal(a)) == one).all()
    squares = numbers.multiply(a, a)
    root = numbers.root(squares)
    assert (numbers.multiply(root, root) == squares).all()
    assert numbers.square.all()
    # Φ(x) + Φ(−x) = 1, and the first-order part of a function is its derivative times that of the argument
    phi, minus = numbers.normal(a), numbers.normal(numbers.multiply(a, numbers.constant(Fraction(-1))))
    assert (numbers.add(phi, minus) == one).all()
    density = numbers.normal_density(a)
    for value, slope in ((e, e), (phi, density)):
        assert int(value[0, 0, 1]) == int(slope[0, 0, 0]) * int(a[0, 0, 1]) % PRIME


def test_a_radicand_without_a_root_is_seen():
    rng = np.random.default_rng(0)
    numbers = Jets(3, jets(rng, 200))
    a = jets(rng, 200, 1, 1)
    root = numbers.root(a)
    euler = np.array([pow(int(v), (PRIME - 1) // 2, PRIME) == 1 for v in a.ravel()])
    assert (numbers.square == euler).all()
    assert 60 < euler.sum() < 140
    assert (numbers.multiply(root, root)[euler] == a[euler]).all()
    assert numbers.signs == [{True, False}]


def test_inversion_of_many_at_once():
    values = np.array([3, 0, PRIME - 1, 7], np.uint64)
    modular.invert(values)
    assert values.tolist() == [pow(3, -1, PRIME), 0, PRIME - 1, pow(7, -1, PRIME)]


def test_both_kinds_of_numbers_are_one_evaluation():
    """A polynomial model at integers: its gradient modulo p is that in floats."""
    model = arch.Model(arch.Conv1d([1, 2, 2], [2, 2], "linear"), arch.Residual(arch.Dense(2, 2, bias=True)))
    rng = np.random.default_rng(0)
    params = {name: rng.integers(-5, 5, shape).astype(float) for name, shape in model.shapes.items()}
    X = rng.integers(-5, 5, (1, 4, 1)).astype(float)
    seed = np.ones(model.predict(params, X).shape)
    exact = {
        name: (array.astype(np.int64) % PRIME).astype(np.uint64)[None, ..., None] for name, array in params.items()
    }
    x = (X.astype(np.int64) % PRIME).astype(np.uint64)[..., None]
    out, leaves = model.evaluate(Jets(0, np.zeros(1, np.uint64)), exact, x)
    residues = out.cotangents(seed.astype(np.uint64)[..., None], [leaves[name] for name in model.trained])
    for name, residue in zip(model.trained, residues, strict=True):
        integers = np.array([int(v) - PRIME if int(v) > PRIME // 2 else int(v) for v in residue.ravel()])
        assert (integers == model.gradient(params, X, seed)[name].ravel()).all()


# --- counts ----------------------------------------------------------------------------------------------------------

# laws of each row of the table: theory §14, where the rows stand in this order
COUNTS = [
    9, 5, 0, 0, 0, 0, 0, 0, 0, 4, 6, 3, 3, 0, 3,
    6, 6, 8, 12, 12, 6, 4, 12, 4, 6, 7, 2, 6, 2, 8, 6,
    9, 9, 11, 12, 12, 16,
    29, 28, 49, 21, 19, 18, 31, 22, 28, 8,
    6, 4, 4, 6, 4,
    3, 6, 3, 4, 4, 9, 8, 3, 3, 3,
]  # fmt: skip
ROWS = list(zip(count_table.rows(), COUNTS, strict=True))
ASSUMED = {"W, b – BatchNorm – relu – W, 2-2-2", "W, b – BatchNorm – gelu – W, 2-2-2"}


def check_row(row, laws):
    count = model_counting.count(row.model, row.flow)
    assert (count.lower, count.upper) == (laws, laws), (row.text, repr(count))
    assert count.certified == (row.text not in ASSUMED), (row.text, repr(count))


@pytest.mark.needs_jit
def test_counts_of_small_architectures():
    for row, laws in ROWS:
        if row.model.n_params < 30 and row.flow == "gradient":
            check_row(row, laws)


@pytest.mark.slow
@pytest.mark.needs_jit
def test_counts_of_the_whole_table():
    for row, laws in ROWS:
        if row.model.n_params >= 30 or row.flow != "gradient":
            check_row(row, laws)


@pytest.mark.needs_jit
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("flow", ["gradient", "momentum"])
@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_counts_agree_with_those_of_networks(activation, flow, bias):
    for widths in ([2, 3, 2], [2, 2, 2, 3], [3, 5, 1]):
        network = nl.count_laws(nl.Network(widths, activation, bias=bias, loss="mse"), flow)
        model = nl.count_laws(arch.MLP(widths, activation, bias=bias), flow)
        assert (int(model), model.lower, model.assumption) == (int(network), network.lower, network.assumption)


def test_the_count_carries_its_certificate():
    count = nl.count_laws(arch.SwiGLU(2, 2))
    assert repr(count) == "<LawCount 2, gradient flow, certified>"
    assert count.by_name == {"swiglu hidden: scale": 2}
    again = pickle.loads(pickle.dumps(count))
    assert (again, again.by_name, again.certified) == (2, count.by_name, True)


def test_a_law_that_is_none_stops_the_count(monkeypatch):
    """Negative control: the wiring of a GELU taken for that of a ReLU."""
    wrong = arch.Activation("gelu")
    monkeypatch.setattr(arch.Activation, "connect", lambda self, scope, wiring, wire: wire.permit({"scale"}) or wire)
    with pytest.raises(ValueError, match=r"'dense1 out: scale', which is no symmetry"):
        nl.count_laws(arch.Chain(arch.Dense(2, 2), wrong, arch.Dense(2, 2)))


def test_dependent_exponentials_are_found():
    """In a batch that is normalised Σz = 0: the exponentials of a channel's logistic functions have a product without x."""
    layers = arch.Dense(1, 1), arch.BatchNorm(1), arch.Activation("silu"), arch.Dense(1, 1)
    assert nl.count_laws(arch.Chain(*layers)).assumption == "exponentials of dependent arguments are independent"
    assert not nl.count_laws(arch.Chain(layers[0], *layers[2:])).assumption


@pytest.mark.needs_jit
def test_a_radicand_that_only_theta_decides_is_an_assumption():
    """x/|x| of a number: whether the radicand is a square does not depend on the sample."""
    layers = arch.Embedding(1, 2), arch.RMSNorm(2), arch.Dense(2, 1)
    assert nl.count_laws(arch.Chain(*layers)).assumption == "square roots are independent"


def test_mirror_flow_keeps_differences_of_sums():
    """Exponentiated gradient: Σu − Σv for every rescaled neuron, and the logarithms' sums for translations."""
    count = nl.count_laws(arch.MLP([2, 3, 2], "relu"), "mirror")
    assert (int(count), count.lower) == (3, 3)


@pytest.mark.needs_jit
def test_symmetric_data_have_laws_of_their_own():
    """A linear model keeps the direction of its weights in every plane that the data's rotations turn, under ½|f − y|²."""

    def laws(*blocks, turned_by):
        return int(nl.count_laws(arch.Model(*blocks, loss="mse").on_symmetric_data(turned_by)))

    cycle3, cycle5 = (np.roll(np.eye(n), 1, axis=0) for n in (3, 5))
    assert nl.count_laws(arch.Model(arch.Dense(3, 1), loss="mse")) == 0
    assert laws(arch.Dense(3, 1), turned_by=cycle3) == 1
    assert laws(arch.Dense(3, 2), turned_by=cycle3) == 3  # one rate for the four weights of the plane
    assert laws(arch.Dense(5, 1), turned_by=cycle5) == 2
    assert laws(arch.Dense(2, 1), turned_by=[[0, -1], [1, 0]]) == 1
    assert laws(arch.Dense(3, 1), turned_by=-np.eye(3)) == 0
    assert laws(arch.MLP([3, 2, 1], "tanh"), turned_by=cycle3) == 0


def test_the_direction_is_kept_by_the_gradient():
    """The law of cyclic data on R³, in float64: the gradient's part across (1, 1, 1) is along that of the weights."""
    rng = np.random.default_rng(0)
    model = arch.Model(arch.Dense(3, 1), loss="mse")
    params, orbit = model.init(rng), rng.normal(size=(4, 3))
    X = np.concatenate([np.roll(orbit, k, axis=1) for k in range(3)])
    y = np.tile(rng.normal(size=(4, 1)), (3, 1))
    for inputs, is_law in ((X, True), (X + rng.normal(size=X.shape), False)):
        w, g = (a["dense.W"][0] - a["dense.W"].mean() for a in (params, model.gradient(params, inputs, y)))
        area = np.linalg.norm(np.cross(w, g))
        assert (area <= 100 * EPS * np.linalg.norm(w) * np.linalg.norm(g)) == is_law


# --- by formula ------------------------------------------------------------------------------------------------------


def rank(model, flow):
    """The rank of the differentials of the wiring's laws at a random point modulo p."""
    span = Span(model.n_params * (2 if flow == "momentum" else 1))
    point = residues(np.random.default_rng(0), model.n_params * (2 if flow == "momentum" else 1))
    for generator in model.generators():
        for differential in model_counting._differentials(generator, flow, point, model.n_params):
            span.add(differential)
    return span.dimension


@pytest.mark.needs_jit
def test_formulas_are_the_ranks():
    tokens = {"positions_learned": 2, "tokens": True}
    others = [
        arch.Transformer(embed=3, tied=True, **tokens), arch.Transformer(embed=3, tied=True, eps=0.1, **tokens),
        arch.Transformer(d=2, eps=0.1), arch.Transformer(final_norm=False, layers=2, **tokens), arch.Transformer(d=2, eps=0.1, embed=3, tied=True, **tokens),
        arch.Transformer(**tokens), arch.Model(arch.MLP([1, 9, 1], "linear")), arch.Model(arch.MLP([2, 5, 1], "linear")),
    ]  # fmt: skip
    for model in [row.model for row, _ in ROWS] + others:
        for flow in ("gradient", "momentum"):
            assert rank(model, flow) == sum(model.known_laws(flow).values()), (model, flow)


@pytest.mark.uncounted
def test_laws_of_models_that_everybody_knows():
    llama, gpt2 = (arch.Transformer(**arch.PRESETS[name]) for name in ("llama-7b", "gpt2"))
    assert (llama.n_params, gpt2.n_params) == (6_738_415_616, 124_439_808)
    d, r, heads, hidden, layers = 4096, 128, 32, 11008, 32
    by_hand = layers * (heads * r // 2 + heads * r * (r + 1) // 2 + hidden + 2 * d) + 2 * d
    assert sum(llama.known_laws().values()) == by_hand == 9_142_272
    d, r, heads, hidden, layers, positions = 768, 64, 12, 3072, 12, 1024
    attention = heads * r * (r + 1) + 2 * heads * r  # heads; key biases and columns of O
    by_hand = positions + layers * (attention + 2 * d + hidden + 2) + d  # the last d: tokens against positions
    assert sum(gpt2.known_laws().values()) == by_hand == 674_584


def test_known_laws_say_what_they_are():
    """A dict with its sum; with one-hot tokens a lower bound, in all that is printed."""
    tokens, any_kind = (arch.Transformer(embed=4, tokens=t).known_laws() for t in (True, False))
    assert tokens == any_kind == dict(tokens)
    assert tokens.total == sum(tokens.values())
    assert repr(tokens) == f"<KnownLaws: at least {tokens.total} laws of 89 parameters, gradient flow, by formula>"
    assert "a lower bound: with one-hot tokens" in str(tokens)
    assert "residual1.attention values" in str(tokens)
    for text in (repr(any_kind), str(any_kind), any_kind.limit):
        assert "lower bound" not in text
        assert "at least" not in text
    again = pickle.loads(pickle.dumps(tokens))
    assert (again, repr(again)) == (tokens, repr(tokens))


@pytest.mark.needs_jit
@pytest.mark.parametrize(
    ("blocks", "known", "counted"),
    [
        ([arch.Dense(2, 3), arch.LowRank(3, 2, 1)], 1, 2),
        ([arch.Attention(2, 1, 1, bias=True), arch.BatchNorm(2, 0.1)], 5, 6),
        ([arch.Dense(2, 3), arch.LayerNorm(3, 0.1), arch.LayerNorm(3, 0.1)], 2, 3),
        ([arch.Dense(2, 2, bias=True), arch.Residual(arch.Dense(2, 2)), arch.Dense(2, 2)], 3, 6),
    ],
    ids=lambda value: type(value[0]).__name__ if isinstance(value, list) else "",
)
def test_models_that_have_more_laws_than_their_wiring_names(blocks, known, counted):
    """As the page on counts says, and no count of them is called certified."""
    model = arch.Model(*blocks)
    count = nl.count_laws(model)
    assert (model.known_laws().total, count.lower, count.upper, count.certified) == (known, known, counted, False)


@pytest.mark.needs_jit
def test_layernorm_of_two_features_keeps_more():
    """It leaves a multiple of (1, −1), so that any matrix acts on γ ⊙ (1, −1) and β: a law more, certified, and in a gradient."""
    chain = arch.Chain(arch.Dense(3, 2), arch.LayerNorm(2, 1e-5), arch.Dense(2, 3))
    assert repr(nl.count_laws(chain)) == "<LawCount 6, gradient flow, certified>"
    three = arch.Chain(arch.Dense(3, 3), arch.LayerNorm(3, 1e-5), arch.Dense(3, 3))
    rng = np.random.default_rng(0)
    for block, is_law in ((chain, True), (three, False)):
        model = arch.Model(block, loss="mse")
        params, X = model.init(rng), rng.normal(size=(5, 1, 3))
        gradient = model.gradient(params, X, rng.normal(size=(5, 1, 3)))
        pairs = [(params[name], gradient[name]) for name in ("dense2.W", "layernorm.gain", "layernorm.shift")]
        rates = [np.sum(x[..., 0] * g[..., 1] + x[..., 1] * g[..., 0]) for x, g in pairs]
        terms = [*rates[:2], -rates[2]]
        assert (abs(sum(terms)) <= 100 * EPS * sum(map(abs, terms))) == is_law


@dataclasses.dataclass(frozen=True)
class Bilinear(arch.Block):
    """D(Ax ⊙ Bx): the block of docs/extending.md."""

    d: int
    hidden: int

    def tensors(self):
        return {"A": (self.hidden, self.d), "B": (self.hidden, self.d), "D": (self.d, self.hidden)}

    def forward(self, scope, x):
        return ((x @ scope["A"].T) * (x @ scope["B"].T)) @ scope["D"].T

    def connect(self, scope, wiring, wire):
        wire.read_by(along(scope["A"], 1), along(scope["B"], 1))
        for name in "AB":
            inside = wiring.wire(f"{scope.name} {name}", self.hidden, along(scope[name], 0), actions=DIAGONAL)
            inside.read_by(along(scope["D"], 1))
        return wiring.wire(f"{scope.name} out", self.d, along(scope["D"], 0))


def test_a_block_of_one_s_own():
    """Ax, Bx and D of a neuron are scaled with the product 1: two laws each; and with a norm before, its gains."""
    assert repr(nl.count_laws(Bilinear(2, 2))) == "<LawCount 4, gradient flow, certified>"
    assert repr(nl.count_laws(arch.Chain(arch.RMSNorm(2), Bilinear(2, 2)))) == "<LawCount 6, gradient flow, certified>"


# Weights that are used twice, and streams that norms and weights read, whose laws are none of those of theory §12.
UNUSUAL = [
    ({"eps": 0.1, "bias": False, "final_norm": False, "loss": "any"}, "gradient", "embedding out: ones"),
    ({"norm": "rms", "bias": False, "final_norm": False, "loss": "any"}, "gradient", "embedding out: factor"),
    ({"eps": 0.1, "final_norm": False, "positions_learned": 2, "loss": "any"}, "gradient", "constants of a stream: shift"),
    ({"eps": 0.1, "final_norm": False, "layers": 2}, "momentum", "constants of a stream: shift"),
    ({"embed": 3, "tied": True}, "gradient", "tied: factor"),
    ({"embed": 3, "tied": True, "norm": None, "residual": False, "loss": "any"}, "gradient", "tied: gl"),
    ({"embed": 3, "tied": True, "norm": None, "bias": False, "loss": "any"}, "momentum", "tied: rotate"),
    ({"embed": 3, "tied": True, "norm": "layer", "residual": False, "final_norm": False, "eps": 0.1, "loss": "any"}, "gradient", "tied: ones"),
]  # fmt: skip


@pytest.mark.needs_jit
@pytest.mark.parametrize(("options", "flow", "name"), UNUSUAL)
@pytest.mark.uncounted
def test_counts_of_unusual_transformers(options, flow, name):
    model = arch.Transformer(**options)
    count = nl.count_laws(model, flow)
    assert count.certified, repr(count)
    assert count == sum(model.known_laws(flow).values())
    assert count.by_name[name] > 0


def norm(d):
    return arch.RMSNorm(d, 0.1, gain=False)


TIED = arch.Dense(2, 2, tied="embedding.W")
SUMS = [  # blocks, loss, and how many laws of both flows their wiring shows
    ([arch.Dense(2, 3, True), arch.LowRank(3, 2, 1)], "any", 1, 0),
    ([arch.Embedding(2, 3, 2), arch.LowRank(3, 2, 1)], "nll", 2, 2),
    ([arch.Dense(2, 2), arch.Residual(arch.Dense(2, 2), norm(2)), arch.Dense(2, 2)], "any", 0, 0),
    ([arch.Dense(2, 2), arch.Residual(arch.RMSNorm(2, gain=False)), arch.Dense(2, 2)], "any", 0, 1),
    ([arch.Dense(2, 2), arch.Residual(arch.Dense(2, 2), arch.Residual(norm(2), arch.Dense(2, 2))), arch.Dense(2, 2)], "any", 0, 1),
    ([arch.Embedding(2, 2), arch.Residual(arch.Dense(2, 2), arch.Residual(TIED)), arch.Dense(2, 2)], "any", 0, 0),
    ([arch.Embedding(2, 2), arch.Residual(arch.RMSNorm(2), TIED), arch.RMSNorm(2), arch.Dense(2, 2)], "any", 2, 0),
    ([arch.Dense(2, 2), norm(2), arch.Residual(norm(2), arch.Dense(2, 2))], "nll", 0, 0),
    ([arch.Attention(1, head_width=4, outputs=2, bias=True)], "nll", 27, 30),
]  # fmt: skip


@pytest.mark.parametrize(("blocks", "loss", "gradient", "momentum"), SUMS)
def test_what_reads_or_joins_a_stream_rules_out_what_it_does_not_turn_with(blocks, loss, gradient, momentum):
    """A frozen matrix, a norm without a gain, weights that are used twice: no action is left that is no symmetry."""
    model = arch.Model(*blocks, loss=loss)
    params, X, y = problem(model, positions=2)
    theta, gradient_of = model.pack(params), model.pack(model.gradient(params, X, y))
    for g in model.generators():
        field = flat_field(model, g, theta)
        assert abs(field @ gradient_of) <= 300 * EPS * np.linalg.norm(field) * np.linalg.norm(gradient_of), g.name
    assert [model.known_laws(flow).total for flow in ("gradient", "momentum")] == [gradient, momentum]


# --- the polynomials themselves ----------------------------------------------------------------------------------------


def mse(widths, activation, bias=False):
    return nl.Network(widths, activation, bias=bias, loss="mse")


FORMULAS = [
    (mse([2, 2, 2], "linear"), 2, ["|W1[0,:]|² − |W2[:,0]|²", "⟨W1[0,:], W1[1,:]⟩ − ⟨W2[:,0], W2[:,1]⟩", "|W1[1,:]|² − |W2[:,1]|²"]),
    (mse([2, 1, 1], "relu", bias=True), 2, ["|W1[0,:]|² + b1[0]² − W2[0,0]²"]),
    (mse([2, 1, 1], "repu(3)"), 4, ["|W1[0,:]|² − 3 W2[0,0]²"]),
    (arch.Model(arch.MLP([1, 1, 2], "tanh", bias=True), loss="nll"), 3, ["mlp.dense2.W[0,0] + mlp.dense2.W[1,0]", "mlp.dense2.b[0] + mlp.dense2.b[1]"]),
    (arch.Chain(arch.RMSNorm(1, eps=0.5), arch.Dense(1, 1)), 2, ["rmsnorm.gain[0]² − dense.W[0,0]²"]),
    (arch.MLP([2, 2, 1], "gelu"), 3, []),
]  # fmt: skip


@pytest.mark.needs_jit
@pytest.mark.parametrize(("net", "degree", "expected"), FORMULAS)
def test_conserved_polynomials_are_those_of_theory_4(net, degree, expected):
    assert [str(h) for h in nl.conserved_polynomials(net, degree)] == expected


@pytest.mark.parametrize("activation", ["tanh", "swish", "repu(1.5)", ["relu", "polynomial(2)"]])
def test_conserved_polynomials_of_what_is_no_polynomial_are_refused(activation):
    hidden = [2, 2] if isinstance(activation, list) else [2]
    with pytest.raises(ValueError, match="net: activation"):
        nl.conserved_polynomials(nl.Network([2, *hidden, 1], activation, bias=False, loss="mse"))


def test_a_polynomial_is_of_so_many_variables():
    for flow, n in (("gradient", 6), ("momentum", 12)):
        law = nl.conserved_polynomials(nl.Network([2, 2, 1], "linear", bias=False, loss="mse"), flow=flow)[0]
        assert law.n_variables == n
        for evaluate in (law.value, law.gradient):
            for wrong in (1, n - 1, n + 1):
                with pytest.raises(ValueError, match=rf"theta must have shape \({n},\)"):
                    evaluate(np.ones(wrong))
            with pytest.raises(ValueError, match="beyond the range of a double"):
                evaluate(np.full(n, 1e200))


@pytest.mark.needs_jit
def test_conserved_polynomials_are_as_many_as_the_laws():
    """Of quadratic and linear laws; with momentum, angular momenta."""
    for net, flow in (
        (arch.Conv1d([1, 2, 1], [3, 3], "linear"), "gradient"),
        (arch.Attention(2, 1, 2, outputs=1, bias=True), "gradient"),
        (arch.Conv1d([2, 2, 1], [2, 2], "linear"), "momentum"),
    ):
        assert len(nl.conserved_polynomials(net, flow=flow)) == nl.count_laws(net, flow)
    (law,) = nl.conserved_polynomials(mse([2, 2, 1], "linear"), flow="momentum")
    assert str(law) == "⟨W1[0,:], p(W1)[1,:]⟩ − ⟨W1[1,:], p(W1)[0,:]⟩ + W2[0,0] p(W2)[0,1] − W2[0,1] p(W2)[0,0]"


@pytest.mark.needs_jit
def test_a_conserved_polynomial_is_a_function():
    model = arch.Model(arch.Conv1d([1, 2, 1], [3, 3], "linear"), loss="mse")
    params, X, y = problem(model)
    theta, gradient = model.pack(params), model.pack(model.gradient(params, X, y))
    law = nl.conserved_polynomials(model)[0]
    u, v = theta.reshape(2, 2, 3)
    assert law.degree == 2
    assert abs(law.value(theta) - (u[0] @ v[1] - u[1] @ v[0])) <= 20 * EPS * np.linalg.norm(theta) ** 2
    assert abs(law.gradient(theta) @ gradient) <= 100 * EPS * np.linalg.norm(theta) * np.linalg.norm(gradient)
    with pytest.raises(ValueError, match="degree=4 has 5984 monomials of 17 variables"):
        nl.conserved_polynomials(arch.MLP([2, 3, 2], "relu", bias=True), 4)


# --- where published statements differ ----------------------------------------------------------------------------------


def test_normalised_sigmoid_gates_keep_no_sum():
    """By hand: E1(e1) = 0, E2(e1) = e1, logits (0, ln 3), target 0: d/dt (W_11 + W_21) = 9/250 under ½|f|²."""
    e1 = np.array([[[1.0, 0.0, 0.0]]])
    zero, one = np.zeros((1, 3)), np.array([[1.0, 0.0, 0.0]])
    silu = 1 / (1 + np.exp(-1.0))
    experts = {"0.G": zero, "0.U": zero, "0.D": zero.T, "1.G": one, "1.U": one, "1.D": one.T / silu}
    gate = np.array([[0.0, 0.0, 0.0], [np.log(3.0), 0.0, 0.0]])
    for kind, rate in (("normalised sigmoid", 9 / 250), ("softmax", 0.0)):
        model = arch.Model(arch.Experts(3, 1, 2, kind), loss="mse")
        params = {"experts.gate": gate} | {f"experts.{name}": array for name, array in experts.items()}
        gradient = model.gradient(params, e1, np.zeros_like(e1))["experts.gate"]
        assert abs(-gradient[:, 0].sum() - rate) <= 20 * EPS


def test_linear_convolutions_with_equal_kernels_keep_more():
    """⟨u_0, v_1⟩ − ⟨u_1, v_0⟩ is conserved as u ∗ v = v ∗ u, whatever the data; not with a ReLU between."""
    rng = np.random.default_rng(0)
    for activation in ("linear", "relu"):
        model = arch.Model(arch.Conv1d([1, 2, 1], [3, 3], activation), loss="mse")
        params = model.init(rng)
        X = rng.normal(size=(4, 9, 1))
        gradient = model.gradient(params, X, rng.normal(size=model.predict(params, X).shape))
        names = ("conv1d.convolution1.W", "conv1d.convolution2.W")
        (u, v), (du, dv) = ([arrays[name].reshape(2, 3) for name in names] for arrays in (params, gradient))
        rate = du[0] @ v[1] + u[0] @ dv[1] - du[1] @ v[0] - u[1] @ dv[0]
        scale = np.linalg.norm(u) * np.linalg.norm(dv) + np.linalg.norm(v) * np.linalg.norm(du)
        assert (abs(rate) <= 100 * EPS * scale) == (activation == "linear")


@pytest.mark.slow
@pytest.mark.needs_jit
def test_the_formulas_of_gpt_and_llama_against_exact_counts():
    """Certified, also where LayerNorm has two features, of which it leaves one number."""
    gpt = {"heads": 2, "head_width": 1, "eps": 1e-5, "causal": True, "embed": 3, "vocab": 3}
    models = [
        arch.Transformer(d=d, tied=tied, positions_learned=n, **gpt)
        for d in (2, 3)
        for tied in (True, False)
        for n in (0, 2)
    ]
    models.append(arch.Transformer(d=2, layers=2, **gpt))
    llama = {"norm": "rms", "mlp": "swiglu", "bias": False, "rope": True, "causal": True, "heads": 2, "eps": 1e-6}
    models += [arch.Transformer(d=d, kv_heads=kv, **llama) for d in (2, 3) for kv in (1, 2)]
    for model in models:
        count = nl.count_laws(model)
        assert (int(count), count.certified) == (sum(model.known_laws().values()), True), model


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        ("mse", np.zeros((4, 5, 3))),
        ("mse", np.zeros((20, 3))),
        ("any", np.zeros((3, 20))),
        ("nll", np.zeros((4, 5), int)),
    ],
)
def test_targets_of_another_shape_are_refused(loss, y):
    """As many numbers in another order would be another loss."""
    model = nl.arch.Model(nl.arch.Attention(3, head_width=2), loss=loss)
    with pytest.raises(ValueError, match=r"y has shape .*; expected \(5, 4"):
        model.value_and_gradient(model.init(), np.ones((5, 4, 3)), y)


@pytest.mark.parametrize(("tied", "inputs"), [("nope", 3), ("embedding.W", 2), ("embedding.p", 3)])
def test_a_tie_to_what_does_not_fit_is_refused(tied, inputs):
    layers = nl.arch.Embedding(5, 3, positions_learned=2), nl.arch.Dense(3, inputs), nl.arch.Dense(inputs, 5, tied=tied)
    with pytest.raises(ValueError, match=f"tied='{tied}' of Dense.*embedding.W"):
        nl.arch.Model(*layers)


def test_arrays_that_are_missing_or_empty_are_named():
    model = nl.arch.Model(nl.arch.Attention(3, head_width=2), loss="nll")
    with pytest.raises(ValueError, match=r"params lacks 'attention\.Q'"):
        model.pack({})
    with pytest.raises(ValueError, match=r"params\['attention\.Q'\] has shape \(3, 2\)"):
        model.pack({name: array.T for name, array in model.init().items()})
    with pytest.raises(ValueError, match=r"X has shape \(0, 4, 3\); expected at least one sample"):
        model.predict(model.init(), np.zeros((0, 4, 3)))
    with pytest.raises(TypeError, match="y must be an array"):
        model.gradient(model.init(), np.ones((2, 2, 3)), [[1], [1, 2]])
