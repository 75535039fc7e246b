"""The Audio Spectrogram Transformer."""

from tests.parity.harness import Case

AST = dict(
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=37,
    hidden_act="gelu_new",
    layer_norm_eps=1e-3,
    patch_size=4,
    frequency_stride=3,
    time_stride=2,
    max_length=13,
    num_mel_bins=11,
    qkv_bias=False,
)
SKIP = {"padding": "spectrograms all have one length"}

CASES = [Case("audio-spectrogram-transformer", AST, sound=(13, 11), skip=SKIP)]
