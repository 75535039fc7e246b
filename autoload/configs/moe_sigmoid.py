"""Defaults of the decoders with experts that a bias balances."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import BIAS, LLAMA, kv_heads, without
from autoload.configs.decoder_windows import every
from autoload.configs.moe import NO_TOKENS, ROUTED

GROUPS = dict(output_router_logits=False, routed_scaling_factor=1.0, n_group=1, topk_group=1, norm_topk_prob=True)
GLM4_MOE = (
    LLAMA
    | BIAS
    | GROUPS
    | NO_TOKENS
    | dict(
        vocab_size=151552,
        intermediate_size=10944,
        num_hidden_layers=46,
        num_attention_heads=96,
        num_key_value_heads=8,
        max_position_embeddings=131072,
        rms_norm_eps=1e-5,
        moe_intermediate_size=1408,
        num_experts_per_tok=8,
        n_shared_experts=1,
        n_routed_experts=128,
    )
)


def dots1_layers(c: PreTrainedConfig) -> None:
    kv_heads(c)
    if c.layer_types is None:
        windowed = [c.sliding_window is not None and i >= c.max_window_layers for i in range(c.num_hidden_layers)]
        c.layer_types = ["sliding_attention" if w else "full_attention" for w in windowed]


def dense_first(c: PreTrainedConfig, count: int) -> None:
    """Experts in all layers but the first `count`."""
    if c.mlp_layer_types is None:
        c.mlp_layer_types = ["dense" if i < count else "sparse" for i in range(c.num_hidden_layers)]


def exaone_layers(c: PreTrainedConfig) -> None:
    dense_first(c, c.first_k_dense_replace)
    if c.sliding_window is None:
        c.sliding_window_pattern = 0
    every(c, c.sliding_window_pattern)


def minimax_rope(c: PreTrainedConfig) -> None:
    """The files of M2 say how many dimensions of a head turn."""
    if c.__dict__.get("rotary_dim") is not None:
        c.rope_parameters.setdefault("partial_rotary_factor", c.rotary_dim / c.head_dim)


def afmoe_layers(c: PreTrainedConfig) -> None:
    kv_heads(c)
    every(c, c.global_attn_every_n_layers)


def ernie_layers(c: PreTrainedConfig) -> None:
    if c.moe_layer_end_index == -1:
        c.moe_layer_end_index = c.num_hidden_layers - 1


def hunyuan_layers(c: PreTrainedConfig) -> None:
    dense_first(c, 1)


CONFIGS = {
    "glm4_moe": ConfigSpec(
        GLM4_MOE | dict(first_k_dense_replace=1, use_qk_norm=False, num_nextn_predict_layers=1),
        aliases={"num_local_experts": "n_routed_experts", "num_mtp_layers": "num_nextn_predict_layers"},
        partial_rotary_factor=0.5,
    ),
    "solar_open": ConfigSpec(
        without(GLM4_MOE, "intermediate_size")
        | dict(
            vocab_size=196608,
            num_hidden_layers=48,
            num_attention_heads=64,
            moe_intermediate_size=1280,
            head_dim=128,
        ),
        aliases={"num_local_experts": "n_routed_experts"},
        theta=1e6,
    ),
    "dots1": ConfigSpec(
        LLAMA
        | BIAS
        | GROUPS
        | NO_TOKENS
        | dict(
            vocab_size=152064,
            hidden_size=4608,
            intermediate_size=10944,
            moe_intermediate_size=1408,
            num_hidden_layers=62,
            num_key_value_heads=32,
            n_shared_experts=None,
            n_routed_experts=None,
            num_experts_per_tok=None,
            first_k_dense_replace=0,
            norm_topk_prob=False,
            sliding_window=4096,
            max_window_layers=62,
            layer_types=None,
        ),
        aliases={"num_local_experts": "n_routed_experts"},
        complete=dots1_layers,
    ),
    "exaone_moe": ConfigSpec(
        LLAMA
        | GROUPS
        | dict(
            vocab_size=102400,
            intermediate_size=16384,
            num_key_value_heads=32,
            rms_norm_eps=1e-5,
            pad_token_id=0,
            eos_token_id=53,
            sliding_window=4096,
            sliding_window_pattern=4,
            layer_types=None,
            mlp_layer_types=None,
            first_k_dense_replace=1,
            moe_intermediate_size=1024,
            num_experts=64,
            num_experts_per_tok=8,
            num_shared_experts=1,
            routed_scaling_factor=2.5,
        ),
        complete=exaone_layers,
    ),
    "minimax_m2": ConfigSpec(
        LLAMA
        | ROUTED
        | dict(
            vocab_size=200064,
            hidden_size=3072,
            intermediate_size=1536,
            num_hidden_layers=62,
            num_attention_heads=48,
            num_key_value_heads=8,
            head_dim=128,
            max_position_embeddings=196608,
            bos_token_id=200034,
            eos_token_id=200020,
            num_experts_per_tok=8,
            num_local_experts=256,
            router_jitter_noise=0.0,
        ),
        aliases={"num_experts": "num_local_experts"},
        finish=minimax_rope,
        theta=5e6,
    ),
    "hy_v3": ConfigSpec(
        LLAMA
        | BIAS
        | NO_TOKENS
        | dict(
            vocab_size=120832,
            intermediate_size=13312,
            num_hidden_layers=80,
            num_attention_heads=64,
            num_key_value_heads=8,
            head_dim=128,
            max_position_embeddings=131072,
            initializer_range=0.006,
            rms_norm_eps=1e-5,
            mlp_bias=False,
            num_experts=192,
            num_experts_per_tok=8,
            num_shared_experts=1,
            moe_intermediate_size=1536,
            router_scaling_factor=2.826,
            enable_moe_fp32_combine=True,
            mlp_layer_types=None,
            output_router_logits=False,
        ),
        aliases={"num_local_experts": "num_experts"},
        complete=hunyuan_layers,
        theta=11158840.0,
    ),
    "afmoe": ConfigSpec(
        LLAMA
        | BIAS
        | NO_TOKENS
        | dict(
            vocab_size=200192,
            hidden_size=2048,
            intermediate_size=6144,
            moe_intermediate_size=1408,
            num_dense_layers=1,
            num_attention_heads=16,
            head_dim=128,
            max_position_embeddings=16384,
            rms_norm_eps=1e-5,
            num_experts=64,
            num_experts_per_tok=6,
            num_shared_experts=2,
            route_scale=1.0,
            output_router_logits=False,
            global_attn_every_n_layers=4,
            sliding_window=1024,
            layer_types=None,
            mup_enabled=False,
        ),
        complete=afmoe_layers,
    ),
    "ernie4_5_moe": ConfigSpec(
        without(LLAMA, "attention_dropout")
        | ROUTED
        | dict(
            vocab_size=103424,
            pad_token_id=0,
            hidden_size=2560,
            intermediate_size=12288,
            num_hidden_layers=28,
            num_attention_heads=20,
            num_key_value_heads=4,
            max_position_embeddings=131072,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            use_bias=False,
            moe_intermediate_size=1536,
            moe_k=6,
            moe_num_experts=64,
            moe_num_shared_experts=2,
            moe_layer_start_index=1,
            moe_layer_end_index=-1,
            moe_layer_interval=1,
            moe_norm_min=1e-12,
        ),
        aliases={"num_experts": "moe_num_experts", "num_experts_per_tok": "moe_k"},
        complete=ernie_layers,
        theta=500000.0,
    ),
}
