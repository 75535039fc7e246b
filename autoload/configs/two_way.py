"""Defaults of encoders made of newer decoders' parts."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import BIAS, LLAMA, heads, without
from autoload.configs.decoder_gemma import end_full, widen
from autoload.configs.moe import GPT_OSS_ROPE, ROUTED
from autoload.errors import ConfigError

SECRETS = ("account_number", "private_address", "private_date", "private_email", "private_person")
SECRETS += ("private_phone", "private_url", "secret")
# A label for what is no secret; for each kind of secret, its beginning, inside and end, and one of a single token.
LABELS = dict(enumerate(["O", *(f"{place}-{kind}" for kind in SECRETS for place in "BIES")]))


def embedding_gemma2_layers(c: PreTrainedConfig) -> None:
    """Layers that see everything have larger heads, and fewer of them for keys."""
    period = c.__dict__.pop("sliding_window_pattern", 6)
    if not isinstance(period, int) or period < 1:
        raise ConfigError("sliding_window_pattern", period, "a whole number of at least 1")
    end_full(c, period)
    if c.rope_parameters is None:
        c.rope_parameters = {
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            "full_attention": {"rope_type": "default", "rope_theta": 1_000_000.0},
        }
    kv_heads = c.__dict__.pop("num_global_key_value_heads", 1)
    widen(c, {"head_dim": c.__dict__.pop("global_head_dim", 512), "num_key_value_heads": kv_heads})


def privacy_filter_layers(c: PreTrainedConfig) -> None:
    heads(c)
    if c.rope_parameters is None:
        c.rope_parameters = dict(GPT_OSS_ROPE)


CONFIGS = {
    "embedding_gemma2_text": ConfigSpec(
        without(LLAMA, "hidden_act", "use_cache", "tie_word_embeddings")
        | BIAS
        | dict(
            vocab_size=262144,
            hidden_size=512,
            intermediate_size=2048,
            num_hidden_layers=24,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=256,
            hidden_activation="gelu_pytorch_tanh",
            max_position_embeddings=262144,
            pad_token_id=0,
            eos_token_id=1,
            bos_token_id=2,
            sliding_window=512,
            layer_types=None,
            hidden_size_per_layer_input=512,
            embedding_dim=768,
        ),
        complete=embedding_gemma2_layers,
        theta={},
    ),
    "openai_privacy_filter": ConfigSpec(
        without(LLAMA, "hidden_act")
        | ROUTED
        | dict(
            id2label=LABELS,
            label2id={label: i for i, label in LABELS.items()},
            num_hidden_layers=8,
            num_local_experts=128,
            vocab_size=200064,
            hidden_size=640,
            intermediate_size=640,
            head_dim=64,
            num_attention_heads=14,
            num_key_value_heads=2,
            sliding_window=128,
            max_position_embeddings=131072,
            rms_norm_eps=1e-5,
            num_experts_per_tok=4,
            swiglu_alpha=1.702,
            swiglu_limit=7.0,
            pad_token_id=199999,
            bos_token_id=None,
            eos_token_id=199999,
            attention_bias=True,
            classifier_dropout=0.0,
        ),
        {"num_experts": "num_local_experts"},
        complete=privacy_filter_layers,
        theta=150000.0,
    ),
}
