"""Values, gradients and training runs against PyTorch's autograd."""

import numpy as np
import pytest
from problems import ACTIVATIONS, LOSSES, data, point, problem

import noetherlite as nl
from noetherlite import Network

pytestmark = pytest.mark.needs_jit

torch = pytest.importorskip("torch")


def torch_sigma(activation, z, beta):
    c = activation.parameter if beta is None else beta
    return {
        "linear": lambda: c * z,
        "relu": lambda: torch.relu(z),
        "leaky_relu": lambda: torch.nn.functional.leaky_relu(z, c),
        "polynomial": lambda: z ** int(c),
        "repu": lambda: torch.relu(z) ** c,
        "swish": lambda: z * torch.sigmoid(c * z),
        "tanh": lambda: torch.tanh(z),
        "erf": lambda: torch.erf(z),
        "gelu": lambda: torch.nn.functional.gelu(z),
        "gelu_tanh": lambda: torch.nn.functional.gelu(z, approximate="tanh"),
        "softplus": lambda: torch.nn.functional.softplus(z, threshold=1e9),  # by default linear from 20 on
        "logistic": lambda: torch.sigmoid(z),
        "sin": lambda: torch.sin(z),
        "cos": lambda: torch.cos(z),
        "elu": lambda: torch.nn.functional.elu(z, c),
        "celu": lambda: torch.nn.functional.celu(z, c),
        "softsign": lambda: torch.nn.functional.softsign(z),
        "hard_tanh": lambda: torch.nn.functional.hardtanh(z),
        "abs": lambda: torch.abs(z),
        "exp": lambda: torch.exp(z),
        "gaussian": lambda: torch.exp(-(z**2)),
    }[activation.name]()


def torch_loss(net, parts, X, y):
    """The loss from PyTorch's own layers and loss functions."""
    a = torch.as_tensor(X)
    for h in range(1, net.n_layers + 1):
        z = torch.nn.functional.linear(a, parts[f"W{h}"], parts.get(f"b{h}"))
        a = z if h == net.n_layers else torch_sigma(net.activations[h - 1], z, parts.get(f"beta{h}"))
    if net.loss == "nll":
        return torch.nn.functional.cross_entropy(a, torch.as_tensor(y))
    return 0.5 * torch.nn.functional.mse_loss(a, torch.as_tensor(y), reduction="sum") / len(X)


def leaves(net, theta):
    return {k: torch.tensor(a.copy(), requires_grad=True) for k, a in net.unpack(theta).items()}


def flat(net, parts):
    return np.concatenate([parts[b.name].ravel() for b in net.blocks])


def relative(a, b):
    return np.linalg.norm(np.subtract(a, b)) / np.linalg.norm(b)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", [*ACTIVATIONS, ["swish", "relu"]], ids=str)
def test_value_and_gradient(activation, loss, bias):
    rng = np.random.default_rng(4)
    net = Network([4, 7, 5, 3], activation, bias=bias, loss=loss)
    X, y = data(net, 19, rng)
    theta = 0.8 * point(net, rng)
    parts = leaves(net, theta)
    expected = torch_loss(net, parts, X, y)
    expected.backward()
    value, gradient = net.value_and_gradient(theta, X, y)
    assert value == pytest.approx(expected.item(), rel=1e-12)
    assert relative(gradient, flat(net, {k: p.grad.numpy() for k, p in parts.items()})) < 1e-12


def test_gradients_in_bfloat16_are_judged_by_that():
    _, U, x = problem("tanh", "nll", n=40)
    short = torch.from_numpy(U.gradient(x)).bfloat16()
    nl.testing.assert_gradient(U, short, x)
    nl.testing.assert_gradient(U, lambda x: torch.from_numpy(U.gradient(x)).bfloat16().requires_grad_(), x)
    with pytest.raises(AssertionError, match="is wrong at point 0"):
        nl.testing.assert_gradient(U, 2 * short, x)


def test_recordings_in_16_bits_are_judged_by_their_format():
    """The last bits of a few numbers may all be zero."""
    U = Network([1, 1], bias=False, loss="mse").potential([[1.0]], [[2.0]])
    for dtype in (torch.bfloat16, torch.float16):
        eps = torch.finfo(dtype).eps
        rows = torch.tensor([[1.0], [1 + 4 * eps]], dtype=dtype)  # steps of ¼, to the last bits
        report, watch = nl.check(U, rows, dynamics=nl.GD(3.75 * eps)), nl.Monitor(U, nl.GD(3.75 * eps))
        for row in rows:
            watch.step(row)
        assert {report.verdict, watch.report().verdict} == {"not decidable"}


def test_times_may_be_tensors():
    _, U, x = problem("tanh", "nll", n=40)
    params, times = np.stack([x, x, x]), [0.0, 0.125, 0.25]
    t = torch.tensor(times, dtype=torch.float64, requires_grad=True)
    assert str(nl.check(U, params, t, nl.GF)) == str(nl.check(U, params, times, nl.GF))
    assert nl.check(U, params, t.bfloat16(), nl.GF)
