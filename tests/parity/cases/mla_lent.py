"""Decoders whose layers lend each other their narrow vectors."""

from autoload.configs.decoder import without
from tests.parity.cases.mla import GROUPS
from tests.parity.cases.mla_indexed import ALL, FEW, INDEXED
from tests.parity.harness import Case

LENT = dict(no_rope_layer_interval=2, kv_source_layers=[0, 1, 0, 1], indexer_types=["full", "shared", "full", "shared"])

CASES = [
    Case("mistral_large4_text", without(INDEXED, "q_lora_rank") | GROUPS | LENT, skip=FEW),
    Case("mistral_large4_text", without(ALL, "q_lora_rank"), label="all"),
]
