"""Settings of the whole suite."""

import os

# Tiny models: several threads for each of several workers only get in each other's way. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
