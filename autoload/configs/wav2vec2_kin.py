"""Defaults of the configurations of wav2vec 2.0's kin."""

from autoload.configs.bert import without
from autoload.configs.wav2vec2 import ADAPTER, BASE, CODEBOOKS, HEADS, MASKS, TOKENS, XVECTOR, spec

UNISPEECH = BASE | MASKS | CODEBOOKS | HEADS | TOKENS
UNISPEECH |= dict(do_stable_layer_norm=False, feat_quantizer_dropout=0.0, ctc_loss_reduction="mean")

CONFIGS = {
    "data2vec-audio": spec(
        without(BASE, "feat_extract_norm"),
        without(MASKS, "apply_spec_augment"),
        HEADS,
        XVECTOR,
        TOKENS,
        ADAPTER,
        conv_pos_kernel_size=19,
        num_conv_pos_embeddings=5,
    ),
    "sew": spec(
        BASE,
        MASKS,
        HEADS,
        TOKENS,
        squeeze_factor=2,
        conv_dim=[64, 128, 128, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512],
        conv_stride=[5, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1],
        conv_kernel=[10, 3, 1, 3, 1, 3, 1, 3, 1, 2, 1, 2, 1],
        ctc_loss_reduction="mean",
    ),
    "unispeech": spec(UNISPEECH, num_ctc_classes=80, replace_prob=0.5),
    "unispeech-sat": spec(UNISPEECH, XVECTOR, num_clusters=504),
}
