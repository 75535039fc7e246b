"""Defaults of the configuration of T5Gemma, which holds an encoder's and a decoder's."""

from autoload.config import ConfigSpec, PreTrainedConfig, make_config_class
from autoload.configs.decoder import CONFIGS as DECODERS
from autoload.configs.decoder import without

GEMMA2 = DECODERS["gemma2"]
SIDE = without(dict(GEMMA2.defaults), "use_bidirectional_attention") | dict(is_decoder=False)
T5GemmaModuleConfig = make_config_class(
    "T5GemmaModuleConfig", "t5_gemma_module", ConfigSpec(SIDE, complete=GEMMA2.complete)
)


def complete(c: PreTrainedConfig) -> None:
    """What both sides share goes into their configurations; what is left out comes from the decoder's."""
    for side in (c.encoder, c.decoder):
        side.update(dict(is_decoder=side is c.decoder, dropout_rate=c.dropout_rate))
        side.attention_dropout = c.attention_dropout
    c.decoder.use_cache = True
    c.decoder.cross_attention_hidden_size = c.encoder.hidden_size
    for name in ("initializer_range", "bos_token_id", "pad_token_id", "eos_token_id"):
        if getattr(c, name) is None:
            setattr(c, name, getattr(c.decoder, name))


CONFIGS = {
    "t5gemma": ConfigSpec(
        dict(
            encoder=None,
            decoder=None,
            is_encoder_decoder=True,
            dropout_rate=0.0,
            classifier_dropout_rate=0.0,
            attention_dropout=0.0,
            tie_word_embeddings=True,
            vocab_size=256000,
            initializer_range=None,
            bos_token_id=None,
            pad_token_id=None,
            eos_token_id=None,
        ),
        sub_configs=dict(encoder=T5GemmaModuleConfig, decoder=T5GemmaModuleConfig),
        complete=complete,
    ),
}
