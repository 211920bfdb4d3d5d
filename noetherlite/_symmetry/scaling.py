"""Scaling of neurons."""

from __future__ import annotations

import numpy as np

from .._base.floating import unit, units
from .._base.types import Array, ArrayLike, Float64Array
from .._kernels import layout
from .._problem.network import Network
from .family import KernelLaw
from .hidden import Hidden
from .written import DynamicsNotation, Entry, Formula, braced, dotted, following, group, still, summed, weights


class NeuronScaling(Hidden):
    """Scaling of each neuron of hidden layer h, (w, b, u) ↦ (λw, λb, λ^{−p}u) [β ↦ β/λ] (GU §4, Tables 2 and 3).

    Q_i = ½(|w|² + b² − p|u|² [− β²]) with w the incoming row, b the bias, u the outgoing column of neuron i.

    Parameters
    ----------
    network : Network
        Its activation in layer h must be homogeneous of some degree p, or swish with trained β; otherwise `objection` is set
        and p = 1.
    h : int
        Hidden layer, 1 … L−1.
    """

    symmetric = True
    quantity_degree = 2.0
    summable = True
    reducible = True

    def __init__(self, network: Network, h: int) -> None:
        super().__init__(network, h)
        activation = network.activations[h - 1]
        if activation.degree is None:
            self.objection = f"activation {str(activation)!r} is not homogeneous"
        self.degree = 1.0 if activation.degree is None else activation.degree
        self.name, self.shape = f"scaling:{h}", (network.widths[h],)

    def pair(self, a: Array, b: Array) -> Float64Array:
        """Return ⟨w_a, w_b⟩ + b_a b_b − p⟨u_a, u_b⟩ [− β_a β_b] per neuron."""
        out = (self._W.of(a) * self._W.of(b)).sum(axis=-1)
        out = out - self.degree * (self._U.of(a) * self._U.of(b)).sum(axis=-2)
        if self._b is not None:
            out = out + self._b.of(a) * self._b.of(b)
        if self._beta is not None:
            out = out - self._beta.of(a) * self._beta.of(b)
        return np.asarray(out)

    def generator(self, x: ArrayLike) -> Float64Array:
        """Return (w, b, −p u [, −β]) of each neuron, zero elsewhere, shape (n_h, P)."""
        x = self._point(x)
        out = np.zeros((self.n_generators, self.n_params))
        for i in range(self.n_generators):
            self._W.of(out[i])[i] = self._W.of(x)[i]
            self._U.of(out[i])[:, i] = -self.degree * self._U.of(x)[:, i]
            if self._b is not None:
                self._b.of(out[i])[i] = self._b.of(x)[i]
            if self._beta is not None:
                self._beta.of(out[i])[i] = -self._beta.of(x)[i]
        return out

    def apply(self, x: ArrayLike, strength: ArrayLike) -> Float64Array:
        """Return x with neuron i scaled by λ_i = exp(strength_i)."""
        out, factor = self._point(x).astype(np.float64), np.exp(self._strength(strength))
        self._W.of(out)[:] *= factor[:, None]
        self._U.of(out)[:] *= factor**-self.degree
        if self._b is not None:
            self._b.of(out)[:] *= factor
        if self._beta is not None:
            self._beta.of(out)[:] /= factor
        return out

    def squares(self, x: ArrayLike) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return |w|² + b², |u|² and β² per neuron, each of shape (..., n_h), for x of shape (..., P)."""
        x = self._vectors(x, "x").astype(np.float64)
        b, beta = (np.zeros(self.shape) if block is None else block.of(x) for block in (self._b, self._beta))
        incoming, outgoing = (self._W.of(x) ** 2).sum(axis=-1) + b**2, (self._U.of(x) ** 2).sum(axis=-2)
        return np.asarray(incoming), np.asarray(outgoing), np.asarray(beta**2)

    def incoming_quantity(self, W: Array) -> Float64Array:
        """Return ½|w|² per neuron."""
        return np.asarray(0.5 * (W**2).sum(axis=1))

    def norm(self, x: ArrayLike) -> Float64Array:
        """Return (|w|² + b² + p²|u|² [+ β²])^½ per neuron."""
        x = self._point(x)
        return self._norm(x, unit(x))

    def norms(self, x: Float64Array) -> Float64Array:
        return self._norm(x, units(x))

    def _norm(self, x: Array, scale: float | Float64Array) -> Float64Array:
        """Return `norm` for x of shape (..., P); squares are those of x/scale."""
        incoming, outgoing, beta = self.squares(x / scale)
        return np.asarray(scale * np.sqrt(incoming + self.degree**2 * outgoing + beta), dtype=np.float64)

    def kernel(self) -> KernelLaw:
        return KernelLaw(layout.SCALING, self._where(), self.degree)

    @classmethod
    def entries(cls) -> dict[str, Entry]:
        return {
            "scaling": lambda motion, h, bias, whole_layer: entry(motion, h, "p", bias, False, whole_layer),
            "swish": lambda motion, h, bias, whole_layer: entry(motion, h, "1", bias, True, whole_layer),
        }

    def formula(self, motion: DynamicsNotation, whole_layer: bool = False) -> Formula:
        """Return the law of neuron i, or of the whole layer."""
        swish = self._beta is not None
        return entry(motion, str(self.h), f"{self.degree:g}", self.network.bias, swish, whole_layer)


def entry(motion: DynamicsNotation, h: str, p: str, bias: bool, swish: bool, whole_layer: bool) -> Formula:
    """Return the law of neuron i, or of the whole layer."""
    u = rf"\|{{}}{weights(following(h))}\|_F^2" if whole_layer else "|{}u_i|^2"
    terms = [("+", rf"\|{{}}{weights(h)}\|_F^2" if whole_layer else "|{}w_i|^2")]
    terms += [("+", f"|{{}}b_{braced(h)}|^2" if whole_layer else "{}b_i^2")] * bias
    terms += [("-" + ("" if p == "1" else p), u)]
    terms += [("-", rf"|{{}}\beta_{braced(h)}|^2" if whole_layer else r"{}\beta_i^2")] * swish
    squares, speeds = summed(terms, still), summed(terms, dotted)
    source = "GU Table 3" if bias else "GU Table 2"  # both contain swish too
    if motion.first_order:
        return rf"{squares} = \mathrm{{const}}", f"{source}, (31), (36), (37)"
    operator = r"\frac{d^2}{dt^2}"
    if motion.mass:
        operator = rf"{motion.mass}\,{operator}"
    if motion.friction:
        friction = "" if motion.friction == "1" else rf"{motion.friction}\,"
        operator += rf" + {friction}\frac{{d}}{{dt}}"
    if motion.friction or motion.mass[:1].isdigit():  # ½2 would read as another number
        operator = f"({operator})"
    return rf"\frac{{1}}{{2}}{operator}({squares}) = {motion.mass}{group(speeds, motion.mass)}", source
