"""BERT-like encoders."""

from tests.parity.harness import Case

TINY = dict(
    vocab_size=99,
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=37,
    max_position_embeddings=40,
    type_vocab_size=3,
    layer_norm_eps=1e-3,
)
DISTIL = dict(vocab_size=99, dim=32, n_layers=3, n_heads=4, hidden_dim=37, max_position_embeddings=40)

CASES = [
    Case("bert", TINY),
    Case("distilbert", DISTIL),
]
