"""Defaults of FNet's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bert import ENCODER, without

CONFIGS = {
    "fnet": ConfigSpec(
        without(ENCODER, "num_attention_heads", "attention_probs_dropout_prob")
        | dict(
            vocab_size=32000,
            hidden_act="gelu_new",
            type_vocab_size=4,
            use_tpu_fourier_optimizations=False,
            tpu_short_seq_length=512,
            pad_token_id=3,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
}
