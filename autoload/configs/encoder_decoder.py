"""Configurations that hold an encoder's and a decoder's."""

from __future__ import annotations

from typing import Any

from autoload.config import ConfigSpec


def from_encoder_decoder_configs(cls: Any, encoder_config: Any, decoder_config: Any, **fields: Any) -> Any:
    """A configuration of two others; the decoder's is changed to look at an encoder."""
    decoder_config.is_decoder, decoder_config.add_cross_attention = True, True
    return cls(encoder=encoder_config.to_dict(), decoder=decoder_config.to_dict(), **fields)


CONFIGS = {
    "encoder-decoder": ConfigSpec(
        dict(
            encoder=None,
            decoder=dict(model_type="bert", is_decoder=True, add_cross_attention=True),
            pad_token_id=None,
            decoder_start_token_id=None,
            is_encoder_decoder=True,
        ),
        sub_configs=dict(encoder="bert", decoder="bert"),
        members=dict(from_encoder_decoder_configs=classmethod(from_encoder_decoder_configs)),
        ignore_at_inference=(),
    ),
}
