"""Defaults of GPT-2's and its nearest kin's configurations."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.errors import ConfigError

NAMES = dict(
    hidden_size="n_embd",
    max_position_embeddings="n_positions",
    num_attention_heads="n_head",
    num_hidden_layers="n_layer",
)
SIZES = dict(vocab_size=50257, n_positions=1024, n_embd=768, n_layer=12, n_head=12)
DROPOUT = dict(resid_pdrop=0.1, embd_pdrop=0.1, attn_pdrop=0.1)
INIT = dict(layer_norm_epsilon=1e-5, initializer_range=0.02)
SUMMARY = dict(
    summary_type="cls_index",
    summary_use_proj=True,
    summary_activation=None,
    summary_proj_to_labels=True,
    summary_first_dropout=0.1,
)
TOKENS = dict(bos_token_id=50256, eos_token_id=50256, pad_token_id=None)
NO_TOKENS = dict(bos_token_id=None, eos_token_id=None, pad_token_id=None)
GPT2 = (
    SIZES
    | DROPOUT
    | INIT
    | TOKENS
    | dict(
        n_inner=None,
        activation_function="gelu_new",
        scale_attn_weights=True,
        use_cache=True,
        scale_attn_by_inverse_layer_idx=False,
        reorder_and_upcast_attn=False,
        add_cross_attention=False,
        tie_word_embeddings=True,
    )
)


def without(fields: dict, *names: str) -> dict:
    """The fields but for some."""
    return {key: value for key, value in fields.items() if key not in names}


def key_heads(c: PreTrainedConfig) -> None:
    """One key head for all queries, or one each."""
    c.num_key_value_heads = 1 if c.multi_query else c.n_head


def neo_layers(c: PreTrainedConfig) -> None:
    """What each layer sees, written out from pairs of a pattern and how often it comes."""
    if c.attention_types is None:
        c.attention_types = [[["global", "local"], 12]]
    try:
        count = sum(len(pattern) * times for pattern, times in c.attention_types)
    except (TypeError, ValueError):
        raise ConfigError("attention_types", c.attention_types, "a list of [[kind, ...], times]") from None
    if count != c.num_layers:
        raise ConfigError("attention_types", f"{count} layers", f"as many as num_layers ({c.num_layers})")
    kinds = [kind for pattern, times in c.attention_types for kind in [*pattern] * times]
    if any(kind not in ("global", "local") for kind in kinds):
        raise ConfigError("attention_types", c.attention_types, "'global' and 'local' only")
    if isinstance(c.window_size, bool) or not isinstance(c.window_size, int) or c.window_size < 1:
        raise ConfigError("window_size", c.window_size, "a whole number of at least 1")
    c.attention_layers = kinds


CONFIGS = {
    "gpt2": ConfigSpec(GPT2 | SUMMARY, aliases=NAMES),
    "gpt_bigcode": ConfigSpec(
        without(GPT2, "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn")
        | dict(
            activation_function="gelu_pytorch_tanh",
            attention_softmax_in_fp32=True,
            scale_attention_softmax_in_fp32=True,
            multi_query=True,
        ),
        aliases=NAMES,
        complete=key_heads,
    ),
    "gpt_neo": ConfigSpec(
        INIT
        | TOKENS
        | dict(
            vocab_size=50257,
            max_position_embeddings=2048,
            hidden_size=2048,
            num_layers=24,
            attention_types=None,
            num_heads=16,
            intermediate_size=None,
            window_size=256,
            activation_function="gelu_new",
            resid_dropout=0.0,
            embed_dropout=0.0,
            attention_dropout=0.0,
            classifier_dropout=0.1,
            use_cache=True,
            tie_word_embeddings=True,
        ),
        aliases=dict(num_attention_heads="num_heads", num_hidden_layers="num_layers"),
        complete=neo_layers,
    ),
    "imagegpt": ConfigSpec(
        GPT2
        | NO_TOKENS
        | dict(
            vocab_size=513,
            n_embd=512,
            n_layer=24,
            n_head=8,
            activation_function="quick_gelu",
            tie_word_embeddings=False,
        ),
        aliases=NAMES,
    ),
    "openai-gpt": ConfigSpec(
        SIZES
        | DROPOUT
        | INIT
        | SUMMARY
        | NO_TOKENS
        | dict(vocab_size=40478, n_positions=512, afn="gelu", tie_word_embeddings=True),
        aliases=NAMES,
        ignore_at_inference=(),
    ),
}
