"""`python -m autoload`."""

from __future__ import annotations

import sys

from autoload.cli import main

if __name__ == "__main__":
    sys.exit(main())
