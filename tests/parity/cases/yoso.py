"""YOSO."""

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

SEEN = {"padding": "the reference sees padding: its mask becomes all ones; tests/parity/test_hidden_padding.py has it"}

CASES = [
    Case(
        "yoso",
        TINY | dict(hash_code_len=5, conv_window=3, hidden_act="relu"),
        skip=SEEN | {"half": "the reference multiplies values by a mask in single precision"},
    ),
    Case("yoso", TINY, label="plain", tasks=("Model",), skip=SEEN),
]
