"""Defaults of Perceiver's configuration."""

from autoload.config import ConfigSpec

CONFIGS = {
    "perceiver": ConfigSpec(
        dict(
            num_latents=256,
            d_latents=1280,
            d_model=768,
            num_blocks=1,
            num_self_attends_per_block=26,
            num_self_attention_heads=8,
            num_cross_attention_heads=8,
            qk_channels=None,
            v_channels=None,
            cross_attention_shape_for_attention="kv",
            self_attention_widening_factor=1,
            cross_attention_widening_factor=1,
            hidden_act="gelu",
            attention_probs_dropout_prob=0.1,
            initializer_range=0.02,
            layer_norm_eps=1e-12,
            use_query_residual=True,
            vocab_size=262,
            max_position_embeddings=2048,
            image_size=56,
            train_size=[368, 496],
            num_frames=16,
            audio_samples_per_frame=1920,
            samples_per_patch=16,
            output_shape=[1, 16, 224, 224],
            output_num_channels=512,
            _label_trainable_num_channels=1024,
        )
    )
}
