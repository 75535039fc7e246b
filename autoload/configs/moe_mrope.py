"""Defaults of the text parts of models that see and have experts."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import BIAS, LLAMA, heads
from autoload.configs.moe import NO_TOKENS, ROUTED
from autoload.configs.moe_sigmoid import GLM4_MOE


def qwen3_layers(c: PreTrainedConfig) -> None:
    """No layer has a window, whatever the file says."""
    heads(c)
    c.mlp_only_layers = c.mlp_only_layers or []
    c.sliding_window = None


CONFIGS = {
    "qwen3_vl_moe_text": ConfigSpec(
        LLAMA
        | BIAS
        | ROUTED
        | NO_TOKENS
        | dict(
            vocab_size=151936,
            hidden_size=2048,
            intermediate_size=5632,
            num_hidden_layers=24,
            num_attention_heads=16,
            num_key_value_heads=16,
            max_position_embeddings=128000,
            tie_word_embeddings=True,
            decoder_sparse_step=1,
            moe_intermediate_size=1408,
            num_experts_per_tok=4,
            num_local_experts=60,
            mlp_only_layers=None,
            head_dim=None,
        ),
        aliases={"num_experts": "num_local_experts"},
        complete=qwen3_layers,
        theta=5e5,
    ),
    "glm4v_moe_text": ConfigSpec(
        GLM4_MOE
        | dict(
            vocab_size=151424,
            max_position_embeddings=65536,
            attention_bias=True,
            first_k_dense_replace=1,
            router_aux_loss_coef=0.0001,
        ),
        aliases={"num_local_experts": "n_routed_experts"},
        partial_rotary_factor=0.5,
    ),
}
