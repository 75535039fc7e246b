"""Defaults of the configuration of Pix2Struct, which holds those of the image's and of the text's side."""

from autoload.config import ConfigSpec, PreTrainedConfig, make_config_class

TEXT = dict(
    vocab_size=50244,
    hidden_size=768,
    d_kv=64,
    d_ff=2048,
    num_layers=12,
    num_heads=12,
    relative_attention_num_buckets=32,
    relative_attention_max_distance=128,
    dropout_rate=0.1,
    layer_norm_epsilon=1e-6,
    initializer_factor=1.0,
    dense_act_fn="gelu_new",
    decoder_start_token_id=0,
    use_cache=False,
    pad_token_id=0,
    eos_token_id=1,
    bos_token_id=None,
    tie_word_embeddings=False,
    is_decoder=True,
    add_cross_attention=False,
)
VISION = dict(
    hidden_size=768,
    patch_embed_hidden_size=768,
    d_ff=2048,
    d_kv=64,
    num_hidden_layers=12,
    num_attention_heads=12,
    dense_act_fn="gelu_new",
    layer_norm_eps=1e-6,
    dropout_rate=0.0,
    attention_dropout=0.0,
    initializer_range=1e-10,
    initializer_factor=1.0,
    seq_len=4096,
    relative_attention_num_buckets=32,
    relative_attention_max_distance=128,
)
# The names that T5's parts look up, beside those that the type goes by.
TEXT_NAMES = dict(num_attention_heads="num_heads", num_hidden_layers="num_layers", d_model="hidden_size")
VISION_NAMES = dict(num_heads="num_attention_heads", d_model="hidden_size", layer_norm_epsilon="layer_norm_eps")
Pix2StructTextConfig = make_config_class(
    "Pix2StructTextConfig", "pix2struct_text_model", ConfigSpec(TEXT, aliases=TEXT_NAMES)
)
Pix2StructVisionConfig = make_config_class(
    "Pix2StructVisionConfig",
    "pix2struct_vision_model",
    ConfigSpec(VISION, aliases=VISION_NAMES, ignore_at_inference=()),
)


def complete(c: PreTrainedConfig) -> None:
    """What both sides share goes into their configurations; special tokens are the text's."""
    text, vision = c.text_config, c.vision_config
    for name in ("decoder_start_token_id", "pad_token_id", "eos_token_id"):
        setattr(c, name, getattr(text, name))
    text.initializer_range = vision.initializer_range = c.initializer_range
    text.is_encoder_decoder, text.tie_word_embeddings = c.is_encoder_decoder, c.tie_word_embeddings


CONFIGS = {
    "pix2struct": ConfigSpec(
        dict(
            text_config=None,
            vision_config=None,
            initializer_factor=1.0,
            initializer_range=0.02,
            is_vqa=False,
            tie_word_embeddings=False,
            is_encoder_decoder=True,
        ),
        sub_configs=dict(text_config=Pix2StructTextConfig, vision_config=Pix2StructVisionConfig),
        complete=complete,
        ignore_at_inference=(),
    ),
}
