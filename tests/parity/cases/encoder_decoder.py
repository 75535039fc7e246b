"""Encoders beside decoders of other types."""

from tests.parity.cases.bart import TINY as BART
from tests.parity.cases.bert import TINY as BERT
from tests.parity.harness import Case

GPT2 = dict(vocab_size=99, n_positions=40, n_embd=24, n_layer=2, n_head=4, n_inner=37, bos_token_id=5, eos_token_id=2)
CROSS = dict(is_decoder=True, add_cross_attention=True)
BERT_SIDE = BERT | dict(model_type="bert")
ALONE = {"resize": "each side is resized by itself"}
PAIR = dict(pad_token_id=0, decoder_start_token_id=5)

CASES = [
    Case(
        "encoder-decoder",
        PAIR | dict(encoder=BERT_SIDE, decoder=BERT_SIDE | CROSS | dict(num_hidden_layers=2)),
        skip=ALONE,
    ),
    Case(
        "encoder-decoder",
        PAIR | dict(encoder=BERT_SIDE, decoder=GPT2 | CROSS | dict(model_type="gpt2")),
        skip=ALONE,
        label="gpt2",
    ),
    Case(
        "encoder-decoder",
        PAIR | dict(encoder=BERT_SIDE, decoder=BART | CROSS | dict(model_type="bart", num_labels=4)),
        skip=ALONE,
        label="bart",
    ),
]
