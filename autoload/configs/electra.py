"""Defaults of ELECTRA's and ConvBERT's configurations."""

from autoload.config import ConfigSpec
from autoload.configs.bert import BERT, without

SUMMARY = dict(summary_type="first", summary_use_proj=True, summary_activation="gelu", summary_last_dropout=0.1)

CONFIGS = {
    "electra": ConfigSpec(
        BERT | SUMMARY | dict(embedding_size=128, hidden_size=256, num_attention_heads=4, intermediate_size=1024)
    ),
    "convbert": ConfigSpec(
        without(BERT, "use_cache")
        | dict(
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            embedding_size=768,
            head_ratio=2,
            conv_kernel_size=9,
            num_groups=1,
        )
    ),
}
