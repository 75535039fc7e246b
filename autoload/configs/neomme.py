"""Defaults of NeoMME."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder_gemma import numbered
from autoload.errors import ConfigError

KINDS = ("full_attention", "sliding_attention")
THETA = {"full_attention": 1e6, "sliding_attention": 1e4}
TURNING = {"full_attention": 0.25, "sliding_attention": 1.0}  # part of a head
LONG_WINDOW = 1024


def complete(c: PreTrainedConfig) -> None:
    """Each sixth layer and the last see everything; windows are short and long in turn."""
    last = c.num_hidden_layers - 1
    if c.layer_types is None:
        c.layer_types = [KINDS[(i + 1) % 6 != 0 and i != last] for i in range(c.num_hidden_layers)]
    if not {"full_attention"} <= set(c.layer_types) <= set(KINDS) or len(c.layer_types) != c.num_hidden_layers:
        raise ConfigError(
            "layer_types", c.layer_types, f"one of {', '.join(KINDS)} for each layer, the first at least once"
        )
    given = c.__dict__.get("per_layer_config")
    if given is None:
        windowed = [i for i, kind in enumerate(c.layer_types) if kind == "sliding_attention"]
        given = {i: {"sliding_window": LONG_WINDOW} for i in windowed[1::2]}
        given |= {i: {"sliding_window": None} for i, kind in enumerate(c.layer_types) if kind == "full_attention"}
    c.per_layer_config = numbered(given)
    if c.residual_multiplier is None:
        c.residual_multiplier = (2 * c.num_hidden_layers) ** -0.5
    fresh = {kind: dict(rope_type="default", rope_theta=THETA[kind]) for kind in set(c.layer_types)}
    found = c.rope_parameters or {}
    c.rope_parameters = {
        kind: fresh[kind] | dict(partial_rotary_factor=TURNING[kind]) | (found.get(kind) or {}) for kind in fresh
    }
    for kind, rope in c.rope_parameters.items():
        turning = int(c.head_dim * rope["partial_rotary_factor"])
        if turning < 4 or turning % 4:
            expected = f"a part of head_dim {c.head_dim} that is a multiple of 4"
            raise ConfigError(f"rope_parameters.{kind}.partial_rotary_factor", rope["partial_rotary_factor"], expected)


CONFIGS = {
    "neomme": ConfigSpec(
        dict(
            vocab_size=131072,
            embedding_rank=256,
            hidden_size=1024,
            intermediate_size=3584,
            hidden_act="relu2",
            mlp_bias=False,
            num_hidden_layers=17,
            num_attention_heads=16,
            num_key_value_heads=4,
            head_dim=64,
            max_position_embeddings=16384,
            norm_eps=1e-6,
            initializer_range=0.02,
            attention_dropout=0.0,
            attention_bias=False,
            layer_types=None,
            rope_parameters=None,
            sliding_window=256,
            residual_multiplier=None,
            patch_size=32,
            embedding_dim=128,
            pad_token_id=0,
            document_token_id=5,
            image_token_id=6,
            tie_word_embeddings=True,
        ),
        complete=complete,
        theta={},  # they are filled in above
    ),
}
