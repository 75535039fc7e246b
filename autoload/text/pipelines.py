"""Rust pipelines from vocabulary files: word pieces, byte-level BPE and their relatives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from autoload.errors import CorruptFile, TokenizerError, reading
from autoload.hub import read_json

GPT4_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT4_SPLIT_MARKS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
CLIP_SPLIT = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
NOUGAT_PUNCTUATION = r"[\(\)\[\]\{\}]|([!\"#\$%\&'\*\+,\-\./:;<=>\?\\\^_`\|\~])\1*"


def read_lines(path: Path) -> dict[str, int]:
    """A vocabulary with one token a line; the line number is the id. Of a token that stands twice it is the last.

    Raises:
        CorruptFile: no text, or no token.
    """
    with reading(path, "vocabulary"):
        lines = path.read_bytes().decode("utf-8").split("\n")
        if lines[-1] == "":
            lines.pop()
        vocab = {line.removesuffix("\r"): index for index, line in enumerate(lines)}
    if not vocab:
        raise CorruptFile(f"{path}: this vocabulary is empty, expected one token a line.", path=str(path))
    if len(vocab) < len(lines):
        import logging

        first = next(index for index, line in enumerate(lines) if vocab[line.removesuffix("\r")] != index)
        logging.getLogger("autoload.text").warning(
            "%s: %d tokens stand twice; %r of line %d has the id %d of its last line, as other readers have it.",
            path, len(lines) - len(vocab), lines[first][:60], first + 1, vocab[lines[first].removesuffix("\r")],
        )  # fmt: skip
    return vocab


def read_vocab(path: Path) -> dict[str, int]:
    """A vocabulary that is a JSON object of token -> id.

    Raises:
        CorruptFile: something else, or ids that are no numbers.
    """
    vocab = read_json(path)
    if not isinstance(vocab, dict) or not vocab:
        raise CorruptFile(f"{path}: expected a JSON object of token -> id, found {_kind(vocab)}.", path=str(path))
    for token, index in vocab.items():
        if type(index) is not int or not 0 <= index < 1 << 32:
            raise CorruptFile(f"{path}: the id of {token!r} is {index!r}, expected a whole number.", path=str(path))
    return vocab


def read_merges(path: Path) -> list[tuple[str, str]]:
    """Merges of a BPE, one a line, most frequent first.

    Raises:
        CorruptFile: a line that isn't two tokens; it is named.
    """
    with reading(path, "list of merges"):
        lines = path.read_bytes().decode("utf-8").split("\n")
    merges = []
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        if not line or line.startswith("#version"):
            continue
        parts = line.split(" ")
        if len(parts) != 2:
            raise CorruptFile(
                f"{path}: line {number} is {line[:60]!r}, expected two tokens with a space between.", path=str(path)
            )
        merges.append((parts[0], parts[1]))
    return merges


def _kind(value: Any) -> str:
    return f"an empty {type(value).__name__}" if value in ({}, [], "") else type(value).__name__


def _bpe(files: dict[str, Path], **options: Any) -> models.BPE:
    vocab, merges = read_vocab(files["vocab_file"]), read_merges(files["merges_file"])
    with reading(files["merges_file"], "list of merges"):
        try:
            return models.BPE(vocab=vocab, merges=merges, **options)
        except Exception as e:
            raise _unknown_piece(files, vocab, merges) or e from e


def _unknown_piece(files: dict[str, Path], vocab: dict[str, int], merges: list[tuple[str, str]]) -> CorruptFile | None:
    """The error for the first merge that names a token without an id."""
    path = files["merges_file"]
    for left, right in merges:
        for token in (left, right, left + right):
            if token not in vocab:
                text = f"{path}: the merge {left!r} {right!r} names {token!r}, which {files['vocab_file'].name} does not have."
                return CorruptFile(text, path=str(path))
    return None


def _bytelevel(model: models.Model, prefix_space: bool = False) -> Tokenizer:
    rust = Tokenizer(model)
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    rust.decoder = decoders.ByteLevel()
    return rust


def bytelevel(files: dict[str, Path], settings: dict[str, Any]) -> Tokenizer:
    """GPT-2: byte-level BPE. The prefix parameters are what released files of this kind carry."""
    model = _bpe(files, continuing_subword_prefix="", end_of_word_suffix="")
    return _bytelevel(model, bool(settings.get("add_prefix_space")))


def neox(files: dict[str, Path], settings: dict[str, Any]) -> Tokenizer:
    """GPT-NeoX: GPT-2's after composing characters."""
    rust = bytelevel(files, settings)
    rust.normalizer = normalizers.NFC()
    return rust


def cohere(files: dict[str, Path], settings: dict[str, Any]) -> Tokenizer:
    """Cohere: GPT-NeoX's with single digits."""
    rust = neox(files, settings)
    digits = pre_tokenizers.Digits(individual_digits=True)
    rust.pre_tokenizer = pre_tokenizers.Sequence([digits, rust.pre_tokenizer])
    return rust


def _qwen(files: dict[str, Path], settings: dict[str, Any], split: str) -> Tokenizer:
    rust = neox(files, settings)
    rust.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=bool(settings.get("add_prefix_space")), use_regex=False),
        ]
    )
    return rust


def qwen2(files: dict[str, Path], settings: dict[str, Any]) -> Tokenizer:
    """Qwen 2 and 3: GPT-4's way of splitting, with single digits."""
    return _qwen(files, settings, GPT4_SPLIT)


def qwen3_5(files: dict[str, Path], settings: dict[str, Any]) -> Tokenizer:
    """Qwen 3.5: Qwen 2's, with combining marks inside words."""
    return _qwen(files, settings, GPT4_SPLIT_MARKS)


def nougat(files: dict[str, Path], settings: dict[str, Any]) -> Tokenizer:
    """Nougat: byte-level BPE that keeps digits, runs of punctuation and line ends apart."""
    rust = bytelevel(files, settings)
    rust.normalizer = normalizers.NFKC()
    rust.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("SPL1T-TH1S-Pl3A5E", "removed"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split(Regex(NOUGAT_PUNCTUATION), "isolated"),
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return rust


def clip(files: dict[str, Path], settings: dict[str, Any]) -> Tokenizer:
    """CLIP: lower-cased words of bytes, whose last piece ends in `</w>`."""
    model = _bpe(files, unk_token=settings.get("unk_token"), continuing_subword_prefix="", end_of_word_suffix="</w>")
    rust = Tokenizer(model)
    rust.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    rust.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_SPLIT), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    rust.decoder = decoders.ByteLevel()
    return rust


def _words_bpe(files: dict[str, Path], settings: dict[str, Any], lower: bool) -> Tokenizer:
    rust = Tokenizer(
        _bpe(files, unk_token=settings.get("unk_token"), continuing_subword_prefix="", end_of_word_suffix="</w>")
    )
    rust.normalizer = normalizers.BertNormalizer(lowercase=lower)
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.decoder = decoders.BPEDecoder(suffix="</w>")
    return rust


def openai_gpt(files: dict[str, Path], settings: dict[str, Any]) -> Tokenizer:
    """The first GPT: BPE of lower-cased words."""
    return _words_bpe(files, settings, lower=True)


def herbert(files: dict[str, Path], settings: dict[str, Any]) -> Tokenizer:
    """HerBERT: BPE of words as they are."""
    return _words_bpe(files, settings, lower=False)


def wordpiece(files: dict[str, Path], settings: dict[str, Any]) -> Tokenizer:
    """BERT: longest-match word pieces."""
    path = files["vocab_file"]
    vocab, unknown = read_lines(path), settings.get("unk_token") or "[UNK]"
    if unknown not in vocab:
        raise CorruptFile(f"{path}: this vocabulary lacks the unknown token {unknown!r}.", path=str(path))
    prefix = settings.get("wordpieces_prefix") or "##"
    rust = Tokenizer(
        models.WordPiece(vocab=vocab, unk_token=unknown, max_input_chars_per_word=100, continuing_subword_prefix=prefix)
    )
    rust.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
        strip_accents=settings.get("strip_accents"),
        lowercase=settings.get("do_lower_case", True),
    )
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.decoder = decoders.WordPiece(prefix=prefix)
    return rust


def spaced_wordpiece(files: dict[str, Path], settings: dict[str, Any]) -> Tokenizer:
    """ProphetNet and RoCBert: BERT's, decoded with a space before every word."""
    rust = wordpiece(files, settings)
    rust.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return rust


JAPANESE = {"mecab": "fugashi", "sudachi": "sudachipy", "jumanpp": "rhoknp"}


def bert_japanese(files: dict[str, Path], settings: dict[str, Any]) -> Tokenizer:
    """Japanese BERT on text with spaces between words; other ways of finding words need packages.

    Raises:
        TokenizerError: the tokenizer wants one of these; it is named.
    """
    words = settings.get("word_tokenizer_type") or "basic"
    if settings.get("do_word_tokenize", True) and words != "basic":
        package = JAPANESE.get(words, "?")
        raise TokenizerError(
            f"word_tokenizer_type={words!r} needs the package `{package}`, which is not supported: split texts into words "
            "with it beforehand and pass word_tokenizer_type='basic'.",
            field="word_tokenizer_type",
        )
    settings = {"do_lower_case": False, **settings, "tokenize_chinese_chars": False}
    rust = wordpiece(files, settings)
    if settings.get("subword_tokenizer_type") == "character":
        single = pre_tokenizers.Split(Regex(r"\S"), "isolated")
        rust.pre_tokenizer = pre_tokenizers.Sequence([rust.pre_tokenizer, single])
    rust.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return rust
