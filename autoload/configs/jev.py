"""Defaults of the configuration of a decision head on another model."""

from autoload.config import ConfigSpec, PreTrainedConfig


def complete(c: PreTrainedConfig) -> None:
    c.offsets = c.offsets or {"noul": 0, "score": 2, "choice": 8}


CONFIGS = {
    "jev": ConfigSpec(
        dict(
            hidden_size=4096,
            num_verbalizers=24,
            offsets=None,
            softcap=None,
            text_config=None,
            initializer_range=0.02,
        ),
        sub_configs=dict(text_config="qwen3_5_text"),
        complete=complete,
    ),
}
