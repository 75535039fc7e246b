"""ESM."""

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

ESM = {key: value for key, value in TINY.items() if key != "type_vocab_size"} | dict(pad_token_id=1, mask_token_id=7)

CASES = [
    Case("esm", ESM | dict(emb_layer_norm_before=True)),
    Case("esm", ESM | dict(position_embedding_type="rotary", rope_theta=50.0, token_dropout=True), label="rotary"),
]
