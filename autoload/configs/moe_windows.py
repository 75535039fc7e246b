"""Defaults of decoders with experts and several kinds of layers."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import BIAS, LLAMA, kv_heads, without
from autoload.configs.decoder_windows import COHERE2, every, granite_swa_bases, granite_swa_layers
from autoload.configs.moe import GRANITE, NO_TOKENS, ROUTED
from autoload.configs.moe_sigmoid import dense_first
from autoload.errors import ConfigError

KINDS = dict(layer_types=None, mlp_layer_types=None)


def all_full(c: PreTrainedConfig, dense: int) -> None:
    """All layers see everything unless the file says otherwise; `dense` layers in front have no experts."""
    if c.layer_types is None:
        c.layer_types = ["full_attention"] * c.num_hidden_layers
    dense_first(c, dense)


def mellum_layers(c: PreTrainedConfig) -> None:
    all_full(c, 0)
    ahead = c.num_nextn_predict_layers
    if ahead:
        c.mtp_layer_types = c.mtp_layer_types or ["sliding_attention"] * ahead
        c.mtp_mlp_layer_types = c.mtp_mlp_layer_types or ["sparse"] * ahead


def flint_layers(c: PreTrainedConfig) -> None:
    """The first two layers, each fourth and the last see everything."""
    last = c.num_hidden_layers - 1
    if c.layer_types is None:
        full = [i < 2 or i % 4 == 1 or i == last for i in range(c.num_hidden_layers)]
        c.layer_types = ["full_attention" if f else "sliding_attention" for f in full]
    if c.mlp_only_layers is None:
        c.mlp_only_layers = [0, 1]


def kolibri_layers(c: PreTrainedConfig) -> None:
    every(c, 5)


def cohere_layers(c: PreTrainedConfig) -> None:
    """Layers in front may have no experts and windows of their own pattern."""
    kv_heads(c)
    front = c.__dict__.pop("first_k_dense_replace", 0)
    if c.layer_types is None:
        prefix, period = c.prefix_dense_sliding_window_pattern, c.sliding_window_pattern
        full = [(i + 1) % prefix == 0 for i in range(front)]
        full += [(i + 1) % period == 0 for i in range(c.num_hidden_layers - front)]
        c.layer_types = ["full_attention" if f else "sliding_attention" for f in full]
    dense_first(c, front)
    for name, allowed in CHOICES.items():
        if getattr(c, name) not in allowed:
            raise ConfigError(name, getattr(c, name), f"one of {', '.join(allowed)}")
    if c.rope_parameters is None and c.__dict__["rope_scaling"] is not None:
        c.rope_parameters = dict(c.__dict__["rope_scaling"])


CHOICES = {
    "expert_selection_fn": ("softmax", "sigmoid"),
    "shared_expert_combination_strategy": ("sum", "average"),
}


CONFIGS = {
    "mellum": ConfigSpec(
        LLAMA
        | BIAS
        | ROUTED
        | NO_TOKENS
        | KINDS
        | dict(
            vocab_size=98304,
            hidden_size=2304,
            intermediate_size=7168,
            num_hidden_layers=28,
            num_key_value_heads=4,
            max_position_embeddings=131072,
            sliding_window=1024,
            moe_intermediate_size=896,
            num_experts_per_tok=8,
            num_local_experts=64,
            norm_topk_prob=True,
            head_dim=128,
            num_nextn_predict_layers=None,
            mtp_layer_types=None,
            mtp_mlp_layer_types=None,
        ),
        aliases={"num_experts": "num_local_experts", "num_mtp_layers": "num_nextn_predict_layers"},
        complete=mellum_layers,
        theta={"full_attention": 500000.0, "sliding_attention": 10000.0},
    ),
    "flint": ConfigSpec(
        LLAMA
        | BIAS
        | ROUTED
        | NO_TOKENS
        | dict(
            vocab_size=150144,
            hidden_size=2048,
            intermediate_size=6144,
            num_hidden_layers=49,
            num_key_value_heads=4,
            max_position_embeddings=262144,
            sliding_window=513,
            decoder_sparse_step=1,
            moe_intermediate_size=512,
            shared_expert_intermediate_size=1024,
            num_experts_per_tok=6,
            num_experts=256,
            norm_topk_prob=True,
            router_aux_loss_coef=0.0005,
            mlp_only_layers=None,
            layer_types=None,
            head_dim=128,
        ),
        complete=flint_layers,
    ),
    "kolibri1": ConfigSpec(
        without(LLAMA, "intermediate_size")
        | NO_TOKENS
        | dict(
            vocab_size=128000,
            hidden_size=2560,
            num_hidden_layers=50,
            num_attention_heads=48,
            num_key_value_heads=4,
            max_position_embeddings=262144,
            sliding_window=513,
            moe_intermediate_size=512,
            num_experts_per_tok=6,
            num_local_experts=384,
            norm_topk_prob=False,
            output_router_logits=False,
            head_dim=128,
            shared_expert_intermediate_size=512,
            layer_types=None,
        ),
        aliases={"num_experts": "num_local_experts"},
        complete=kolibri_layers,
    ),
    "cohere2_moe": ConfigSpec(
        COHERE2
        | KINDS
        | dict(
            head_dim=128,
            rope_theta=10000.0,
            rope_scaling=None,
            num_experts_per_tok=2,
            num_experts=8,
            output_router_logits=False,
            num_shared_experts=0,
            shared_expert_combination_strategy="average",
            expert_selection_fn="softmax",
            prefix_dense_sliding_window_pattern=1,
            norm_topk_prob=True,
            prefix_dense_intermediate_size=None,
            rms_norm_eps=None,
            sliding_window_pattern=4,
        ),
        complete=cohere_layers,
    ),
    "granitemoe_swa": ConfigSpec(
        GRANITE | dict(shared_intermediate_size=0, sliding_window=128, layer_types=None, layer_rope_theta=None),
        complete=granite_swa_layers,
        finish=granite_swa_bases,
    ),
}
