"""The table of deviations from the reference: counted, with a reason for each. `python -m tests.tokenizers.deviations`
writes DEVIATIONS.md anew; a test compares it with what is counted.
"""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

from tests.tokenizers.rows import CASES, all_rows, compare

TABLE = Path(__file__).parent / "DEVIATIONS.md"
Key = tuple[str, str, str]  # directory, case, what differs

RAW = "tokenizer.json is run as it is; the reference rebuilds the pipeline and loses steps of it"
NATIVE = "ids are those of the library that the model was trained with; the reference's rebuilt pipeline differs"
TRIMMED = "the file's own post-processor trims offsets; the reference replaces it"
SEGMENTS = "text after a special token is a text of its own, with its own prefix and without spaces around, as in the model's library"
MASK = "the mask token takes the space before it, as in tokenizer.json of the same model"
GENERIC = "the generic class has the name that programs look for"
SPECIALS = "special tokens that the files don't name are matched and skipped, but not listed, or listed once"
LANGUAGE = "the language code stands in the template; the reference puts <unk> there"
TEMPLATE = "[CLS] and [SEP] stand around texts; the reference adds them only after a save"
RUST = "a Rust pipeline, with offsets, and with overflowing pieces as rows"
NATIVE_SURFACE = "unknown characters keep their text in the tokens of a Rust pipeline"
TIES = "of two equally likely splits of a repeated character the pipeline takes another than the library"
BYTES = "bytes stand for unknown characters, as in the model's library; the reference has <unk>"
TEKKEN = "a Rust pipeline with all keywords stands for mistral_common"
PREFIX = "the model's library puts a space before a text and takes it away when decoding; the reference's generic class does neither"
OWN_PAD_TYPE = "XLNet was trained with 3 as the type of padding"
NO_ERROR = "the reference fails on this call, for lack of a batch of equal keys"
VERBATIM = "a setting that would need another pipeline than that of tokenizer.json has no effect"
VOCABULARY = "the vocabulary is that of tokenizer.json; the reference appends language codes"
CLEAN = "cleaning spaces is for word-piece and unigram models"
WHOLE = "added tokens are matched in the text as it is; the reference's normalized ones take another space"
STRIDE = "a stride that does not fit is an error before the pipeline is asked"

# (directory, case, what differs), each with wildcards -> reason. The first that fits is taken.
REASONS: list[tuple[str, str, str, str]] = [
    ("*", "meta", "class", GENERIC),
    ("*", "text", "ids (raw)", RAW),
    ("*", "text", "ids (native)", NATIVE),
    ("tekken/*", "*", "*", TEKKEN),
    ("bytebpe/gpt_neox_json", "*", "offset*", TRIMMED),
    ("spm_unigram/pegasus_json", "*", "offset*", TRIMMED),
    ("spm_unigram/pegasus_json", "*", "word_ids", TRIMMED),
    ("spm_fixture/nllb", "*", "*", LANGUAGE),
    ("spm_fixture/rembert", "*", "*", TEMPLATE),
    ("*", "meta", "all_special_*", SPECIALS),
    ("*", "meta", "added_tokens_n", SPECIALS),
    ("spm_fixture/xlnet", "meta", "pad_token_type_id", OWN_PAD_TYPE),
    ("spm_fixture/siglip", "text", "ids", SEGMENTS),
    ("spm_fixture/siglip", "text", "*", NATIVE_SURFACE),
    ("spm_fixture/siglip", "*", "*", RUST),
    ("spm_fixture/speecht5", "*", "*", RUST),
    ("spm_fixture/t5_bytefallback", "text", "ids", TIES),
    ("spm_fixture/t5_bytefallback", "*", "*", BYTES),
    ("spm_fixture/xlnet", "init_kwargs", "*", PREFIX),
    ("bytebpe/roberta_vocab", "text", "ids", MASK),
    ("spm_fixture/xlm_roberta", "text", "*", MASK),
    ("marian/*", "call", "no error", NO_ERROR),
    ("marian/*", "text", "ids", TIES),
    ("spm_unigram/albert_json_v5saved", "init_kwargs", "*", VERBATIM),
    ("spm_unigram/mbart_custom_json", "meta", "*", VOCABULARY),
    ("spm_unigram/mbart_custom_json", "added_tokens", "*", VOCABULARY),
    ("spm_unigram/mbart_custom_json", "*", "*", RAW),
    ("spm_unigram/mbart_custom_spm", "text", "ids", TIES),
    ("spm_unigram/mbart_custom_spm", "*", "*", NATIVE),
    ("spm_unigram/deberta_v3_spm", "text", "offsets", NATIVE),
    ("spm_bpe/mistral_v*_spm", "text", "ids", SEGMENTS),
    ("spm_bpe/mistral_v*_spm", "*", "*", PREFIX),
    ("spm_bpe/llama2_*", "added_tokens", "*", SEGMENTS),
    ("spm_bpe/llama2_*", "text", "ids", SEGMENTS),
    ("spm_bpe/llama2_json", "*", "*", RAW),
    ("spm_bpe/llama2_spm", "*", "*", NATIVE),
    ("spm_bpe/phi3_mini_json", "added_tokens", "tokens", WHOLE),
    ("spm_fixture/llama_fixture_bpe", "*", "*", PREFIX),
    ("spm_fixture/big_bird", "text", "ids", SEGMENTS),
    ("spm_fixture/big_bird", "added_tokens", "*", SEGMENTS),
    ("spm_fixture/mbart50", "text", "ids", SEGMENTS),
    ("spm_fixture/*", "call", "error", STRIDE),
]


def count() -> Counter[Key]:
    """How many rows differ, for each directory, case and thing that differs."""
    counted: Counter[Key] = Counter()
    for row in all_rows():
        if row["case"] in CASES:
            counted.update((row["dir"], row["case"], name) for name in compare(row))
    return counted


def reason(key: Key) -> str | None:
    """Why ours differs; None where no reason is known."""
    for *pattern, text in REASONS:
        if all(fnmatch(part, wanted) for part, wanted in zip(key, pattern, strict=True)):
            return text
    return None


def table(counted: Counter[Key]) -> str:
    """The table as Markdown."""
    total = sum(row["case"] in CASES for row in all_rows())
    lines = [
        "# Where tokenizers differ from the reference",
        "",
        f"Counted by `python -m tests.tokenizers.deviations` on the {total} rows of real and fixture repositories; every row",
        "that is not counted here gives what the reference gives. A row that differs in several things is counted for each.",
        "",
        "| repository | case | what differs | rows | reason |",
        "|---|---|---|---|---|",
    ]
    for key in sorted(counted):
        directory, case, name = key
        name = name.replace("|", "\\|")
        lines.append(f"| {directory} | {case} | {name} | {counted[key]} | {reason(key) or '?'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TABLE.write_text(table(count()), encoding="utf-8")
