"""Defaults of decoders with several kinds of layers."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import BIAS, GEMMA, LLAMA, alternate, heads, kv_heads, without

GEMMA2 = without(GEMMA, "hidden_act", "use_bidirectional_attention") | dict(
    hidden_size=2304,
    intermediate_size=9216,
    num_hidden_layers=26,
    num_attention_heads=8,
    num_key_value_heads=4,
    hidden_activation="gelu_pytorch_tanh",
    query_pre_attn_scalar=256,
    sliding_window=4096,
    layer_types=None,
)
MINISTRAL = LLAMA | dict(intermediate_size=14336, num_key_value_heads=8, head_dim=None, max_position_embeddings=131072)
COHERE2 = (
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
        sliding_window=4096,
        layer_types=None,
    )
)
YARN = dict(
    type="yarn",
    rope_theta=1e6,
    factor=16.0,
    original_max_position_embeddings=16384,
    beta_fast=32.0,
    beta_slow=1.0,
    mscale_all_dim=1.0,
    mscale=1.0,
    llama_4_scaling_beta=0.1,
)
LLAMA3 = dict(
    rope_type="llama3", factor=16.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192
)


def every(c: PreTrainedConfig, period: int, full_first: bool = False) -> None:
    """One layer of each `period` sees everything, the first or the last; the others see a window."""
    if c.layer_types is None:
        place = 0 if full_first else period - 1
        full = [i % period == place for i in range(c.num_hidden_layers)] if period else [True] * c.num_hidden_layers
        c.layer_types = ["full_attention" if f else "sliding_attention" for f in full]


def gemma3_layers(c: PreTrainedConfig) -> None:
    c._sliding_window_pattern = c.__dict__.get("sliding_window_pattern", 6)
    every(c, c._sliding_window_pattern)


def smollm3_layers(c: PreTrainedConfig) -> None:
    """Each fourth layer does not rotate; where windows are switched on, these layers have them."""
    kv_heads(c)
    if c.no_rope_layers is None:
        c.no_rope_layers = [int((i + 1) % c.no_rope_layer_interval != 0) for i in range(c.num_hidden_layers)]
    if c.layer_types is None:
        windows = c.use_sliding_window and c.sliding_window is not None
        windowed = [windows and not rotates for rotates in c.no_rope_layers]
        c.layer_types = ["sliding_attention" if w else "full_attention" for w in windowed]


def ministral_layers(c: PreTrainedConfig) -> None:
    kv_heads(c)
    if c.layer_types is None:
        kind = "full_attention" if c.sliding_window is None else "sliding_attention"
        c.layer_types = [kind] * c.num_hidden_layers


def ministral3_rope(c: PreTrainedConfig) -> None:
    heads(c)
    if c.rope_parameters is None:
        c.rope_parameters = YARN | {"max_position_embeddings": c.max_position_embeddings}


def olmo3_layers(c: PreTrainedConfig) -> None:
    kv_heads(c)
    every(c, 4)


def cohere2_layers(c: PreTrainedConfig) -> None:
    kv_heads(c)
    c.head_dim = c.hidden_size // c.num_attention_heads
    period = c.__dict__.pop("sliding_window_pattern", 4) if c.layer_types is None else 4
    every(c, period)


def exaone4_layers(c: PreTrainedConfig) -> None:
    if c.sliding_window is None:
        c.sliding_window_pattern = 0
    every(c, c.sliding_window_pattern)


def cwm_layers(c: PreTrainedConfig) -> None:
    if c.rope_parameters is None:
        c.rope_parameters = {"rope_theta": 1e6, **LLAMA3}
    if c.eos_token_id is None:
        c.eos_token_id = [128001, 128008, 128009]
    c.sliding_window = c.sliding_window or None
    every(c, 4, full_first=True)
    heads(c)


def granite_swa_layers(c: PreTrainedConfig) -> None:
    kv_heads(c)
    every(c, 4, full_first=True)


def granite_swa_bases(c: PreTrainedConfig) -> None:
    if c.layer_rope_theta is None:
        c.layer_rope_theta = [c.rope_parameters["rope_theta"]] * c.num_hidden_layers


CONFIGS = {
    "gemma3_text": ConfigSpec(
        GEMMA2
        | dict(
            vocab_size=262208,
            max_position_embeddings=131072,
            final_logit_softcapping=None,
            attn_logit_softcapping=None,
            use_bidirectional_attention=False,
        ),
        complete=gemma3_layers,
        theta={"full_attention": 1e6, "sliding_attention": 1e4},
    ),
    "vaultgemma": ConfigSpec(
        GEMMA2 | dict(final_logit_softcapping=30.0, attn_logit_softcapping=50.0), complete=alternate
    ),
    "smollm3": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            vocab_size=128256,
            hidden_size=2048,
            num_hidden_layers=36,
            num_attention_heads=16,
            num_key_value_heads=4,
            max_position_embeddings=32768,
            pad_token_id=128004,
            bos_token_id=128000,
            eos_token_id=128001,
            use_sliding_window=False,
            sliding_window=None,
            no_rope_layers=None,
            no_rope_layer_interval=4,
            layer_types=None,
            mlp_bias=False,
            tie_word_embeddings=True,
        ),
        complete=smollm3_layers,
        theta=2e6,
    ),
    "ministral": ConfigSpec(MINISTRAL | dict(sliding_window=4096, layer_types=None), complete=ministral_layers),
    "ministral3": ConfigSpec(
        MINISTRAL
        | dict(
            vocab_size=131072,
            num_hidden_layers=34,
            head_dim=128,
            max_position_embeddings=262144,
            rms_norm_eps=1e-5,
            pad_token_id=11,
            sliding_window=None,
        ),
        complete=ministral3_rope,
    ),
    "olmo3": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            vocab_size=50304,
            pad_token_id=1,
            bos_token_id=None,
            eos_token_id=50279,
            rms_norm_eps=1e-5,
            sliding_window=4096,
            layer_types=None,
        ),
        complete=olmo3_layers,
        theta={"full_attention": 5e5, "sliding_attention": 5e5},
    ),
    "cohere2": ConfigSpec(COHERE2, complete=cohere2_layers),
    "exaone4": ConfigSpec(
        LLAMA
        | dict(
            vocab_size=102400,
            intermediate_size=16384,
            num_key_value_heads=32,
            rms_norm_eps=1e-5,
            bos_token_id=0,
            sliding_window=4096,
            sliding_window_pattern=4,
            layer_types=None,
        ),
        complete=exaone4_layers,
    ),
    "cwm": ConfigSpec(
        LLAMA
        | dict(
            vocab_size=128256,
            hidden_size=6144,
            intermediate_size=21504,
            num_hidden_layers=64,
            num_attention_heads=48,
            num_key_value_heads=8,
            max_position_embeddings=131072,
            rms_norm_eps=1e-5,
            bos_token_id=128000,
            eos_token_id=None,
            pretraining_tp=1,
            mlp_bias=False,
            head_dim=128,
            sliding_window=8192,
            layer_types=None,
        ),
        complete=cwm_layers,
        theta=1e6,
    ),
    "granite_swa": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            vocab_size=100352,
            hidden_size=2560,
            intermediate_size=8192,
            num_hidden_layers=24,
            num_attention_heads=20,
            num_key_value_heads=4,
            max_position_embeddings=8192,
            rms_norm_eps=1e-5,
            bos_token_id=100257,
            eos_token_id=100257,
            tie_word_embeddings=True,
            mlp_bias=False,
            embedding_multiplier=1.0,
            logits_scaling=1.0,
            residual_multiplier=1.0,
            attention_multiplier=1.0,
            sliding_window=128,
            layer_types=None,
            layer_rope_theta=None,
        ),
        complete=granite_swa_layers,
        finish=granite_swa_bases,
    ),
}
