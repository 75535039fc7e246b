"""Defaults of the configurations of encoders with Llama's wiring."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.bert import without
from autoload.configs.decoder import BIAS, LLAMA, heads

ENCODER = LLAMA | BIAS | dict(mlp_bias=False, head_dim=None)


def complete_ultra(c: PreTrainedConfig) -> None:
    """Two windowed layers, then one that sees everything; older files say the same layer by layer."""
    windows = c.__dict__.pop("attention_windows", None)
    if windows is not None:
        c.sliding_window = next((window for window in windows if window), c.sliding_window)
        if c.layer_types is None:
            c.layer_types = ["sliding_attention" if window else "full_attention" for window in windows]
    if c.layer_types is None:
        kinds = ("sliding_attention" if (i + 1) % 3 else "full_attention" for i in range(c.num_hidden_layers))
        c.layer_types = list(kinds)
    if c.rope_parameters is None:
        c.rope_parameters = {
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            "full_attention": {"rope_type": "default", "rope_theta": 2_560_000.0},
        }
    heads(c)


def complete_esmc(c: PreTrainedConfig) -> None:
    """All checkpoints share one vocabulary, and with it the numbers of its special tokens."""
    c.bos_token_id = 0 if c.bos_token_id is None else c.bos_token_id
    c.eos_token_id = 2 if c.eos_token_id is None else c.eos_token_id
    heads(c)


CONFIGS = {
    "eurobert": ConfigSpec(
        ENCODER
        | dict(
            vocab_size=128256,
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            max_position_embeddings=8192,
            rms_norm_eps=1e-5,
            pad_token_id=128001,
            bos_token_id=128000,
            eos_token_id=128001,
            pretraining_tp=1,
            mask_token_id=128002,
            classifier_pooling="late",
        ),
        complete=heads,
    ),
    "ultrabert": ConfigSpec(
        ENCODER
        | dict(
            max_position_embeddings=32768,
            use_cache=False,
            pad_token_id=0,
            bos_token_id=0,
            eos_token_id=0,
            classifier_pooling="cls",
            sliding_window=128,
            layer_types=None,
            prediction_head_size=768,
            classifier_dropout=0.0,
        ),
        complete=complete_ultra,
    ),
    "esmc": ConfigSpec(
        without(ENCODER, "rms_norm_eps", "use_cache")
        | dict(
            vocab_size=64,
            hidden_size=2560,
            intermediate_size=6912,
            num_hidden_layers=80,
            num_attention_heads=40,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            mask_token_id=32,
            classifier_dropout=0.1,
        ),
        complete=complete_esmc,
    ),
}
