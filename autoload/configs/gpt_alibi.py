"""Defaults of the configurations of decoders with linear biases."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.gpt import INIT, NO_TOKENS
from autoload.errors import ConfigError

COMMON = INIT | dict(
    use_cache=True, pad_token_id=None, hidden_dropout=0.0, attention_dropout=0.0, tie_word_embeddings=True
)


class MptAttentionConfig(PreTrainedConfig):
    """Settings of MPT's attention, in a configuration of their own."""

    spec = ConfigSpec(
        dict(
            attn_type="multihead_attention",
            attn_pdrop=0,
            attn_impl="torch",
            clip_qkv=None,
            softmax_scale=None,
            prefix_lm=False,
            qk_ln=False,
            attn_uses_sequence_id=False,
            alibi=True,
            alibi_bias_max=8,
        )
    )


def old_width(c: PreTrainedConfig) -> None:
    """`n_embed`, as the first files called the width, wins."""
    width = c.__dict__.pop("n_embed", None)
    if width is None:
        return
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
        raise ConfigError("n_embed", width, "a whole number of at least 1")
    c.hidden_size = width


def falcon_sizes(c: PreTrainedConfig) -> None:
    """As many key heads as query heads, and an MLP of four times the width, unless the file says otherwise."""
    old_width(c)
    if c.num_kv_heads is None:
        c.num_kv_heads = c.num_attention_heads
    if c.ffn_hidden_size is None:
        c.ffn_hidden_size = 4 * c.hidden_size
    if c.new_decoder_architecture and (c.num_kv_heads < 1 or c.num_attention_heads % c.num_kv_heads):
        raise ConfigError("num_kv_heads", c.num_kv_heads, f"a divisor of num_attention_heads ({c.num_attention_heads})")


CONFIGS = {
    "bloom": ConfigSpec(
        COMMON
        | dict(
            vocab_size=250880,
            hidden_size=64,
            n_layer=2,
            n_head=8,
            bos_token_id=1,
            eos_token_id=2,
            apply_residual_connection_post_layernorm=False,
            pretraining_tp=1,
            slow_but_exact=False,
        ),
        aliases=dict(num_hidden_layers="n_layer", num_attention_heads="n_head"),
        complete=old_width,
    ),
    "falcon": ConfigSpec(
        COMMON
        | dict(
            vocab_size=65024,
            hidden_size=4544,
            num_hidden_layers=32,
            num_attention_heads=71,
            num_ln_in_parallel_attn=None,
            num_kv_heads=None,
            alibi=False,
            new_decoder_architecture=False,
            multi_query=True,
            parallel_attn=True,
            bias=False,
            max_position_embeddings=2048,
            rope_parameters=None,
            bos_token_id=11,
            eos_token_id=11,
            ffn_hidden_size=None,
            activation="gelu",
        ),
        complete=falcon_sizes,
    ),
    "mpt": ConfigSpec(
        INIT
        | NO_TOKENS
        | dict(
            d_model=2048,
            n_heads=16,
            n_layers=24,
            expansion_ratio=4,
            max_seq_len=2048,
            vocab_size=50368,
            resid_pdrop=0.0,
            emb_pdrop=0.0,
            learned_pos_emb=True,
            attn_config=None,
            init_device="cpu",
            logit_scale=None,
            no_bias=True,
            embedding_fraction=1.0,
            norm_type="low_precision_layernorm",
            use_cache=False,
            tie_word_embeddings=True,
        ),
        aliases=dict(num_attention_heads="n_heads", hidden_size="d_model", num_hidden_layers="n_layers"),
        sub_configs=dict(attn_config=MptAttentionConfig),
        ignore_at_inference=(),
    ),
}
