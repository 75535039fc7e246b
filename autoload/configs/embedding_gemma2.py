"""Defaults of EmbeddingGemma 2."""

from autoload.config import ConfigSpec

CONFIGS = {
    "embedding_gemma2": ConfigSpec(
        dict(
            text_config=None,
            vision_config=None,
            audio_config=None,
            boi_token_id=255999,
            eoi_token_id=258882,
            image_token_id=258880,
            video_token_id=258884,
            boa_token_id=256000,
            eoa_token_index=258883,
            audio_token_id=258881,
            initializer_range=0.02,
        ),
        sub_configs=dict(
            text_config="embedding_gemma2_text", vision_config="gemma4_vision", audio_config="gemma4_audio"
        ),
        optional=("vision_config", "audio_config"),
        ignore_at_inference=(),
    ),
}
