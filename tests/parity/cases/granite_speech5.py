"""Granite Speech 5."""

from tests.parity.cases.parakeet import HEAD, ragged
from tests.parity.harness import Case

ENCODER = dict(
    vocab_size=40,
    hidden_size=32,
    num_hidden_layers=5,
    num_attention_heads=4,
    head_dim=6,
    intermediate_size=37,
    hidden_act="gelu_new",
    attention_bias=False,
    conv_kernel_size=5,
    conv_expansion_factor=3,
    subsample_layers=[0, 3],
    num_mel_bins=5,
    context_size=8,
    max_position_embeddings=11,
)
PLAIN = dict(vocab_size=40, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=37)
PLAIN |= dict(num_mel_bins=5, context_size=4)
NONE = {"attentions": "the reference gives none"}

CASES = [
    Case("granite_speech5_encoder", ENCODER, sound=(62, 20), skip=NONE),
    Case("granite_speech5_encoder", PLAIN, label="plain", sound=(64, 20), skip=NONE),
    Case("granite_speech5_ctc", HEAD | dict(encoder_config=ENCODER), sound=(62, 20), inputs=ragged, skip=NONE),
    Case(
        "granite_speech5_ctc",
        HEAD | dict(encoder_config=PLAIN, tie_word_embeddings=False),
        label="untied",
        sound=(62, 20),
        inputs=ragged,
        skip=NONE,
    ),
]
