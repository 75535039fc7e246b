"""Defaults of the Audio Spectrogram Transformer's configuration."""

from autoload.config import ConfigSpec

CONFIGS = {
    "audio-spectrogram-transformer": ConfigSpec(
        dict(
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=3072,
            hidden_act="gelu",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.02,
            layer_norm_eps=1e-12,
            patch_size=16,
            qkv_bias=True,
            frequency_stride=10,
            time_stride=10,
            max_length=1024,
            num_mel_bins=128,
        )
    )
}
