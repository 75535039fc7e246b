"""Defaults of the configurations of decoders that were trained with fairseq, and of CTRL's."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.gpt import NAMES, NO_TOKENS, without

COMMON = dict(use_cache=True, layerdrop=0.0, tie_word_embeddings=True, pad_token_id=1, bos_token_id=0, eos_token_id=2)


def embedding_width(c: PreTrainedConfig) -> None:
    """The embeddings are as wide as the stream unless the file says otherwise."""
    if c.word_embed_proj_dim is None:
        c.word_embed_proj_dim = c.hidden_size


CONFIGS = {
    "opt": ConfigSpec(
        COMMON
        | dict(
            vocab_size=50272,
            hidden_size=768,
            num_hidden_layers=12,
            ffn_dim=3072,
            max_position_embeddings=2048,
            do_layer_norm_before=True,
            _remove_final_layer_norm=False,
            word_embed_proj_dim=None,
            dropout=0.1,
            attention_dropout=0.0,
            num_attention_heads=12,
            activation_function="relu",
            init_std=0.02,
            bos_token_id=2,
            enable_bias=True,
            layer_norm_elementwise_affine=True,
        ),
        complete=embedding_width,
    ),
    "biogpt": ConfigSpec(
        COMMON
        | dict(
            vocab_size=42384,
            hidden_size=1024,
            num_hidden_layers=24,
            num_attention_heads=16,
            intermediate_size=4096,
            hidden_act="gelu",
            hidden_dropout_prob=0.1,
            attention_probs_dropout_prob=0.1,
            max_position_embeddings=1024,
            initializer_range=0.02,
            layer_norm_eps=1e-12,
            scale_embedding=True,
            activation_dropout=0.0,
        ),
        ignore_at_inference=(),
    ),
    "xglm": ConfigSpec(
        COMMON
        | dict(
            vocab_size=256008,
            max_position_embeddings=2048,
            d_model=1024,
            ffn_dim=4096,
            num_layers=24,
            attention_heads=16,
            activation_function="gelu",
            dropout=0.1,
            attention_dropout=0.1,
            activation_dropout=0.0,
            init_std=0.02,
            scale_embedding=True,
            decoder_start_token_id=2,
            add_cross_attention=False,
        ),
        aliases=dict(num_attention_heads="attention_heads", hidden_size="d_model", num_hidden_layers="num_layers"),
    ),
    "ctrl": ConfigSpec(
        without(COMMON, "layerdrop")
        | NO_TOKENS
        | dict(
            vocab_size=246534,
            n_positions=256,
            n_embd=1280,
            dff=8192,
            n_layer=48,
            n_head=16,
            resid_pdrop=0.1,
            embd_pdrop=0.1,
            layer_norm_epsilon=1e-6,
            initializer_range=0.02,
        ),
        aliases=NAMES,
    ),
}
