"""Time and memory of a scan of GPT-2 small's tensors (124 million parameters) in float32.

Parameters are random, gradients too, but for the laws of the architecture, which they are made to obey: heads, gains of norms,
sums over the stream, the shift of embeddings. What a backward pass would take is not counted.

    python benchmarks/scan_gpt2.py --layers 12
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

import noetherlite as nl

WIDTH, HEADS, VOCABULARY, CONTEXT = 768, 12, 50257, 1024

Arrays = dict[str, np.ndarray]


def shapes(layers: int) -> dict[str, tuple[int, ...]]:
    """Return the tensors of Hugging Face's GPT2LMHeadModel, whose matrices are (in, out)."""
    d = WIDTH
    out: dict[str, tuple[int, ...]] = {"wte.weight": (VOCABULARY, d), "wpe.weight": (CONTEXT, d)}
    for h in (f"h.{layer}" for layer in range(layers)):
        out |= {f"{h}.ln_1.weight": (d,), f"{h}.ln_1.bias": (d,)}
        out |= {f"{h}.attn.c_attn.weight": (d, 3 * d), f"{h}.attn.c_attn.bias": (3 * d,)}
        out |= {f"{h}.attn.c_proj.weight": (d, d), f"{h}.attn.c_proj.bias": (d,)}
        out |= {f"{h}.ln_2.weight": (d,), f"{h}.ln_2.bias": (d,)}
        out |= {f"{h}.mlp.c_fc.weight": (d, 4 * d), f"{h}.mlp.c_fc.bias": (4 * d,)}
        out |= {f"{h}.mlp.c_proj.weight": (4 * d, d), f"{h}.mlp.c_proj.bias": (d,)}
    return out | {"ln_f.weight": (d,), "ln_f.bias": (d,)}


def drawn(layers: int, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Return random parameters, and a random gradient that obeys the laws."""
    x, g = ({name: rng.standard_normal(s, dtype=np.float32) for name, s in shapes(layers).items()} for _ in range(2))
    for name in x:
        if ".ln_" in name and name.endswith("weight"):
            x[name] = 1 + x[name] / 10
    for layer in range(layers):
        _obey_attention(x, g, f"h.{layer}.attn")
        g[f"h.{layer}.mlp.c_proj.weight"] -= g[f"h.{layer}.mlp.c_proj.weight"].mean(axis=1, keepdims=True)
        g[f"h.{layer}.mlp.c_proj.bias"] -= g[f"h.{layer}.mlp.c_proj.bias"].mean()
        _obey_gain(x, g, f"h.{layer}.ln_1", f"h.{layer}.attn.c_attn.weight")
        _obey_gain(x, g, f"h.{layer}.ln_2", f"h.{layer}.mlp.c_fc.weight")
    g["wpe.weight"] -= g["wpe.weight"].mean(axis=1, keepdims=True)
    total = g["wpe.weight"].sum(axis=0, dtype=np.float64)  # the tied embedding shifts against the positions
    g["wte.weight"] += ((total - g["wte.weight"].sum(axis=0, dtype=np.float64)) / VOCABULARY).astype(np.float32)
    return x, g


def _obey_attention(x: Arrays, g: Arrays, name: str) -> None:
    """Mend the gradients of queries and values, so that those of each head balance keys and output."""
    width = WIDTH // HEADS
    weight, bias, out = f"{name}.c_attn.weight", f"{name}.c_attn.bias", f"{name}.c_proj.weight"
    g[out] -= g[out].mean(axis=1, keepdims=True)
    g[f"{name}.c_proj.bias"] -= g[f"{name}.c_proj.bias"].mean()
    g[bias][WIDTH : 2 * WIDTH] = 0
    for head in range(HEADS):
        q, k, v = (slice(part * WIDTH + head * width, part * WIDTH + (head + 1) * width) for part in range(3))
        o = slice(head * width, (head + 1) * width)
        _balance(x, g, weight, bias, q, x[weight][:, k].T @ g[weight][:, k])
        _balance(x, g, weight, bias, v, x[out][o] @ g[out][o].T)


def _balance(x: Arrays, g: Arrays, weight: str, bias: str, part: slice, other: np.ndarray) -> None:
    """Mend the gradient of some columns of a matrix, so that Gᵀ X + g bᵀ is what the other member has."""
    rows, wrong = x[weight][:, part].astype(np.float64), other.astype(np.float64)
    wrong = wrong - g[weight][:, part].T.astype(np.float64) @ rows - np.outer(g[bias][part], x[bias][part])
    g[weight][:, part] += rows @ np.linalg.solve(rows.T @ rows, wrong.T)


def _obey_gain(x: Arrays, g: Arrays, norm: str, reader: str) -> None:
    read = np.einsum("ij,ij->i", x[reader], g[reader], dtype=np.float64)
    shift = x[f"{norm}.bias"].astype(np.float64) * g[f"{norm}.bias"]
    g[f"{norm}.weight"][...] = (read - shift) / x[f"{norm}.weight"]


def main() -> None:
    """Print what was found, the time and the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--laws", action="store_true", help="print all laws")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    pairs = [drawn(options.layers, rng) for _ in range(options.pairs)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, busy = time.perf_counter(), time.process_time()
    scan = nl.scan_pairs(pairs)
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(scan if options.laws else str(scan).partition("\n")[0])
    kinds = [law.kind for law in scan.relations]
    print(", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)))
    print(
        f"{seconds:.1f} s ({busy:.1f} s of processors); memory at most {after / 2**20:.2f} GiB, {before / 2**20:.2f} GiB of it before the scan"
    )


if __name__ == "__main__":
    main()
