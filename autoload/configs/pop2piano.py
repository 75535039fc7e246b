"""Defaults of the configuration of Pop2Piano."""

from autoload.config import ConfigSpec
from autoload.configs.bart import without
from autoload.configs.t5 import NAMES, T5, complete_scaled

POP2PIANO = without(T5, "classifier_dropout") | dict(
    vocab_size=2400,
    composer_vocab_size=21,
    feed_forward_proj="gated-gelu",
    dense_act_fn="relu",
    scale_decoder_outputs=None,
)
CONFIGS = {"pop2piano": ConfigSpec(POP2PIANO, aliases=without(NAMES, "head_dim"), complete=complete_scaled)}
