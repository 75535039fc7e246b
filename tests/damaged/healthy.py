"""Healthy little models, written once; every damaged one is a copy of one of these with one thing changed."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path

from tests.checkpoints import LLAMA as LLAMA_SIZES
from tests.checkpoints import saved, tiny

TEXT = "the dog runs"
MESSAGES = [{"role": "user", "content": "the dog"}, {"role": "assistant", "content": "runs"}]
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<go>{% endif %}"
)
RENDERED = "<user>the dog<assistant>runs"
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the dog runs cat ##s".split()
LETTERS = list("abcdefghijklmnopqrstuvwxyz")
MERGES = [("t", "h"), ("th", "e"), ("d", "o"), ("do", "g"), ("r", "u"), ("ru", "n"), ("run", "s")]
IDS = {
    "bert": [2, 5, 6, 7, 3],
    "vocab": [2, 5, 6, 7, 3],
    "sharded": [30, 32, 35],
    "llama": [30, 32, 35],
    "gpt2": [32, 34, 38],
    "spm": [4, 5, 6, 2],
    "tekken": [1, 1257, 1032, 1259, 1032, 1262],
    "pickle": [2, 5, 6, 7, 3],
    "sentence": [2, 5, 6, 7, 3],
}


def make(folder: Path) -> dict[str, Path]:
    """All healthy models, each in a directory of its name."""
    makers = {
        "bert": _bert,
        "vocab": _vocab,
        "pickle": _pickle,
        "llama": _llama,
        "sharded": _sharded,
        "gpt2": _gpt2,
        "spm": _spm,
        "tekken": _tekken,
        "sentence": _sentence,
        "whisper": _whisper,
    }
    for name, maker in makers.items():
        maker(folder / name)
    return {name: folder / name for name in makers}


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def _bert(folder: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    saved(folder, "bert", num_labels=2)
    rust = Tokenizer(models.WordPiece(vocab={word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))  # type: ignore[call-arg]
    rust.normalizer = normalizers.BertNormalizer()  # type: ignore[assignment]
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # type: ignore[assignment]
    rust.add_special_tokens(WORDS[:5])
    rust.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    rust.save(str(folder / "tokenizer.json"))
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), WORDS, strict=False))
    settings = {f"{name}_token": token for name, token in names.items()}
    settings |= {"tokenizer_class": "BertTokenizerFast", "model_max_length": 24, "chat_template": TEMPLATE}
    write_json(folder / "tokenizer_config.json", settings)


def _vocab(folder: Path) -> None:
    saved(folder, "bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    write_json(folder / "special_tokens_map.json", {"unk_token": "[UNK]", "mask_token": "[MASK]"})


def _pickle(folder: Path) -> None:
    import torch

    _bert(folder)
    (folder / "model.safetensors").unlink()
    torch.save(tiny("bert").state_dict(), folder / "pytorch_model.bin")


def _llama(folder: Path, **saving: str) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    saved(folder, "llama", "CausalLM", num_key_value_heads=1, **saving)
    pieces = ["<unk>", "<s>", "</s>", *LETTERS, *("".join(pair) for pair in MERGES)]
    rust = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, MERGES, unk_token="<unk>"))
    rust.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    rust.add_special_tokens(["<unk>", "<s>", "</s>"])
    rust.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "unk_token": "<unk>"}
    write_json(folder / "tokenizer_config.json", settings)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    write_json(folder / "generation_config.json", {"max_new_tokens": 3, "eos_token_id": 2, "temperature": 0.5})


def _sharded(folder: Path) -> None:
    _llama(folder, max_shard_size="3KB")


def _gpt2(folder: Path) -> None:
    saved(folder, "gpt2", "CausalLM")
    merges = [("Ġ", "d"), *MERGES[:2], ("o", "g"), ("Ġd", "og"), ("Ġ", "r"), ("Ġr", "u"), ("n", "s"), ("Ġru", "ns")]
    pieces = ["<|endoftext|>", "Ġ", ".", "!", *LETTERS, *("".join(pair) for pair in merges)]
    write_json(folder / "vocab.json", {piece: i for i, piece in enumerate(pieces)})
    lines = [" ".join(pair) for pair in merges]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(lines) + "\n", encoding="utf-8")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer"})


def _spm(folder: Path) -> None:
    saved(folder, "llama", "CausalLM")
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("▁", -9.0, 1)]
    pieces += [("▁the", -1.0, 1), ("▁dog", -2.0, 1), ("▁runs", -3.0, 1)]
    pieces += [(letter, -20.0 - i, 1) for i, letter in enumerate(LETTERS)]
    (folder / "tokenizer.model").write_bytes(sentencepiece(pieces))
    settings = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "eos_token": "</s>", "pad_token": "<unk>"}
    write_json(folder / "tokenizer_config.json", settings | {"unk_token": "<unk>"})
    (folder / "tokenizer.model").rename(folder / "spiece.model")


def _tekken(folder: Path) -> None:
    import base64

    saved(folder, "mistral", "CausalLM", **LLAMA_SIZES | {"vocab_size": 1300})
    ranks = [bytes([i]) for i in range(256)] + ["".join(pair).encode() for pair in MERGES]
    vocab = [
        {"rank": i, "token_bytes": base64.b64encode(piece).decode(), "token_str": piece.decode("utf-8", "replace")}
        for i, piece in enumerate(ranks)
    ]
    config = {"pattern": r"[a-z]+|\s+|[^a-z\s]+", "num_vocab_tokens": len(vocab), "default_vocab_size": len(vocab) + 1000,
              "default_num_special_tokens": 1000, "version": "v3"}  # fmt: skip
    write_json(folder / "tekken.json", {"config": config, "vocab": vocab})


def _sentence(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    _vocab(folder)
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense", "3_Normalize": "Normalize"}
    modules = [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
               for i, (path, kind) in enumerate(kinds.items())]  # fmt: skip
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 16})
    write_json(
        folder / "config_sentence_transformers.json", {"prompts": {"query": "the "}, "default_prompt_name": None}
    )
    for name in ("1_Pooling", "2_Dense"):
        (folder / name).mkdir()
    write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True})
    activation = {"activation_function": "torch.nn.modules.activation.Tanh"}
    write_json(folder / "2_Dense/config.json", {"in_features": 16, "out_features": 4, "bias": True, **activation})
    dense = {"linear.weight": torch.arange(64.0).view(4, 16) / 64, "linear.bias": torch.zeros(4)}
    save_file(dense, folder / "2_Dense/model.safetensors")


WHISPER = dict(vocab_size=60, num_mel_bins=8, d_model=16, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
               decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_source_positions=10,
               max_target_positions=24, pad_token_id=40, bos_token_id=40, eos_token_id=40, decoder_start_token_id=41)  # fmt: skip
SPEECH = dict(decoder_start_token_id=41, eos_token_id=40, pad_token_id=40, bos_token_id=40, lang_to_id={"<|en|>": 42}, task_to_id={"transcribe": 43, "translate": 44}, is_multilingual=True,
              no_timestamps_token_id=46, prev_sot_token_id=45, alignment_heads=[[0, 1], [1, 0]], max_length=12,
              forced_decoder_ids=[[1, None], [2, 43]], return_timestamps=False, max_initial_timestamp_index=4)  # fmt: skip
HEARING = dict(feature_extractor_type="WhisperFeatureExtractor", feature_size=8, sampling_rate=200, hop_length=2,
               chunk_length=1, n_fft=8, padding_value=0.0, return_attention_mask=False, dither=0.0)  # fmt: skip


def _whisper(folder: Path) -> None:
    saved(folder, "whisper", "SpeechSeq2Seq", **WHISPER)
    write_json(folder / "generation_config.json", SPEECH)
    write_json(folder / "preprocessor_config.json", HEARING)


def sentencepiece(pieces: Iterable[tuple[str, float, int]]) -> bytes:
    """A SentencePiece unigram model file with these pieces (text, score, type)."""
    out = b""
    for text, score, kind in pieces:
        name = text.encode()
        piece = b"\x0a" + _varint(len(name)) + name + b"\x15" + struct.pack("<f", score) + b"\x18" + _varint(kind)
        out += b"\x0a" + _varint(len(piece)) + piece
    trainer = b"\x18\x01"  # model_type: unigram
    return out + b"\x12" + _varint(len(trainer)) + trainer


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])
