"""Attention with heads, groups of them, rotary positions and normalised queries and keys."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .._base import checks
from .._base.types import IntArray
from .block import Block, Scope, Shape
from .layers import along, bias_leg, row, sizes, softmax
from .norms import check_eps, rms_normalised
from .tensor import Tensor
from .wires import Leg, Wire
from .wiring import Wiring


@dataclass(frozen=True)
class Attention(Block):
    """Σ_h O_h Σ_s softmax_s(q_h(t)·k_h(s)) v_h(s), with q = Qx + b_q, k = Kx + b_k, v = Vx + b_v.

    Parameters
    ----------
    d : int
        Features in.
    heads, head_width : int
        Number H of heads, and their width r; Q has shape (Hr, d), O (outputs, Hr).
    kv_heads : int, optional
        Number of heads of K and V, each shared by as many heads of Q; H by default.
    outputs : int, optional
        Features out; d by default.
    bias : bool
        Whether Q, K, V and O have biases.
    causal : bool
        Whether position t sees positions s ≤ t only.
    rope : bool
        Whether components 2j and 2j + 1 of q(t) and k(t) are turned by tφ_j; cos φ_j and sin φ_j are rational, of
        tan(φ_j/2) = 1/(j + 2).
    qk_norm : bool
        Whether every head's q and k are normalised as in RMSNorm, with gains that the heads share.
    eps : float
        ε of these norms.

    Raises
    ------
    ValueError, TypeError
        If a size is not a positive integer, kv_heads does not divide heads, or head_width is odd with rope.

    Notes
    -----
    Scores are not divided by √r, which rescales Q: no law depends on it.

    Examples
    --------
    >>> import noetherlite as nl
    >>> nl.count_laws(nl.arch.Attention(3, heads=1, head_width=2, outputs=2))
    <LawCount 6, gradient flow, certified>
    """

    d: int
    heads: int = 1
    head_width: int = 2
    kv_heads: int | None = None
    outputs: int | None = None
    bias: bool = False
    causal: bool = False
    rope: bool = False
    qk_norm: bool = False
    eps: float = 0.0

    def __post_init__(self) -> None:
        sizes(self, "d", "heads", "head_width")
        for name in ("kv_heads", "outputs"):
            if getattr(self, name) is not None:
                sizes(self, name)
        for name in ("bias", "causal", "rope", "qk_norm"):
            checks.boolean(getattr(self, name), name)
        check_eps(self.eps)
        if self.heads % self._groups:
            raise ValueError(f"kv_heads is {self.kv_heads}, heads {self.heads}; expected a divisor")
        if self.rope and self.head_width % 2:
            raise ValueError(f"head_width is {self.head_width}; expected an even number with rope")

    @property
    def _groups(self) -> int:
        return self.heads if self.kv_heads is None else self.kv_heads

    @property
    def _outputs(self) -> int:
        return self.d if self.outputs is None else self.outputs

    def tensors(self) -> dict[str, Shape]:
        r, d = self.head_width, self.d
        rows = {"Q": self.heads * r, "K": self._groups * r, "V": self._groups * r}
        shapes: dict[str, Shape] = {"O": (self._outputs, self.heads * r)}
        shapes = {name: (n, d) for name, n in rows.items()} | shapes
        if self.bias:
            shapes |= {f"b{name}": (n,) for name, n in rows.items()} | {"bO": (self._outputs,)}
        if self.qk_norm:
            shapes |= {"gain_q": (r,), "gain_k": (r,)}
        return shapes

    def forward(self, scope: Scope[Tensor], x: Tensor) -> Tensor:
        n, positions, r = x.shape[0], x.shape[1], self.head_width

        def of_heads(name: str) -> Tensor:
            """Return q, k or v as (samples, heads, positions, r), those of groups repeated for their heads."""
            y = x @ scope[name].T
            y = y + row(scope[f"b{name}"]) if self.bias else y
            y = y.reshaped(y.shape[0], positions, -1, r).swapped(1, 2)
            if self.qk_norm and name != "V":
                gain = scope[f"gain_{name.lower()}"]
                y = rms_normalised(y, self.eps) * gain.reshaped(gain.shape[0], 1, 1, r)
            if self.rope and name != "V":
                y = self._turned(y)
            return y.taken(np.arange(self.heads) * y.shape[1] // self.heads, 1)

        scores = of_heads("Q") @ of_heads("K").T
        seen = np.tri(positions, dtype=bool)[None, None] if self.causal else None
        mixed = (softmax(scores, seen) @ of_heads("V")).swapped(1, 2).reshaped(n, positions, -1)
        y = mixed @ scope["O"].T
        return y + row(scope["bO"]) if self.bias else y

    def _turned(self, y: Tensor) -> Tensor:
        """Return y(t) with its pairs turned by the angles of position t."""
        r, positions = self.head_width, y.shape[2]
        turns = np.full((1, 1, positions, r, r), Fraction(0), dtype=object)
        for t, j in itertools.product(range(positions), range(r // 2)):
            cos, sin = _angle(Fraction(1, j + 2), t)
            turns[0, 0, t, 2 * j : 2 * j + 2, 2 * j : 2 * j + 2] = [[cos, sin], [-sin, cos]]
        rows = y.reshaped(*y.shape[:3], 1, r)
        return (rows @ Tensor(y.numbers, y.numbers.constant(turns))).reshaped(*y.shape)

    def connect(self, scope: Scope[IntArray], wiring: Wiring, wire: Wire) -> Wire:
        wire.read_by(*(along(scope[name], 1) for name in "QKV"))
        for group in range(self._groups):
            self._connect_group(scope, wiring, group)
        if self.qk_norm:
            actions = frozenset({"pairs" if self.rope else "scale"})
            gains = wiring.wire(f"{scope.name} gains", self.head_width, bias_leg(scope["gain_q"]), actions=actions)
            gains.readers.append(bias_leg(scope["gain_k"]))
        if self.bias and not self.qk_norm and not self.rope:  # a constant in all scores of a query
            keys = len(scope["bK"])
            wiring.wire(f"{scope.name} key bias", keys, bias_leg(scope["bK"]), actions=frozenset({"null"}))
        biases = [bias_leg(scope["bO"])] if self.bias else []
        return wiring.wire(f"{scope.name} out", self._outputs, along(scope["O"], 0), *biases)

    def _connect_group(self, scope: Scope[IntArray], wiring: Wiring, group: int) -> None:
        """Add the wires between the queries and keys, and the values and outputs, of one head of K and V and its readers."""
        r, shared = self.head_width, self.heads // self._groups

        def legs(name: str, head: int) -> list[Leg]:
            rows = slice(head * r, (head + 1) * r)
            return [along(scope[name][rows], 0)] + ([bias_leg(scope[f"b{name}"][rows])] if self.bias else [])

        heads = range(group * shared, (group + 1) * shared)
        queries, keys = [legs("Q", head) for head in heads], legs("K", group)
        if self.qk_norm:
            for head, members in [
                *zip([f"query head {h}" for h in heads], queries, strict=True),
                (f"key head {group}", keys),
            ]:
                actions = frozenset[str]() if self.eps else frozenset({"whole"})
                wiring.wire(f"{scope.name} {head}", r, *members, actions=actions)
        else:
            scores = frozenset({"complex" if self.rope else "gl"})
            members = [leg for query in queries for leg in query]
            wiring.wire(f"{scope.name} scores {group}", r, *members, actions=scores).readers += keys
        values = wiring.wire(f"{scope.name} values {group}", r, *legs("V", group))
        values.read_by(*(along(scope["O"][:, head * r : (head + 1) * r], 1) for head in heads))

    def positions(self, after: int) -> int:
        return max(after, 2)


def _angle(half_tangent: Fraction, times: int) -> tuple[Fraction, Fraction]:
    """Return cos and sin of `times` the angle whose half has this tangent."""
    u = half_tangent
    cos, sin = (1 - u * u) / (1 + u * u), 2 * u / (1 + u * u)
    c, s = Fraction(1), Fraction(0)
    for _ in range(times):
        c, s = c * cos - s * sin, s * cos + c * sin
    return c, s
