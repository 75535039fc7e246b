"""Nemotron's diarization."""

from tests.parity.harness import Case

AUDIO = dict(
    hidden_size=32,
    intermediate_size=37,
    num_hidden_layers=3,
    num_attention_heads=4,
    hidden_act="gelu_new",
    num_mel_bins=10,
    subsampling_factor=4,
    rope_parameters=dict(rope_type="default", rope_theta=100.0, partial_rotary_factor=0.5),
)
STREAM = dict(
    fifo_length=3,
    speaker_cache_update_period=2,
    speaker_cache_length=11,
    prediction_score_threshold=0.3,
    latest_frames_score_boost=0.2,
    strong_boost_rate=0.6,
    weak_boost_rate=1.2,
    min_positive_scores_rate=0.7,
    num_speakers=3,
    subsampling_factor=4,
)
CONFIG = dict(
    audio_config=AUDIO,
    head_config=dict(hidden_size=12, num_speakers=3, audio_hidden_size=32, subsampling_factor=4),
    streaming_config=STREAM,
    chunk_length=5,
    chunk_right_context=2,
    chunk_left_context=1,
    fifo_length=4,
    speaker_cache_update_period=3,
)
SILENT = CONFIG | dict(streaming_config=STREAM | dict(speaker_cache_silence_frames_per_speaker=0), chunk_left_context=0)
CASES = [
    Case("nemotron3_diarization_audio", AUDIO, sound=(62, 10)),
    Case("nemotron3_diarization", CONFIG, sound=(150, 10)),
    Case("nemotron3_diarization", SILENT, label="silent", sound=(150, 10), tasks=("AudioFrameClassification",)),
]
