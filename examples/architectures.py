"""
Laws of a transformer
=====================

How many conservation laws has a small GPT, and what are they? An architecture of blocks is counted in exact arithmetic, its laws
are held against a gradient in float64, and those of one head are printed as formulas.
"""

import numpy as np

import noetherlite as nl
from noetherlite import arch


def main() -> None:
    model = arch.Transformer(d=3, heads=1, head_width=2, mlp="gelu", mlp_width=2, embed=2, vocab=3, eps=1e-5)
    count = nl.count_laws(model)
    print(f"A GPT of {model.n_params} parameters: {count!r}")
    for wire, laws in count.by_name.items():
        print(f"  {laws:3} {wire}")

    rng = np.random.default_rng(0)
    params = model.init(rng)
    X, labels = rng.normal(size=(8, 5, 2)), rng.integers(0, 3, (8, 5))
    scan = nl.scan(lambda p: model.gradient(p, X, labels), params)
    print(f"\nFound from three gradients, without knowing the architecture:\n{scan}")
    nl.testing.assert_symmetric(params, model.gradient(params, X, labels), scan.laws())

    print("\nA head with biases conserves")
    for law in nl.conserved_polynomials(arch.Attention(2, heads=1, head_width=2, outputs=1, bias=True)):
        print("  ", str(law).replace("attention.", ""))

    for name, options in arch.PRESETS.items():
        large = arch.Transformer(**options)
        print(f"{name}: {sum(large.known_laws().values()):,} laws of {large.n_params:,} parameters")


if __name__ == "__main__":
    main()
