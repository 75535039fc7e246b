"""Defaults of Doge."""

from autoload.config import ConfigSpec
from autoload.configs.decoder import BIAS, LLAMA, kv_heads
from autoload.configs.moe import NO_TOKENS, ROUTED

CONFIGS = {
    "doge": ConfigSpec(
        LLAMA
        | BIAS
        | ROUTED
        | NO_TOKENS
        | dict(
            vocab_size=32768,
            hidden_size=1024,
            intermediate_size=2048,
            hidden_dropout=0.0,
            num_attention_heads=8,
            mlp_bias=False,
            sliding_window=None,
            keep_window_size=2048,
            is_moe=False,
            num_experts=16384,
            num_experts_per_tok=64,
            norm_topk_prob=False,
        ),
        complete=kv_heads,
    ),
}
