"""Defaults of the configuration of Speech2Text."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.errors import ConfigError

NAMES = dict(num_attention_heads="encoder_attention_heads", hidden_size="d_model", num_hidden_layers="encoder_layers")


def check_kernels(c: PreTrainedConfig) -> None:
    """A convolution has one kernel."""
    if len(c.conv_kernel_sizes) != c.num_conv_layers:
        raise ConfigError("conv_kernel_sizes", c.conv_kernel_sizes, f"{c.num_conv_layers} sizes (num_conv_layers)")


CONFIGS = {
    "speech_to_text": ConfigSpec(
        dict(
            is_encoder_decoder=True,
            vocab_size=10000,
            encoder_layers=12,
            encoder_ffn_dim=2048,
            encoder_attention_heads=4,
            decoder_layers=6,
            decoder_ffn_dim=2048,
            decoder_attention_heads=4,
            encoder_layerdrop=0.0,
            decoder_layerdrop=0.0,
            use_cache=True,
            activation_function="relu",
            d_model=256,
            dropout=0.1,
            attention_dropout=0.0,
            activation_dropout=0.0,
            init_std=0.02,
            decoder_start_token_id=2,
            scale_embedding=True,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            max_source_positions=6000,
            max_target_positions=1024,
            num_conv_layers=2,
            conv_kernel_sizes=[5, 5],
            conv_channels=1024,
            input_feat_per_channel=80,
            input_channels=1,
            tie_word_embeddings=True,
        ),
        aliases=NAMES,
        complete=check_kernels,
    ),
}
