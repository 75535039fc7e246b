"""Rust pipelines from SentencePiece models: the model as its own library runs it, and what each family changes.

The pieces keep their scores, the normalizer its character map, so that ids are those of the library that the model was
trained with. Families differ in where the ids begin (fairseq puts four tokens first), in what is appended, and, a
few, in steps before the model (ALBERT lower-cases).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from autoload.text.languages import MBART, MBART50, NLLB, PLBART
from autoload.text.overrides import prefix_once
from autoload.text.specials import content
from autoload.text.spmodel import BPE, BYTE, CHAR, CONTROL, USER_DEFINED, SentencePieceModel, read_model

SPACE = "▁"  # what SentencePiece writes for a space
ASCII_PUNCTUATION = r"[!-/:-@\[-`{-~]"
NO_PRINTING = "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]"
OTHER_SPACES = "[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]"
Pieces = list[tuple[str, float]]
Files = dict[str, Path]
Settings = dict[str, Any]


def _model(files: Files, settings: Settings) -> SentencePieceModel:
    """The model; `add_prefix_space=False` takes its space before the text away."""
    model = read_model(files["vocab_file"])
    return replace(model, add_dummy_prefix=False) if settings.get("add_prefix_space") is False else model


def plain(files: Files, settings: Settings) -> Tokenizer:
    """The model as it is; ids are the indices of its pieces. `legacy=False` prefixes the first text alone."""
    model = _model(files, settings)
    name_defaults(model, settings)
    list_control(model, settings)
    rust = pipeline(model, scores(model), model.unk_id)
    if settings.get("legacy") is False:
        prefix_once(rust)
    return rust


def rembert(files: Files, settings: Settings) -> Tokenizer:
    """RemBERT: the model as it is; lower case and no accents where asked for."""
    model = _model(files, settings)
    before: list[Any] = [] if settings.get("keep_accents", True) else [normalizers.NFKD(), normalizers.StripAccents()]
    before += [normalizers.Lowercase()] if settings.get("do_lower_case") else []
    list_control(model, settings)
    return pipeline(model, scores(model), model.unk_id, before=before)


def unnamed(files: Files, settings: Settings) -> Tokenizer:
    """Reformer: the model as it is, without names for tokens that only the model names."""
    model = _model(files, settings)
    list_control(model, settings)
    return pipeline(model, scores(model), model.unk_id)


def name_defaults(model: SentencePieceModel, settings: Settings) -> None:
    """Name the tokens that the model itself names, where nobody else does."""
    for name, index in (("unk", model.unk_id), ("bos", model.bos_id), ("eos", model.eos_id), ("pad", model.pad_id)):
        if f"{name}_token" not in settings and (text := model.text(index)) is not None:
            settings[f"{name}_token"] = text


def list_control(model: SentencePieceModel, settings: Settings) -> None:
    """Control pieces without a name, such as `[INST]`, are extra special tokens where nobody lists any."""
    if settings.get("extra_special_tokens") or settings.get("additional_special_tokens"):
        return
    named = {content(value) for key, value in settings.items() if key.endswith("_token")}
    extra = [text for text, _, kind in model.pieces if kind == CONTROL and text not in named]
    if extra:
        settings["extra_special_tokens"] = extra


def scores(model: SentencePieceModel) -> Pieces:
    """Text and score of each piece."""
    return [(text, score) for text, score, _ in model.pieces]


def pipeline(
    model: SentencePieceModel,
    pieces: Pieces,
    unk_id: int,
    before: list[Any] | None = None,
    word_by_word: bool = False,
    special: bool = True,
) -> Tokenizer:
    """A pipeline that splits as the library does, over `pieces` in the order of their ids.

    Args:
        pieces: text and score of every id.
        unk_id: id of the unknown piece.
        before: normalizers that a family runs before the model's own.
        word_by_word: split at spaces first; offsets of words then leave the space before them out.
        special: match the model's control pieces in texts, as special tokens.
    """
    steps = [*(before or []), *normalization(model)]
    if model.model_type in (BPE, CHAR):
        rust = Tokenizer(merging(model, pieces, unk_id))
        if model.remove_extra_whitespaces:
            steps.append(normalizers.Strip(left=True, right=False))
        if model.add_dummy_prefix:
            steps.append(normalizers.Prepend(SPACE))
        steps.append(normalizers.Replace(" ", SPACE))
        rust.decoder = spelling_decoder(model.add_dummy_prefix)
    else:
        rust = Tokenizer(models.Unigram(pieces, unk_id=unk_id, byte_fallback=model.byte_fallback))
        scheme = "always" if model.add_dummy_prefix else "never"
        rust.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=scheme)
        if word_by_word:
            rust.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(" ", "removed"), rust.pre_tokenizer])
        space = decoders.Metaspace(replacement=SPACE, prepend_scheme=scheme)
        rust.decoder = spelling_decoder(model.add_dummy_prefix) if model.byte_fallback else space
    if steps:
        rust.normalizer = steps[0] if len(steps) == 1 else normalizers.Sequence(steps)
    if special:
        known = {text for text, _ in pieces}
        control = [text for text, _, kind in model.pieces if kind == CONTROL and text in known]
        rust.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in control])
    return rust


def normalization(model: SentencePieceModel) -> list[Any]:
    """The model's own normalizer. A space before the text is one with the prefix, so the right side alone is stripped."""
    steps: list[Any] = [normalizers.Precompiled(model.charsmap)] if model.charsmap else []
    if model.remove_extra_whitespaces:
        steps += [normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), " ")]
    return steps


def spelling_decoder(dummy_prefix: bool) -> Any:
    """Bytes back to characters, and the prefix that was put before the text taken away."""
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence(steps + ([decoders.Strip(content=" ", left=1)] if dummy_prefix else []))


def merging(model: SentencePieceModel, pieces: Pieces, unk_id: int) -> models.BPE:
    """A BPE that merges what the library would: of two neighbours those first whose piece has the best score."""
    vocab = {text: index for index, (text, _) in enumerate(pieces)}
    kinds = {text: kind for text, _, kind in model.pieces}
    merges: list[tuple[float, int, int, str, str]] = []
    if model.model_type == BPE:
        for text, score in pieces:
            kind = kinds.get(text, CONTROL)
            if len(text) < 2 or kind in (CONTROL, BYTE):
                continue
            rank = -score if kind != USER_DEFINED else float("-inf")
            for cut in range(1, len(text)):
                left, right = text[:cut], text[cut:]
                if left in vocab and right in vocab:
                    merges.append((rank, -len(left), -len(right), left, right))
        merges.sort(key=lambda merge: merge[:3])
    return models.BPE(
        vocab=vocab,
        merges=[merge[3:] for merge in merges],
        unk_token=pieces[unk_id][0],
        fuse_unk=True,
        byte_fallback=model.byte_fallback,
    )


# -- ids that begin elsewhere ---------------------------------------------------------------------------------------


def _fairseq_pieces(model: SentencePieceModel) -> Pieces:
    return [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *scores(model)[3:]]


def fairseq(files: Files, settings: Settings) -> Tokenizer:
    """XLM-R: fairseq's four tokens first, the mask last. BARThez has the mask, and that order, in its model."""
    model = _model(files, settings)
    ordered = model.text(1) == "<pad>" and model.text(3) == "<unk>"
    pieces = scores(model) if ordered else _fairseq_pieces(model)
    if all(text != "<mask>" for text, _ in pieces):
        pieces.append(("<mask>", 0.0))
    return pipeline(model, pieces, unk_id=3, word_by_word=True)


def camembert(files: Files, settings: Settings) -> Tokenizer:
    """CamemBERT: five tokens first, of which three are never used."""
    model = _model(files, settings)
    heads = ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"]
    pieces = [*((text, 0.0) for text in heads), *scores(model)[1:], ("<mask>", 0.0)]
    return pipeline(model, pieces, unk_id=3, word_by_word=True)


def _with_languages(
    files: Files, settings: Settings, codes: tuple[str, ...], word_by_word: bool = False, mask: bool = True
) -> Tokenizer:
    model = read_model(files["vocab_file"])
    tail = [*codes, *(["<mask>"] if mask else [])]
    pieces = [*_fairseq_pieces(model), *((text, 0.0) for text in tail)]
    rust = pipeline(model, pieces, unk_id=3, word_by_word=word_by_word)
    own = settings.get("extra_special_tokens") or settings.pop("additional_special_tokens", None) or []
    settings["extra_special_tokens"] = [*codes, *(token for token in own if token not in codes)]
    return rust


def mbart(files: Files, settings: Settings) -> Tokenizer:
    """mBART: XLM-R's with 25 languages before the mask."""
    return _with_languages(files, settings, MBART, word_by_word=True)


def mbart50(files: Files, settings: Settings) -> Tokenizer:
    """mBART-50: XLM-R's with 52 languages before the mask."""
    return _with_languages(files, settings, MBART50)


def plbart(files: Files, settings: Settings) -> Tokenizer:
    """PLBart: XLM-R's with programming languages before the mask; the set of many languages has no mask."""
    codes = PLBART if settings.get("language_codes") == "multi" else PLBART[:3]
    return _with_languages(files, settings, codes, mask=codes is not PLBART)


def nllb(files: Files, settings: Settings) -> Tokenizer:
    """NLLB: XLM-R's with 202 languages before the mask."""
    return _with_languages(files, settings, NLLB)


def xglm(files: Files, settings: Settings) -> Tokenizer:
    """XGLM: XLM-R's with seven made-up words in place of the mask."""
    model = read_model(files["vocab_file"])
    pieces = [*_fairseq_pieces(model), *((f"<madeupword{index}>", 0.0) for index in range(7))]
    return pipeline(model, pieces, unk_id=3)


def seamless(files: Files, settings: Settings) -> Tokenizer:
    """SeamlessM4T: padding before the model's own first pieces."""
    model = read_model(files["vocab_file"])
    heads = [("<pad>", 0.0), ("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    return pipeline(model, [*heads, *scores(model)[3:]], unk_id=1)


def t5(files: Files, settings: Settings) -> Tokenizer:
    """T5: sentinels after the pieces, the first one last."""
    model = read_model(files["vocab_file"])
    count = settings.get("extra_ids", 100)
    sentinels = [f"<extra_id_{index}>" for index in range(count)]
    known = {text for text, _, _ in model.pieces}
    pieces = [*scores(model), *((text, 0.0) for text in reversed(sentinels) if text not in known)]
    rust = pipeline(model, pieces, model.unk_id, word_by_word=True)
    if not settings.get("extra_special_tokens") and not settings.get("additional_special_tokens"):
        list_control(model, settings)
        settings["extra_special_tokens"] = [*settings.get("extra_special_tokens", []), *sentinels]
    return rust


def pegasus(files: Files, settings: Settings) -> Tokenizer:
    """Pegasus: padding, end, two masks and unused tokens before the pieces."""
    model = read_model(files["vocab_file"])
    offset = settings.get("offset", 103)
    heads = [settings["pad_token"], settings["eos_token"]]
    if offset > 0:
        heads += [settings.get("mask_token_sent") or "<mask_1>", settings["mask_token"]]
        heads += [f"<unk_{index}>" for index in range(2, offset)]
    pieces = [*((text, 0.0) for text in heads), *scores(model)[2:]]
    if offset > 0 and not settings.get("additional_special_tokens"):
        settings["extra_special_tokens"] = heads[2:3] + heads[4:]
    return pipeline(model, pieces, unk_id=len(heads) + model.unk_id - 2)


# -- steps before the model -----------------------------------------------------------------------------------------


def _quotes(settings: Settings, lower: bool) -> list[Any]:
    """What ALBERT and XLNet do to a text before its model sees it."""
    steps = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not settings.get("keep_accents", False):
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    return steps + ([normalizers.Lowercase()] if lower else [])


def _word_by_word(files: Files, settings: Settings, lower: bool) -> Tokenizer:
    """A pipeline of single words; each has its prefix whatever `add_prefix_space` says, or spaces would be lost."""
    model = replace(read_model(files["vocab_file"]), remove_extra_whitespaces=False)
    rust = pipeline(model, scores(model), model.unk_id, before=_quotes(settings, lower))
    rust.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), rust.pre_tokenizer])
    return rust


def albert(files: Files, settings: Settings) -> Tokenizer:
    """ALBERT: plain quotes, no accents, lower case, word by word; its user-defined punctuation is matched before."""
    rust = _word_by_word(files, settings, lower=settings.get("do_lower_case", True))
    own = [text for text, _, kind in read_model(files["vocab_file"]).pieces if kind == USER_DEFINED]
    rust.add_tokens([AddedToken(text, normalized=False) for text in own])
    return rust


def xlnet(files: Files, settings: Settings) -> Tokenizer:
    """XLNet: plain quotes, no accents, word by word."""
    list_control(read_model(files["vocab_file"]), settings)
    return _word_by_word(files, settings, lower=settings.get("do_lower_case", False))


def deberta(files: Files, settings: Settings) -> Tokenizer:
    """DeBERTa v2 and v3: the model as it is; lower case and split punctuation where asked for."""
    model = read_model(files["vocab_file"])
    before = [normalizers.Lowercase()] if settings.get("do_lower_case") else []
    rust = pipeline(model, scores(model), model.unk_id, before=before)
    if settings.get("split_by_punct"):
        rust.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Punctuation("isolated"), rust.pre_tokenizer])
    return rust


def gemma(files: Files, settings: Settings) -> Tokenizer:
    """Gemma: no space before the text, spaces end the piece before them, runs of white space are tokens."""
    return _spaces_kept(files, [])


def siglip2(files: Files, settings: Settings) -> Tokenizer:
    """SigLIP 2: Gemma's in lower case."""
    return _spaces_kept(files, [normalizers.Lowercase()])


def _spaces_kept(files: Files, before: list[Any]) -> Tokenizer:
    model = replace(read_model(files["vocab_file"]), add_dummy_prefix=False)
    rust = pipeline(model, scores(model), model.unk_id, before=before)
    own = [text for text, _, kind in model.pieces if kind == USER_DEFINED]
    rust.add_tokens([AddedToken(text, normalized=False) for text in own])
    return rust


def siglip(files: Files, settings: Settings) -> Tokenizer:
    """SigLIP: no punctuation, lower case, and no space before the text but the one that its prompt puts there."""
    model = read_model(files["vocab_file"])
    before: list[Any] = [normalizers.Lowercase()] if settings.get("do_lower_case", True) else []
    before.append(normalizers.Replace(Regex(ASCII_PUNCTUATION), ""))
    before += [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    return pipeline(model, scores(model), model.unk_id, before=before)


def gpt_sw3(files: Files, settings: Settings) -> Tokenizer:
    """GPT-SW3: control characters out, every kind of space a plain one, composed characters."""
    model = read_model(files["vocab_file"])
    name_defaults(model, settings)
    before = [
        normalizers.Replace(Regex(NO_PRINTING), ""),
        normalizers.Replace(Regex(OTHER_SPACES), " "),
        normalizers.NFC(),
    ]
    return pipeline(model, scores(model), model.unk_id, before=before)


def tipsv2(files: Files, settings: Settings) -> Tokenizer:
    """TIPS v2: the model as it is, in lower case."""
    model = read_model(files["vocab_file"])
    before = [normalizers.Lowercase()] if settings.get("do_lower_case", True) else []
    return pipeline(model, scores(model), model.unk_id, before=before)
