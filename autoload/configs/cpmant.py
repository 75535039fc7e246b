"""Defaults of CPM-Ant's configuration."""

from autoload.config import ConfigSpec

CONFIGS = {
    "cpmant": ConfigSpec(
        dict(
            vocab_size=30720,
            hidden_size=4096,
            num_attention_heads=32,
            dim_head=128,
            dim_ff=10240,
            num_hidden_layers=48,
            dropout_p=0.0,
            position_bias_num_buckets=512,
            position_bias_max_distance=2048,
            eps=1e-6,
            init_std=1.0,
            prompt_types=32,
            prompt_length=32,
            segment_types=32,
            use_cache=True,
            tie_word_embeddings=True,
        ),
        ignore_at_inference=(),
    ),
}
