"""Defaults of the configurations of T5 and the encoder-decoders that share its wiring."""

from autoload.config import ConfigSpec, PreTrainedConfig
from autoload.errors import ConfigError

NAMES = dict(hidden_size="d_model", num_attention_heads="num_heads", num_hidden_layers="num_layers", head_dim="d_kv")
T5 = dict(
    vocab_size=32128,
    d_model=512,
    d_kv=64,
    d_ff=2048,
    num_layers=6,
    num_decoder_layers=None,
    num_heads=8,
    relative_attention_num_buckets=32,
    relative_attention_max_distance=128,
    dropout_rate=0.1,
    layer_norm_epsilon=1e-6,
    initializer_factor=1.0,
    feed_forward_proj="relu",
    is_encoder_decoder=True,
    use_cache=True,
    pad_token_id=0,
    eos_token_id=1,
    classifier_dropout=0.0,
    is_decoder=False,
    tie_word_embeddings=True,
    dense_act_fn=None,
    is_gated_act=None,
)
MT5 = T5 | dict(
    vocab_size=250112, d_ff=1024, num_layers=8, num_heads=6, feed_forward_proj="gated-gelu", decoder_start_token_id=0
)


def same_depth(c: PreTrainedConfig) -> None:
    """The decoder is as deep as the encoder unless the file says otherwise."""
    if c.num_decoder_layers is None:
        c.num_decoder_layers = c.num_layers


def complete(c: PreTrainedConfig) -> None:
    """The activation from `feed_forward_proj`; embeddings are tied whatever the file says."""
    same_depth(c)
    *gate, name = str(c.feed_forward_proj).split("-")
    if gate not in ([], ["gated"]):
        raise ConfigError("feed_forward_proj", c.feed_forward_proj, "an activation, or `gated-` and an activation")
    if c.dense_act_fn is None:
        c.dense_act_fn = "gelu_new" if gate and name == "gelu" else name
    if c.is_gated_act is None:
        c.is_gated_act = bool(gate)
    c.tie_word_embeddings = True


def complete_scaled(c: PreTrainedConfig) -> None:
    """Files of T5 1.1 say that nothing is tied; what they mean is that the decoder's output is not scaled."""
    if c.scale_decoder_outputs is None:
        c.scale_decoder_outputs = c.tie_word_embeddings
    complete(c)


CONFIGS = {
    "t5": ConfigSpec(T5 | dict(scale_decoder_outputs=None), aliases=NAMES, complete=complete_scaled),
    "mt5": ConfigSpec(MT5 | dict(bos_token_id=None), aliases=NAMES, complete=complete),
    "umt5": ConfigSpec(MT5, aliases=NAMES, complete=complete),
}
