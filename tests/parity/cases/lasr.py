"""LASR."""

from tests.parity.cases.parakeet import HEAD, ragged
from tests.parity.harness import Case

ENCODER = dict(
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=37,
    hidden_act="gelu_new",
    attention_bias=True,
    convolution_bias=True,
    conv_kernel_size=4,
    subsampling_conv_channels=6,
    subsampling_conv_kernel_size=3,
    num_mel_bins=20,
    max_position_embeddings=40,
    layer_norm_eps=1e-3,
    feed_forward_residual_weights=[1.25, 0.75],
    conv_residual_weights=[1.5, 0.5],
    rope_parameters=dict(rope_type="default", rope_theta=100.0),
)
PLAIN = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=37, num_mel_bins=20)
PLAIN |= dict(subsampling_conv_channels=6)

CASES = [
    Case("lasr_encoder", ENCODER, sound=(62, 20)),
    Case("lasr_encoder", PLAIN, label="plain", sound=(62, 20)),
    Case("lasr_ctc", HEAD | dict(encoder_config=ENCODER), sound=(62, 20), inputs=ragged),
]
