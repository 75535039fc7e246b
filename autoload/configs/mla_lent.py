"""Defaults of the decoders whose layers lend each other their narrow vectors."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import without
from autoload.configs.mla_indexed import V32, glm_layers
from autoload.errors import ConfigError

YARN = dict(
    rope_type="yarn",
    rope_theta=10000.0,
    factor=2048.0,
    original_max_position_embeddings=512,
    beta_fast=32.0,
    beta_slow=1.0,
    attention_factor=1.0,
)


def mistral_layers(c: PreTrainedConfig) -> None:
    """Each fourth layer does not turn; each has a narrow vector of its own unless the file says otherwise."""
    glm_layers(c)
    step, count = c.__dict__.pop("no_rope_layer_interval", 4), c.num_hidden_layers
    if c.rope_parameters is None:
        c.rope_parameters = dict(YARN)
    if c.no_rope_layers is None:
        c.no_rope_layers = [int((i + 1) % step != 0) for i in range(count)]
    if c.kv_source_layers is None:
        c.kv_source_layers = list(range(count))
    lenders, turns = c.kv_source_layers, c.no_rope_layers
    if len(turns) < count:
        raise ConfigError("no_rope_layers", turns, f"0 or 1 for each of {count} layers")
    lent = [
        isinstance(j, int) and 0 <= j <= i and lenders[j] == j and turns[j] == turns[i] for i, j in enumerate(lenders)
    ]
    if len(lenders) != count or not all(lent):
        expected = f"for each of {count} layers its own number or that of an earlier one, which turns alike and lends"
        raise ConfigError("kv_source_layers", lenders, expected)


CONFIGS = {
    "mistral_large4_text": ConfigSpec(
        without(V32, "q_lora_rank", "mlp_bias", "norm_topk_prob")
        | dict(
            vocab_size=204800,
            hidden_size=6144,
            intermediate_size=24576,
            moe_intermediate_size=6144,
            num_hidden_layers=72,
            num_attention_heads=64,
            num_key_value_heads=64,
            n_routed_experts=128,
            routed_scaling_factor=1.0,
            qk_nope_head_dim=64,
            n_group=1,
            topk_group=1,
            num_experts_per_tok=4,
            max_position_embeddings=1048576,
            rms_norm_eps=1e-5,
            bos_token_id=1,
            eos_token_id=2,
            index_n_heads=32,
            first_k_dense_replace=1,
            indexer_types=None,
            no_rope_layers=None,
            kv_source_layers=None,
            final_logit_softcapping=30.0,
        ),
        aliases={"num_local_experts": "n_routed_experts"},
        complete=mistral_layers,
    ),
}
