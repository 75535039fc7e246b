"""ModernBERT and its decoder."""

from tests.parity.harness import Case

TINY = dict(
    vocab_size=99,
    hidden_size=32,
    intermediate_size=37,
    num_hidden_layers=4,
    num_attention_heads=4,
    max_position_embeddings=64,
    norm_eps=1e-3,
    norm_bias=True,
    attention_bias=True,
    mlp_bias=True,
    classifier_bias=True,
    classifier_activation="silu",
    local_attention=6,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    cls_token_id=1,
    sep_token_id=2,
    rope_parameters={
        "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
        "full_attention": {"rope_type": "default", "rope_theta": 50.0},
    },
)

CASES = [
    Case("modernbert", TINY | dict(classifier_pooling="cls")),
    Case(
        "modernbert",
        TINY | dict(classifier_pooling="mean", norm_bias=False, decoder_bias=False),
        label="mean",
        tasks=("SequenceClassification", "MaskedLM"),
    ),
    Case("modernbert", TINY | dict(sparse_prediction=True), label="sparse"),
    Case("modernbert-decoder", TINY),
]
