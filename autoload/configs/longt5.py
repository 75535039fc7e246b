"""Defaults of the configuration of LongT5."""

from autoload.config import ConfigSpec
from autoload.configs.bart import without
from autoload.configs.t5 import NAMES, T5, complete_scaled

LONGT5 = without(T5, "classifier_dropout") | dict(
    local_radius=127,
    global_block_size=16,
    encoder_attention_type="local",
    bos_token_id=None,
    scale_decoder_outputs=None,
)
CONFIGS = {"longt5": ConfigSpec(LONGT5, aliases=NAMES, complete=complete_scaled)}
