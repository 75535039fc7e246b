"""Defaults of WavLM's configuration."""

from autoload.configs.bert import without
from autoload.configs.wav2vec2 import ADAPTER, BASE, CODEBOOKS, HEADS, MASKS, TOKENS, XVECTOR, spec

CONFIGS = {
    "wavlm": spec(
        BASE,
        without(MASKS, "mask_feature_min_masks"),
        CODEBOOKS,
        HEADS,
        XVECTOR,
        TOKENS,
        ADAPTER,
        num_buckets=320,
        max_bucket_distance=800,
        do_stable_layer_norm=False,
        ctc_loss_reduction="mean",
        num_ctc_classes=80,
    ),
}
