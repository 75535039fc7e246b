"""Small repositories of every tokenizer class that no real repository covers, made from a few words.

`record.py` asks the reference what these give and writes `recorded.json`; `test_recorded.py` compares.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

WORDS = "hello world the quick brown fox lo hel wor ing er and you don re quiet unseen xin chào việt".split()
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEHW0123456789.,!?'\"()-:éï"
TEXTS = [
    "Hello world, the quick brown fox!",
    "hello world 123.45",
    " lead and trail",
    "",
    "unseen ☃ chars — and 世界",
    "don't you're (x) \"q\" ``z''",
    "Naïve café the fox quick",
    "a b",
]
NEEDS = {"BioGptTokenizer": "sacremoses"}  # packages without which a class does not load
PAIR = ("hello world", "the fox")
UNKNOWN, CONTROL, USER, NORMAL = 2, 3, 4, 1
SETS = {  # the first pieces of models, and their kinds
    "fairseq": [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)],
    "t5": [("<pad>", CONTROL), ("</s>", CONTROL), ("<unk>", UNKNOWN)],
    "albert": [("<pad>", CONTROL), ("<unk>", UNKNOWN), ("[CLS]", CONTROL), ("[SEP]", CONTROL), ("[MASK]", CONTROL)],
    "xlnet": [
        ("<unk>", UNKNOWN),
        *((t, CONTROL) for t in ("<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>")),
    ],
    "seamless": [("<pad>", CONTROL), ("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)],
    "camembert": [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)],
    "sw3": [("<unk>", UNKNOWN), ("<s>", CONTROL), ("<|endoftext|>", CONTROL), ("<pad>", CONTROL)],
    "bigbird": [
        ("<pad>", CONTROL),
        ("</s>", CONTROL),
        ("<s>", CONTROL),
        ("<unk>", UNKNOWN),
        ("[SEP]", CONTROL),
        ("[MASK]", CONTROL),
        ("[CLS]", CONTROL),
    ],
}


def _field(number: int, value: Any) -> bytes:
    if isinstance(value, bytes):
        return _varint(number << 3 | 2) + _varint(len(value)) + value
    if isinstance(value, float):
        return _varint(number << 3 | 5) + struct.pack("<f", value)
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def sentencepiece(heads: str = "fairseq", bpe: bool = False) -> bytes:
    """A SentencePiece model of the words and letters."""
    first = SETS[heads]
    pieces = [(text, 0.0, kind) for text, kind in first]
    if bpe:
        joined = [word[:cut] for word in WORDS for cut in range(2, len(word) + 1)]
        texts = list(dict.fromkeys([*("▁" + text for text in joined), *joined]))
        texts = sorted(texts, key=len)
    else:
        texts = list(dict.fromkeys([*("▁" + word for word in WORDS), *WORDS]))
    pieces += [(text, -1.0 - 0.05 * place, NORMAL) for place, text in enumerate(texts)]
    pieces += [(text, -60.0 - 0.05 * place, NORMAL) for place, text in enumerate(["▁", *LETTERS])]
    out = b"".join(
        _field(1, _field(1, text.encode()) + _field(2, score) + (b"" if kind == NORMAL else _field(3, kind)))
        for text, score, kind in pieces
    )
    place = {text: index for index, (text, _) in enumerate(first)}
    eos = place.get("</s>", place.get("[SEP]", place.get("<|endoftext|>", -1)))
    trainer = (
        _field(3, 2 if bpe else 1) + _field(40, place["<unk>"]) + _field(41, place.get("<s>", place.get("[CLS]", -1)))
    )
    trainer += _field(42, eos) + _field(43, place.get("<pad>", -1))
    normalizer = _field(1, b"identity") + _field(3, 1) + _field(4, 1) + _field(5, 1)
    return out + _field(2, trainer) + _field(3, normalizer)


def _pieces() -> list[str]:
    return [*("▁" + word for word in WORDS), *WORDS, "▁", *LETTERS]


def numbered(tokens: Iterable[str]) -> dict[str, int]:
    """Token -> place."""
    return {token: index for index, token in enumerate(dict.fromkeys(tokens))}


BRACKETS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def wordpiece(heads: Iterable[str] = BRACKETS, prefix: str = "##", more: Iterable[str] = ()) -> str:
    """A vocabulary of word pieces, one a line."""
    return "".join(
        f"{token}\n" for token in numbered([*heads, *more, *WORDS, *LETTERS, *(prefix + x for x in [*WORDS, *LETTERS])])
    )


def bytelevel(heads: Iterable[str]) -> dict[str, Any]:
    """vocab.json and merges.txt of a byte-level BPE."""
    table = {chr(byte): chr(byte) for byte in range(33, 127)}
    others = [byte for byte in range(256) if not 33 <= byte < 127]
    letters = [*table, *(chr(256 + place) for place in range(len(others)))]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printable] + [chr(256 + place) for place in range(256 - len(printable))]
    merges = [pair for word in ("hello", "world", "the", "quick") for pair in _merges("Ġ" + word)]
    merges = list(dict.fromkeys(merges))
    vocab = numbered([*heads, *letters, *(left + right for left, right in merges)])
    lines = "".join(f"{left} {right}\n" for left, right in merges)
    return {"vocab.json": vocab, "merges.txt": "#version: 0.2\n" + lines}


def _merges(word: str) -> list[tuple[str, str]]:
    """Merges that build a word from the left."""
    return [(word[:cut], word[cut]) for cut in range(1, len(word))]


def words_bpe(heads: Iterable[str], name: str = "merges.txt", end: str = "</w>", counts: str = "") -> dict[str, Any]:
    """vocab.json and merges of a BPE whose words end in `end`."""
    merges: dict[tuple[str, str], None] = {}
    for word in ("hello", "world", "the", "quick", "fox"):
        parts = [*word[:-1], word[-1] + end]
        while len(parts) > 1:
            merges[parts[0], parts[1]] = None
            parts = [parts[0] + parts[1], *parts[2:]]
    letters = [x for letter in LETTERS for x in (letter, letter + end)]
    vocab = numbered([*heads, *letters, *(left + right for left, right in merges)])
    lines = "".join(f"{left} {right}{counts}\n" for left, right in merges)
    return {"vocab.json": vocab, name: "#version: 0.2\n" + lines}


def at_signs(heads: Iterable[str], counts: str = "") -> dict[str, Any]:
    """vocab.json and merges.txt whose pieces end in `@@` within words."""
    made = words_bpe([], counts=counts)
    pieces = [token.removesuffix("</w>") if token.endswith("</w>") else token + "@@" for token in made["vocab.json"]]
    return {"vocab.json": numbered([*heads, *pieces]), "merges.txt": made["merges.txt"]}


def fairseq_dict(merges: str) -> dict[str, Any]:
    """vocab.txt of fairseq with counts, and merges, as PhoBERT and BERTweet have them."""
    made = at_signs([], counts=" 7")
    return {
        "vocab.txt": "".join(f"{token} 9\n" for token in made["vocab.json"]),
        merges: made["merges.txt"].partition("\n")[2],
    }


def japanese() -> str:
    """A vocabulary of GPT-NeoX-Japanese: spellings of a piece with commas between, then names and bytes."""
    names = [
        "<URL>",
        "<EMAIL>",
        "<TEL>",
        "<DATE>",
        "<PRICE>",
        "<BLOCK>",
        "<KIGOU>",
        "<U2000U2BFF>",
        "<SP>",
        "<BR>",
        "<TAB>",
    ]
    pieces = ["1,①", ",", "a,A", "lo", "wor", "世界,世", "界", "x", "the", *"bcdefghijklmnopqrstuvwyz.!?"]
    return "".join(
        f"{line}\n"
        for line in [
            *pieces,
            *names,
            "<|emoji1|>",
            *(f"<|byte{byte}|>" for byte in range(256)),
            "<|startoftext|>",
            "<|endoftext|>",
        ]
    )


def spm(name: str, heads: str = "fairseq", bpe: bool = False) -> dict[str, Any]:
    """A SentencePiece model under a name."""
    return {name: sentencepiece(heads, bpe)}


ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
Maker = Callable[[], dict[str, Any]]
# class -> files, and settings of tokenizer_config.json
FIXTURES: dict[str, tuple[Maker, dict[str, Any]]] = {
    "AlbertTokenizer": (lambda: spm("spiece.model", "albert"), {}),
    "BartTokenizer": (lambda: bytelevel(ROBERTA), {}),
    "BartphoTokenizer": (
        lambda: {**spm("sentencepiece.bpe.model"), "dict.txt": "".join(f"{p} 5\n" for p in _pieces()[:30])},
        {},
    ),
    "BertGenerationTokenizer": (lambda: spm("spiece.model"), {}),
    "BertJapaneseTokenizer": (
        lambda: {"vocab.txt": wordpiece()},
        {"word_tokenizer_type": "basic", "subword_tokenizer_type": "character", "do_lower_case": True},
    ),
    "BertTokenizer": (lambda: {"vocab.txt": wordpiece()}, {}),
    "BertweetTokenizer": (lambda: fairseq_dict("bpe.codes"), {}),
    "BigBirdTokenizer": (lambda: spm("spiece.model", "bigbird"), {}),
    "BioGptTokenizer": (lambda: words_bpe(["<s>", "<pad>", "</s>", "<unk>"], counts=" 3"), {}),
    "BlenderbotSmallTokenizer": (lambda: at_signs(["__null__", "__start__", "__end__", "__unk__", "__newln__"]), {}),
    "BlenderbotTokenizer": (lambda: bytelevel(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]), {}),
    "CTRLTokenizer": (lambda: at_signs(["<unk>"]), {}),
    "CamembertTokenizer": (lambda: spm("sentencepiece.bpe.model", "camembert"), {}),
    "CodeGenTokenizer": (lambda: bytelevel(["<|endoftext|>"]), {}),
    "CodeLlamaTokenizer": (lambda: spm("tokenizer.model", bpe=True), {}),
    "CohereTokenizer": (
        lambda: bytelevel(
            ["<PAD>", "<UNK>", "<CLS>", "<SEP>", "<MASK_TOKEN>", "<BOS_TOKEN>", "<EOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"]
        ),
        {},
    ),
    "ConvBertTokenizer": (lambda: {"vocab.txt": wordpiece()}, {}),
    "DPRQuestionEncoderTokenizer": (lambda: {"vocab.txt": wordpiece()}, {}),
    "DebertaTokenizer": (lambda: bytelevel(BRACKETS), {}),
    "DebertaV2Tokenizer": (
        lambda: {"spm.model": sentencepiece("albert").replace(b"<pad>", b"[PAD]").replace(b"<unk>", b"[UNK]")},
        {"split_by_punct": True, "do_lower_case": True},
    ),
    "DiaTokenizer": (dict, {}),
    "DistilBertTokenizer": (lambda: {"vocab.txt": wordpiece()}, {}),
    "ElectraTokenizer": (lambda: {"vocab.txt": wordpiece()}, {}),
    "FNetTokenizer": (lambda: spm("spiece.model", "albert"), {}),
    "FunnelTokenizer": (
        lambda: {"vocab.txt": wordpiece(["<pad>", "<unk>", "<cls>", "<sep>", "<mask>", "<s>", "</s>"])},
        {},
    ),
    "GPT2Tokenizer": (lambda: bytelevel(["<|endoftext|>"]), {}),
    "GPTNeoXJapaneseTokenizer": (
        lambda: {
            "vocab.txt": japanese(),
            "emoji.json": {"emoji": {"😀": "<|emoji1|>"}, "emoji_inv": {"<|emoji1|>": "😀"}},
        },
        {"do_clean_text": True},
    ),
    "GPTNeoXTokenizer": (lambda: bytelevel(["<|endoftext|>", "<|padding|>"]), {}),
    "GPTSw3Tokenizer": (lambda: spm("spiece.model", "sw3", bpe=True), {}),
    "HerbertTokenizer": (lambda: words_bpe(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]), {}),
    "LEDTokenizer": (lambda: bytelevel(ROBERTA), {}),
    "LasrTokenizer": (lambda: spm("spiece.model", "t5"), {}),
    "LayoutLMTokenizer": (lambda: {"vocab.txt": wordpiece()}, {}),
    "LongformerTokenizer": (lambda: bytelevel(ROBERTA), {}),
    "LxmertTokenizer": (lambda: {"vocab.txt": wordpiece()}, {}),
    "M2M100Tokenizer": (
        lambda: {
            "vocab.json": numbered(["<s>", "<pad>", "</s>", "<unk>", *_pieces()]),
            **spm("sentencepiece.bpe.model"),
        },
        {"src_lang": "fr", "tgt_lang": "de"},
    ),
    "MBart50Tokenizer": (lambda: spm("sentencepiece.bpe.model"), {"src_lang": "fr_XX"}),
    "MBartTokenizer": (lambda: spm("sentencepiece.bpe.model"), {"src_lang": "fr_XX"}),
    "MPNetTokenizer": (lambda: {"vocab.txt": wordpiece(["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"])}, {}),
    "MgpstrTokenizer": (lambda: {"vocab.json": numbered(["[GO]", "[s]", *LETTERS])}, {}),
    "MobileBertTokenizer": (lambda: {"vocab.txt": wordpiece()}, {}),
    "MvpTokenizer": (lambda: bytelevel(ROBERTA), {}),
    "NllbTokenizer": (lambda: spm("sentencepiece.bpe.model", bpe=True), {}),
    "OpenAIGPTTokenizer": (lambda: words_bpe(["<unk>"]), {}),
    "PLBartTokenizer": (lambda: spm("sentencepiece.bpe.model"), {"src_lang": "python", "tgt_lang": "en_XX"}),
    "PegasusTokenizer": (lambda: spm("spiece.model", "t5"), {}),
    "PerceiverTokenizer": (dict, {}),
    "PhobertTokenizer": (lambda: fairseq_dict("bpe.codes"), {}),
    "ProphetNetTokenizer": (lambda: {"prophetnet.tokenizer": wordpiece([*BRACKETS, "[X_SEP]"])}, {}),
    "Qwen2Tokenizer": (lambda: bytelevel(["<|endoftext|>"]), {}),
    "Qwen3_5Tokenizer": (lambda: bytelevel(["<|endoftext|>"]), {}),
    "ReformerTokenizer": (lambda: spm("spiece.model", bpe=True), {}),
    "RemBertTokenizer": (lambda: spm("sentencepiece.model", "albert"), {}),
    "RoCBertTokenizer": (
        lambda: {
            "vocab.txt": wordpiece(),
            "word_shape.json": numbered(["[PAD]", "[UNK]", "hello", "the", "a", "##w", "[SEP]"]),
            "word_pronunciation.json": numbered(["[UNK]", "fox", "[CLS]", "b", "hello"]),
        },
        {},
    ),
    "RobertaTokenizer": (lambda: bytelevel(ROBERTA), {}),
    "SeamlessM4TTokenizer": (
        lambda: spm("sentencepiece.bpe.model", bpe=True),
        {"additional_special_tokens": ["__eng__", "__fra__"]},
    ),
    "SiglipTokenizer": (lambda: spm("spiece.model", "t5"), {}),
    "Speech2TextTokenizer": (
        lambda: {
            "vocab.json": numbered(["<s>", "<pad>", "</s>", "<unk>", *_pieces()]),
            **spm("sentencepiece.bpe.model"),
        },
        {},
    ),
    "SpeechT5Tokenizer": (lambda: spm("spm_char.model"), {}),
    "SplinterTokenizer": (lambda: {"vocab.txt": wordpiece([*BRACKETS, "[QUESTION]"])}, {}),
    "SqueezeBertTokenizer": (lambda: {"vocab.txt": wordpiece()}, {}),
    "T5Tokenizer": (lambda: spm("spiece.model", "t5"), {}),
    "VitsTokenizer": (
        lambda: {"vocab.json": numbered(["<pad>", "<unk>", " ", *LETTERS])},
        {"phonemize": False, "is_uroman": False, "language": "eng"},
    ),
    "Wav2Vec2CTCTokenizer": (lambda: {"vocab.json": numbered(["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS])}, {}),
    "Wav2Vec2PhonemeCTCTokenizer": (
        lambda: {"vocab.json": numbered(["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS])},
        {"do_phonemize": False},
    ),
    "XGLMTokenizer": (lambda: spm("sentencepiece.bpe.model"), {}),
    "XLMRobertaTokenizer": (lambda: spm("sentencepiece.bpe.model"), {}),
    "XLNetTokenizer": (lambda: spm("spiece.model", "xlnet"), {}),
}

EVERYTHING = {*"texts decoded skipped pair plain target padded size named special settings".split(), "in text"}
# class -> what differs and why; nothing else may differ, and what is listed must
KNOWN: dict[str, tuple[set[str], str]] = {
    "BlenderbotTokenizer": (
        {"texts", "decoded", "pair", "target", "padded", "in text"},
        "texts end in </s>, as the models were trained and tokenizer.json of their repositories says",
    ),
    "DebertaTokenizer": ({"pair"}, "a pair has one [SEP] between its texts and types 0 and 1, as release 4 gave"),
    "DiaTokenizer": ({"decoded", "skipped"}, "bytes are decoded as UTF-8, so that texts come back as they were"),
    "FNetTokenizer": (
        EVERYTHING - {"settings"},
        "the template and the prefix are those of the models; the reference runs the bare vocabulary",
    ),
    "FunnelTokenizer": ({"pair", "padded", "settings"}, "token types are given: the model has 2 for its first token"),
    "GPTNeoXJapaneseTokenizer": (
        {"texts", "decoded", "skipped"},
        "a comma is a piece, as the vocabulary's own encoder has it, and bytes are decoded together",
    ),
    "GPTSw3Tokenizer": ({"decoded", "skipped"}, "decoded texts are stripped, with unknown pieces in them too"),
    "LasrTokenizer": (
        {"texts", "decoded", "skipped", "size"},
        "the unknown token is the model's own, and the sentinels are part of the vocabulary's size",
    ),
    "M2M100Tokenizer": (
        {"decoded", "skipped", "size", "special"},
        "language codes are special tokens of the vocabulary: they are counted, and left out of decoded texts",
    ),
    "NllbTokenizer": (
        EVERYTHING - {"plain", "decoded", "skipped", "named", "settings"} | {"decoded"},
        "the codes of 202 languages are in the vocabulary; the reference gives <unk> for them",
    ),
    "Qwen3_5Tokenizer": (
        EVERYTHING - {"named", "special", "settings"},
        "the reference loads an empty vocabulary from vocab.json and merges.txt",
    ),
    "RemBertTokenizer": (
        {"texts", "decoded", "skipped", "pair", "target", "padded", "in text"},
        "[CLS] and [SEP] stand around texts; the reference adds them only after a save",
    ),
    "SiglipTokenizer": (
        {"texts", "in text"},
        "texts are stripped before the model sees them, as its preprocessing says; the reference doubles the prefix",
    ),
    "SplinterTokenizer": ({"pair", "padded", "settings"}, "token types are given, as release 4 gave them"),
    "VitsTokenizer": ({"in text"}, "special tokens are matched before letters are filtered"),
    "Wav2Vec2PhonemeCTCTokenizer": (
        {"decoded", "skipped"},
        "decoding works where the reference fails on unknown phonemes",
    ),
    "XGLMTokenizer": (EVERYTHING - {"named", "settings"}, "the reference drops the vocabulary of the model"),
    "XLNetTokenizer": ({"settings"}, "XLNet was trained with 3 as the type of padding"),
}


def build(folder: Path, name: str) -> Path:
    """Write the repository of a class."""
    make, settings = FIXTURES[name]
    config = {"tokenizer_class": name, **settings}
    for file, content in {"tokenizer_config.json": config, **make()}.items():
        data = content if isinstance(content, bytes) else content.encode() if isinstance(content, str) else None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(json.dumps(content, ensure_ascii=False).encode() if data is None else data)
    return folder


def answers(tokenizer: Any) -> dict[str, Any]:
    """What a tokenizer gives for the texts; an error stands for itself."""
    first, second = PAIR
    asked: dict[str, Callable[[], Any]] = {
        "texts": lambda: [list(tokenizer(text)["input_ids"]) for text in TEXTS],
        "decoded": lambda: [tokenizer.decode(tokenizer(text)["input_ids"]) for text in TEXTS],
        "skipped": lambda: [tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) for text in TEXTS],
        "pair": lambda: {key: list(value) for key, value in tokenizer(first, second).items()},
        "plain": lambda: tokenizer(first, add_special_tokens=False)["input_ids"],
        "target": lambda: tokenizer(first, text_target=second)["labels"],
        "padded": lambda: {key: list(value) for key, value in tokenizer([first, ""], padding=True).items()},
        "size": lambda: [len(tokenizer), tokenizer.vocab_size],
        "named": lambda: dict(tokenizer.special_tokens_map),
        "special": lambda: sorted(set(tokenizer.all_special_ids))[:80],
        "in text": lambda: list(tokenizer(f" x{tokenizer.unk_token or tokenizer.eos_token} y")["input_ids"]),
        "settings": lambda: [tokenizer.padding_side, tokenizer.pad_token_type_id, list(tokenizer.model_input_names)],
    }
    found = {}
    for key, ask in asked.items():
        try:
            found[key] = ask()
        except Exception as e:
            found[key] = {"error": type(e).__name__, "message": str(e)[:200]}
    return found
