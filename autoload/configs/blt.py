"""Defaults of the configurations of the Byte Latent Transformer: one for the whole, one for each of its four stacks."""

from autoload.config import ConfigSpec, PreTrainedConfig, make_config_class

STACK = dict(
    num_attention_heads=16,
    num_key_value_heads=None,
    rms_norm_eps=1e-5,
    dropout=0.0,
    rope_parameters=None,
    hidden_act="silu",
    initializer_range=0.02,
    tie_word_embeddings=False,
)
LOCAL = STACK | dict(
    vocab_size=260,
    cross_attn_k=2,
    hidden_size_global=2048,
    hidden_size=1024,
    max_position_embeddings=24576,
)


def complete_stack(c: PreTrainedConfig) -> None:
    c.num_key_value_heads = c.num_key_value_heads or c.num_attention_heads
    c.intermediate_size = c.intermediate_size or int(8 * c.hidden_size / 3)
    c.tie_word_embeddings = False  # the ties are the whole model's


def complete_with_heads(c: PreTrainedConfig) -> None:
    complete_stack(c)
    c.head_dim = c.hidden_size // c.num_attention_heads


def complete(c: PreTrainedConfig) -> None:
    """The window and the widths that the stacks have from the whole."""
    c.encoder_hash_byte_group_size = c.encoder_hash_byte_group_size or [3, 4, 5, 6, 7, 8]
    c.encoder_config.sliding_window = c.local_attention_window_len
    width = c.encoder_config.hidden_size * c.cross_attn_k
    c.global_config.encoder_cross_output_size = width if width != c.global_config.hidden_size else None


BltPatcherConfig = make_config_class(
    "BltPatcherConfig",
    "blt_patcher",
    ConfigSpec(
        STACK
        | dict(
            vocab_size=260,
            hidden_size=768,
            num_hidden_layers=14,
            num_attention_heads=12,
            max_position_embeddings=8192,
            intermediate_size=2048,
            sliding_window=512,
        ),
        complete=complete_with_heads,
    ),
)
BltLocalEncoderConfig = make_config_class(
    "BltLocalEncoderConfig",
    "blt_local_encoder",
    ConfigSpec(
        LOCAL | dict(cross_attn_all_layers=False, num_hidden_layers=1, intermediate_size=None, sliding_window=None),
        complete=complete_stack,
        theta=500000.0,
    ),
)
BltLocalDecoderConfig = make_config_class(
    "BltLocalDecoderConfig",
    "blt_local_decoder",
    ConfigSpec(
        LOCAL
        | dict(
            cross_attn_all_layers=True,
            num_hidden_layers=9,
            intermediate_size=2816,
            pad_token_id=None,
            bos_token_id=None,
            eos_token_id=None,
        ),
        complete=complete_with_heads,
        theta=500000.0,
    ),
)
BltGlobalTransformerConfig = make_config_class(
    "BltGlobalTransformerConfig",
    "blt_global_transformer",
    ConfigSpec(
        STACK | dict(hidden_size=2048, num_hidden_layers=25, max_position_embeddings=4096, intermediate_size=5632),
        complete=complete_with_heads,
        theta=500000.0,
    ),
)

CONFIGS = {
    "blt": ConfigSpec(
        dict(
            vocab_size=260,
            max_position_embeddings=4096,
            patch_in_forward=True,
            patch_size=4,
            patching_mode="entropy",
            patching_threshold=1.335442066192627,
            patching_batch_size=1,
            max_patch_length=None,
            local_attention_window_len=512,
            cross_attn_k=2,
            encoder_hash_byte_group_size=None,
            encoder_hash_byte_group_vocab=500002,
            encoder_hash_byte_group_nb_functions=1,
            patcher_config=None,
            encoder_config=None,
            decoder_config=None,
            global_config=None,
            tie_word_embeddings=False,
            use_cache=True,
            pad_token_id=None,
            bos_token_id=None,
            eos_token_id=None,
            initializer_range=0.02,
            rope_parameters=None,
        ),
        sub_configs=dict(
            patcher_config=BltPatcherConfig,
            encoder_config=BltLocalEncoderConfig,
            decoder_config=BltLocalDecoderConfig,
            global_config=BltGlobalTransformerConfig,
        ),
        complete=complete,
        theta=500000.0,
        members=dict(num_hidden_layers=property(lambda c: c.decoder_config.num_hidden_layers)),  # what caches ask for
    ),
}
