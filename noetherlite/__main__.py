"""`python -m noetherlite` is the command `noetherlite`."""

import sys

from ._cli.main import main

if __name__ == "__main__":  # workers of MPI read this file, too
    sys.exit(main())
