"""Defaults of ProphetNet's configuration."""

from autoload.config import ConfigSpec

CONFIGS = {
    "prophetnet": ConfigSpec(
        dict(
            activation_dropout=0.1,
            activation_function="gelu",
            vocab_size=30522,
            hidden_size=1024,
            encoder_ffn_dim=4096,
            num_encoder_layers=12,
            num_encoder_attention_heads=16,
            decoder_ffn_dim=4096,
            num_decoder_layers=12,
            num_decoder_attention_heads=16,
            attention_dropout=0.1,
            dropout=0.1,
            max_position_embeddings=512,
            init_std=0.02,
            is_encoder_decoder=True,
            add_cross_attention=True,
            decoder_start_token_id=0,
            ngram=2,
            num_buckets=32,
            relative_max_distance=128,
            disable_ngram_loss=False,
            eps=0.0,
            use_cache=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            is_decoder=False,
            tie_word_embeddings=True,
        ),
        aliases=dict(num_attention_heads="num_encoder_attention_heads"),
        members={"num_hidden_layers": property(lambda c: c.num_encoder_layers)},
    ),
}
