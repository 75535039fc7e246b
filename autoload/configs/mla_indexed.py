"""Defaults of the decoders with latent attention to what an index chooses."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import kv_heads, without
from autoload.configs.decoder_gemma import numbered
from autoload.configs.mla import LATENT, ROUTED, axk1_layers, latent
from autoload.errors import ConfigError

V32 = (
    LATENT
    | ROUTED
    | dict(
        vocab_size=129280,
        hidden_size=7168,
        intermediate_size=18432,
        moe_intermediate_size=2048,
        num_hidden_layers=61,
        num_attention_heads=128,
        num_key_value_heads=128,
        n_routed_experts=256,
        routed_scaling_factor=2.5,
        n_group=8,
        topk_group=4,
        num_experts_per_tok=8,
        max_position_embeddings=163840,
        bos_token_id=0,
        eos_token_id=1,
        mlp_layer_types=None,
        index_topk=2048,
        index_head_dim=128,
        index_n_heads=64,
        mlp_bias=False,
        head_dim=64,
        first_k_dense_replace=3,
        layer_types=None,
    )
)


def indexed(c: PreTrainedConfig) -> None:
    """Every layer looks at what an index chooses."""
    latent(c)
    if c.layer_types is None:
        c.layer_types = ["indexed_attention"] * c.num_hidden_layers


def v32_layers(c: PreTrainedConfig) -> None:
    indexed(c)
    if c.mlp_layer_types is None:
        c.mlp_layer_types = ["dense" if i < c.first_k_dense_replace else "sparse" for i in range(c.num_hidden_layers)]
    if (experts := c.__dict__.get("num_experts")) is not None:
        c.n_routed_experts = experts


def glm_layers(c: PreTrainedConfig) -> None:
    """Which layers have an index of their own: by a pattern, or each `index_topk_freq`-th."""
    v32_layers(c)
    fields = c.__dict__
    pattern = fields.get("index_topk_pattern")
    if c.indexer_types is None and pattern is not None:
        names = {"F": "full", "S": "shared"}
        c.indexer_types = [names.get(one, one) for one in pattern] if isinstance(pattern, str) else list(pattern)
    elif c.indexer_types is None:
        step, offset = max(fields.get("index_topk_freq", 1), 1), fields.get("index_skip_topk_offset", 2)
        own = [max(i - offset + 1, 0) % step == 0 for i in range(c.num_hidden_layers)]
        c.indexer_types = ["full" if one else "shared" for one in own]
    check_sharing(c)


def check_sharing(c: PreTrainedConfig) -> None:
    """A layer can only share what an earlier one chose."""
    kinds, count = c.indexer_types, c.num_hidden_layers
    known = isinstance(kinds, list) and len(kinds) == count and all(kind in ("full", "shared") for kind in kinds)
    if not known or kinds[:1] == ["shared"]:
        expected = f"'full' or 'shared' for each of {count} layers, 'full' for the first"
        raise ConfigError("indexer_types", kinds, expected)


def axk2_layers(c: PreTrainedConfig) -> None:
    indexed(c)
    axk1_layers(c)
    if (c.n_group is None) != (c.topk_group is None):
        raise ConfigError("topk_group", c.topk_group, f"a number where n_group is one (it is {c.n_group})")


SMALL = dict(  # sizes of layers with a window; files have them as `swa_...`
    num_attention_heads=64,
    num_key_value_heads=64,
    q_lora_rank=1024,
    kv_lora_rank=1024,
    head_dim=256,
    qk_nope_head_dim=192,
    v_head_dim=128,
)


def dots3_layers(c: PreTrainedConfig) -> None:
    """Every fourth layer looks at what an index chooses, the others at a window, with sizes of their own."""
    fields, count = c.__dict__, c.num_hidden_layers
    first, step = fields.pop("first_k_dense_replace", 1), fields.pop("moe_layer_freq", 1)
    if c.mlp_layer_types is None:
        routed = [step[i] if isinstance(step, (list, tuple)) else i % step == 0 for i in range(count)]
        c.mlp_layer_types = ["sparse" if i >= first and routed[i] else "dense" for i in range(count)]
    wide = fields.pop("moe_shared_expert_intermediate_size", None)
    c.shared_experts_intermediate_size = c.shared_experts_intermediate_size if wide is None else wide
    kv_heads(c)
    window = fields.pop("sliding_window_size", 512)
    c.sliding_window = c.sliding_window or window
    dots3_kinds(c)
    sizes = {name: fields.pop(f"swa_{name}", size) for name, size in SMALL.items()}
    turning = sizes["head_dim"] - sizes["qk_nope_head_dim"]
    sizes["qk_rope_head_dim"] = fields.pop("swa_qk_rope_head_dim", turning)
    sizes = {name: size for name, size in sizes.items() if size != fields[name]}
    own = {i: sizes for i, kind in enumerate(c.layer_types) if kind == "sliding_attention"}
    c.per_layer_config = numbered(fields.get("per_layer_config", own))
    dots3_rope(c)


def dots3_kinds(c: PreTrainedConfig) -> None:
    """What each layer sees; older files call layers with an index "full_attention"."""
    fields = c.__dict__
    indexes = fields.pop("use_dsa", None if "per_layer_config" in fields else True)
    narrow = fields.pop("use_sliding_window", True)
    if c.layer_types is None:
        wide = "full_attention" if indexes is False else "indexed_attention"
        windows = [narrow and i > 1 and i % 4 != 1 for i in range(c.num_hidden_layers)]
        c.layer_types = ["sliding_attention" if window else wide for window in windows]
    if indexes is not None:
        pair = ("full_attention", "indexed_attention")
        old, new = pair if indexes else pair[::-1]
        c.layer_types = [new if kind == old else kind for kind in c.layer_types]


def dots3_rope(c: PreTrainedConfig) -> None:
    """A base for each kind of layer; the part of a head that turns follows from its sizes."""
    fields, kinds = c.__dict__, list(dict.fromkeys(c.layer_types))
    base, local = fields.pop("rope_theta") or 8e7, fields.pop("swa_rope_theta", 5e4)
    rope = c.rope_parameters or fields["rope_scaling"]
    del fields["rope_scaling"]
    if rope is None:
        bases = {kind: local if kind == "sliding_attention" else base for kind in kinds}
        rope = {kind: dict(rope_type="default", rope_theta=theta) for kind, theta in bases.items()}
    if not isinstance(rope, dict):
        raise ConfigError("rope_parameters", rope, "an object with rope_type and its settings")
    if not rope.keys() & set(kinds):
        rope = dict.fromkeys(kinds, rope)
    c.rope_parameters, by_number = {}, {int(key): value for key, value in c.per_layer_config.items()}
    for kind in kinds:
        own = by_number.get(c.layer_types.index(kind), {})
        turning, size = (own.get(name, fields[name]) for name in ("qk_rope_head_dim", "head_dim"))
        if not isinstance(rope.get(kind), dict):
            raise ConfigError(f"rope_parameters.{kind}", rope.get(kind), "an object with rope_type and its settings")
        c.rope_parameters[kind] = dict(rope_theta=base) | rope[kind] | dict(partial_rotary_factor=turning / size)


CONFIGS = {
    "dots3_note_text": ConfigSpec(
        without(V32, "first_k_dense_replace")
        | dict(
            vocab_size=152064,
            hidden_size=5120,
            intermediate_size=13824,
            moe_intermediate_size=1536,
            num_hidden_layers=46,
            q_lora_rank=1024,
            n_group=1,
            topk_group=1,
            routed_scaling_factor=1.0,
            max_position_embeddings=524288,
            rms_norm_eps=1e-5,
            pad_token_id=151659,
            bos_token_id=151643,
            eos_token_id=151668,
            head_dim=256,
            sliding_window=None,
            shared_experts_intermediate_size=1536,
            rope_theta=None,
            rope_scaling=None,
        ),
        aliases={"num_local_experts": "n_routed_experts"},
        complete=dots3_layers,
        theta={},
    ),
    "deepseek_v32": ConfigSpec(V32, aliases={"num_local_experts": "n_routed_experts"}, complete=v32_layers),
    "glm_moe_dsa": ConfigSpec(
        V32
        | dict(
            vocab_size=154880,
            hidden_size=6144,
            intermediate_size=12288,
            num_hidden_layers=78,
            num_attention_heads=64,
            num_key_value_heads=64,
            q_lora_rank=2048,
            v_head_dim=256,
            qk_nope_head_dim=192,
            n_group=1,
            topk_group=1,
            max_position_embeddings=202752,
            rms_norm_eps=1e-5,
            index_n_heads=32,
            indexer_types=None,
        ),
        aliases={"num_local_experts": "n_routed_experts"},
        complete=glm_layers,
    ),
    "axk2": ConfigSpec(
        without(V32, "first_k_dense_replace", "mlp_bias")
        | dict(
            vocab_size=163840,
            hidden_size=2048,
            intermediate_size=5120,
            moe_intermediate_size=512,
            num_hidden_layers=48,
            num_attention_heads=32,
            num_key_value_heads=32,
            n_routed_experts=128,
            kv_lora_rank=128,
            q_lora_rank=384,
            qk_rope_head_dim=32,
            v_head_dim=64,
            qk_nope_head_dim=64,
            n_group=None,
            topk_group=None,
            max_position_embeddings=131072,
            bos_token_id=163691,
            eos_token_id=163691,
            index_n_heads=16,
            gated_norm_rank=16,
        ),
        aliases={"num_local_experts": "n_routed_experts"},
        complete=axk2_layers,
    ),
}
