"""Defaults of Gemmas with an embedding for each layer."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import without
from autoload.configs.decoder_windows import GEMMA2, every
from autoload.errors import ConfigError

COMMON = without(GEMMA2, "query_pre_attn_scalar") | dict(sliding_window=512, num_kv_shared_layers=0)
GEMMA4 = COMMON | dict(
    vocab_size=262144,
    num_hidden_layers=30,
    max_position_embeddings=131072,
    final_logit_softcapping=None,
    use_bidirectional_attention=None,
    attention_k_eq_v=False,
    use_double_wide_mlp=False,
)
GEMMA4_ROPE = {
    "sliding_attention": dict(rope_type="default", rope_theta=1e4),
    "full_attention": dict(rope_type="proportional", partial_rotary_factor=0.25, rope_theta=1e6),
}


def gemma4_layers(c: PreTrainedConfig) -> None:
    """Layers that see everything have larger heads; the last layer is one of them."""
    end_full(c, 6)
    if c.use_bidirectional_attention == "all":
        c.is_causal = False
    if c.rope_parameters is None:
        c.rope_parameters = {kind: dict(rope) for kind, rope in GEMMA4_ROPE.items()}
    own = {"head_dim": c.__dict__.pop("global_head_dim", 512)}
    kv_heads = c.__dict__.pop("num_global_key_value_heads", None)
    if kv_heads is not None and c.attention_k_eq_v:
        own["num_key_value_heads"] = kv_heads
    widen(c, own)


def end_full(c: PreTrainedConfig, period: int) -> None:
    """Each `period`-th layer sees everything, and so does the last, whatever the file says."""
    every(c, period)
    if c.layer_types:
        c.layer_types = [*c.layer_types[:-1], "full_attention"]


def widen(c: PreTrainedConfig, own: dict) -> None:
    """The fields of the layers that see everything, unless the file has some for each layer."""
    given = c.__dict__.get("per_layer_config")
    if given is None:
        given = {i: own for i, kind in enumerate(c.layer_types) if kind == "full_attention"}
    c.per_layer_config = numbered(given)


def cached_window(c: PreTrainedConfig) -> int | None:
    """What a cache keeps for layers with a window: in both directions, the window is that of both sides together."""
    return c.sliding_window // 2 + 1 if c.use_bidirectional_attention == "all" else c.sliding_window


def numbered(layers: dict) -> dict[str, dict]:
    """Layer numbers of equal length, as config.json has them."""
    if not isinstance(layers, dict) or not all(
        str(key).isdigit() and isinstance(fields, dict) for key, fields in layers.items()
    ):
        raise ConfigError("per_layer_config", layers, "an object that maps numbers of layers to their fields")
    digits = max((len(str(int(key))) for key in layers), default=1)
    return {str(int(key)).zfill(digits): dict(fields) for key, fields in layers.items()}


CONFIGS = {
    "gemma4_text": ConfigSpec(
        GEMMA4
        | dict(
            vocab_size_per_layer_input=262144,
            hidden_size_per_layer_input=256,
            enable_moe_block=False,
            num_experts=None,
            top_k_experts=None,
            moe_intermediate_size=None,
        ),
        members={"cached_window": property(cached_window)},
        complete=gemma4_layers,
        theta={},
    ),
    "gemma4_unified_text": ConfigSpec(
        GEMMA4 | dict(max_position_embeddings=262144, sliding_window=1024, use_bidirectional_attention="vision"),
        members={"cached_window": property(cached_window)},
        complete=gemma4_layers,
        theta={},
    ),
}
