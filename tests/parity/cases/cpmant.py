"""CPM-Ant."""

from tests.parity.harness import Case

TINY = dict(
    pad_token_id=0,
    vocab_size=99,
    hidden_size=32,
    num_attention_heads=4,
    dim_head=12,
    dim_ff=37,
    num_hidden_layers=3,
    position_bias_num_buckets=16,  # near and shared distances, also within the tests' sequences
    position_bias_max_distance=14,
    eps=1e-3,
    init_std=0.3,
    prompt_types=4,
    prompt_length=5,
    segment_types=4,
)

CASES = [
    Case(
        "cpmant",
        TINY,
        skip={"cache": "each token looks both ways, so a cached step differs from the full pass, and reads all tokens"},
    ),
]
