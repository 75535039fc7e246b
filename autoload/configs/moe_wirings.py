"""Defaults of decoders with experts and a wiring of their own."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import BIAS, LLAMA, heads, kv_heads, without
from autoload.configs.moe import ROUTED


def jetmoe_heads(c: PreTrainedConfig) -> None:
    """Each of a token's experts has as many query heads as there are key heads."""
    c.num_attention_heads = c.num_key_value_heads * c.num_experts_per_tok


def phimoe_original(c: PreTrainedConfig) -> None:
    rope = c.rope_parameters
    if rope["rope_type"] != "default" and "original_max_position_embeddings" in rope:
        c.original_max_position_embeddings = rope["original_max_position_embeddings"]


CONFIGS = {
    "phimoe": ConfigSpec(
        LLAMA
        | BIAS
        | ROUTED
        | dict(
            vocab_size=32064,
            intermediate_size=6400,
            num_key_value_heads=8,
            max_position_embeddings=131072,
            rms_norm_eps=1e-5,
            sliding_window=None,
            num_experts_per_tok=2,
            num_local_experts=16,
            router_jitter_noise=0.01,
            input_jitter_noise=0.0,
            lm_head_bias=False,
        ),
        complete=kv_heads,
        finish=phimoe_original,
        theta=1e6,
    ),
    "hunyuan_v1_moe": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            vocab_size=290943,
            rms_norm_eps=1e-5,
            pad_token_id=0,
            eod_token_id=3,
            sep_token_id=4,
            pretraining_tp=1,
            num_experts=1,
            output_router_logits=False,
            moe_topk=1,
            head_dim=None,
        ),
        aliases={"num_experts_per_tok": "moe_topk", "num_local_experts": "num_experts"},
        complete=kv_heads,
    ),
    "aria_text": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            intermediate_size=4096,
            pad_token_id=2,
            pretraining_tp=1,
            mlp_bias=False,
            head_dim=None,
            moe_num_experts=8,
            moe_topk=2,
            moe_num_shared_experts=2,
        ),
        complete=heads,
    ),
    "jetmoe": ConfigSpec(
        without(LLAMA, "hidden_act", "num_attention_heads")
        | dict(
            hidden_size=2048,
            num_hidden_layers=12,
            num_key_value_heads=16,
            kv_channels=128,
            intermediate_size=5632,
            max_position_embeddings=4096,
            activation_function="silu",
            num_local_experts=8,
            num_experts_per_tok=2,
            output_router_logits=False,
            aux_loss_coef=0.01,
            tie_word_embeddings=True,
            initializer_range=0.01,
        ),
        aliases={"head_dim": "kv_channels"},
        complete=jetmoe_heads,
    ),
}
