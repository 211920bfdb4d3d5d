"""
Count the laws of an architecture
=================================

How many laws are there for every data set? All of them counted, with a proof, and how the proof grows.
Deep ReLU networks need an assumption, or parameters and data to count for.
"""

import numpy as np

import noetherlite as nl


def main() -> None:
    networks = {
        "two linear layers": nl.Network([2, 3, 2], "linear", bias=False),
        "wide linear layer": nl.Network([2, 9, 2], "linear", bias=False),
        "deep linear": nl.Network([2, 5, 5, 5, 2], "linear", bias=False),
        "linear, biases": nl.Network([2, 3, 2], "linear"),
        "scalar stretch": nl.Network([3, 1, 2, 3, 1], "linear", bias=False, loss="mse"),
        "ReLU": nl.Network([9, 9, 9, 9], "relu"),
        "z^2, then ReLU": nl.Network([3, 4, 4, 2], ["polynomial(2)", "relu"]),
    }
    print(
        f"{'network':18} {'widths':16} {'P':>4} {'gradient flow':>14} {'momentum':>9}  dimension by depth of brackets"
    )
    for title, net in networks.items():
        gradient, momentum = nl.count_laws(net), nl.count_laws(net, flow="momentum")
        widths = "-".join(map(str, net.widths))
        print(
            f"{title:18} {widths:16} {net.n_params:4} {gradient:14} {momentum:9}  {gradient.depths}, {momentum.depths}"
        )
        assert gradient.lower == gradient.upper
        assert momentum.lower == momentum.upper
    print(f"\nThe first in words: {nl.count_laws(networks['two linear layers']).method}.")

    net, rng = nl.Network([2, 3, 2, 2], "relu", bias=False), np.random.default_rng(0)
    theta, X = net.init(rng), rng.standard_normal((60, 2))
    print(f"\nReLU: {nl.count_laws(net)!r}\nAt a random start: {nl.count_laws(net, theta=theta, X=X)!r}")
    net.unpack(theta)["W2"][:] = np.abs(net.unpack(theta)["W2"])  # its neurons are on together, whatever the input
    print(f"Where W2 > 0:      {nl.count_laws(net, theta=theta, X=X)!r}\n")

    ax = None
    for width, colour, marker in zip((2, 3, 5), nl.plot.COLOURS, "os^", strict=False):
        count = nl.count_laws(nl.Network([2, width, width, width, 2], "linear", bias=False))
        ax = nl.plot.closure(count, ax, color=colour, marker=marker, label=f"2-{width}-{width}-{width}-2: {count} laws")
    ax.legend(frameon=False)
    ax.figure.savefig("count_laws.png", dpi=150)
    print("Directions reached by brackets in deep linear networks: count_laws.png")


if __name__ == "__main__":
    main()
