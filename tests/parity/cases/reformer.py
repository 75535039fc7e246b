"""Reformer."""

from tests.parity.harness import Case

REFORMER = dict(
    vocab_size=99,
    hidden_size=32,
    attn_layers=["local", "lsh", "local", "lsh"],
    num_attention_heads=2,
    attention_head_size=12,
    feed_forward_size=37,
    hidden_act="gelu",
    axial_pos_shape=[4, 8],
    axial_pos_embds_dim=[10, 22],
    local_attn_chunk_length=4,
    lsh_attn_chunk_length=4,
    num_buckets=4,
    num_hashes=3,
    hash_seed=5,
    max_position_embeddings=40,
    layer_norm_eps=1e-3,
    use_cache=False,
)
SKIP = {
    "gradients": "the reference gives them in training alone; tests/parity/test_reformer.py has them",
    "cache": "nothing is kept between passes: each reads the whole text",
}
BOTH_SIDES = dict(local_num_chunks_after=1, lsh_num_chunks_after=1, lsh_num_chunks_before=0, local_attn_chunk_length=3)
ENCODES = ("Model", "MaskedLM", "SequenceClassification", "QuestionAnswering")

CASES = [
    Case("reformer", REFORMER, skip=SKIP),
    Case("reformer", REFORMER | BOTH_SIDES | dict(num_buckets=[2, 4]), skip=SKIP, label="sides", tasks=ENCODES),
    Case(
        "reformer",
        REFORMER | dict(axial_pos_embds=False, local_attn_chunk_length=20, lsh_attn_chunk_length=20),
        skip=SKIP,
        label="short",
    ),
    Case(
        "reformer",
        REFORMER | dict(attn_layers=["local", "local"], local_num_chunks_before=2),
        skip=SKIP,
        label="local",
        tasks=("Model",),
    ),
    Case("reformer", REFORMER | dict(attn_layers=["lsh"], is_decoder=True), skip=SKIP, label="hash", tasks=("Model",)),
]
