"""Defaults of ModernBERT's configurations."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.bert import without

MODERNBERT = dict(
    vocab_size=50368,
    hidden_size=768,
    intermediate_size=1152,
    num_hidden_layers=22,
    num_attention_heads=12,
    hidden_activation="gelu",
    max_position_embeddings=8192,
    initializer_range=0.02,
    initializer_cutoff_factor=2.0,
    norm_eps=1e-5,
    norm_bias=False,
    pad_token_id=50283,
    eos_token_id=50282,
    bos_token_id=50281,
    cls_token_id=50281,
    sep_token_id=50282,
    attention_bias=False,
    attention_dropout=0.0,
    layer_types=None,
    rope_parameters=None,
    local_attention=128,
    embedding_dropout=0.0,
    mlp_bias=False,
    mlp_dropout=0.0,
    decoder_bias=True,
    classifier_pooling="cls",
    classifier_dropout=0.0,
    classifier_bias=False,
    classifier_activation="gelu",
    deterministic_flash_attn=False,
    sparse_prediction=False,
    sparse_pred_ignore_index=-100,
    tie_word_embeddings=True,
)


def complete(c: PreTrainedConfig) -> None:
    """Every third layer sees everything; each kind of layer has its own base of rotation."""
    every = getattr(c, "global_attn_every_n_layers", 3)
    if c.layer_types is None:
        kinds = ("sliding_attention" if i % every else "full_attention" for i in range(c.num_hidden_layers))
        c.layer_types = list(kinds)
    rope = dict(c.rope_parameters or {})
    for kind, name, theta in (
        ("sliding_attention", "local_rope_theta", 10_000.0),
        ("full_attention", "global_rope_theta", 160_000.0),
    ):
        given = c.__dict__.pop(name, theta)
        rope[kind] = {"rope_type": "default", "rope_theta": given} | (rope.get(kind) or {})
    c.rope_parameters = rope
    c.__dict__.pop("reference_compile", None)


def complete_decoder(c: PreTrainedConfig) -> None:
    """As the encoder, with half of its window: the decoder looks one way."""
    complete(c)
    c.sliding_window = c.local_attention // 2 if c.local_attention else -1


CONFIGS = {
    "modernbert": ConfigSpec(MODERNBERT, complete=complete),
    "modernbert-decoder": ConfigSpec(
        without(
            MODERNBERT,
            "classifier_pooling",
            "deterministic_flash_attn",
            "sparse_prediction",
            "sparse_pred_ignore_index",
        )
        | dict(use_cache=True),
        complete=complete_decoder,
    ),
}
