"""Defaults of Nystromformer's configuration."""

from autoload.config import ConfigSpec
from autoload.configs.bert import ENCODER

CONFIGS = {
    "nystromformer": ConfigSpec(
        ENCODER
        | dict(
            vocab_size=30000,
            hidden_act="gelu_new",
            max_position_embeddings=510,
            segment_means_seq_len=64,
            num_landmarks=64,
            conv_kernel_size=65,
            inv_coeff_init_option=False,
            layer_norm_eps=1e-5,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            add_cross_attention=False,
        )
    )
}
