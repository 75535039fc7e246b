"""Defaults of I-BERT's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bert import ENCODER

CONFIGS = {
    "ibert": ConfigSpec(
        ENCODER | dict(pad_token_id=1, bos_token_id=0, eos_token_id=2, quant_mode=False, force_dequant="none")
    )
}
