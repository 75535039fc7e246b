"""Kinds of tokenizers with doings of their own, old names, kept conversions, and what importing costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autoload.errors import MissingFile, TokenizerError
from autoload.text import conversions
from autoload.text.auto import AutoTokenizer
from autoload.text.spmodel import fields, read_model
from tests.tokenizers.fixtures import build
from tests.tokenizers.rows import SHARED, load, needs_shared

BERT = "wordpiece/bert_uncased_json"


def repository(folder: Path, **files: Any) -> Path:
    """A repository of small files; values that are paths are copied, others written as JSON or text."""
    for name, value in files.items():
        path = folder / name.replace("__", ".")
        data = value.read_bytes() if isinstance(value, Path) else None
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        path.write_bytes(text.encode() if data is None else data)
    return folder


# -- languages ------------------------------------------------------------------------------------------------------


@needs_shared
def test_source_and_target_languages() -> None:
    tokenizer = load("spm_fixture/mbart50", src_lang="fr_XX", tgt_lang="de_DE")
    out = tokenizer("hello", text_target="world")
    ids = tokenizer.convert_tokens_to_ids
    assert out["input_ids"][0] == ids("fr_XX") and out["labels"][0] == ids("de_DE")
    assert tokenizer("hello")["input_ids"][0] == ids("fr_XX"), "a target changes nothing for the next text"
    tokenizer.src_lang = "it_IT"
    assert tokenizer("hello")["input_ids"][0] == ids("it_IT")
    with tokenizer.as_target_tokenizer():
        assert tokenizer("hello")["input_ids"][0] == ids("de_DE")
    inputs = tokenizer._build_translation_inputs("hello", return_tensors="np", src_lang="en_XX", tgt_lang="ro_RO")
    assert inputs["forced_bos_token_id"] == ids("ro_RO")
    with pytest.raises(TokenizerError, match="did you mean 'fr_XX'"):
        tokenizer.src_lang = "fr_XY"


@needs_shared
def test_nllb_languages_are_in_the_vocabulary() -> None:
    tokenizer = load("spm_fixture/nllb")
    code = tokenizer.convert_tokens_to_ids("eng_Latn")
    assert code not in (None, tokenizer.unk_token_id)
    assert tokenizer("hello")["input_ids"][0] == code and tokenizer("hello")["input_ids"][-1] == tokenizer.eos_token_id
    old = load("spm_fixture/nllb", legacy_behaviour=True)
    assert old("hello")["input_ids"][-2:] == [old.eos_token_id, code]


@needs_shared
def test_m2m100(tmp_path: Path) -> None:
    model = SHARED / "spm_fixture/nllb/sentencepiece.bpe.model"
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *(text for text, _, kind in read_model(model).pieces if kind == 1)]
    vocab = {text: index for index, text in enumerate(pieces)}
    config = {"tokenizer_class": "M2M100Tokenizer", "src_lang": "fr", "tgt_lang": "en"}
    repository(tmp_path, vocab__json=vocab, tokenizer_config__json=config, **{"sentencepiece__bpe__model": model})
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    out = tokenizer("Hello world", text_target="Hello")
    assert tokenizer.convert_ids_to_tokens(out["input_ids"])[:2] == ["__fr__", "▁He"] and out["labels"][
        0
    ] == tokenizer.get_lang_id("en")
    assert tokenizer.get_lang_id("af") == len(vocab) and len(tokenizer) == len(vocab) + 100
    assert tokenizer.decode(out["input_ids"], skip_special_tokens=True) == "Hello world"


@needs_shared
def test_marian_target_texts_and_language_codes() -> None:
    tokenizer = load("marian/opus_mt_en_mg")
    out = tokenizer("Hello world.", text_target="Salama izao tontolo izao.")
    assert out["labels"] != tokenizer("Salama izao tontolo izao.")["input_ids"], "another model splits target texts"
    assert tokenizer.decode(out["labels"], skip_special_tokens=True) == "Salama izao tontolo izao."
    assert tokenizer.tokenize(">>mg<< Hello")[0] == ">>mg<<"


# -- speech ---------------------------------------------------------------------------------------------------------


@needs_shared
def test_whisper_prefix_and_prompts() -> None:
    tokenizer = load("whisper/whisper_base_vocab", language="spanish", task="transcribe")
    names = tokenizer.convert_ids_to_tokens
    assert names(tokenizer("hola")["input_ids"])[:4] == [
        "<|startoftranscript|>",
        "<|es|>",
        "<|transcribe|>",
        "<|notimestamps|>",
    ]
    tokenizer.set_prefix_tokens(language="fr", task="translate", predict_timestamps=True)
    assert names(tokenizer("a")["input_ids"])[:3] == ["<|startoftranscript|>", "<|fr|>", "<|translate|>"]
    forced = tokenizer.get_decoder_prompt_ids(task="transcribe", language="de")
    assert [place for place, _ in forced] == [1, 2, 3] and names([index for _, index in forced])[0] == "<|de|>"
    prompt = tokenizer.get_prompt_ids("Mr. Quilter", return_tensors="np")
    assert names(prompt)[0] == "<|startofprev|>"
    with pytest.raises(TokenizerError, match="special token"):
        tokenizer.get_prompt_ids("a <|es|>")
    with pytest.raises(TokenizerError, match="knows no language 'klingon'"):
        tokenizer.set_prefix_tokens(language="klingon")


@needs_shared
def test_whisper_decodes_times() -> None:
    tokenizer = load("whisper/whisper_base_vocab")
    first = tokenizer.all_special_ids[-1] + 1
    words = tokenizer(" Hello there", add_special_tokens=False)["input_ids"]
    ids = [50258, 50259, 50359, first, *words, first + 100, first + 100, *words, first + 250]
    assert tokenizer.decode(ids, skip_special_tokens=True) == " Hello there Hello there"
    timed = tokenizer.decode(ids, skip_special_tokens=True, decode_with_timestamps=True)
    assert timed == "<|0.00|> Hello there<|2.00|><|2.00|> Hello there<|5.00|>"
    offsets = tokenizer.decode(ids, skip_special_tokens=True, output_offsets=True)["offsets"]
    assert offsets == [
        {"text": " Hello there", "timestamp": (0.0, 2.0)},
        {"text": " Hello there", "timestamp": (2.0, 5.0)},
    ]


@needs_shared
@pytest.mark.parametrize(
    ("spoken", "written"),
    [
        ("Mr. Smith's colour isn't grey [laughs]", "mister smith is color is not gray"),
        ("twenty-one dollars and fifty cents!", "$21.50"),
        ("two hundred and five apples, one pear", "205 apples one pear"),
        ("In nineteen ninety nine he'd been there", "in 1999 he had been there"),
        ("ten per cent of 5,000 people", "10% of 5000 people"),
        ("$20 million, and two and three", "$20000000 and 2 and 3"),
        ("the twenty third of the twenties", "the 23rd of the 20s"),
        ("uh, double oh seven", "007"),
        ("zero point five", "0.5"),
    ],
)
def test_whisper_normalizes_english(spoken: str, written: str) -> None:
    tokenizer = load("whisper/whisper_base_vocab")
    assert tokenizer.normalize(spoken).strip() == written
    assert tokenizer.basic_normalize("Ça, (va)?  «oui»") == "ça oui " and tokenizer.basic_normalize("Ça", True) == "ca"


@needs_shared
def test_ctc_decoding_with_offsets() -> None:
    tokenizer = load("wav2vec2_ctc/base_960h")
    ids = tokenizer.convert_tokens_to_ids(["<pad>", "H", "H", "I", "<pad>", "|", "|", "O", "<pad>", "O"])
    assert tokenizer.decode(ids) == "HI OO"
    assert tokenizer.decode(ids, group_tokens=False) == "HHI  OO"
    out = tokenizer.decode(ids, output_char_offsets=True, output_word_offsets=True)
    assert out.text == "HI OO" and out.char_offsets[0] == {"char": "H", "start_offset": 1, "end_offset": 3}
    assert out["word_offsets"] == [
        {"word": "HI", "start_offset": 1, "end_offset": 4},
        {"word": "OO", "start_offset": 7, "end_offset": 10},
    ]
    batch = tokenizer.batch_decode([ids, ids], output_word_offsets=True)
    assert batch["text"] == ["HI OO", "HI OO"] and len(batch.word_offsets) == 2


def test_ctc_vocabularies_of_several_languages(tmp_path: Path) -> None:
    heads = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4}
    vocab = {"eng": {**heads, "a": 5, "b": 6}, "fra": {**heads, "é": 5, "a": 6}}
    repository(
        tmp_path,
        vocab__json=vocab,
        tokenizer_config__json={"tokenizer_class": "Wav2Vec2CTCTokenizer", "target_lang": "eng"},
    )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer("a b")["input_ids"] == [5, 4, 6]
    tokenizer.set_target_lang("fra")
    assert tokenizer("aé")["input_ids"] == [6, 5]
    with pytest.raises(TokenizerError, match="no such language"):
        tokenizer.set_target_lang("xyz")


def test_vits_puts_blanks_between_letters(tmp_path: Path) -> None:
    letters = {letter: index for index, letter in enumerate(["_", *"abc", " ", "<unk>", "<pad>"])}
    config = {"tokenizer_class": "VitsTokenizer", "phonemize": False}
    tokenizer = AutoTokenizer.from_pretrained(repository(tmp_path, vocab__json=letters, tokenizer_config__json=config))
    assert tokenizer("Ab!")["input_ids"] == [0, 1, 0, 2, 0] and tokenizer.decode([0, 1, 0, 2, 0]) == "ab"


def test_words_of_pieces(tmp_path: Path) -> None:
    vocab = {text: index for index, text in enumerate(["<unk>", "he@@", "llo", "hello", "l@@", "o", "h@@", "e@@"])}
    merges = "#version: 0.2\nh e\nl l\nll o</w>\n"
    repository(
        tmp_path, vocab__json=vocab, merges__txt=merges, tokenizer_config__json={"tokenizer_class": "CTRLTokenizer"}
    )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.tokenize("hello lo") == ["he@@", "llo", "l@@", "o"]
    assert tokenizer.decode(tokenizer("hello lo")["input_ids"]) == "hello lo"


# -- documents ------------------------------------------------------------------------------------------------------


@needs_shared
def test_boxes_of_words(tmp_path: Path) -> None:
    vocab = SHARED / "wordpiece/bert_uncased_vocab/vocab.txt"
    folder = repository(tmp_path, vocab__txt=vocab, tokenizer_config__json={"tokenizer_class": "LayoutLMv2Tokenizer"})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    boxes = [[1, 2, 3, 4], [5, 6, 7, 8]]
    out = tokenizer(["hello", "tokenizers"], boxes=boxes, word_labels=[1, 2], padding="max_length", max_length=7)
    assert out["bbox"] == [[0] * 4, boxes[0], boxes[1], boxes[1], boxes[1], [1000] * 4, [0] * 4]
    assert out["labels"] == [-100, 1, 2, -100, -100, -100, -100]
    asked = tokenizer("what is it?", ["hello", "tokenizers"], boxes=boxes)
    assert len(asked["bbox"]) == len(asked["input_ids"]) and asked["bbox"].count(boxes[1]) == 3
    with pytest.raises(TokenizerError, match="boxes: expected one for each word"):
        tokenizer(["hello", "tokenizers"], boxes=boxes[:1])


# -- old names ------------------------------------------------------------------------------------------------------


@needs_shared
def test_old_names_give_what_todays_do() -> None:
    tokenizer = load(BERT)
    assert tokenizer.encode_plus("a", "b").data == tokenizer("a", "b").data
    assert tokenizer.batch_encode_plus(["a", ("b", "c")]).data == tokenizer(["a", ("b", "c")]).data
    assert tokenizer.build_inputs_with_special_tokens([7], [8]) == [101, 7, 102, 8, 102]
    assert tokenizer.create_token_type_ids_from_sequences([7], [8]) == [0, 0, 0, 1, 1]
    ids = tokenizer.encode("the quick brown fox", add_special_tokens=False)
    expected = tokenizer("the quick brown fox", truncation=True, max_length=4)
    assert tokenizer.prepare_for_model(ids, truncation=True, max_length=4).data == expected.data
    assert tokenizer.truncate_sequences([1, 2, 3], [4, 5], 2) == ([1, 2], [4], [])
    assert tokenizer.truncate_sequences([1, 2, 3], None, 1, stride=1) == ([1, 2], None, [2, 3])
    tokenizer.additional_special_tokens = ["[UNK]"]
    assert tokenizer.additional_special_tokens_ids == [100]
    assert tokenizer.special_tokens_map_extended["cls_token"].content == "[CLS]"
    assert {str(token) for token in tokenizer.all_special_tokens_extended} >= {"[CLS]"}
    assert tokenizer.prepare_seq2seq_batch(["a"], ["b"], return_tensors="np")["labels"].tolist() == [[101, 1038, 102]]
    assert tokenizer.sanitize_special_tokens() == 0
    roberta = load("bytebpe/roberta_json")
    assert roberta.build_inputs_with_special_tokens([7], [8]) == [0, 7, 2, 2, 8, 2]
    with pytest.raises(TypeError, match="did you mean 'max_length'"):
        tokenizer.prepare_for_model(ids, max_lenght=3)


# -- conversions and imports ----------------------------------------------------------------------------------------


@needs_shared
def test_conversions_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOLOAD_CACHE", str(tmp_path))
    first = load("spm_unigram/t5_spm")
    kept = sorted(path.name for path in (tmp_path / "tokenizers").iterdir())
    monkeypatch.setattr("autoload.text.sentencepiece.read_model", None)  # a second conversion would fail
    again = load("spm_unigram/t5_spm")
    text = "Hello <extra_id_0> wörld"
    assert len(kept) == 2 and again(text).data == first(text).data and again.all_special_ids == first.all_special_ids
    monkeypatch.undo()
    monkeypatch.setenv("AUTOLOAD_CACHE", str(tmp_path))
    (tmp_path / "tokenizers" / kept[0]).write_text("{")
    assert load("spm_unigram/t5_spm")(text).data == first(text).data, "a damaged one is made again"
    load("spm_unigram/t5_spm", extra_ids=5)
    assert len(list((tmp_path / "tokenizers").iterdir())) == 4


@needs_shared
def test_conversions_can_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("AUTOLOAD_CACHE", "off")
    load("spm_unigram/t5_spm")
    assert conversions.folder() is None and list(tmp_path.iterdir()) == []
    monkeypatch.delenv("AUTOLOAD_CACHE")
    assert conversions.folder() == tmp_path / "autoload"


def test_the_wire_format() -> None:
    message = b"\x08\x96\x01" + b"\x12\x02ab" + b"\x1d\x00\x00\x80\x3f"
    assert list(fields(message)) == [(1, 150), (2, b"ab"), (3, b"\x00\x00\x80\x3f")]
    for broken in (b"\x08", b"\x12\x05ab", b"\x0b", b"\x00\x01", b"\x08" + b"\xff" * 12):
        with pytest.raises(ValueError):
            list(fields(broken))


@needs_shared
def test_tokenizers_import_neither_torch_nor_the_hub() -> None:
    code = f"""
import sys
from autoload.text.auto import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained({str(SHARED / BERT)!r})
tokenizer(["a", "a b"], padding=True, return_tensors="np")
print([name for name in ("torch", "jinja2", "huggingface_hub", "transformers", "sentencepiece") if name in sys.modules])
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# -- decisions ------------------------------------------------------------------------------------------------------


@needs_shared
def test_a_bare_tiktoken_file_has_no_template_until_asked() -> None:
    plain, asked = load("tiktoken/llama3"), load("tiktoken/llama3", add_bos_token=True)
    assert asked("hello")["input_ids"] == [asked.bos_token_id, *plain("hello")["input_ids"]]
    assert asked.bos_token == "<|begin_of_text|>"


@needs_shared
def test_albert_matches_its_user_defined_pieces() -> None:
    tokenizer = load("spm_unigram/albert_spm")
    assert tokenizer.tokenize("(a)") == ["(", "▁a", ")"]
    assert "(" not in tokenizer.all_special_tokens and tokenizer.decode(tokenizer("(a)")["input_ids"], True) != "a"


# -- settings of the caller -----------------------------------------------------------------------------------------


@needs_shared
def test_legacy_false_prefixes_the_first_text_alone() -> None:
    text = "hello<s>there"
    old, new = load("spm_bpe/llama2_spm"), load("spm_bpe/llama2_spm", legacy=False)
    assert old.tokenize(text) == ["▁hello", "<s>", "▁there"] and new.tokenize(text) == ["▁hello", "<s>", "there"]
    assert new.decode(new(text)["input_ids"]) == "<s> hello<s>there"
    by_json = load("spm_bpe/zephyr_json", legacy=False)
    assert by_json.tokenize("hello<s>there")[-2:] == ["<s>", "there"]
    assert load("spm_bpe/mistral_v3_spm").tokenize("[INST] a [/INST]") == ["[INST]", "▁a", "▁", "[/INST]"]


@needs_shared
def test_a_callers_prefix_and_case() -> None:
    assert load("spm_bpe/llama2_json", add_prefix_space=False).tokenize("hello") == ["hello"]
    assert load("spm_bpe/llama2_spm", add_prefix_space=False).tokenize("hello") == ["hello"]
    assert load("spm_unigram/albert_json_v5saved", do_lower_case=False).tokenize("Hello")[1] == "H"
    assert load("spm_fixture/rembert", do_lower_case=True).tokenize("World") == ["▁world"]
    gpt2 = load("bytebpe/gpt2_vocab", add_prefix_space=True)
    assert gpt2.tokenize("hello") == ["Ġhello"]


@needs_shared
def test_control_pieces_are_listed_as_special() -> None:
    mistral = load("spm_bpe/mistral_v3_spm")
    assert mistral.all_special_tokens[3:5] == ["[INST]", "[/INST]"]
    assert mistral.get_special_tokens_mask(mistral("[INST] a")["input_ids"], already_has_special_tokens=True) == [
        1,
        1,
        0,
    ]
    tekken = load("tekken/mistral_nemo")
    assert "[INST]" in tekken.all_special_tokens


@needs_shared
def test_the_split_of_mistrals_first_conversions_can_be_mended(tmp_path: Path, caplog: Any) -> None:
    right, text = load("tekken/mistral_nemo", mistral_format=False), "HelloWorld camelCase 'twas"
    right.save_pretrained(tmp_path)
    pipeline = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    pipeline["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": r"\p{L}+|\p{N}|[^\p{L}\p{N}]+"}
    config = {"model_type": "mistral", "transformers_version": "4.57.0"}
    repository(tmp_path, config__json=config, tokenizer__json=pipeline)
    ids = right(text)["input_ids"]
    assert AutoTokenizer.from_pretrained(tmp_path)(text)["input_ids"] != ids and "fix_mistral_regex" in caplog.text
    caplog.clear()
    assert AutoTokenizer.from_pretrained(tmp_path, fix_mistral_regex=True)(text)["input_ids"] == ids
    assert AutoTokenizer.from_pretrained(tmp_path, fix_mistral_regex=False)(text)["input_ids"] != ids
    repository(tmp_path, config__json={**config, "model_type": "llama"})
    assert AutoTokenizer.from_pretrained(tmp_path, fix_mistral_regex=True)(text)["input_ids"] != ids
    assert not caplog.text


def test_shapes_and_pronunciations_beside_ids(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(build(tmp_path / "rocbert", "RoCBertTokenizer"))
    texts = ["hello the fox", "a"]
    batch = tokenizer(texts, padding=True)
    assert dict(tokenizer.pad([dict(tokenizer(text)) for text in texts])) == dict(batch)
    assert tokenizer(texts[0], return_tensors="np")["input_shape_ids"].tolist() == batch["input_shape_ids"][:1]
    pieces = tokenizer(texts[0], truncation=True, max_length=3, return_overflowing_tokens=True)
    assert [len(row) for row in pieces["input_shape_ids"]] == [3, 3, 3]
    (tmp_path / "rocbert" / "word_shape.json").unlink()
    with pytest.raises(MissingFile, match="no word_shape.json"):
        AutoTokenizer.from_pretrained(tmp_path / "rocbert")
