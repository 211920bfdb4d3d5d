"""
Watch the laws of a transformer in PyTorch
==========================================

The symmetries of a small GPT are found from its gradients, without any description of it, and watched while it trains. At step 60
one norm's gain starts to receive half of its gradient, as where a sum over devices is forgotten: the loss curve does not show
it, the watch says what is wrong at once.
"""

import sys
from pathlib import Path

import numpy as np

import noetherlite as nl

try:
    import torch
    from torch import nn
except ImportError:
    print("skipped: this example needs PyTorch, pip install 'noetherlite[crosscheck]'")
    sys.exit(0)

TEXT = (
    "If a system has a continuous symmetry, then there are quantities whose values are conserved in time. To every symmetry of the"
    " action there is a conservation law: energy for time, momentum for space, angular momentum for rotations. "
)
WIDTH, HEADS, LAYERS, CONTEXT, STEPS = 32, 4, 2, 16, 120


class Block(nn.Module):
    """Attention and a feed-forward layer, each after a norm and added to the stream."""

    def __init__(self) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.c_attn, self.c_proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, time, _ = x.shape
        heads = self.c_attn(self.ln_1(x)).view(batch, time, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.c_proj(mixed.transpose(1, 2).reshape(batch, time, WIDTH))
        return x + self.down(nn.functional.gelu(self.up(self.ln_2(x))))


class GPT(nn.Module):
    """Embeddings, blocks, a norm and a head; returns the loss."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.layers = nn.ModuleList(Block() for _ in range(LAYERS))
        self.ln_f, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, vocabulary, bias=False)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        x = self.tokens(text[:, :-1]) + self.positions.weight
        for layer in self.layers:
            x = layer(x)
        return nn.functional.cross_entropy(self.head(self.ln_f(x)).flatten(0, 1), text[:, 1:].flatten())


torch.set_num_threads(1)  # a model this small waits for other threads otherwise
torch.manual_seed(0)
letters = sorted(set(TEXT))
data = torch.tensor([letters.index(letter) for letter in TEXT])
batches = [
    torch.stack([data[i : i + CONTEXT + 1] for i in torch.randint(len(data) - CONTEXT, (8,))]) for _ in range(STEPS)
]

# %%
# All symmetries at once, in double precision: a function from parameters to gradients is all that is asked for.

model = GPT(len(letters)).double()


def gradient(params: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Return ∂U/∂X of one batch at the given parameters."""
    leaves = {name: torch.tensor(x, requires_grad=True) for name, x in params.items()}
    loss = torch.func.functional_call(model, leaves, (batches[0],))
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


scan = nl.scan(gradient, dict(model.named_parameters()))
print(scan)
scan.plot().figure.savefig(Path("laws_of_a_transformer.png"), dpi=120)

# %%
# Watched in the loop, in single precision, every tenth step.

model = model.float()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
watch = nl.watch(scan.laws(), every=10)
params = dict(model.named_parameters())
for step, batch in enumerate(batches):
    loss = model(batch)
    optimizer.zero_grad()
    loss.backward()
    if step >= 60:
        model.layers[1].ln_2.weight.grad *= 0.5
    for finding in watch(params, {name: p.grad for name, p in params.items()}):
        print(f"step {step}, loss {loss.item():.3f}: {finding}")
    optimizer.step()
print(watch.report())
