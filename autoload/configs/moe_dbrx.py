"""Defaults of the decoders with experts under MPT's names."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.moe import NO_TOKENS
from autoload.errors import ConfigError


class DbrxAttentionConfig(PreTrainedConfig):
    """Settings of DBRX's attention, in a configuration of their own."""

    spec = ConfigSpec(dict(attn_pdrop=0.0, clip_qkv=None, kv_n_heads=1))


class DbrxFFNConfig(PreTrainedConfig):
    """Settings of DBRX's experts."""

    spec = ConfigSpec(
        dict(
            hidden_size=6144,
            ffn_act_fn=None,
            ffn_hidden_size=3584,
            moe_num_experts=4,
            moe_top_k=1,
            moe_jitter_eps=None,
            moe_loss_weight=0.01,
            moe_normalize_expert_weights=1.0,
        )
    )


def dbrx(c: PreTrainedConfig) -> None:
    """The experts are as wide as the stream; there is no tie."""
    if c.tie_word_embeddings:
        raise ConfigError("tie_word_embeddings", True, "false: DBRX has a table of scores of its own")
    if c.ffn_config.ffn_act_fn is None:
        c.ffn_config.ffn_act_fn = {"name": "silu"}
    if not isinstance(c.ffn_config.ffn_act_fn, dict):
        raise ConfigError("ffn_config.ffn_act_fn", c.ffn_config.ffn_act_fn, "an object with a name")
    c.ffn_config.hidden_size = c.d_model
    c.num_key_value_heads = c.attn_config.kv_n_heads


CONFIGS = {
    "dbrx": ConfigSpec(
        NO_TOKENS
        | dict(
            d_model=2048,
            n_heads=16,
            n_layers=24,
            max_seq_len=2048,
            vocab_size=32000,
            resid_pdrop=0.0,
            emb_pdrop=0.0,
            attn_config=None,
            ffn_config=None,
            use_cache=True,
            initializer_range=0.02,
            output_router_logits=False,
            rope_parameters=None,
            tie_word_embeddings=False,
        ),
        aliases=dict(
            num_attention_heads="n_heads",
            hidden_size="d_model",
            num_hidden_layers="n_layers",
            max_position_embeddings="max_seq_len",
        ),
        complete=dbrx,
        sub_configs=dict(attn_config=DbrxAttentionConfig, ffn_config=DbrxFFNConfig),
        ignore_at_inference=(),
    ),
}
