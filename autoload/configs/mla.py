"""Defaults of the decoders with latent attention."""

import math

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import BIAS, LLAMA, kv_heads

LATENT = (
    LLAMA
    | BIAS
    | dict(
        kv_lora_rank=512,
        q_lora_rank=1536,
        qk_rope_head_dim=64,
        qk_nope_head_dim=128,
        v_head_dim=128,
    )
)
ROUTED = dict(output_router_logits=False, n_shared_experts=1, n_group=1, topk_group=1, norm_topk_prob=True)
DEEPSEEK_V3 = (
    LATENT
    | ROUTED
    | dict(
        hidden_size=7168,
        intermediate_size=18432,
        moe_intermediate_size=2048,
        num_hidden_layers=61,
        num_experts_per_tok=8,
        routed_scaling_factor=2.5,
        n_group=8,
        topk_group=4,
        pretraining_tp=1,
        rope_interleave=True,
    )
)


def latent(c: PreTrainedConfig) -> None:
    """`head_dim` is what rotates of a head."""
    kv_heads(c)
    c.qk_head_dim = c.qk_nope_head_dim + c.qk_rope_head_dim
    c.head_dim = c.qk_rope_head_dim


def youtu(c: PreTrainedConfig) -> None:
    latent(c)
    if c.initializer_range is None:
        c.initializer_range = 2.0 / (5.0 * c.hidden_size) ** 0.5 if c.hidden_size else 0.02
    c.embedding_initializer_range = c.embedding_initializer_range or 2.0 * c.initializer_range


def glm4_layers(c: PreTrainedConfig) -> None:
    if c.mlp_layer_types is None:
        c.mlp_layer_types = ["dense"] + ["sparse"] * (c.num_hidden_layers - 1)
    c.qk_head_dim = c.qk_nope_head_dim + c.qk_rope_head_dim


def axk1_layers(c: PreTrainedConfig) -> None:
    """Experts in each `moe_layer_freq`-th layer after the first `first_k_dense_replace`."""
    latent(c)
    if c.mlp_layer_types is None:
        first, step = c.__dict__.pop("first_k_dense_replace", 1), c.__dict__.pop("moe_layer_freq", 1)
        routed = [i >= first and i % step == 0 for i in range(c.num_hidden_layers)]
        c.mlp_layer_types = ["sparse" if r else "dense" for r in routed]


def minicpm3(c: PreTrainedConfig) -> None:
    latent(c)
    if c.v_head_dim is None:
        c.v_head_dim = c.hidden_size // c.num_attention_heads
    if c.scale_depth is None:
        c.scale_depth = math.sqrt(c.num_hidden_layers)
    if c.dim_model_base is None:
        c.dim_model_base = c.hidden_size


CONFIGS = {
    "deepseek_v3": ConfigSpec(
        DEEPSEEK_V3
        | dict(
            vocab_size=129280,
            num_attention_heads=128,
            num_key_value_heads=128,
            n_routed_experts=256,
            first_k_dense_replace=3,
            max_position_embeddings=4096,
            bos_token_id=0,
            eos_token_id=1,
            num_nextn_predict_layers=1,
        ),
        aliases={"num_local_experts": "n_routed_experts", "num_mtp_layers": "num_nextn_predict_layers"},
        complete=latent,
    ),
    "axk1": ConfigSpec(
        DEEPSEEK_V3
        | dict(
            vocab_size=163840,
            num_attention_heads=64,
            num_key_value_heads=64,
            n_routed_experts=192,
            max_position_embeddings=32768,
            bos_token_id=163691,
            eos_token_id=163691,
            mlp_layer_types=None,
        ),
        aliases={"num_local_experts": "n_routed_experts"},
        complete=axk1_layers,
    ),
    "glm4_moe_lite": ConfigSpec(
        LATENT
        | ROUTED
        | dict(
            vocab_size=154880,
            hidden_size=2048,
            intermediate_size=10240,
            moe_intermediate_size=1536,
            num_hidden_layers=47,
            num_attention_heads=20,
            num_key_value_heads=20,
            n_routed_experts=64,
            routed_scaling_factor=1.8,
            q_lora_rank=768,
            v_head_dim=256,
            qk_nope_head_dim=192,
            num_experts_per_tok=4,
            max_position_embeddings=202752,
            rms_norm_eps=1e-5,
            bos_token_id=0,
            eos_token_id=1,
            pretraining_tp=1,
            rope_interleave=True,
            mlp_layer_types=None,
        ),
        aliases={"num_local_experts": "n_routed_experts", "head_dim": "qk_rope_head_dim"},
        complete=glm4_layers,
    ),
    "deepseek_v2": ConfigSpec(
        LATENT
        | ROUTED
        | dict(
            vocab_size=102400,
            pretraining_tp=1,
            mlp_bias=False,
            head_dim=None,
            first_k_dense_replace=0,
            n_group=None,
            topk_group=None,
            n_routed_experts=64,
            n_shared_experts=2,
            routed_scaling_factor=1.0,
            topk_method="greedy",
            norm_topk_prob=False,
            num_experts_per_tok=None,
            moe_intermediate_size=1407,
        ),
        aliases={"num_experts": "n_routed_experts"},
        complete=latent,
    ),
    "youtu": ConfigSpec(
        LATENT
        | dict(
            vocab_size=128256,
            hidden_size=2048,
            intermediate_size=6144,
            num_attention_heads=16,
            num_key_value_heads=16,
            max_position_embeddings=131072,
            initializer_range=None,
            embedding_initializer_range=None,
            bos_token_id=128000,
            eos_token_id=128001,
            tie_word_embeddings=True,
            rope_interleave=True,
        ),
        complete=youtu,
    ),
    "minicpm3": ConfigSpec(
        LATENT
        | dict(
            vocab_size=73448,
            hidden_size=2560,
            intermediate_size=6400,
            num_hidden_layers=62,
            num_attention_heads=40,
            num_key_value_heads=40,
            max_position_embeddings=32768,
            initializer_range=0.1,
            rms_norm_eps=1e-5,
            pretraining_tp=1,
            tie_word_embeddings=True,
            mlp_bias=False,
            head_dim=None,
            kv_lora_rank=256,
            q_lora_rank=768,
            qk_nope_head_dim=64,
            qk_rope_head_dim=32,
            v_head_dim=None,
            scale_emb=12,
            scale_depth=1.4,
            dim_model_base=256,
        ),
        complete=minicpm3,
    ),
}
