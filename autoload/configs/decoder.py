"""Defaults of the Llama-like decoders' configurations."""

from autoload.config import ConfigSpec, PreTrainedConfig

LLAMA = dict(
    vocab_size=32000,
    hidden_size=4096,
    intermediate_size=11008,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=None,
    hidden_act="silu",
    max_position_embeddings=2048,
    initializer_range=0.02,
    rms_norm_eps=1e-6,
    use_cache=True,
    pad_token_id=None,
    bos_token_id=1,
    eos_token_id=2,
    tie_word_embeddings=False,
    rope_parameters=None,
    attention_dropout=0.0,
)
BIAS = dict(attention_bias=False)
QWEN2 = LLAMA | dict(
    vocab_size=151936,
    intermediate_size=22016,
    num_key_value_heads=32,
    max_position_embeddings=32768,
    bos_token_id=None,
    eos_token_id=None,
    use_sliding_window=False,
    sliding_window=4096,
    max_window_layers=28,
    layer_types=None,
)
GEMMA = LLAMA | dict(
    vocab_size=256000,
    hidden_size=3072,
    intermediate_size=24576,
    num_hidden_layers=28,
    num_attention_heads=16,
    num_key_value_heads=16,
    head_dim=256,
    hidden_act="gelu_pytorch_tanh",
    max_position_embeddings=8192,
    pad_token_id=0,
    eos_token_id=1,
    bos_token_id=2,
    tie_word_embeddings=True,
    attention_bias=False,
    use_bidirectional_attention=None,
)


def without(fields: dict, *names: str) -> dict:
    """The fields but for some."""
    return {key: value for key, value in fields.items() if key not in names}


def kv_heads(c: PreTrainedConfig) -> None:
    """As many key heads as query heads unless the file says otherwise."""
    if c.num_key_value_heads is None:
        c.num_key_value_heads = c.num_attention_heads


def heads(c: PreTrainedConfig) -> None:
    """`kv_heads`, and the heads share the width evenly unless the file says otherwise."""
    kv_heads(c)
    if c.head_dim is None:
        c.head_dim = c.hidden_size // c.num_attention_heads


def qwen2_layers(c: PreTrainedConfig) -> None:
    """Layers from `max_window_layers` on see a window, where windows are switched on."""
    kv_heads(c)
    if not c.use_sliding_window:
        c.sliding_window = None
    if c.layer_types is None:
        windowed = [c.sliding_window is not None and i >= c.max_window_layers for i in range(c.num_hidden_layers)]
        c.layer_types = ["sliding_attention" if w else "full_attention" for w in windowed]


def alternate(c: PreTrainedConfig) -> None:
    """Even layers see a window, odd layers everything."""
    if c.layer_types is None:
        c.layer_types = ["full_attention" if i % 2 else "sliding_attention" for i in range(c.num_hidden_layers)]


CONFIGS = {
    "llama": ConfigSpec(LLAMA | BIAS | dict(pretraining_tp=1, mlp_bias=False, head_dim=None), complete=heads),
    "mistral": ConfigSpec(
        LLAMA
        | dict(
            intermediate_size=14336,
            num_key_value_heads=8,
            head_dim=None,
            max_position_embeddings=4096 * 32,
            sliding_window=4096,
        ),
        complete=heads,
    ),
    "qwen2": ConfigSpec(QWEN2, complete=qwen2_layers),
    "qwen3": ConfigSpec(QWEN2 | BIAS | dict(head_dim=128), complete=qwen2_layers),
    "gemma": ConfigSpec(GEMMA),
    "gemma2": ConfigSpec(
        without(GEMMA, "hidden_act")
        | dict(
            hidden_size=2304,
            intermediate_size=9216,
            num_hidden_layers=26,
            num_attention_heads=8,
            num_key_value_heads=4,
            hidden_activation="gelu_pytorch_tanh",
            query_pre_attn_scalar=256,
            sliding_window=4096,
            layer_types=None,
            final_logit_softcapping=30.0,
            attn_logit_softcapping=50.0,
        ),
        complete=alternate,
    ),
    "phi3": ConfigSpec(
        LLAMA
        | dict(
            vocab_size=32064,
            hidden_size=3072,
            intermediate_size=8192,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            max_position_embeddings=4096,
            original_max_position_embeddings=4096,
            rms_norm_eps=1e-5,
            eos_token_id=32000,
            pad_token_id=32000,
            sliding_window=None,
        ),
        complete=kv_heads,
        partial_rotary_factor=1.0,
    ),
    "olmo2": ConfigSpec(
        LLAMA | BIAS | dict(vocab_size=50304, pad_token_id=1, bos_token_id=None, eos_token_id=50279, rms_norm_eps=1e-5),
        complete=kv_heads,
    ),
    "granite": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            mlp_bias=False,
            embedding_multiplier=1.0,
            logits_scaling=1.0,
            residual_multiplier=1.0,
            attention_multiplier=1.0,
        ),
        complete=kv_heads,
    ),
    "cohere": ConfigSpec(
        without(LLAMA, "rms_norm_eps")
        | BIAS
        | dict(
            vocab_size=256000,
            hidden_size=8192,
            intermediate_size=22528,
            logit_scale=0.0625,
            num_hidden_layers=40,
            num_attention_heads=64,
            max_position_embeddings=8192,
            layer_norm_eps=1e-5,
            pad_token_id=0,
            bos_token_id=5,
            eos_token_id=255001,
            tie_word_embeddings=True,
            use_qk_norm=False,
        ),
        complete=kv_heads,
        theta=500000.0,
    ),
}
