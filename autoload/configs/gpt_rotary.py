"""Defaults of the configurations of the first decoders with rotary positions."""

from autoload.config import ConfigSpec
from autoload.configs.gpt import GPT2, NAMES, without

NEOX = dict(
    vocab_size=50432,
    hidden_size=6144,
    num_hidden_layers=44,
    num_attention_heads=64,
    hidden_act="gelu",
    attention_dropout=0.0,
    hidden_dropout=0.0,
    max_position_embeddings=2048,
    initializer_range=0.02,
    layer_norm_eps=1e-5,
    use_cache=True,
    bos_token_id=0,
    eos_token_id=2,
    pad_token_id=None,
    rope_parameters=None,
    is_decoder=False,
)
GPTJ = without(
    GPT2, "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention"
) | dict(
    vocab_size=50400,
    n_positions=2048,
    n_embd=4096,
    n_layer=28,
    n_head=16,
    rotary_dim=64,
    resid_pdrop=0.0,
    embd_pdrop=0.0,
    attn_pdrop=0.0,
    tie_word_embeddings=False,
)

CONFIGS = {
    "gpt_neox": ConfigSpec(
        NEOX
        | dict(
            intermediate_size=24576,
            classifier_dropout=0.1,
            tie_word_embeddings=False,
            use_parallel_residual=True,
            attention_bias=True,
        ),
        partial_rotary_factor=0.25,
    ),
    "gpt_neox_japanese": ConfigSpec(
        NEOX
        | dict(
            vocab_size=32000,
            hidden_size=2560,
            num_hidden_layers=32,
            num_attention_heads=32,
            intermediate_multiple_size=4,
            bos_token_id=31996,
            eos_token_id=31999,
            attention_dropout=0.1,
            tie_word_embeddings=True,
        ),
        partial_rotary_factor=1.0,
        ignore_at_inference=(),
    ),
    "gptj": ConfigSpec(GPTJ, aliases=NAMES, ignore_at_inference=()),
    "codegen": ConfigSpec(without(GPTJ, "pad_token_id") | dict(n_ctx=2048), aliases=NAMES, ignore_at_inference=()),
}
