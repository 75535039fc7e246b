"""Defaults of the configurations of T5Gemma 2: of both sides, of the encoder with its image tower, and of its text part."""

from autoload.config import ConfigSpec, PreTrainedConfig, make_config_class
from autoload.configs.decoder import without
from autoload.configs.decoder_windows import CONFIGS as WINDOWS
from autoload.configs.decoder_windows import every
from autoload.errors import ConfigError

GEMMA3 = WINDOWS["gemma3_text"]
SIDE = ConfigSpec(
    without(dict(GEMMA3.defaults), "use_bidirectional_attention"),
    complete=lambda c: every(c, c.__dict__.pop("sliding_window_pattern", 6)),
    theta=GEMMA3.theta,
)
T5Gemma2TextConfig = make_config_class("T5Gemma2TextConfig", "t5gemma2_text", SIDE)
T5Gemma2DecoderConfig = make_config_class("T5Gemma2DecoderConfig", "t5gemma2_decoder", SIDE)
ENDS = dict(image_token_id="image_token_index", eoi_token_id="eoi_token_index")


def complete(c: PreTrainedConfig) -> None:
    """What both sides share goes into their configurations, and what the whole leaves out comes from them."""
    text, image = c.encoder.text_config, c.encoder.vision_config
    text.dropout_rate = c.decoder.dropout_rate = c.dropout_rate
    text.attention_dropout = image.attention_dropout = c.decoder.attention_dropout = c.attention_dropout
    c.encoder.image_token_index = c.image_token_index
    c.eoi_token_index = c.encoder.eoi_token_index
    for name in ("bos_token_id", "pad_token_id", "eos_token_id", "vocab_size"):
        c.__dict__.setdefault(name, getattr(c.decoder, name))
    for name in ("hidden_size", "vocab_size"):
        if (found := getattr(c.decoder, name)) != (expected := getattr(text, name)):
            raise ConfigError(f"decoder.{name}", found, f"that of encoder.text_config ({expected})")
    if not c.is_encoder_decoder:
        raise ConfigError("is_encoder_decoder", False, "true: the type has both sides")


CONFIGS = {
    "t5gemma2": ConfigSpec(
        dict(
            encoder=None,
            decoder=None,
            is_encoder_decoder=True,
            dropout_rate=0.0,
            attention_dropout=0.0,
            classifier_dropout_rate=0.0,
            initializer_range=0.02,
            image_token_index=256001,
            eoi_token_index=None,
            tie_word_embeddings=True,
        ),
        aliases=ENDS,
        sub_configs=dict(encoder="t5gemma2_encoder", decoder=T5Gemma2DecoderConfig),
        complete=complete,
    ),
    "t5gemma2_encoder": ConfigSpec(
        dict(
            text_config=None,
            vision_config=None,
            mm_tokens_per_image=256,
            boi_token_index=255999,
            eoi_token_index=256000,
            image_token_index=262144,
            initializer_range=0.02,
            tie_word_embeddings=True,
        ),
        aliases=ENDS | dict(boi_token_id="boi_token_index"),
        sub_configs=dict(text_config=T5Gemma2TextConfig, vision_config="siglip_vision_model"),
        ignore_at_inference=(),
    ),
}
