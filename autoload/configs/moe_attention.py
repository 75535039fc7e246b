"""Defaults of decoders with experts and an attention of their own."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import BIAS, LLAMA, heads
from autoload.configs.moe import NO_TOKENS, ROUTED
from autoload.configs.moe_sigmoid import GROUPS, dense_first
from autoload.configs.moe_windows import KINDS, all_full
from autoload.errors import ConfigError


def beam_layers(c: PreTrainedConfig) -> None:
    """Each sixth layer and the last see everything and do not rotate."""
    if c.layer_types is None:
        full = [(i + 1) % 6 == 0 or i == c.num_hidden_layers - 1 for i in range(c.num_hidden_layers)]
        c.layer_types = ["full_attention" if f else "sliding_attention" for f in full]
    dense_first(c, 3)
    if c.rope_parameters is None:
        c.rope_parameters = {"sliding_attention": {"rope_type": "default", "rope_theta": 1e4}, "full_attention": None}


def laguna_layers(c: PreTrainedConfig) -> None:
    if c.moe_apply_router_weight_on_input:
        raise ConfigError("moe_apply_router_weight_on_input", True, "false: weights on the input are not supported")
    all_full(c, 1)
    if c.num_attention_heads_per_layer is None:
        c.num_attention_heads_per_layer = [c.num_attention_heads] * c.num_hidden_layers
    for name in ("num_attention_heads_per_layer", "mlp_layer_types"):
        if len(getattr(c, name)) != c.num_hidden_layers:
            raise ConfigError(
                name, f"{len(getattr(c, name))} entries", f"one for each of the {c.num_hidden_layers} layers"
            )
    if c.rope_parameters is None:
        c.rope_parameters = {
            "full_attention": {"rope_type": "default", "rope_theta": 500000.0, "partial_rotary_factor": 0.5},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
        }


def mimo_layers(c: PreTrainedConfig) -> None:
    """The first layer and each sixth see everything; the first has no experts."""
    if c.layer_types is None:
        full = [i == 0 or (i + 1) % 6 == 0 for i in range(c.num_hidden_layers)]
        c.layer_types = ["full_attention" if f else "sliding_attention" for f in full]
    dense_first(c, 1)
    if c.routed_scaling_factor is None:
        c.routed_scaling_factor = 1.0
    if c.__dict__.get("sliding_window_size") is not None:  # the Hub's file does not count the query itself
        c.sliding_window = c.sliding_window_size + 1
    if c.rope_parameters is None:
        bases = {"full_attention": 5_000_000.0, "sliding_attention": 10_000.0}
        c.rope_parameters = {
            kind: {"rope_type": "default", "rope_theta": base, "partial_rotary_factor": 0.334}
            for kind, base in bases.items()
        }


def llama4_layers(c: PreTrainedConfig) -> None:
    """Each fourth layer sees everything and does not rotate; the others see their block of tokens."""
    heads(c)
    layers, step = c.num_hidden_layers, c.interleave_moe_layer_step
    if not c.no_rope_layers:
        c.no_rope_layers = [int((i + 1) % c.no_rope_layer_interval != 0) for i in range(layers)]
    if c.moe_layers is None:
        c.moe_layers = list(range(step - 1, layers, step))
    if c.layer_types is None:
        c.layer_types = ["chunked_attention" if turns else "full_attention" for turns in c.no_rope_layers]


CONFIGS = {
    "llama4_text": ConfigSpec(
        LLAMA
        | BIAS
        | ROUTED
        | dict(
            vocab_size=202048,
            hidden_size=5120,
            intermediate_size=8192,
            intermediate_size_mlp=16384,
            num_hidden_layers=48,
            num_attention_heads=40,
            num_key_value_heads=8,
            head_dim=128,
            max_position_embeddings=131072,
            rms_norm_eps=1e-5,
            num_experts_per_tok=1,
            num_local_experts=16,
            moe_layers=None,
            interleave_moe_layer_step=1,
            use_qk_norm=True,
            router_jitter_noise=0.0,
            no_rope_layers=None,
            no_rope_layer_interval=4,
            attention_chunk_size=8192,
            layer_types=None,
            attn_temperature_tuning=True,
            floor_scale=8192,
            attn_scale=0.1,
        ),
        complete=llama4_layers,
        theta=500000.0,
    ),
    "beam": ConfigSpec(
        LLAMA
        | BIAS
        | GROUPS
        | NO_TOKENS
        | KINDS
        | dict(
            vocab_size=151936,
            hidden_size=5120,
            intermediate_size=20480,
            num_hidden_layers=52,
            num_attention_heads=48,
            num_key_value_heads=8,
            max_position_embeddings=8192,
            sliding_window=512,
            moe_intermediate_size=2560,
            num_experts_per_tok=8,
            num_experts=256,
            head_dim=128,
            n_group=8,
            topk_group=4,
            routed_scaling_factor=2.5,
            final_logit_softcapping=30.0,
        ),
        complete=beam_layers,
        theta={"sliding_attention": 10000.0},
    ),
    "laguna": ConfigSpec(
        LLAMA
        | BIAS
        | ROUTED
        | NO_TOKENS
        | KINDS
        | dict(
            vocab_size=100352,
            hidden_size=2048,
            intermediate_size=8192,
            num_hidden_layers=40,
            num_attention_heads=48,
            num_key_value_heads=8,
            max_position_embeddings=131072,
            sliding_window=512,
            moe_intermediate_size=512,
            shared_expert_intermediate_size=512,
            num_experts_per_tok=8,
            num_experts=256,
            head_dim=128,
            gating=True,
            num_attention_heads_per_layer=None,
            moe_routed_scaling_factor=1.0,
            moe_apply_router_weight_on_input=False,
            moe_router_logit_softcapping=0.0,
        ),
        complete=laguna_layers,
        theta={"full_attention": 500000.0, "sliding_attention": 10000.0},
    ),
    "mimo_v2_flash": ConfigSpec(
        LLAMA
        | BIAS
        | GROUPS
        | KINDS
        | dict(
            vocab_size=152576,
            intermediate_size=16384,
            num_hidden_layers=48,
            num_attention_heads=64,
            num_key_value_heads=4,
            max_position_embeddings=131072,
            rms_norm_eps=1e-5,
            moe_intermediate_size=2048,
            num_experts_per_tok=8,
            n_routed_experts=256,
            eos_token_id=None,
            head_dim=192,
            v_head_dim=128,
            sliding_window=129,
            attention_value_scale=0.707,
        ),
        aliases={"num_local_experts": "n_routed_experts"},
        complete=mimo_layers,
        theta={"full_attention": 5_000_000.0, "sliding_attention": 10_000.0},
    ),
}
