"""
The paper's six figures
=======================

Draw the paper's six figures into a folder (default: out), with their numbers as JSON; about half a minute.
"""

import sys

import noetherlite as nl


def main(folder: str = "out") -> None:
    """Write figure1 … figure6 as PNG, PDF and JSON into `folder`."""
    for number in nl.figures.FIGURES:
        numbers = nl.figures.save(number, folder)
        print(f"figure {number}: {folder}/figure{number}.png {numbers.get('dataset', '')}")


if __name__ == "__main__":
    main(*sys.argv[1:])
