"""Defaults of the configuration of Moonshine."""

from autoload.config import ConfigSpec, PreTrainedConfig

SIDES = ("encoder", "decoder")


def fill_heads(c: PreTrainedConfig) -> None:
    """As many key heads as heads unless the file says otherwise."""
    for side in SIDES:
        if getattr(c, f"{side}_num_key_value_heads") is None:
            setattr(c, f"{side}_num_key_value_heads", getattr(c, f"{side}_num_attention_heads"))


CONFIGS = {
    "moonshine": ConfigSpec(
        dict(
            is_encoder_decoder=True,
            vocab_size=32768,
            hidden_size=288,
            intermediate_size=1152,
            encoder_num_hidden_layers=6,
            decoder_num_hidden_layers=6,
            encoder_num_attention_heads=8,
            decoder_num_attention_heads=8,
            encoder_num_key_value_heads=None,
            decoder_num_key_value_heads=None,
            pad_head_dim_to_multiple_of=None,
            encoder_hidden_act="gelu",
            decoder_hidden_act="silu",
            max_position_embeddings=512,
            initializer_range=0.02,
            decoder_start_token_id=1,
            use_cache=True,
            rope_parameters=None,
            attention_bias=False,
            attention_dropout=0.0,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=None,
            tie_word_embeddings=True,
        ),
        aliases=dict(
            num_key_value_heads="decoder_num_key_value_heads",
            num_attention_heads="decoder_num_attention_heads",
            num_hidden_layers="decoder_num_hidden_layers",
            hidden_act="decoder_hidden_act",
        ),
        complete=fill_heads,
        partial_rotary_factor=0.9,
    ),
}
