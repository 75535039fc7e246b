"""Defaults of the decoders with experts whose routers end in a softmax."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import BIAS, LLAMA, alternate, heads, kv_heads

ROUTED = dict(output_router_logits=False, router_aux_loss_coef=0.001)
NO_TOKENS = dict(pad_token_id=None, bos_token_id=None, eos_token_id=None)
QWEN = (
    LLAMA
    | ROUTED
    | NO_TOKENS
    | dict(
        vocab_size=151936,
        hidden_size=2048,
        num_hidden_layers=24,
        max_position_embeddings=32768,
        use_sliding_window=False,
        sliding_window=4096,
        decoder_sparse_step=1,
        norm_topk_prob=False,
        mlp_only_layers=None,
    )
)
GRANITE = (
    LLAMA
    | BIAS
    | ROUTED
    | dict(
        embedding_multiplier=1.0,
        logits_scaling=1.0,
        residual_multiplier=1.0,
        attention_multiplier=1.0,
        num_local_experts=8,
        num_experts_per_tok=2,
    )
)
GPT_OSS_ROPE = dict(
    rope_type="yarn",
    factor=32.0,
    beta_fast=32.0,
    beta_slow=1.0,
    truncate=False,
    original_max_position_embeddings=4096,
)


def qwen2_moe_layers(c: PreTrainedConfig) -> None:
    """Even layers before `max_window_layers` see a window, where windows are switched on."""
    if c.mlp_only_layers is None:
        c.mlp_only_layers = []
    if not c.use_sliding_window:
        c.sliding_window = 0
    if c.layer_types is None:
        windowed = [i % 2 == 0 and i < c.max_window_layers and c.use_sliding_window for i in range(c.num_hidden_layers)]
        c.layer_types = ["sliding_attention" if w else "full_attention" for w in windowed]


def qwen3_moe_layers(c: PreTrainedConfig) -> None:
    if c.mlp_only_layers is None:
        c.mlp_only_layers = []
    if not c.use_sliding_window:
        c.sliding_window = None


def gpt_oss_layers(c: PreTrainedConfig) -> None:
    heads(c)
    alternate(c)
    if c.rope_parameters is None:
        c.rope_parameters = dict(GPT_OSS_ROPE)


CONFIGS = {
    "mixtral": ConfigSpec(
        LLAMA
        | ROUTED
        | dict(
            intermediate_size=14336,
            num_key_value_heads=8,
            head_dim=None,
            max_position_embeddings=131072,
            rms_norm_eps=1e-5,
            sliding_window=None,
            num_experts_per_tok=2,
            num_local_experts=8,
            router_jitter_noise=0.0,
        ),
        aliases={"num_experts": "num_local_experts"},
        complete=kv_heads,
        theta=1e6,
    ),
    "qwen2_moe": ConfigSpec(
        QWEN
        | dict(
            intermediate_size=5632,
            num_attention_heads=16,
            num_key_value_heads=16,
            max_window_layers=28,
            moe_intermediate_size=1408,
            shared_expert_intermediate_size=5632,
            num_experts_per_tok=4,
            num_experts=60,
            qkv_bias=True,
            layer_types=None,
        ),
        complete=qwen2_moe_layers,
    ),
    "qwen3_moe": ConfigSpec(
        QWEN
        | BIAS
        | dict(
            intermediate_size=6144,
            num_key_value_heads=4,
            moe_intermediate_size=768,
            num_experts_per_tok=8,
            num_local_experts=128,
        ),
        aliases={"num_experts": "num_local_experts"},
        complete=qwen3_moe_layers,
    ),
    "gpt_oss": ConfigSpec(
        LLAMA
        | ROUTED
        | NO_TOKENS
        | dict(
            num_hidden_layers=36,
            num_local_experts=128,
            vocab_size=201088,
            hidden_size=2880,
            intermediate_size=2880,
            head_dim=64,
            num_attention_heads=64,
            num_key_value_heads=8,
            sliding_window=128,
            max_position_embeddings=131072,
            rms_norm_eps=1e-5,
            num_experts_per_tok=4,
            swiglu_alpha=1.702,
            swiglu_limit=7.0,
            layer_types=None,
            attention_bias=True,
        ),
        aliases={"num_experts": "num_local_experts"},
        complete=gpt_oss_layers,
        theta=150000.0,
        ignore_at_inference=(),
    ),
    "olmoe": ConfigSpec(
        LLAMA
        | BIAS
        | ROUTED
        | dict(
            vocab_size=50304,
            hidden_size=2048,
            intermediate_size=2048,
            num_hidden_layers=16,
            num_attention_heads=16,
            max_position_embeddings=4096,
            rms_norm_eps=1e-5,
            pad_token_id=1,
            bos_token_id=None,
            eos_token_id=50279,
            clip_qkv=None,
            num_experts_per_tok=8,
            num_experts=64,
            router_aux_loss_coef=0.01,
            norm_topk_prob=False,
        ),
        aliases={"num_local_experts": "num_experts"},
        complete=kv_heads,
    ),
    "flex_olmo": ConfigSpec(
        LLAMA
        | BIAS
        | ROUTED
        | dict(
            vocab_size=100352,
            max_position_embeddings=4096,
            pad_token_id=100277,
            bos_token_id=None,
            eos_token_id=100257,
            num_experts_per_tok=5,
            num_experts=7,
            router_aux_loss_coef=0.01,
            norm_topk_prob=False,
        ),
        aliases={"num_local_experts": "num_experts"},
        complete=kv_heads,
        theta=500000.0,
    ),
    "granitemoe": ConfigSpec(GRANITE, complete=kv_heads),
    "granitemoeshared": ConfigSpec(GRANITE | dict(shared_intermediate_size=0), complete=kv_heads),
}
