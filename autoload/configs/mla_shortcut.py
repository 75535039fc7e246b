"""Defaults of the decoders whose experts work beside the next attention."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import kv_heads, without
from autoload.configs.mla import LATENT


def attentions(c: PreTrainedConfig) -> int:
    """Two in each layer."""
    return 2 * c.num_layers


def longcat(c: PreTrainedConfig) -> None:
    kv_heads(c)
    if (count := c.__dict__.pop("num_hidden_layers", None)) is not None:
        c.num_layers = count // 2
    if c.qk_head_dim is None:
        c.qk_head_dim = c.qk_nope_head_dim + c.qk_rope_head_dim


CONFIGS = {
    "longcat_flash": ConfigSpec(
        without(LATENT, "num_hidden_layers", "intermediate_size")
        | dict(
            vocab_size=131072,
            hidden_size=6144,
            num_layers=28,
            num_attention_heads=64,
            max_position_embeddings=131072,
            rms_norm_eps=1e-5,
            ffn_hidden_size=12288,
            head_dim=64,
            qk_head_dim=None,
            moe_topk=12,
            n_routed_experts=512,
            output_router_logits=False,
            zero_expert_num=256,
            expert_ffn_hidden_size=2048,
            routed_scaling_factor=6.0,
        ),
        aliases=dict(
            num_local_experts="n_routed_experts",
            num_experts_per_tok="moe_topk",
            intermediate_size="ffn_hidden_size",
            moe_intermediate_size="expert_ffn_hidden_size",
        ),
        members={"num_hidden_layers": property(attentions)},
        complete=longcat,
        theta=1e7,
    ),
}
