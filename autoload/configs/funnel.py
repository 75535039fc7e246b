"""Defaults of Funnel's configuration."""

from autoload.config import ConfigSpec, PreTrainedConfig


def complete(c: PreTrainedConfig) -> None:
    """Each layer once, where nothing else is said."""
    if c.block_repeats is None:
        c.block_repeats = [1] * len(c.block_sizes)


CONFIGS = {
    "funnel": ConfigSpec(
        dict(
            vocab_size=30522,
            block_sizes=[4, 4, 4],
            block_repeats=None,
            num_decoder_layers=2,
            d_model=768,
            n_head=12,
            d_head=64,
            d_inner=3072,
            hidden_act="gelu_new",
            hidden_dropout=0.1,
            attention_dropout=0.1,
            activation_dropout=0.0,
            initializer_range=0.1,
            initializer_std=None,
            layer_norm_eps=1e-9,
            pooling_type="mean",
            attention_type="relative_shift",
            separate_cls=True,
            truncate_seq=True,
            pool_q_only=True,
            pad_token_id=None,
            tie_word_embeddings=True,
        ),
        aliases={"hidden_size": "d_model", "num_attention_heads": "n_head"},
        complete=complete,
    )
}
