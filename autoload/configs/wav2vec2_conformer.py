"""Defaults of the configurations of encoders of sound made of conformer blocks."""

from autoload.configs.wav2vec2 import ADAPTER, BASE, CODEBOOKS, DROPOUTS, HEADS, MASKS, SIZES, TOKENS, XVECTOR, spec

BLOCKS = dict(
    vocab_size=None,
    rotary_embedding_base=10000,
    max_source_positions=5000,
    conv_depthwise_kernel_size=31,
    conformer_conv_dropout=0.1,
)
STILL = dict(hidden_dropout=0.0, activation_dropout=0.0, attention_dropout=0.0)

CONFIGS = {
    "wav2vec2-bert": spec(
        SIZES,
        DROPOUTS,
        MASKS,
        HEADS,
        XVECTOR,
        TOKENS,
        ADAPTER,
        BLOCKS,
        STILL,
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        feature_projection_input_dim=160,
        hidden_act="swish",
        classifier_proj_size=768,
        num_adapter_layers=1,
        adapter_act="relu",
        use_intermediate_ffn_before_adapter=False,
        position_embeddings_type="relative_key",
        left_max_position_embeddings=64,
        right_max_position_embeddings=8,
    ),
    "wav2vec2-conformer": spec(
        BASE,
        MASKS,
        CODEBOOKS,
        HEADS,
        XVECTOR,
        TOKENS,
        ADAPTER,
        BLOCKS,
        feat_quantizer_dropout=0.0,
        position_embeddings_type="relative",
    ),
}
