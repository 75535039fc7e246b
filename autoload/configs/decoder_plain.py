"""Defaults of decoders whose MLP has no gate."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import BIAS, LLAMA, heads, kv_heads, without

NO_EPS = without(LLAMA, "rms_norm_eps")
APERTUS_ROPE = dict(
    rope_type="llama3",
    rope_theta=12e6,
    factor=8.0,
    original_max_position_embeddings=8192,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
)


def even_heads(c: PreTrainedConfig) -> None:
    """The heads share the width evenly unless the file says otherwise."""
    if c.head_dim is None:
        c.head_dim = c.hidden_size // c.num_attention_heads


def apertus_rope(c: PreTrainedConfig) -> None:
    kv_heads(c)
    if c.rope_parameters is None:
        c.rope_parameters = dict(APERTUS_ROPE)


CONFIGS = {
    "phi": ConfigSpec(
        NO_EPS
        | dict(
            vocab_size=51200,
            hidden_size=2048,
            intermediate_size=8192,
            num_hidden_layers=24,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            hidden_act="gelu_new",
            layer_norm_eps=1e-5,
            qk_layernorm=False,
        ),
        complete=kv_heads,
        partial_rotary_factor=0.5,
    ),
    "starcoder2": ConfigSpec(
        NO_EPS
        | dict(
            vocab_size=49152,
            hidden_size=3072,
            intermediate_size=12288,
            num_hidden_layers=30,
            num_attention_heads=24,
            num_key_value_heads=2,
            hidden_act="gelu_pytorch_tanh",
            max_position_embeddings=4096,
            initializer_range=0.018042,
            norm_epsilon=1e-5,
            bos_token_id=50256,
            eos_token_id=50256,
            sliding_window=None,
            residual_dropout=0.0,
            embedding_dropout=0.0,
            use_bias=True,
            tie_word_embeddings=True,
        )
    ),
    "persimmon": ConfigSpec(
        without(NO_EPS, "num_key_value_heads")
        | dict(
            vocab_size=262144,
            intermediate_size=16384,
            num_hidden_layers=36,
            num_attention_heads=64,
            hidden_act="relu2",
            max_position_embeddings=16384,
            layer_norm_eps=1e-5,
            qk_layernorm=True,
            hidden_dropout=0.0,
        ),
        partial_rotary_factor=0.5,
    ),
    "nemotron": ConfigSpec(
        NO_EPS
        | BIAS
        | dict(
            vocab_size=256000,
            hidden_size=6144,
            intermediate_size=24576,
            num_attention_heads=48,
            head_dim=None,
            hidden_act="relu2",
            max_position_embeddings=4096,
            initializer_range=0.0134,
            norm_eps=1e-5,
            bos_token_id=2,
            eos_token_id=3,
            mlp_bias=False,
        ),
        complete=even_heads,
        partial_rotary_factor=0.5,
    ),
    "jais2": ConfigSpec(
        NO_EPS
        | dict(
            vocab_size=150272,
            hidden_size=3328,
            intermediate_size=26624,
            num_attention_heads=26,
            hidden_act="relu2",
            max_position_embeddings=8192,
            bos_token_id=0,
            eos_token_id=150024,
            attention_bias=True,
            mlp_bias=True,
            head_dim=None,
            layer_norm_eps=1e-5,
        ),
        complete=heads,
    ),
    "arcee": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            hidden_size=2560,
            intermediate_size=18432,
            hidden_act="relu2",
            max_position_embeddings=4096,
            rms_norm_eps=1e-5,
            bos_token_id=128000,
            eos_token_id=128001,
            mlp_bias=False,
            head_dim=None,
        ),
        complete=heads,
    ),
    "apertus": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            vocab_size=131072,
            intermediate_size=14336,
            hidden_act="xielu",
            max_position_embeddings=65536,
            rms_norm_eps=1e-5,
            pad_token_id=3,
        ),
        complete=apertus_rope,
        theta=12e6,
    ),
    "nanochat": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            vocab_size=50304,
            hidden_size=768,
            intermediate_size=8192,
            num_hidden_layers=12,
            num_attention_heads=6,
            hidden_act="relu2",
            final_logit_softcapping=15.0,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        ),
        complete=kv_heads,
    ),
}
