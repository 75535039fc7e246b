"""Defaults of the configuration of UDOP."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs import t5
from autoload.configs.bart import without

UDOP = without(t5.T5, "classifier_dropout") | dict(
    vocab_size=33201,
    d_model=1024,
    d_ff=4096,
    num_layers=24,
    num_heads=16,
    relative_bias_args=None,
    max_2d_position_embeddings=1024,
    image_size=224,
    patch_size=16,
    num_channels=3,
    add_cross_attention=False,
)


def complete(c: PreTrainedConfig) -> None:
    """Distances along the text, and across and down the page."""
    if c.relative_bias_args is None:
        c.relative_bias_args = [{"type": kind} for kind in ("1d", "horizontal", "vertical")]
    t5.complete(c)


CONFIGS = {"udop": ConfigSpec(UDOP, aliases=without(t5.NAMES, "head_dim"), complete=complete)}
