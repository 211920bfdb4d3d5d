"""
Laws of a residual network with BatchNorm
=========================================

A small ResNet in PyTorch learns the direction of stripes. BatchNorm makes the size of every filter before it a symmetry: gradients
are orthogonal to filters, so that SGD can only lengthen them. The laws and the averages of SGD's momentum are watched; after
half of the steps, the gradient is clipped tensor by tensor between the backward pass and the step, which the averages show.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import noetherlite as nl

try:
    import torch
    from torch import nn
except ImportError:
    print("skipped: this example needs PyTorch, pip install 'noetherlite[crosscheck]'")
    sys.exit(0)

torch.set_num_threads(1)  # a model this small waits for other threads otherwise
CHANNELS, SIZE, CLASSES = 6, 8, 3
STEPS = int(sys.argv[1]) if sys.argv[1:] else 80  # more by an argument
BUG = STEPS // 2


class ResNet(nn.Module):
    """A convolution, a residual block and a linear layer on what is left of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_1, self.norm_1 = nn.Conv2d(1, CHANNELS, 3, padding=1, bias=False), nn.BatchNorm2d(CHANNELS)
        self.conv_2, self.norm_2 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False), nn.BatchNorm2d(CHANNELS)
        self.conv_3, self.head = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.Linear(CHANNELS, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm_1(self.conv_1(x)).relu()
        x = x + self.norm_2(self.conv_2(x)).relu()
        return self.head(self.conv_3(x).relu().mean((2, 3)))


def stripes(rng: np.random.Generator, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Return noisy pictures of stripes, horizontal, vertical or oblique, and which they are."""
    labels = rng.integers(0, CLASSES, size)
    i, j = np.indices((SIZE, SIZE))
    phase = np.stack([i, j, i + j])[labels] * 2.0 + rng.uniform(0, 2 * np.pi, (size, 1, 1))
    pictures = np.sin(phase) + 1.5 * rng.normal(size=phase.shape)
    return torch.tensor(pictures[:, None], dtype=torch.float32), torch.tensor(labels)


torch.manual_seed(0)
model = ResNet().float()
batch, labels = stripes(np.random.default_rng(0))

# %%
# The ε of BatchNorm breaks the laws of filters a little, which the scan says beside the laws that are exact.

double = ResNet().double()


def gradient(params: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Return ∂U/∂X of one batch at the given parameters."""
    leaves = {name: torch.tensor(x, requires_grad=True) for name, x in params.items()}
    loss = nn.functional.cross_entropy(torch.func.functional_call(double, leaves, (batch.double(),)), labels)
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


scan = nl.scan(gradient, dict(double.named_parameters()), draws=20)
print(scan)
scan.plot().figure.savefig("laws_of_a_resnet.png", dpi=120)

# %%
# Training by SGD with momentum: `state` is the average of gradients before the step, Adam's `exp_avg` in its place. A filter's
# gradient sums over 32 pictures of 64 pixels, whose round-off `summands` tells.

optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
watch = nl.watch(scan.laws(), averaging=nl.tensors.Averaging(0.9, weight=1), summands=32 * SIZE**2)
params = dict(model.named_parameters())
rng = np.random.default_rng(1)
losses, lengths = [], []
for step in range(STEPS):
    pictures, kinds = stripes(rng)
    loss = nn.functional.cross_entropy(model(pictures), kinds)
    optimizer.zero_grad()
    loss.backward()
    grads = {name: p.grad for name, p in params.items()}
    state = {name: optimizer.state[p]["momentum_buffer"] for name, p in params.items() if p in optimizer.state}
    for finding in watch(params, grads, state=state):
        print(f"step {step}, loss {loss.item():.3f}: {finding}")
    if step >= BUG:
        for p in params.values():
            nn.utils.clip_grad_norm_([p], 0.05)
    optimizer.step()
    losses.append(loss.item())
    lengths.append(params["conv_2.weight"].detach().flatten(1).norm(dim=1).numpy())
print(watch.report())

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.plot(losses, color="#0072B2")
left.axvline(BUG, color="0.8", zorder=0)
left.set(xlabel="step", ylabel="loss")
right.plot(lengths, color="#0072B2", linewidth=1)
right.set(xlabel="step", ylabel="|filter| of conv_2")
figure.savefig("training_of_a_resnet.png", dpi=120)
