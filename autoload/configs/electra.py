"""Defaults of ELECTRA's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bert import BERT

SUMMARY = dict(summary_type="first", summary_use_proj=True, summary_activation="gelu", summary_last_dropout=0.1)

CONFIGS = {
    "electra": ConfigSpec(
        BERT | SUMMARY | dict(embedding_size=128, hidden_size=256, num_attention_heads=4, intermediate_size=1024)
    ),
}
