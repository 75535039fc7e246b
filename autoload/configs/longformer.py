"""Defaults of Longformer's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bert import ENCODER

CONFIGS = {
    "longformer": ConfigSpec(
        ENCODER
        | dict(
            attention_window=512,
            sep_token_id=2,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            onnx_export=False,
        )
    )
}
