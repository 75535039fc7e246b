"""BERT with rotary positions."""

from tests.parity.cases.bert import TINY
from tests.parity.harness import Case

CASES = [
    Case("nomic_bert", TINY | dict(head_dim=12)),
    Case("gte", TINY),
    Case("gte", TINY | dict(type_vocab_size=0), label="untyped"),
    Case("jina_embeddings_v3", TINY),
]
