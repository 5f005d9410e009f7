"""`python -m zoetrope` is the `zoetrope` command."""

import sys

from .headless.command import main

if __name__ == "__main__":
    sys.exit(main())
