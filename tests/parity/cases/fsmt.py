"""FSMT."""

from tests.parity.cases.bart import TINY
from tests.parity.harness import Case

# With a cache the reference's decoder looks ahead when it gets several tokens at once; without one it does not.
FSMT = {key: value for key, value in TINY.items() if key != "vocab_size"} | dict(
    src_vocab_size=101,
    tgt_vocab_size=103,
    decoder_ffn_dim=29,
    pad_token_id=3,
    max_position_embeddings=60,
    use_cache=False,
)
SKIP = {
    "target from labels": "the reference makes the target from the source, whatever the labels are",
    "resize": "the reference resizes one side",
    "generate static": "the reference's single steps look at keys that were not written yet",
    "generate uncached": "the reference's decoder looks ahead while it generates without a cache",
    "embeddings": "the reference's decoder looks ahead when it gets embeddings",
}

CASES = [
    Case("fsmt", FSMT, skip=SKIP),
    Case("fsmt", FSMT | dict(tie_word_embeddings=True, src_vocab_size=103), skip=SKIP, label="tied"),
]
