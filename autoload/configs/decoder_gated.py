"""Defaults of decoders with a gated MLP and a twist of their own."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import BIAS, LLAMA, heads, kv_heads, without
from autoload.errors import ConfigError

GLM = LLAMA | dict(
    vocab_size=151552,
    intermediate_size=13696,
    num_hidden_layers=40,
    num_key_value_heads=2,
    head_dim=128,
    max_position_embeddings=131072,
    rms_norm_eps=1.5625e-07,
    pad_token_id=151329,
    eos_token_id=None,
    bos_token_id=None,
    attention_bias=True,
)


def internlm3_biases(c: PreTrainedConfig) -> None:
    """Llama's layers have no other bias for queries than for outputs, and the file has one for both."""
    heads(c)
    if c.attention_bias != c.mlp_bias:
        raise ConfigError("qkv_bias", c.attention_bias, f"the value of bias ({c.mlp_bias})")


def iquestcoder_layers(c: PreTrainedConfig) -> None:
    heads(c)
    for field in ("clip_qkv", "use_sliding_window"):
        if c.__dict__.get(field):
            raise ConfigError(field, c.__dict__[field], "null: Llama's layers have nothing of the kind")


def diffllama_heads(c: PreTrainedConfig) -> None:
    heads(c)
    if c.attention_dropout:
        raise ConfigError("attention_dropout", c.attention_dropout, "0: two attentions that differ share no dropout")
    if c.num_key_value_heads % 2:
        raise ConfigError("num_key_value_heads", c.num_key_value_heads, "an even number: keys come in pairs")


def glm_eos(c: PreTrainedConfig) -> None:
    if c.eos_token_id is None:
        c.eos_token_id = [151329, 151336, 151338]


def hyperclovax_scale(c: PreTrainedConfig) -> None:
    heads(c)
    if c.attention_multiplier is None:
        c.attention_multiplier = c.head_dim**-0.5


CONFIGS = {
    "internlm3": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            vocab_size=128512,
            intermediate_size=10240,
            num_hidden_layers=48,
            num_key_value_heads=2,
            max_position_embeddings=32768,
            rms_norm_eps=1e-5,
            pad_token_id=2,
            mlp_bias=False,
            head_dim=128,
        ),
        aliases={"qkv_bias": "attention_bias", "bias": "mlp_bias"},
        complete=internlm3_biases,
    ),
    "iquestcoder": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            vocab_size=76800,
            hidden_size=5120,
            intermediate_size=27648,
            num_hidden_layers=80,
            num_attention_heads=40,
            num_key_value_heads=8,
            max_position_embeddings=131072,
            rms_norm_eps=1e-5,
            mlp_bias=False,
            head_dim=128,
        ),
        complete=iquestcoder_layers,
    ),
    "stablelm": ConfigSpec(
        without(LLAMA, "rms_norm_eps")
        | dict(
            vocab_size=50304,
            intermediate_size=6912,
            hidden_size=2560,
            num_key_value_heads=32,
            max_position_embeddings=4096,
            layer_norm_eps=1e-5,
            use_qkv_bias=False,
            qk_layernorm=False,
            use_parallel_residual=False,
            hidden_dropout=0.0,
            bos_token_id=0,
            eos_token_id=0,
        ),
        partial_rotary_factor=0.25,
    ),
    "olmo": ConfigSpec(
        without(LLAMA, "rms_norm_eps")
        | BIAS
        | dict(vocab_size=50304, pad_token_id=1, bos_token_id=None, eos_token_id=50279, clip_qkv=None),
        complete=kv_heads,
    ),
    "glm": ConfigSpec(GLM, complete=glm_eos, partial_rotary_factor=0.5),
    "glm4": ConfigSpec(GLM, complete=glm_eos, partial_rotary_factor=0.5),
    "helium": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            vocab_size=48000,
            hidden_size=2560,
            intermediate_size=7040,
            num_hidden_layers=24,
            num_attention_heads=20,
            num_key_value_heads=20,
            head_dim=128,
            max_position_embeddings=4096,
            rms_norm_eps=1e-8,
            pad_token_id=3,
            mlp_bias=False,
        ),
        theta=1e5,
    ),
    "seed_oss": ConfigSpec(
        LLAMA
        | dict(
            vocab_size=155136,
            intermediate_size=27648,
            num_hidden_layers=64,
            num_attention_heads=80,
            num_key_value_heads=8,
            max_position_embeddings=524288,
            pad_token_id=1,
            bos_token_id=0,
            pretraining_tp=1,
            attention_bias=True,
            attention_out_bias=False,
            attention_dropout=0.1,
            residual_dropout=0.1,
            mlp_bias=False,
            head_dim=128,
        ),
        complete=heads,
    ),
    "ernie4_5": ConfigSpec(
        without(LLAMA, "attention_dropout")
        | dict(
            vocab_size=103424,
            hidden_size=1024,
            intermediate_size=3072,
            num_hidden_layers=18,
            num_attention_heads=16,
            num_key_value_heads=2,
            max_position_embeddings=131072,
            rms_norm_eps=1e-5,
            pad_token_id=0,
            tie_word_embeddings=True,
            use_bias=False,
            head_dim=128,
        ),
        complete=heads,
        theta=5e5,
    ),
    "hunyuan_v1_dense": ConfigSpec(
        LLAMA
        | BIAS
        | dict(vocab_size=290943, rms_norm_eps=1e-5, pad_token_id=0, eod_token_id=3, pretraining_tp=1, head_dim=None),
        complete=kv_heads,
    ),
    "hyperclovax": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            mlp_bias=False,
            embedding_multiplier=1.0,
            logits_scaling=1.0,
            residual_multiplier=1.0,
            attention_multiplier=None,
            head_dim=None,
            use_post_norm=True,
        ),
        complete=hyperclovax_scale,
    ),
    "bitnet": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            vocab_size=128256,
            hidden_size=2560,
            intermediate_size=6912,
            num_hidden_layers=30,
            num_attention_heads=20,
            num_key_value_heads=5,
            hidden_act="relu2",
            rms_norm_eps=1e-5,
            bos_token_id=128000,
            eos_token_id=128001,
        ),
        complete=kv_heads,
        theta=5e5,
    ),
    "diffllama": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            hidden_size=2048,
            intermediate_size=8192,
            num_hidden_layers=16,
            rms_norm_eps=1e-5,
            lambda_std_dev=0.1,
            head_dim=None,
        ),
        complete=diffllama_heads,
    ),
}
