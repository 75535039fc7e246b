"""The table of deviations from the reference: every row that differs, what differs in it, and why.

`python -m tests.tokenizers.deviations` writes DEVIATIONS.md anew; a test compares it with what is found. A reason is
given for one repository and one case at a time; where it says something about the ids of a text, it is proved on each
text that it is given for.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tests.tokenizers.fixtures import FIXTURES, KNOWN
from tests.tokenizers.rows import CASES, all_rows, compare, right_ids, tokenizer_of

TABLE = Path(__file__).parent / "DEVIATIONS.md"
Row = dict[str, Any]
Found = dict[tuple[str, str], dict[str, list[str]]]  # (directory, case) -> what differs -> labels of rows


class Reason(NamedTuple):
    """Why something differs."""

    text: str
    holds: Callable[[Row], bool] | None = None  # proof on a text whose ids differ


def _ours(row: Row, **settings: Any) -> list[int]:
    return tokenizer_of(row)(row["text"], verbose=False, **settings)["input_ids"]


def _apart(row: Row) -> bool:
    """Each stretch between special tokens has the ids that it has as a text of its own."""
    tokenizer = tokenizer_of(row)
    known = tokenizer.get_vocab()
    text, names = row["text"], sorted(tokenizer.all_special_tokens, key=len, reverse=True)
    ids: list[int] = []
    while text:
        place, name = min(((text.find(name), name) for name in names if name in text), default=(len(text), ""))
        name = next((other for other in names if text.startswith(other, place)), name)
        if text[:place]:
            ids += tokenizer(text[:place], add_special_tokens=False)["input_ids"]
        ids += [known[name]] if name else []
        text = text[place + len(name) :]
    return ids == _ours(row, add_special_tokens=False)


def _permuted(row: Row) -> bool:
    """The same pieces in another order, so that both splits are equally likely."""
    source, ids = right_ids(row)
    return sorted(ids) == sorted(_ours(row, add_special_tokens=source != "native"))


def _first_differs(row: Row) -> bool:
    """Only the code before the text differs, or stretches between special tokens do."""
    return _ours(row)[1:] == row["input_ids"][1:] or _apart(row)


def _framed(row: Row) -> bool:
    """The reference's ids with a special token on either side, or stretches between special tokens."""
    return _ours(row)[1:-1] == row["input_ids"] or _apart(row)


def _spelled(row: Row) -> bool:
    """Special tokens are matched: the same text, and fewer ids."""
    tokenizer, ids = tokenizer_of(row), _ours(row)
    return tokenizer.decode(ids) == tokenizer.decode(row["input_ids"]) and len(ids) < len(row["input_ids"])


def _mask(row: Row) -> bool:
    """The one space before the mask is part of it."""
    ours, ref = _ours(row), list(row["input_ids"])
    place = ours.index(tokenizer_of(row).mask_token_id)
    return ref[:place] + ref[place + 1 :] == ours


RULE = Reason(
    "the ids that section 8 of the README beside the files asks for; the rows of the case `text` say why they differ"
)
GENERIC = Reason("the generic class has the name `PreTrainedTokenizerFast`, which programs look for")
SEGMENTS = Reason(
    "a stretch after a special token has the ids that it has as a text of its own, as SentencePiece gives them and as "
    "release 4 gave them: prefixed, and without spaces at its ends where the model removes these",
    _apart,
)
ONCE = Reason(
    "`legacy` is false in the files: the prefix is put before the first stretch alone, as by the reference, which puts "
    "none before texts; before a leading space the pipeline adds none, where SentencePiece does"
)
TIES = Reason("two splits of a repeated character are equally likely, and 64-bit sums choose the other one", _permuted)
RAW_LLAMA = Reason(
    "tokenizer.json puts `▁` before every text and matches special tokens after that; the reference drops these steps"
)
RAW_CHARSMAP = Reason("the character map of tokenizer.json is run; the reference drops it, and appends language codes")
MERGES = Reason("pieces merge in the order of their scores, as in SentencePiece; the reference merges in that of ids")
PREFIX = Reason(
    "the model's file asks for `▁` before texts and for merges by score; the reference's generic class knows neither, "
    "and decodes without taking the prefix away"
)
CHARSMAP = Reason(
    "the model's character map is run and its white space removed, as by SentencePiece; the reference drops both"
)
NEXT_LINE = Reason("U+0085 is an unknown character to SentencePiece; the reference splits at it as at a space")
TRAILING = Reason("a trailing line end is removed, as by SentencePiece; the reference keeps a lone `▁` for it")
BYTES = Reason("the model spells unknown characters in bytes, as SentencePiece does; the reference gives `<unk>`")
LANGUAGE = Reason(
    "the codes of 202 languages are in the vocabulary; the reference lacks them and gives `<unk>`", _first_differs
)
TEMPLATE = Reason(
    "[CLS] and [SEP] stand around texts, and the unknown token has the model's own id; the reference adds the template "
    "only after a save, and takes id 2 for unknown",
    _framed,
)
TRIMMED = Reason("the post-processor of tokenizer.json trims spaces off offsets; the reference puts its own there")
WORDS = Reason("tokenizer.json splits at spaces, so offsets leave them out; the reference replaces that step")
WORD_PREFIX = Reason("texts are split at spaces first: without a prefix the spaces between words would be lost")
CALLER = Reason("the caller's add_prefix_space=False is heeded; the reference's generic class ignores it")
LISTED = Reason(
    "punctuation, digits and white space that the model marks as user-defined are text: matched whole, and not listed "
    "as special tokens"
)
RUST = Reason(
    "a Rust pipeline with offsets: overflowing pieces become rows, and strides and lengths that cannot fit are errors"
)
SURFACE = Reason("unknown characters keep their text in `tokens()` of a Rust pipeline; `<unk>` has no space after it")
PAIRS = Reason(
    "a Rust pipeline: of two texts the one that ends longer keeps the odd token when both are cut, and texts too short "
    "for the cut asked for are an error"
)
CLEANED = Reason("cleaning spaces is for word-piece and unigram models; this one spells characters")
ADDED = Reason(
    "the vocabulary is that of tokenizer.json, which has no language codes besides `en_XX`; the reference appends 24"
)
WHOLE = Reason("an added token is named by its own text; the pipeline names it by its normalized form, `▁newtok`")
TEKKEN = Reason("a Rust pipeline with all keywords stands for mistral_common, which refuses them")
TEKKEN_SPECIALS = Reason(
    "control tokens written in a text are matched, as for every tokenizer here; pass split_special_tokens=True for "
    "mistral_common's way, which spells them out",
    _spelled,
)
TEKKEN_TOKENS = Reason("tokens are spelled as in the vocabulary (`Ġworld`); mistral_common gives their text")
TEKKEN_LISTED = Reason("named tokens stand first in the list of special tokens, then the rest by id")
PAD_TYPE = Reason("XLNet was trained with 3 as the type of padding")
MARIAN = Reason("the reference fails on this call, for lack of columns of equal length")
MASK = Reason("the mask token takes the space before it, as tokenizer.json of the same model says", _mask)
MASK_SPAN = Reason("the mask token takes the space before it, as tokenizer.json of the same model says")
PIECES = Reason("a prefix is decoded as no space at the start of a text, since it was put there")
DEBERTA_SPAN = Reason("a line end is a space to the model's character map, so the piece begins at it")
DEFINED = Reason("pieces that the model marks as user-defined are in its vocabulary and need not be added")

# (directory, case) -> what differs -> reason; "*" for all that isn't named
REASONS: dict[tuple[str, str], dict[str, Reason]] = {
    ("bytebpe/gpt_neox_json", "call"): {"offset_mapping": TRIMMED},
    ("bytebpe/gpt_neox_json", "text"): {"offsets": TRIMMED},
    ("bytebpe/roberta_vocab", "text"): {"ids": MASK},
    ("marian/opus_mt_en_mg", "call"): {"no error": MARIAN},
    ("marian/opus_mt_en_mg", "text"): {"ids": TIES},
    ("spm_bpe/grok1_spm", "meta"): {"*": LISTED},
    ("spm_bpe/llama2_json", "added_tokens"): {"*": RAW_LLAMA},
    ("spm_bpe/llama2_json", "text"): {"ids (raw)": RAW_LLAMA},
    ("spm_bpe/llama2_spm", "added_tokens"): {"*": SEGMENTS},
    ("spm_bpe/llama2_spm", "text"): {"ids (native)": MERGES, "ids": SEGMENTS},
    ("spm_bpe/mistral_v1_spm", "call"): {"*": PREFIX},
    ("spm_bpe/mistral_v1_spm", "meta"): {"class": GENERIC},
    ("spm_bpe/mistral_v1_spm", "text"): {"ids (native)": PREFIX, "ids": SEGMENTS},
    ("spm_bpe/mistral_v3_spm", "added_tokens"): {"*": PREFIX},
    ("spm_bpe/mistral_v3_spm", "call"): {"*": PREFIX},
    ("spm_bpe/mistral_v3_spm", "decode"): {"each": PIECES},
    ("spm_bpe/mistral_v3_spm", "init_kwargs"): {"*": PREFIX},
    ("spm_bpe/mistral_v3_spm", "meta"): {"class": GENERIC, "added_tokens_n": DEFINED},
    ("spm_bpe/mistral_v3_spm", "text"): {"ids (native)": PREFIX, "ids": ONCE},
    ("spm_bpe/phi3_mini_json", "added_tokens"): {"tokens": WHOLE},
    ("spm_bpe/phi3_mini_json", "init_kwargs"): {'{"add_prefix_space": false}': CALLER},
    ("spm_bpe/phi3_mini_json", "meta"): {"class": GENERIC},
    ("spm_bpe/zephyr_json", "init_kwargs"): {'{"add_prefix_space": false}': CALLER},
    ("spm_bpe/zephyr_json", "meta"): {"class": GENERIC},
    ("spm_fixture/big_bird", "added_tokens"): {"*": SEGMENTS},
    ("spm_fixture/big_bird", "text"): {"ids (native)": CHARSMAP, "ids": SEGMENTS},
    ("spm_fixture/camembert", "text"): {"ids (native)": NEXT_LINE},
    ("spm_fixture/llama_fixture_bpe", "added_tokens"): {"*": PREFIX},
    ("spm_fixture/llama_fixture_bpe", "call"): {"*": PREFIX},
    ("spm_fixture/llama_fixture_bpe", "decode"): {"each": PIECES},
    ("spm_fixture/llama_fixture_bpe", "init_kwargs"): {"*": PREFIX},
    ("spm_fixture/llama_fixture_bpe", "meta"): {"class": GENERIC},
    ("spm_fixture/llama_fixture_bpe", "text"): {
        "ids (native)": PREFIX,
        "ids": SEGMENTS,
        "decoded": PIECES,
        "decoded_skip": PIECES,
        "offsets": PREFIX,
    },
    ("spm_fixture/mbart50", "text"): {"ids (native)": TRAILING, "ids": SEGMENTS},
    ("spm_fixture/nllb", "call"): {"*": LANGUAGE},
    ("spm_fixture/nllb", "init_kwargs"): {"*": LANGUAGE},
    ("spm_fixture/nllb", "meta"): {"*": LANGUAGE},
    ("spm_fixture/nllb", "pad_method"): {"*": LANGUAGE},
    ("spm_fixture/nllb", "text"): {"ids (native)": TRAILING, "ids": LANGUAGE},
    ("spm_fixture/rembert", "added_tokens"): {"*": TEMPLATE},
    ("spm_fixture/rembert", "call"): {"*": TEMPLATE},
    ("spm_fixture/rembert", "init_kwargs"): {"*": TEMPLATE},
    ("spm_fixture/rembert", "meta"): {"*": TEMPLATE},
    ("spm_fixture/rembert", "pad_method"): {"*": TEMPLATE},
    ("spm_fixture/rembert", "text"): {"ids (native)": TEMPLATE, "ids": TEMPLATE},
    ("spm_fixture/siglip", "call"): {"*": RUST},
    ("spm_fixture/siglip", "meta"): {"is_fast": RUST},
    ("spm_fixture/siglip", "text"): {"ids": SEGMENTS, "*": SURFACE},
    ("spm_fixture/speecht5", "call"): {"*": RUST, "input_ids": PAIRS, "error": PAIRS},
    ("spm_fixture/speecht5", "decode"): {"cleanup_true": CLEANED},
    ("spm_fixture/speecht5", "meta"): {"is_fast": RUST},
    ("spm_fixture/t5_bytefallback", "call"): {"*": BYTES},
    ("spm_fixture/t5_bytefallback", "pad_method"): {"*": BYTES},
    ("spm_fixture/t5_bytefallback", "text"): {"ids (native)": BYTES},
    ("spm_fixture/xlm_roberta", "text"): {"ids (native)": NEXT_LINE, "*": MASK_SPAN},
    ("spm_fixture/xlnet", "meta"): {"pad_token_type_id": PAD_TYPE},
    ("spm_unigram/albert_json_v5saved", "init_kwargs"): {'{"add_prefix_space": false}': WORD_PREFIX},
    ("spm_unigram/albert_spm", "init_kwargs"): {'{"add_prefix_space": false}': WORD_PREFIX},
    ("spm_unigram/albert_spm", "meta"): {"*": LISTED},
    ("spm_unigram/deberta_v3_spm", "text"): {"ids (native)": BYTES, "offsets": DEBERTA_SPAN},
    ("spm_unigram/mbart_custom_json", "added_tokens"): {"*": ADDED},
    ("spm_unigram/mbart_custom_json", "meta"): {"*": ADDED},
    ("spm_unigram/mbart_custom_json", "text"): {"ids (raw)": RAW_CHARSMAP},
    ("spm_unigram/mbart_custom_spm", "text"): {"ids (native)": CHARSMAP, "ids": TIES},
    ("spm_unigram/pegasus_json", "call"): {"offset_mapping": WORDS},
    ("spm_unigram/pegasus_json", "text"): {"ids (raw)": WORDS, "offsets": WORDS},
    ("spm_unigram/t5_spm", "text"): {"ids (native)": NEXT_LINE},
    ("tekken/mistral_nemo", "call"): {"*": TEKKEN},
    ("tekken/mistral_nemo", "decode"): {"*": TEKKEN},
    ("tekken/mistral_nemo", "meta"): {
        "class": GENERIC,
        "all_special_tokens": TEKKEN_LISTED,
        "all_special_ids": TEKKEN_LISTED,
        "*": TEKKEN,
    },
    ("tekken/mistral_nemo", "text"): {"ids": TEKKEN_SPECIALS, "tokens": TEKKEN_TOKENS},
    ("tiktoken/cl100k", "meta"): {"class": GENERIC},
    ("tiktoken/llama3", "meta"): {"class": GENERIC},
}
# Decisions that no row shows.
DECISIONS = """
## Decisions

- **ALBERT's user-defined pieces** (`(`, `)`, `"`, `-`, `.`, `–`, `£`, `€`) are matched before the text is split, each whole.
  The recipe of the README beside the files says not to register such pieces; but its rule for ids says that ALBERT
  is compared with the reference, not with its library, and the reference matches them. The rule for ids wins: without
  the match, ids of texts with these characters would differ from what ALBERT's own tokenizer.json gives.
- **A bare tiktoken file of Llama 3** (no tokenizer.json) begins texts with no `<|begin_of_text|>`, as in the reference: the file
  says nothing about a template. Files of Llama 3 with a tokenizer.json have one in it, which is run. Pass
  `add_bos_token=True` for it; chat templates write it themselves.
"""


def label(row: Row) -> str:
    """The name of a row within its directory and case."""
    name = row.get("name") or (json.dumps(row["kwargs"]) if "kwargs" in row else "")
    return name.replace("|", "\\|").replace(", ", " ")


def find(rows: Iterable[Row]) -> Found:
    """What differs in each of the rows."""
    found: Found = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["case"] in CASES:
            for name in compare(row):
                found[row["dir"], row["case"]][name].append(label(row))
    return found


def reason(directory: str, case: str, name: str) -> Reason | None:
    """Why something differs; None where no reason is known."""
    reasons = REASONS.get((directory, case), {})
    return reasons.get(name) or reasons.get("*")


def lines(found: Found) -> list[str]:
    """Lines of the table."""
    out = []
    for (directory, case), names in sorted(found.items()):
        for name in sorted(names):
            why = reason(directory, case, name)
            rows = ", ".join(sorted(names[name])) if any(names[name]) else ""
            cells = directory, case, name.replace("|", "\\|"), str(len(names[name])), rows, why.text if why else "?"
            out.append(f"| {' | '.join(cells)} |")
    return out


def table(found: Found) -> str:
    """The whole document."""
    total = sum(row["case"] in CASES for row in all_rows())
    differing = len({(key, row) for key, names in found.items() for rows in names.values() for row in rows})
    head = [
        "# Where tokenizers differ from the reference",
        "",
        f"Written by `python -m tests.tokenizers.deviations` from {total} recorded answers of the reference on real and fixture",
        f"repositories. {differing} of them differ in something; every one that is not named here gives what the reference gives.",
        "`ids (raw)` and `ids (native)` are right ids where the reference's are not: those of tokenizer.json run as it is, and",
        "those of the library that the model was trained with. `ids` alone are other than the rule for ids asks for.",
        "",
        "| repository | case | what differs | rows | which | reason |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *lines(found)]) + "\n" + small() + DECISIONS


def small() -> str:
    """The table of the small repositories of `fixtures.py`."""
    head = [
        "",
        "## Small repositories",
        "",
        f"Of {len(FIXTURES)} classes with a small repository made for them these differ from the reference.",
        "",
        "| class | what differs | reason |",
        "|---|---|---|",
    ]
    rows = [f"| {name} | {', '.join(sorted(keys))} | {why} |" for name, (keys, why) in sorted(KNOWN.items())]
    return "\n".join([*head, *rows]) + "\n"


if __name__ == "__main__":
    TABLE.write_text(table(find(all_rows())), encoding="utf-8")
