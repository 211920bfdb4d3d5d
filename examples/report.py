"""
A page to send
==============

Reports: one HTML file that needs no other and no network, of a run with its laws, plots and specification.
"""

from pathlib import Path

import noetherlite as nl


def main() -> None:
    net = nl.Network([784, 32, 16, 10], "relu")
    U = net.potential(nl.datasets.glyphs(n=256, rng=0))
    run = nl.integrate(U, nl.Leapfrog(0.01), net.init(rng=0), steps=300, record_every=5)
    page = Path("report.html")
    page.write_text(nl.report(run, title="Leapfrog on glyphs"), "utf-8")
    print(f"{page.stat().st_size / 1000:.0f} kB in {page.resolve()}: open it in a browser")


if __name__ == "__main__":
    main()
