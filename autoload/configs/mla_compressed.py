"""Defaults of the decoders that see far-off tokens as one entry for each window."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import LLAMA, without
from autoload.errors import ConfigError

WINDOW, SHORT, LONG = "sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"
BY_RATIO = {0: WINDOW, 4: SHORT, 128: LONG}


def deepseek_v4_layers(c: PreTrainedConfig) -> None:
    """Two layers with long windows, then both kinds by turns; the first three choose experts by table."""
    old, count = c.__dict__, c.num_hidden_layers
    ratios = old.pop("compress_ratios", None)
    c.compress_rates = compress_rates(c)
    if c.layer_types is None and ratios is not None:
        c.layer_types = [BY_RATIO.get(ratio, ratio) for ratio in ratios]
    if c.layer_types is None:
        c.layer_types = [SHORT if i > 1 and i % 2 else LONG for i in range(count)]
    tables = old.pop("num_hash_layers", None)
    if c.mlp_layer_types is None:
        c.mlp_layer_types = ["hash_moe" if i < (3 if tables is None else tables) else "moe" for i in range(count)]
    for name, known in (("layer_types", BY_RATIO.values()), ("mlp_layer_types", ("hash_moe", "moe"))):
        kinds = old[name] = list(old[name][:count])
        if len(kinds) != count or not set(kinds) <= set(known):
            raise ConfigError(name, kinds, f"for each of {count} layers one of {', '.join(known)}")


def compress_rates(c: PreTrainedConfig) -> dict[str, int]:
    """Tokens of a window, by kind of layer."""
    rates = {SHORT: 4, LONG: 128} if c.compress_rates is None else c.compress_rates
    if not isinstance(rates, dict):
        raise ConfigError("compress_rates", rates, "an object with a number for each kind of layer")
    older = ((SHORT, c.__dict__.pop("compress_rate_csa", None)), (LONG, c.__dict__.pop("compress_rate_hca", None)))
    rates = rates | {kind: rate for kind, rate in older if rate is not None}
    for kind in (SHORT, LONG):
        if not isinstance(rates.get(kind), int) or rates[kind] < 1:
            raise ConfigError(f"compress_rates.{kind}", rates.get(kind), "a whole number of at least 1")
    return rates


def deepseek_v4_rope(c: PreTrainedConfig) -> None:
    """Layers with entries have a base of their own, and alone the scaling; their angles are not sharpened."""
    turning = c.__dict__.pop("qk_rope_head_dim", None)
    if c.partial_rotary_factor is None:
        c.partial_rotary_factor = 64 / 512 if turning is None else turning / c.head_dim
    c.qk_rope_head_dim = int(c.head_dim * c.partial_rotary_factor)
    rope, part = c.rope_parameters, dict(partial_rotary_factor=c.partial_rotary_factor)
    if isinstance(rope.get("main"), dict) and isinstance(rope.get("compress"), dict):
        c.rope_parameters = {name: rope[name] for name in ("main", "compress")}
        return
    main = dict(rope_type="default", rope_theta=c.rope_theta) | part
    compress = {k: v for k, v in rope.items() if k not in ("main", "compress")} | part
    compress["rope_theta"] = c.compress_rope_theta
    if compress["rope_type"] == "yarn":
        compress.setdefault("attention_factor", 1.0)
    c.rope_parameters = dict(main=main, compress=compress)


CONFIGS = {
    "deepseek_v4": ConfigSpec(
        without(LLAMA, "intermediate_size")
        | dict(
            vocab_size=129280,
            moe_intermediate_size=2048,
            num_hidden_layers=43,
            num_attention_heads=64,
            num_key_value_heads=1,
            head_dim=512,
            q_lora_rank=1024,
            num_experts_per_tok=6,
            n_routed_experts=256,
            n_shared_experts=1,
            scoring_func="sqrtsoftplus",
            norm_topk_prob=True,
            routed_scaling_factor=1.5,
            max_position_embeddings=1048576,
            rope_theta=10000.0,
            layer_types=None,
            compress_rates=None,
            compress_rope_theta=160000.0,
            hc_mult=4,
            hc_sinkhorn_iters=20,
            hc_eps=1e-6,
            mlp_layer_types=None,
            swiglu_limit=10.0,
            sliding_window=128,
            o_groups=8,
            o_lora_rank=1024,
            index_n_heads=64,
            index_head_dim=128,
            index_topk=512,
            num_nextn_predict_layers=1,
            output_router_logits=False,
            router_aux_loss_coef=0.001,
            router_jitter_noise=0.0,
            bos_token_id=0,
            eos_token_id=1,
            partial_rotary_factor=None,
            attention_bias=False,
            mlp_bias=False,
        ),
        aliases={"num_local_experts": "n_routed_experts", "intermediate_size": "moe_intermediate_size"},
        complete=deepseek_v4_layers,
        finish=deepseek_v4_rope,
        members={"_rope_type_labels": ("main", "compress")},
    ),
}
