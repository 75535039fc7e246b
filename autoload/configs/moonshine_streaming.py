"""Defaults of the configuration of Moonshine for streams, and of its encoder's."""

from autoload.config import ConfigSpec, PreTrainedConfig, make_config_class


def fill_head(c: PreTrainedConfig) -> None:
    if c.head_dim is None:
        c.head_dim = c.hidden_size // c.num_attention_heads


def complete(c: PreTrainedConfig) -> None:
    """Where the file says nothing of rotary positions, a part of each head turns."""
    fill_head(c)
    if c.rope_parameters is None:
        c.rope_parameters = dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.8)


SIZES = dict(
    hidden_size=320,
    intermediate_size=1280,
    num_hidden_layers=6,
    num_attention_heads=8,
    max_position_embeddings=4096,
    attention_dropout=0.0,
    attention_bias=False,
    head_dim=None,
)
MoonshineStreamingEncoderConfig = make_config_class(
    "MoonshineStreamingEncoderConfig",
    "moonshine_streaming_encoder",
    ConfigSpec(
        SIZES
        | dict(
            hidden_act="gelu",
            num_key_value_heads=8,
            sample_rate=16000,
            frame_ms=5.0,
            sliding_windows=[[16, 4], [16, 4], [16, 0], [16, 0], [16, 4], [16, 4]],
        ),
        complete=fill_head,
        ignore_at_inference=(),
    ),
)
CONFIGS = {
    "moonshine_streaming": ConfigSpec(
        SIZES
        | dict(
            is_encoder_decoder=True,
            encoder_config=None,
            vocab_size=32768,
            hidden_act="silu",
            use_cache=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            rope_parameters=None,
            decoder_start_token_id=None,
            pad_head_dim_to_multiple_of=None,
            tie_word_embeddings=False,
        ),
        sub_configs=dict(encoder_config=MoonshineStreamingEncoderConfig),
        complete=complete,
    ),
}
