"""
Check a training loop in PyTorch
================================

Hold a PyTorch training loop against the laws: a correct one, and four with planted bugs, each found and named.
"""

import sys
from collections.abc import Callable

import numpy as np

import noetherlite as nl

try:
    import torch
except ImportError:
    print("skipped: this example needs PyTorch, pip install 'noetherlite[crosscheck]'")
    sys.exit(0)

LR, STEPS = 0.05, 300


def train(
    net: nl.Network,
    data: nl.Dataset,
    theta: np.ndarray,
    spoil: Callable[[torch.nn.Module], object],
    reduction: str = "mean",
) -> np.ndarray:
    """Return the parameters (R, P) at every step; `spoil` may change the gradients before they are used."""
    width = net.widths
    model = torch.nn.Sequential(
        torch.nn.Linear(width[0], width[1]), torch.nn.ReLU(),
        torch.nn.Linear(width[1], width[2]), torch.nn.ReLU(),
        torch.nn.Linear(width[2], width[3]),
    ).double()  # fmt: skip
    model.load_state_dict({name: torch.from_numpy(a) for name, a in nl.convert.to_torch(net, theta).items()})
    X, y = torch.from_numpy(data.X), torch.from_numpy(data.y)
    optimiser = torch.optim.SGD(model.parameters(), lr=LR)
    recorded = [nl.convert.from_torch(net, model.state_dict())]
    for _ in range(STEPS):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(X), y, reduction=reduction).backward()
        spoil(model)
        optimiser.step()
        recorded.append(nl.convert.from_torch(net, model.state_dict()))
    return np.stack(recorded)


def drop_bias(model: torch.nn.Module) -> None:
    model.get_parameter("2.bias").grad.zero_()


def drop_neuron(model: torch.nn.Module) -> None:
    model.get_parameter("0.bias").grad[5] = 0


def clip(model: torch.nn.Module) -> None:
    torch.nn.utils.clip_grad_value_(model.get_parameter("4.weight"), 0.02)


def main() -> None:
    net = nl.Network([4, 12, 8, 3], "relu", loss="nll")
    data = nl.datasets.gaussian_classes(n=50, n_features=4, rng=0)
    U, theta, t = net.potential(data), net.init(rng=0, bias_std=0.1), LR * np.arange(STEPS + 1)

    def nothing(model: torch.nn.Module) -> None:
        pass

    runs = {
        "correct": (nothing, "mean"),
        "the bias gradient of layer 2 is dropped": (drop_bias, "mean"),
        "the bias gradient of neuron 5 in layer 1 is dropped": (drop_neuron, "mean"),
        "the 1/N is missing": (nothing, "sum"),
        "the last weights' gradient is clipped": (clip, "mean"),
    }
    for title, (spoil, reduction) in runs.items():
        params = train(net, data, theta, spoil, reduction)
        report = nl.check(U, params, t, nl.GD(LR))
        print(f"\n=== {title}: {'all holds' if report.ok else 'something is wrong'}")
        print(report)


if __name__ == "__main__":
    main()
