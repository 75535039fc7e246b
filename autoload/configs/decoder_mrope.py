"""Defaults of the text parts of models that see."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.configs.decoder import BIAS, LLAMA, QWEN2, kv_heads, qwen2_layers, without
from autoload.configs.decoder_windows import COHERE2

UNTIED = without(LLAMA, "tie_word_embeddings")  # without scores there is nothing to tie
QWEN2_VL = without(QWEN2, "tie_word_embeddings") | dict(
    vocab_size=152064,
    hidden_size=8192,
    intermediate_size=29568,
    num_hidden_layers=80,
    num_attention_heads=64,
    num_key_value_heads=8,
    rms_norm_eps=1e-5,
    max_window_layers=80,
    bos_token_id=151643,
    eos_token_id=151645,
)
GLM4V = without(UNTIED, "bos_token_id", "eos_token_id") | dict(
    vocab_size=151552,
    intermediate_size=13696,
    num_hidden_layers=40,
    num_key_value_heads=2,
    max_position_embeddings=32768,
    rms_norm_eps=1e-5,
)


def cosmos3_rope(c: PreTrainedConfig) -> None:
    kv_heads(c)
    if c.rope_parameters is None:
        c.rope_parameters = {"rope_type": "default", "rope_theta": 1e8, "mrope_section": [24, 20, 20]}


def hunyuan_sections(c: PreTrainedConfig) -> None:
    """Tencent's own names for the rotary settings."""
    c.rope_parameters.pop("type", None)
    sections = c.rope_parameters.pop("xdrope_section", None)
    if sections is not None:
        c.rope_parameters.setdefault("mrope_section", sections)


def compass_layers(c: PreTrainedConfig) -> None:
    kv_heads(c)
    c.head_dim = c.hidden_size // c.num_attention_heads
    if c.layer_types is None:
        c.layer_types = ["full_attention"] * c.num_hidden_layers
    if c.rope_parameters and not set(c.layer_types).isdisjoint(c.rope_parameters):
        left_over = ("rope_theta", "rope_type")  # the Hub's file has settings for all kinds beside those of each
        c.rope_parameters = {key: value for key, value in c.rope_parameters.items() if key not in left_over}


CONFIGS = {
    "qwen2_vl_text": ConfigSpec(QWEN2_VL, complete=qwen2_layers, theta=1e6),
    "qwen2_5_vl_text": ConfigSpec(QWEN2_VL, complete=qwen2_layers, theta=1e6),
    "qwen3_vl_text": ConfigSpec(
        without(UNTIED, "bos_token_id", "eos_token_id")
        | BIAS
        | dict(
            vocab_size=151936,
            intermediate_size=22016,
            num_key_value_heads=32,
            head_dim=128,
            max_position_embeddings=128000,
        ),
        complete=kv_heads,
        theta=5e5,
        ignore_at_inference=(),
    ),
    "glm4v_text": ConfigSpec(GLM4V, complete=kv_heads),
    "glm_image_text": ConfigSpec(
        GLM4V
        | dict(
            vocab_size=168064,
            max_position_embeddings=131072,
            pad_token_id=167841,
            vision_vocab_size=16512,
            attention_bias=True,
            eos_token_id=16385,
        ),
        complete=kv_heads,
    ),
    "glm_ocr_text": ConfigSpec(
        GLM4V
        | dict(
            vocab_size=59392,
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=16,
            num_attention_heads=16,
            num_key_value_heads=8,
            max_position_embeddings=131072,
        ),
        complete=kv_heads,
    ),
    "cosmos3_edge_text": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            vocab_size=131072,
            hidden_size=2048,
            intermediate_size=9216,
            num_hidden_layers=28,
            num_attention_heads=16,
            num_key_value_heads=8,
            hidden_act="relu2",
            max_position_embeddings=131072,
            rms_norm_eps=1e-5,
            pad_token_id=0,
            eos_token_id=11,
            pretraining_tp=1,
            mlp_bias=False,
            head_dim=128,
        ),
        complete=cosmos3_rope,
        theta=1e8,
    ),
    "hunyuan_vl_text": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            vocab_size=290943,
            rms_norm_eps=1e-5,
            pad_token_id=0,
            eod_token_id=3,
            pretraining_tp=1,
            tie_word_embeddings=True,
            head_dim=None,
            sep_token_id=4,
        ),
        aliases={"attention_head_dim": "head_dim", "org_vocab_size": "vocab_size", "pad_id": "pad_token_id"},
        complete=kv_heads,
        finish=hunyuan_sections,
    ),
    "granite_docling_text": ConfigSpec(
        LLAMA
        | BIAS
        | dict(
            vocab_size=133800,
            hidden_size=1024,
            intermediate_size=2048,
            num_hidden_layers=28,
            num_attention_heads=16,
            num_key_value_heads=4,
            max_position_embeddings=32768,
            rms_norm_eps=1e-5,
            pad_token_id=100256,
            bos_token_id=100257,
            eos_token_id=100257,
            tie_word_embeddings=True,
            mlp_bias=False,
            embedding_multiplier=12.0,
            logits_scaling=4.0,
            residual_multiplier=0.263,
            attention_multiplier=0.015625,
        ),
        complete=kv_heads,
    ),
    "cohere_compass_text": ConfigSpec(
        COHERE2 | dict(logit_scale=None, pooling=None), complete=compass_layers, theta={}
    ),
}
