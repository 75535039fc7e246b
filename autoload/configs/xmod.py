"""Defaults of X-MOD's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.roberta import ROBERTA

CONFIGS = {
    "xmod": ConfigSpec(
        ROBERTA
        | dict(
            pre_norm=False,
            adapter_reduction_factor=2,
            adapter_layer_norm=False,
            adapter_reuse_layer_norm=True,
            ln_before_adapter=True,
            languages=["en_XX"],
            default_language=None,
        )
    )
}
