"""A GPT in PyTorch: every planted fault of beyond.md §12 is named as what it is, and long correct runs break no law."""

import numpy as np
import pytest

import noetherlite as nl

torch = pytest.importorskip("torch")
nn = torch.nn
pytestmark = pytest.mark.needs_jit  # nothing here is compiled by numba

WIDTH, HEADS, VOCABULARY, TIME = 8, 2, 11, 6


class GPT(nn.Module):
    """One block of attention and of a feed-forward layer; returns logits."""

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(TIME, WIDTH)
        self.ln_1, self.ln_2, self.ln_f = (nn.LayerNorm(WIDTH) for _ in range(3))
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(3 * WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions.weight
        y = self.ln_1(x)
        q, k, v = (part(y).unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).flatten(-2))
        x = x + self.down(nn.functional.gelu(self.up(self.ln_2(x))))
        return self.head(self.ln_f(x))


def batch_of(rng, size=8):
    """Counting upwards from a random letter, with some noise."""
    ids = (rng.integers(0, VOCABULARY, (size, 1)) + np.arange(TIME + 1)) % VOCABULARY
    noise = rng.random(ids.shape) < 0.2
    ids[noise] = rng.integers(0, VOCABULARY, noise.sum())
    return torch.tensor(ids)


def loss_of(model, ids):
    logits = model(ids[:, :-1])
    return nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()), logits


@pytest.fixture(scope="module")
def trained():
    """The model, its laws, and the gradient of one batch with its logits, in double precision."""
    torch.manual_seed(0)
    model, ids = GPT().double(), batch_of(np.random.default_rng(0))
    with torch.no_grad():  # initialisers set biases to zero, which then say nothing of their gradients
        for p in model.parameters():
            p += 0.3 * torch.randn_like(p)

    def gradient(params):
        leaves = {name: torch.tensor(x, requires_grad=True) for name, x in params.items()}
        logits = torch.func.functional_call(model, leaves, (ids[:, :-1],))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))

    params = dict(model.named_parameters())
    laws = nl.scan(gradient, params, draws=12, spread=0.5).laws()
    loss, logits = loss_of(model, ids)
    loss.backward()
    return laws, params, {name: p.grad for name, p in params.items()}, logits, ids[:, 1:]


def times(**factors):
    return lambda grads, params: {name: g * factors.get(name.replace(".", "_"), 1) for name, g in grads.items()}


def decayed(fewest_axes):
    """Weight decay folded into the gradient, of tensors with that many axes."""
    return lambda grads, params: {n: g + 0.1 * params[n].detach() * (g.ndim >= fewest_axes) for n, g in grads.items()}


ROW = torch.where(torch.arange(VOCABULARY) == 3, 0.99, 1.0).double()[:, None]
HEAD = torch.where(torch.arange(WIDTH) < WIDTH // HEADS, 1.0, 0.9).double()[:, None]
FAULTS = {
    "a norm's gain is a partial sum": (times(ln_2_weight=0.5), "the gradient of ln_2.weight is 0.5 times what the other tensors ask for: a partial sum?"),
    "a block is counted twice": (times(up_weight=2, up_bias=2, down_weight=2, down_bias=2), "the gradient of up.weight is 2 times what the other tensors ask for: counted twice?"),
    "the value bias is detached": (times(v_bias=0), "v.bias gets no gradient: detached?"),
    "keys are 10 % small": (times(k_weight=0.9, k_bias=0.9), "the gradient of k.weight is 0.9 times"),
    "one vocabulary row is 1 % small": (times(head_weight=ROW), "shift of head.weight is broken"),
    "a sum where a mean is meant": (times(**dict.fromkeys([n.replace(".", "_") for n, _ in GPT().named_parameters()], 8)), "is 8 times what the logits ask for: summed"),
    "keys of one head are 10 % small": (times(k_weight=HEAD, k_bias=HEAD[:, 0]), "queries and keys (2 heads) is broken since step 0, block 1"),
    "clipping tensor by tensor": (lambda grads, _: {n: g / g.norm().clamp(min=1e-2) for n, g in grads.items()}, "clipped tensor by tensor?"),
    "weight decay": (decayed(1), "the gradient has 0.1 times the parameters added to it: weight decay?"),
    "weight decay of matrices": (decayed(2), "the gradient has 0.1 times the parameters of matrices added to it: weight decay?"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_planted_faults_are_named(trained, name):
    laws, params, grads, logits, labels = trained
    change, said = FAULTS[name]
    anchor = nl.tensors.Anchor("head.weight")
    right = nl.watch(laws, anchor=anchor)
    assert right(params, grads, logits=logits, labels=labels) == []
    wrong = nl.watch(laws, anchor=anchor)
    assert said in "\n".join(map(str, wrong(params, change(grads, params), logits=logits, labels=labels)))
    assert not wrong.ok


def test_one_number_that_explains_one_defect_is_no_decay(trained):
    laws, params, grads, _, _ = trained
    (shift,) = [law for law in laws if law.tensors == ("o.bias",)]
    (finding,) = nl.watch([shift])(params, {name: g + 1e-3 for name, g in grads.items()})
    assert not finding.reason


def test_what_no_law_of_axes_sees_is_in_the_coverage(trained):
    """The bias of the output is tied to that of the values by g_v = Oᵀ g_o, which acts on no axis: a factor on it goes unseen."""
    laws, params, grads, _, _ = trained
    watch = nl.watch(laws)
    assert watch(params, times(o_bias=2)(grads, params)) == []
    assert "o.bias" in watch.coverage.free
    assert "o.bias" in watch.report().partition("locked to no other: ")[2]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_two_thousand_correct_steps_break_no_law(trained, dtype):
    torch.manual_seed(1)
    model, rng = GPT().to(getattr(torch, dtype)), np.random.default_rng(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    watch = nl.watch(trained[0], every=5, anchor=nl.tensors.Anchor("head.weight"))
    params = dict(model.named_parameters())
    for _ in range(2000):
        ids = batch_of(rng)
        loss, logits = loss_of(model, ids)
        optimizer.zero_grad()
        loss.backward()
        watch(params, {name: p.grad for name, p in params.items()}, logits=logits, labels=ids[:, 1:])
        optimizer.step()
    assert watch.ok, watch.report()
    assert watch.n_checked == 400
