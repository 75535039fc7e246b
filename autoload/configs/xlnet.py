"""Defaults of XLNet's configuration."""

from autoload.config import ConfigSpec, PreTrainedConfig


def complete(c: PreTrainedConfig) -> None:
    """The heads share the width evenly."""
    c.d_head = c.d_head or c.d_model // c.n_head


CONFIGS = {
    "xlnet": ConfigSpec(
        dict(
            vocab_size=32000,
            d_model=1024,
            n_layer=24,
            n_head=16,
            d_inner=4096,
            d_head=None,
            ff_activation="gelu",
            attn_type="bi",
            initializer_range=0.02,
            layer_norm_eps=1e-12,
            dropout=0.1,
            mem_len=512,
            reuse_len=None,
            use_mems_eval=True,
            use_mems_train=False,
            bi_data=False,
            clamp_len=-1,
            same_length=False,
            summary_type="last",
            summary_use_proj=True,
            summary_activation="tanh",
            summary_last_dropout=0.1,
            start_n_top=5,
            end_n_top=5,
            pad_token_id=5,
            bos_token_id=1,
            eos_token_id=2,
            tie_word_embeddings=True,
        ),
        aliases={
            "n_token": "vocab_size",
            "hidden_size": "d_model",
            "num_attention_heads": "n_head",
            "num_hidden_layers": "n_layer",
        },
        complete=complete,
        ignore_at_inference=("mems",),
    )
}
