"""Small models of today's architectures in NumPy: a loss of named tensors and its gradient by complex steps.

Everything is analytic but for relu and maxima, which look at real parts, so that U(x + ih)/h has the derivative to round-off.
Shapes follow PyTorch: weights are (out, in).
"""

import functools
import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

STEP = 1e-30


@dataclass
class Model:
    """Parameters and a loss; `gradient` is what a framework's backward pass would give.

    Gradients at points that were asked for before are stored: scans of one model draw the same points.
    """

    params: dict[str, np.ndarray]
    loss: Any
    many: bool = False  # whether the loss takes several points at once, along a first axis of every tensor
    gradients: dict[bytes, dict[str, np.ndarray]] = field(default_factory=dict)

    def gradient(self, params):
        """Return ∂U/∂X for every tensor, one complex step an entry."""
        key = b"".join(array.tobytes() for array in params.values())
        if key not in self.gradients:
            self.gradients[key] = self._complex_steps(params)
        return {name: g.copy() for name, g in self.gradients[key].items()}

    def _complex_steps(self, params):
        if self.many:
            point = {name: array.astype(complex)[None] for name, array in params.items()}
            return {name: self._step_each(point, name).reshape(array.shape) for name, array in params.items()}
        point = {name: array.astype(complex) for name, array in params.items()}
        out = {}
        for name, array in point.items():
            flat, grad = array.reshape(-1), np.empty(array.size)
            for i in range(flat.size):
                flat[i] += 1j * STEP
                grad[i] = self.loss(point).imag / STEP
                flat[i] = flat[i].real
            out[name] = grad.reshape(array.shape)
        return out

    def _step_each(self, point, name):
        """Return ∂U/∂X for one tensor, whose entries are moved one at a time in points that are taken at once."""
        steps = 1j * STEP * np.eye(point[name].size)
        return self.loss(point | {name: point[name] + steps.reshape(-1, *point[name].shape[1:])}).imag / STEP


def relu(z):
    return np.where(z.real > 0, z, 0)


def gelu(z):
    return 0.5 * z * (1 + np.tanh(0.7978845608028654 * (z + 0.044715 * z**3)))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def silu(z):
    return z * sigmoid(z)


ACTIVATIONS = {
    "relu": relu,
    "gelu": gelu,
    "silu": silu,
    "tanh": np.tanh,
    "square": lambda z: z * z,
    "linear": lambda z: z,
}


def softmax(z):
    e = np.exp(z - z.real.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def cross_entropy(logits, labels):
    """The mean over the labels; logits may have more axes before those of the labels."""
    over_labels = tuple(range(-labels.ndim, 0))
    shifted = logits - logits.real.max(-1, keepdims=True)
    log_norm = np.log(np.exp(shifted).sum(-1))
    index = labels.reshape((1,) * (logits.ndim - 1 - labels.ndim) + labels.shape)[..., None]
    return (log_norm - np.take_along_axis(shifted, index, -1)[..., 0]).mean(over_labels)


def norm(x, kind, eps):
    if kind == "layer":
        x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps)


def rotated(x, style):
    """Rotary positions on (..., time, width): pairs (j, j + width/2) for "half", (2j, 2j + 1) for "interleaved"."""
    time, width = x.shape[-2:]
    angle = np.outer(np.arange(time), 1.0 / 3.0 ** np.arange(width // 2))
    cos, sin = np.cos(angle), np.sin(angle)
    out = np.empty_like(x)
    a, b = slice(0, None, 2), slice(1, None, 2)
    if style == "half":
        a, b = slice(0, width // 2), slice(width // 2, None)
    out[..., a], out[..., b] = x[..., a] * cos - x[..., b] * sin, x[..., a] * sin + x[..., b] * cos
    return out


def _fill(rng, shapes):
    """Random tensors by name; those of one axis that are gains begin near 1, as they do in training."""
    out = {}
    for name, shape in shapes.items():
        x = rng.normal(size=shape) / np.sqrt(shape[-1])
        out[name] = 1 + 0.1 * x if name.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight", "norm.weight")) else x
    return out


def mlp(widths, activation, bias=True, loss="nll", samples=7, seed=0):
    """A fully connected network, named as PyTorch's Sequential does."""
    rng = np.random.default_rng(seed)
    shapes = {}
    for h, (n, m) in enumerate(itertools.pairwise(widths)):
        shapes[f"{2 * h}.weight"] = (m, n)
        if bias:
            shapes[f"{2 * h}.bias"] = (m,)
    X, y = rng.normal(size=(samples, widths[0])), rng.integers(0, widths[-1], samples)
    target = rng.normal(size=(samples, widths[-1]))
    act, layers = ACTIVATIONS[activation], len(widths) - 1

    def U(p):
        a = X
        for h in range(layers):
            z = a @ p[f"{2 * h}.weight"].T + (p[f"{2 * h}.bias"] if bias else 0)
            a = act(z) if h < layers - 1 else z
        return cross_entropy(a, y) if loss == "nll" else ((a - target) ** 2).sum() / (2 * samples)

    return Model(_fill(rng, shapes), U)


@functools.cache
def decoder(
    d=6, heads=2, width=3, layers=1, kv_heads=None, mlp="gelu", hidden=5, norm_kind="layer", eps=1e-5, bias=True, gains=True,
    positions=True, rope=None, qk_norm=False, tied=False, fused=False, vocab=7, time=4, batch=3, experts=2, classes=None, seed=0,
):  # fmt: skip
    """A transformer: GPT, Llama, Qwen 3 or Mixtral by its arguments; with `classes` a pooled classifier (no causal mask).

    One object for the same arguments.
    """
    rng = np.random.default_rng(seed)
    kv = kv_heads or heads
    shapes = {"wte.weight": (vocab, d)}
    if positions:
        shapes["wpe.weight"] = (time, d)

    def linear(name, out, into, with_bias=bias):
        shapes[f"{name}.weight"] = (out, into)
        if with_bias:
            shapes[f"{name}.bias"] = (out,)

    def norm_of(name):
        if gains:
            shapes[f"{name}.weight"] = (d,)
            if norm_kind == "layer":
                shapes[f"{name}.bias"] = (d,)

    for l in range(layers):
        norm_of(f"h.{l}.ln_1")
        if fused:
            linear(f"h.{l}.attn.c_attn", (heads + 2 * kv) * width, d)
        else:
            linear(f"h.{l}.attn.q", heads * width, d)
            linear(f"h.{l}.attn.k", kv * width, d)
            linear(f"h.{l}.attn.v", kv * width, d)
        if qk_norm:
            shapes[f"h.{l}.attn.q_norm.weight"] = shapes[f"h.{l}.attn.k_norm.weight"] = (width,)
        linear(f"h.{l}.attn.o", d, heads * width)
        norm_of(f"h.{l}.ln_2")
        if mlp == "moe":
            shapes[f"h.{l}.gate.weight"] = (experts, d)
            shapes[f"h.{l}.experts.gate"] = shapes[f"h.{l}.experts.up"] = (experts, hidden, d)
            shapes[f"h.{l}.experts.down"] = (experts, d, hidden)
        else:
            linear(f"h.{l}.mlp.up", hidden, d)
            if mlp == "swiglu":
                linear(f"h.{l}.mlp.gate", hidden, d)
            linear(f"h.{l}.mlp.down", d, hidden)
    norm_of("ln_f")
    outputs = classes or vocab
    if not tied:
        shapes["lm_head.weight"] = (outputs, d)
        if classes and bias:
            shapes["lm_head.bias"] = (outputs,)
    tokens = rng.integers(0, vocab, (batch, time))
    labels = rng.integers(0, outputs, batch if classes else (batch, time))
    mask = np.where(np.tri(time, dtype=bool) | bool(classes), 0.0, -1e9)

    def U(p):
        """The loss at several points: every tensor has an axis of points before its own, and x is (points, batch, time, d)."""

        def beside(name, ndim, default):
            a = p.get(name)
            return default if a is None else a.reshape(len(a), *(1,) * (ndim - a.ndim), *a.shape[1:])

        def affine(x, name):
            weight = beside(f"{name}.weight", x.ndim, None)
            return x @ weight.swapaxes(-1, -2) + beside(f"{name}.bias", x.ndim, 0)

        def normed(x, name):
            return norm(x, norm_kind, eps) * beside(f"{name}.weight", 4, 1) + beside(f"{name}.bias", 4, 0)

        x = p["wte.weight"][:, tokens] + beside("wpe.weight", 4, 0)
        for l in range(layers):
            h = f"h.{l}"
            y = normed(x, f"{h}.ln_1")
            if fused:
                q, k, v = np.split(affine(y, f"{h}.attn.c_attn"), [heads * width, (heads + kv) * width], -1)
            else:
                q, k, v = (affine(y, f"{h}.attn.{part}") for part in "qkv")
            q, k, v = (z.reshape(len(z), batch, time, -1, width).swapaxes(2, 3) for z in (q, k, v))
            if qk_norm:
                q = norm(q, "rms", eps) * beside(f"{h}.attn.q_norm.weight", 5, 1)
                k = norm(k, "rms", eps) * beside(f"{h}.attn.k_norm.weight", 5, 1)
            if rope:
                q, k = rotated(q, rope), rotated(k, rope)
            k, v = (np.repeat(z, heads // kv, axis=2) for z in (k, v))
            weights = softmax(q @ k.swapaxes(-1, -2) / np.sqrt(width) + mask)
            mixed = (weights @ v).swapaxes(2, 3)
            x = x + affine(mixed.reshape(len(mixed), batch, time, -1), f"{h}.attn.o")
            y = normed(x, f"{h}.ln_2")
            if mlp == "moe":
                g = softmax(affine(y, f"{h}.gate"))
                a = silu(np.einsum("pefd,pbtd->pbtef", p[f"{h}.experts.gate"], y))
                a = a * np.einsum("pefd,pbtd->pbtef", p[f"{h}.experts.up"], y)
                x = x + np.einsum("pedf,pbtef,pbte->pbtd", p[f"{h}.experts.down"], a, g)
            elif mlp == "swiglu":
                x = x + affine(silu(affine(y, f"{h}.mlp.gate")) * affine(y, f"{h}.mlp.up"), f"{h}.mlp.down")
            else:
                x = x + affine(ACTIVATIONS[mlp](affine(y, f"{h}.mlp.up")), f"{h}.mlp.down")
        x = normed(x, "ln_f")
        x = x.mean(2) if classes else x
        return cross_entropy(affine(x, "wte" if tied else "lm_head"), labels)

    return Model(_fill(rng, shapes), U, many=True)


def convnet(
    channels=(2, 4, 3), kernel=2, size=4, samples=5, classes=3, activation="relu", eps=1e-5, batch_norm=True, seed=0
):
    """Two convolutions, each with BatchNorm where asked for, pooled into a linear layer, with a skip connection around the second."""
    rng = np.random.default_rng(seed)
    c0, c1, c2 = channels
    shapes = {"conv1.weight": (c1, c0, kernel, kernel), "conv1.bias": (c1,)}
    if batch_norm:
        shapes |= {"bn1.norm.weight": (c1,), "bn1.norm.bias": (c1,)}
    shapes |= {"conv2.weight": (c2, c1, kernel, kernel), "conv2.bias": (c2,)}
    shapes |= {"fc.weight": (classes, c2), "fc.bias": (classes,)}
    X, y = rng.normal(size=(samples, c0, size, size)), rng.integers(0, classes, samples)

    def convolve(x, w):
        windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
        return np.einsum("ncijkl,ockl->noij", windows, w)

    def U(p):
        z = convolve(X, p["conv1.weight"]) + p["conv1.bias"][:, None, None]
        if batch_norm:
            z = z - z.mean((0, 2, 3), keepdims=True)
            z = z / np.sqrt((z * z).mean((0, 2, 3), keepdims=True) + eps)
            z = z * p["bn1.norm.weight"][:, None, None] + p["bn1.norm.bias"][:, None, None]
        a = ACTIVATIONS[activation](z)
        z = convolve(a, p["conv2.weight"]) + p["conv2.bias"][:, None, None]
        return cross_entropy(z.mean((2, 3)) @ p["fc.weight"].T + p["fc.bias"], y)

    return Model(_fill(rng, shapes), U)


def lora(d=5, rank=2, outputs=4, samples=6, seed=0):
    """A frozen matrix with a trained low-rank update, then GELU and a trained head."""
    rng = np.random.default_rng(seed)
    W0, X, y = rng.normal(size=(d, d)), rng.normal(size=(samples, d)), rng.integers(0, outputs, samples)
    shapes = {"lora_A.weight": (rank, d), "lora_B.weight": (d, rank), "head.weight": (outputs, d)}

    def U(p):
        z = X @ (W0 + p["lora_B.weight"] @ p["lora_A.weight"]).T
        return cross_entropy(gelu(z) @ p["head.weight"].T, y)

    return Model(_fill(rng, shapes), U)


def recurrent(cell="lstm", into=3, hidden=4, outputs=3, time=4, samples=5, seed=0):
    """An LSTM, a GRU or a ReLU recurrence, with PyTorch's fused gates, and a linear head."""
    rng = np.random.default_rng(seed)
    gates = {"lstm": 4, "gru": 3, "relu": 1}[cell]
    shapes = {"rnn.weight_ih_l0": (gates * hidden, into), "rnn.weight_hh_l0": (gates * hidden, hidden)}
    shapes |= {"rnn.bias_ih_l0": (gates * hidden,), "rnn.bias_hh_l0": (gates * hidden,)}
    shapes |= {"head.weight": (outputs, hidden), "head.bias": (outputs,)}
    X, y = rng.normal(size=(samples, time, into)), rng.integers(0, outputs, samples)

    def U(p):
        h, c = np.zeros((samples, hidden)), np.zeros((samples, hidden))
        for k in range(time):
            a = X[:, k] @ p["rnn.weight_ih_l0"].T + p["rnn.bias_ih_l0"]
            b = h @ p["rnn.weight_hh_l0"].T + p["rnn.bias_hh_l0"]
            if cell == "lstm":
                i, f, g, o = np.split(a + b, 4, -1)
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
            elif cell == "gru":
                (ar, az, an), (br, bz, bn) = np.split(a, 3, -1), np.split(b, 3, -1)
                z = sigmoid(az + bz)
                h = (1 - z) * np.tanh(an + sigmoid(ar + br) * bn) + z * h
            else:
                h = relu(a + b)
        return cross_entropy(h @ p["head.weight"].T + p["head.bias"], y)

    return Model(_fill(rng, shapes), U)
