"""Defaults of FSMT's configuration."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.bart import BART, NAMES, without


def forget_decoder(c: PreTrainedConfig) -> None:
    """Files have a field for the decoder that nothing reads."""
    c.__dict__.pop("decoder", None)


CONFIGS = {
    "fsmt": ConfigSpec(
        without(BART, "vocab_size", "classifier_dropout", "is_decoder")
        | dict(
            langs=["en", "de"],
            src_vocab_size=42024,
            tgt_vocab_size=42024,
            activation_function="relu",
            max_length=200,
            scale_embedding=True,
            tie_word_embeddings=False,
            num_beams=5,
            length_penalty=1.0,
            early_stopping=False,
        ),
        aliases=NAMES | dict(vocab_size="tgt_vocab_size"),
        complete=forget_decoder,
        ignore_at_inference=(),
    ),
}
