"""Defaults of configurations of Nemotron's diarization."""

from __future__ import annotations

from autoload.config import ConfigSpec, PreTrainedConfig, make_config_class
from autoload.errors import ConfigError


def heads(config: PreTrainedConfig) -> None:
    """As many heads of keys as of queries where the file does not say."""
    if config.num_key_value_heads is None:
        config.num_key_value_heads = config.num_attention_heads
    if config.hidden_size % config.num_attention_heads:
        text = f"a divisor of hidden_size ({config.hidden_size})"
        raise ConfigError("num_attention_heads", config.num_attention_heads, text)


def agree(config: PreTrainedConfig) -> None:
    """The parts must fit each other."""
    audio, head, stream = config.audio_config, config.head_config, config.streaming_config
    pairs = {
        "head_config.audio_hidden_size": (head.audio_hidden_size, audio.hidden_size),
        "head_config.subsampling_factor": (head.subsampling_factor, audio.subsampling_factor),
        "streaming_config.subsampling_factor": (stream.subsampling_factor, audio.subsampling_factor),
        "streaming_config.num_speakers": (stream.num_speakers, head.num_speakers),
    }
    for field, (found, expected) in pairs.items():
        if found != expected:
            raise ConfigError(field, found, f"{expected}, as in the part that it belongs to")
    if config.chunk_right_context >= config.chunk_length:
        text = f"less than chunk_length ({config.chunk_length})"
        raise ConfigError("chunk_right_context", config.chunk_right_context, text)
    least = (1 + stream.speaker_cache_silence_frames_per_speaker) * stream.num_speakers
    if stream.speaker_cache_length < least:
        text = f"at least {least}, which its speakers and their silence take"
        raise ConfigError("streaming_config.speaker_cache_length", stream.speaker_cache_length, text)


PART = dict(written_in_part=True)
HEAD = ConfigSpec(
    dict(hidden_size=192, num_speakers=8, audio_hidden_size=512, subsampling_factor=8),
    ignore_at_inference=(),
    members=PART,
)
STREAM = ConfigSpec(
    dict(
        fifo_length=264,
        speaker_cache_update_period=222,
        speaker_cache_length=264,
        speaker_cache_silence_frames_per_speaker=1,
        prediction_score_threshold=0.25,
        latest_frames_score_boost=0.05,
        strong_boost_rate=0.75,
        weak_boost_rate=1.5,
        min_positive_scores_rate=0.5,
        num_speakers=8,
        subsampling_factor=8,
    ),
    ignore_at_inference=(),
    members=PART,
)
CONFIGS = {
    "nemotron3_diarization": ConfigSpec(
        dict(
            audio_config=None,
            head_config=None,
            streaming_config=None,
            chunk_length=340,
            chunk_right_context=40,
            chunk_left_context=0,
            fifo_length=40,
            speaker_cache_update_period=300,
            initializer_range=0.02,
        ),
        complete=agree,
        sub_configs=dict(
            audio_config="nemotron3_diarization_audio",
            head_config=make_config_class("Nemotron3DiarizationHeadConfig", "", HEAD),
            streaming_config=make_config_class("Nemotron3DiarizationStreamingConfig", "", STREAM),
        ),
        ignore_at_inference=(),
    ),
    "nemotron3_diarization_audio": ConfigSpec(
        dict(
            hidden_size=512,
            intermediate_size=2048,
            num_hidden_layers=31,
            num_attention_heads=8,
            num_key_value_heads=None,
            hidden_act="gelu",
            max_position_embeddings=5000,
            initializer_range=0.02,
            rope_parameters=None,
            attention_dropout=0.0,
            num_mel_bins=128,
            subsampling_factor=8,
        ),
        complete=heads,
        partial_rotary_factor=1.0,
        ignore_at_inference=(),
    ),
}
