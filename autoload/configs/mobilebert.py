"""Defaults of MobileBERT's configuration."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.bert import ENCODER, without


def complete(c: PreTrainedConfig) -> None:
    """The width inside the bottlenecks."""
    c.true_hidden_size = c.intra_bottleneck_size if c.use_bottleneck else c.hidden_size


CONFIGS = {
    "mobilebert": ConfigSpec(
        without(ENCODER, "bos_token_id", "eos_token_id")
        | dict(
            hidden_size=512,
            num_hidden_layers=24,
            num_attention_heads=4,
            intermediate_size=512,
            hidden_act="relu",
            hidden_dropout_prob=0.0,
            embedding_size=128,
            trigram_input=True,
            use_bottleneck=True,
            intra_bottleneck_size=128,
            use_bottleneck_attention=False,
            key_query_shared_bottleneck=True,
            num_feedforward_networks=4,
            normalization_type="no_norm",
            classifier_activation=True,
            classifier_dropout=None,
        ),
        complete=complete,
    )
}
