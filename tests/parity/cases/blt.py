"""The Byte Latent Transformer: patches by doubt, of bounded length, and one for each byte."""

from tests.parity.harness import Case

LAST = {
    "cache": "in the full pass the last byte does not know that its patch is full; tests/parity/test_blt.py has a byte more"
}


def stack(hidden_size: int, layers: int, **more: object) -> dict[str, object]:
    size = dict(hidden_size=hidden_size, num_hidden_layers=layers, intermediate_size=hidden_size + 8)
    rope = {"rope_type": "default", "rope_theta": 700.0}
    heads = dict(num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-3)
    return size | heads | dict(max_position_embeddings=64, rope_parameters=rope) | more


SMALL = dict(
    vocab_size=31,
    pad_token_id=0,
    patching_threshold=2.8791,  # far from any entropy of the inputs: rounding must not move a patch
    num_hidden_layers=3,  # no field of the type; without it the reference cannot make its cache
    local_attention_window_len=5,
    cross_attn_k=3,
    encoder_hash_byte_group_size=[2, 3, 4],
    encoder_hash_byte_group_vocab=23,
    encoder_hash_byte_group_nb_functions=2,
    patcher_config=stack(32, 2, vocab_size=31, sliding_window=4),
    encoder_config=stack(32, 2, vocab_size=31, cross_attn_k=3, cross_attn_all_layers=True),
    decoder_config=stack(32, 3, vocab_size=31, cross_attn_k=3, hidden_size_global=48),
    global_config=stack(48, 2, hidden_act="gelu"),
)
CASES = [
    Case("blt", SMALL),
    Case(
        "blt",
        SMALL
        | dict(
            max_patch_length=2,
            use_cache=False,
            patching_threshold=2.8360,
            patcher_config=stack(32, 2, vocab_size=31, sliding_window=4),
            local_attention_window_len=None,
            encoder_config=stack(32, 2, vocab_size=31, cross_attn_k=3),
            decoder_config=stack(
                32, 2, vocab_size=31, cross_attn_k=3, cross_attn_all_layers=False, hidden_size_global=96
            ),
            global_config=stack(96, 2),
            tie_word_embeddings=True,
        ),
        label="short-patches",
        skip=LAST,
    ),
    Case("blt", SMALL | dict(patch_in_forward=False), label="single-bytes"),
]
