"""Defaults of ViLT's configuration."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.bert import ENCODER, without


def complete(c: PreTrainedConfig) -> None:
    """The scores of words always share the table, whatever the file says."""
    c.tie_word_embeddings = True


CONFIGS = {
    "vilt": ConfigSpec(
        without(ENCODER, "bos_token_id", "eos_token_id")
        | dict(
            modality_type_vocab_size=2,
            max_position_embeddings=40,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            image_size=384,
            patch_size=32,
            num_channels=3,
            qkv_bias=True,
            max_image_length=-1,
            num_images=-1,
            pad_token_id=None,
        ),
        complete=complete,
    )
}
