"""Defaults of the configurations of BART and the encoder-decoders that share its wiring."""

from autoload.config import ConfigSpec, PreTrainedConfig

NAMES = dict(num_attention_heads="encoder_attention_heads", hidden_size="d_model", num_hidden_layers="encoder_layers")
BART = dict(
    vocab_size=50265,
    max_position_embeddings=1024,
    encoder_layers=12,
    encoder_ffn_dim=4096,
    encoder_attention_heads=16,
    decoder_layers=12,
    decoder_ffn_dim=4096,
    decoder_attention_heads=16,
    encoder_layerdrop=0.0,
    decoder_layerdrop=0.0,
    activation_function="gelu",
    d_model=1024,
    dropout=0.1,
    attention_dropout=0.0,
    activation_dropout=0.0,
    init_std=0.02,
    classifier_dropout=0.0,
    scale_embedding=False,
    use_cache=True,
    pad_token_id=1,
    bos_token_id=0,
    eos_token_id=2,
    is_encoder_decoder=True,
    decoder_start_token_id=2,
    forced_eos_token_id=2,
    is_decoder=False,
    tie_word_embeddings=True,
)
THREE = {i: f"LABEL_{i}" for i in range(3)}


def without(fields: dict, *names: str) -> dict:
    """The fields but for some."""
    return {key: value for key, value in fields.items() if key not in names}


def share_vocabulary(c: PreTrainedConfig) -> None:
    """The decoder's vocabulary is the encoder's unless the file says otherwise."""
    if c.decoder_vocab_size is None:
        c.decoder_vocab_size = c.vocab_size


PLAIN = without(BART, "classifier_dropout")
CONFIGS = {
    "bart": ConfigSpec(BART | dict(id2label=THREE, label2id={v: k for k, v in THREE.items()}), aliases=NAMES),
    "mbart": ConfigSpec(BART | dict(decoder_start_token_id=None), aliases=NAMES),
    "plbart": ConfigSpec(
        without(BART, "decoder_start_token_id")
        | dict(
            vocab_size=50005,
            encoder_layers=6,
            encoder_ffn_dim=3072,
            encoder_attention_heads=12,
            decoder_layers=6,
            decoder_ffn_dim=3072,
            decoder_attention_heads=12,
            d_model=768,
            attention_dropout=0.1,
            scale_embedding=True,
        ),
        aliases=NAMES | dict(initializer_range="init_std"),
    ),
    "mvp": ConfigSpec(
        without(BART, "forced_eos_token_id")
        | dict(vocab_size=50267, use_prompt=False, prompt_length=100, prompt_mid_dim=800),
        aliases=NAMES,
    ),
    "blenderbot": ConfigSpec(
        PLAIN
        | dict(
            vocab_size=8008,
            max_position_embeddings=128,
            encoder_layers=2,
            encoder_ffn_dim=10240,
            encoder_attention_heads=32,
            decoder_layers=24,
            decoder_ffn_dim=10240,
            decoder_attention_heads=32,
            d_model=2560,
            decoder_start_token_id=1,
            pad_token_id=0,
            bos_token_id=1,
            encoder_no_repeat_ngram_size=3,
        ),
        aliases=NAMES,
    ),
    "blenderbot-small": ConfigSpec(
        PLAIN
        | dict(
            max_position_embeddings=512,
            encoder_layers=8,
            encoder_ffn_dim=2048,
            decoder_layers=8,
            decoder_ffn_dim=2048,
            d_model=512,
            decoder_start_token_id=1,
            pad_token_id=0,
            bos_token_id=1,
        ),
        aliases=NAMES,
    ),
    "pegasus": ConfigSpec(
        without(PLAIN, "bos_token_id")
        | dict(decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, forced_eos_token_id=1),
        aliases=NAMES,
    ),
    "marian": ConfigSpec(
        PLAIN
        | dict(
            vocab_size=58101,
            decoder_vocab_size=None,
            decoder_start_token_id=58100,
            pad_token_id=58100,
            bos_token_id=None,
            eos_token_id=0,
            forced_eos_token_id=0,
            share_encoder_decoder_embeddings=True,
        ),
        aliases=NAMES,
        complete=share_vocabulary,
    ),
    "m2m_100": ConfigSpec(
        without(PLAIN, "forced_eos_token_id", "is_decoder")
        | dict(
            vocab_size=128112,
            encoder_layerdrop=0.05,
            decoder_layerdrop=0.05,
            activation_function="relu",
            attention_dropout=0.1,
            scale_embedding=True,
        ),
        aliases=NAMES,
    ),
    "trocr": ConfigSpec(
        dict(
            vocab_size=50265,
            d_model=1024,
            decoder_layers=12,
            decoder_attention_heads=16,
            decoder_ffn_dim=4096,
            activation_function="gelu",
            max_position_embeddings=512,
            dropout=0.1,
            attention_dropout=0.0,
            activation_dropout=0.0,
            decoder_start_token_id=2,
            init_std=0.02,
            decoder_layerdrop=0.0,
            use_cache=True,
            scale_embedding=False,
            use_learned_position_embeddings=True,
            layernorm_embedding=True,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            cross_attention_hidden_size=None,
            is_decoder=False,
            tie_word_embeddings=True,
        ),
        aliases=dict(
            num_attention_heads="decoder_attention_heads", hidden_size="d_model", num_hidden_layers="decoder_layers"
        ),
    ),
}
