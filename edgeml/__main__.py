"""``python -m edgeml`` is the command ``edgeml``."""

import sys

from edgeml.cli import main

if __name__ == "__main__":
    sys.exit(main())
