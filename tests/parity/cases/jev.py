"""A decision head on a Qwen2."""

from tests.parity.cases.decoder import TINY, WINDOW
from tests.parity.harness import Case

TEXT = TINY | WINDOW | dict(model_type="qwen2", use_sliding_window=True, max_window_layers=2)
JEV = dict(
    hidden_size=TINY["hidden_size"],
    num_verbalizers=11,
    offsets={"noul": 1, "score": 3, "choice": 6},
    softcap=0.7,
    text_config=TEXT,
)
# The head gives one tensor and takes questions: tests/parity/test_jev.py compares it.
CASES = [Case("jev", JEV, tasks=("Model",))]
