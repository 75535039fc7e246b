"""Defaults of the configuration of Switch Transformers."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.t5 import NAMES, same_depth

SWITCH = dict(
    vocab_size=32128,
    d_model=768,
    d_kv=64,
    d_ff=2048,
    expert_capacity=64,
    num_layers=12,
    num_sparse_encoder_layers=3,
    num_decoder_layers=12,
    num_sparse_decoder_layers=3,
    num_heads=12,
    num_experts=8,
    router_bias=False,
    router_jitter_noise=0.01,
    router_dtype="float32",
    router_ignore_padding_tokens=False,
    relative_attention_num_buckets=32,
    relative_attention_max_distance=128,
    dropout_rate=0.1,
    layer_norm_epsilon=1e-6,
    router_z_loss_coef=0.001,
    router_aux_loss_coef=0.001,
    initializer_factor=1.0,
    dense_act_fn="relu",
    is_encoder_decoder=True,
    add_router_probs=False,
    use_cache=True,
    pad_token_id=0,
    eos_token_id=1,
    bos_token_id=None,
    tie_word_embeddings=True,
    is_decoder=False,
    add_cross_attention=False,
    encoder_sparse_step=None,
    decoder_sparse_step=None,
)


def complete(c: PreTrainedConfig) -> None:
    """Every how many layers there are experts; without any, the step is the number of layers."""
    same_depth(c)
    if c.encoder_sparse_step is None:
        c.encoder_sparse_step = c.num_layers // (c.num_sparse_encoder_layers or 1)
    if c.decoder_sparse_step is None:
        c.decoder_sparse_step = c.num_decoder_layers // (c.num_sparse_decoder_layers or 1)


ALIASES = {name: own for name, own in NAMES.items() if name != "head_dim"}
CONFIGS = {"switch_transformers": ConfigSpec(SWITCH, aliases=ALIASES, complete=complete)}
