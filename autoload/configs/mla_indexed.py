"""Defaults of the decoders with latent attention to what an index chooses."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import without
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


CONFIGS = {
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
