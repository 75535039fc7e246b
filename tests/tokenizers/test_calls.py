"""Calls, encodings, padding and decoding: what the recorded rows do not show."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, normalizers

from autoload.errors import ArgumentError, TokenizerError
from autoload.text.encoding import BatchEncoding, CharSpan, TokenSpan
from tests.tokenizers.rows import load, needs_shared

pytestmark = needs_shared
BERT = "wordpiece/bert_uncased_json"
LONG = "the quick brown fox jumps over the lazy dog and runs away"


@pytest.fixture(scope="module")
def bert() -> Any:
    """A tokenizer that tests do not change."""
    return load(BERT)


def test_single_texts_are_flat_and_batches_nested(bert: Any) -> None:
    assert bert("hello")["input_ids"] == [101, 7592, 102]
    assert bert(["hello"])["input_ids"] == [[101, 7592, 102]]
    assert bert("hello", return_tensors="np")["input_ids"].tolist() == [[101, 7592, 102]]
    assert bert([])["input_ids"] == []
    assert list(bert("hello")) == ["input_ids", "token_type_ids", "attention_mask"]


def test_baked_padding_and_truncation_do_not_leak(bert: Any) -> None:
    """The file says: pad to 128 and truncate to 128."""
    assert len(bert("hello")["input_ids"]) == 3
    assert len(bert("hello " * 200, verbose=False)["input_ids"]) == 202


def test_max_length_alone_truncates(bert: Any) -> None:
    assert len(bert(LONG, max_length=6)["input_ids"]) == 6
    assert len(bert(LONG, max_length=6, truncation=False)["input_ids"]) > 6
    assert len(bert("a", padding="max_length", max_length=9)["input_ids"]) == 9


def test_padding_side_of_a_call_wins(bert: Any) -> None:
    ids = bert(["a", "a b c"], padding=True, padding_side="left")["input_ids"]
    assert ids[0][:2] == [0, 0] and bert.padding_side == "right"


def test_overflow_maps_pieces_to_rows(bert: Any) -> None:
    out = bert([LONG, "a"], truncation=True, max_length=6, stride=2, return_overflowing_tokens=True)
    assert out["overflow_to_sample_mapping"] == [0] * (len(out["input_ids"]) - 1) + [1]
    assert out["input_ids"][0][3:5] == out["input_ids"][1][1:3]


def test_texts_that_say_only_second_need_one(bert: Any) -> None:
    with pytest.raises(TokenizerError, match="only_second"):
        bert(LONG, truncation="only_second", max_length=4)


@pytest.mark.parametrize("strategy", ["only_second", "longest_first"])
def test_a_stride_that_does_not_fit_a_pair_is_an_error(bert: Any, strategy: str) -> None:
    with pytest.raises(TokenizerError, match="stride=6 is not below") as caught:
        bert("a b c d e", LONG, truncation=strategy, max_length=12, stride=6, return_overflowing_tokens=True)
    assert caught.value.field == "stride"


def test_alignment_of_words_and_characters(bert: Any) -> None:
    out = bert("hello tokenizers", "second text")
    assert out.tokens()[:4] == ["[CLS]", "hello", "token", "##izer"]
    assert out.n_sequences == 2 and out.is_fast
    assert out.word_to_tokens(1) == TokenSpan(2, 5) and out.token_to_word(3) == 1
    assert out.token_to_chars(2) == CharSpan(6, 11) and out.token_to_chars(0) is None
    assert out.char_to_token(7) == 2 and out.char_to_token(0, 0, 1) is not None
    assert out.char_to_word(8) == 1 and out.word_to_chars(0) == CharSpan(0, 5)
    assert out.token_to_sequence(-2) == 1 and out.sequence_ids()[0] is None
    assert out[0].ids == out["input_ids"] and len(out[:1]) == 1


def test_padded_rows_have_padded_encodings(bert: Any) -> None:
    out = bert(["a", "a b c"], padding=True)
    assert len(out[0]) == len(out["input_ids"][0]) == 5
    assert out.tokens(0)[-1] == "[PAD]" and out[0].attention_mask == out["attention_mask"][0]


def test_an_encoding_is_a_mapping_with_attributes(bert: Any) -> None:
    out = bert("hello")
    assert isinstance(out, Mapping) and out.input_ids == out["input_ids"] and "input_ids" in {**out}
    with pytest.raises(AttributeError, match="did you mean 'input_ids'"):
        _ = out.input_id
    with pytest.raises(KeyError):
        _ = out["nothing"]
    out["labels"] = 1
    assert out.pop("labels") == 1


@pytest.mark.parametrize("twin", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy])
def test_copies_of_encodings_and_tokenizers(twin: Any) -> None:
    tokenizer = load(BERT, padding_side="left")
    tokenizer.add_tokens(["newtok"])
    other = twin(tokenizer)
    assert type(other) is type(tokenizer) and len(other) == len(tokenizer) and other.padding_side == "left"
    assert other("a newtok")["input_ids"] == tokenizer("a newtok")["input_ids"]
    encoding = twin(tokenizer("hello", "world"))
    assert encoding.n_sequences == 2 and encoding.tokens() == tokenizer("hello", "world").tokens()


def test_tensors(bert: Any) -> None:
    torch = pytest.importorskip("torch")
    out = bert(["a", "a b"], padding=True, return_tensors="pt")
    assert out["input_ids"].dtype == torch.int64 and out["input_ids"].shape == (2, 4)
    assert out.to("cpu") is out
    with pytest.raises(ArgumentError, match="device"):
        out.to(torch.float16)
    with pytest.raises(TokenizerError, match="Unable to create tensor.*lengths 3, 4"):
        bert(["a", "a b"], return_tensors="pt")
    with pytest.raises(ArgumentError, match="return_tensors='tf'"):
        bert("a", return_tensors="tf")


def test_pad_takes_and_gives_back_tensors(bert: Any) -> None:
    examples = [{"input_ids": np.array([1, 2, 3])}, {"input_ids": np.array([4])}]
    out = bert.pad(examples)
    assert isinstance(out["input_ids"], np.ndarray) and out["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert bert.pad({"input_ids": [[1], [2, 3]], "labels": [0, 1]})["labels"] == [0, 1]
    assert bert.pad([{"input_ids": [1]}], padding="max_length", max_length=3)["input_ids"] == [[1, 0, 0]]
    assert bert.pad({"input_ids": [1, 2]}, padding="max_length", max_length=3)["input_ids"] == [1, 2, 0]
    with pytest.raises(TokenizerError, match="needs 'input_ids'"):
        bert.pad({"labels": [1]})


def test_decode_takes_any_shape(bert: Any) -> None:
    assert bert.decode(7592) == "hello" and bert.decode(np.array([7592, 2088])) == "hello world"
    assert bert.decode([[7592], [2088]]) == ["hello", "world"] == bert.batch_decode(np.array([[7592], [2088]]))
    assert bert.batch_decode([7592]) == ["hello"] and bert.decode([]) == ""
    with pytest.raises(TokenizerError, match="-100"):
        bert.decode([101, -100])


def test_special_tokens_are_named_and_set() -> None:
    tokenizer = load("bytebpe/gpt2_vocab")
    with pytest.raises(TokenizerError, match="does not have a padding token"):
        tokenizer(["a", "b"], padding=True)
    tokenizer.pad_token = tokenizer.eos_token
    assert tokenizer.pad_token_id == 50256 and tokenizer(["a", "a b"], padding=True)["input_ids"][0][1] == 50256
    size = len(tokenizer)
    tokenizer.bos_token_id = 0
    assert tokenizer.bos_token == "!" and len(tokenizer) == size
    assert tokenizer.add_special_tokens({"image_token": "<img>", "extra_special_tokens": ["<x>"]}) == 2
    assert tokenizer.image_token_id == size and tokenizer.extra_special_tokens == ["<x>"]
    tokenizer.image_token = "!"
    assert tokenizer.special_tokens_map["image_token"] == "!"
    assert tokenizer.convert_tokens_to_ids("zzzz") == tokenizer.unk_token_id
    with pytest.raises(AttributeError, match="video_token"):
        _ = tokenizer.video_token


def test_added_tokens_keep_their_flags() -> None:
    tokenizer = load(BERT)
    assert tokenizer.add_tokens(AddedToken("dog", single_word=True)) == 0
    assert tokenizer.add_tokens([AddedToken("zzz", single_word=True), "yyy"]) == 2
    assert tokenizer.tokenize("zzz azzz yyyb")[0] == "zzz" and "zzz" not in tokenizer.tokenize("azzz")
    assert tokenizer.tokenize("yyyb") == ["yyy", "b"]


def test_special_tokens_mask(bert: Any) -> None:
    assert bert.get_special_tokens_mask([101, 7592, 102], already_has_special_tokens=True) == [1, 0, 1]
    assert bert.get_special_tokens_mask([7592], [2088]) == [1, 0, 1, 0, 1]


def test_state_does_not_change_through_use() -> None:
    tokenizer = load(BERT)
    before = tokenizer.backend_tokenizer.to_str()
    tokenizer(["a", LONG], padding=True, truncation=True, max_length=5)
    tokenizer("[CLS]", split_special_tokens=True)
    assert tokenizer.backend_tokenizer.to_str() == before
    assert tokenizer.backend_tokenizer.padding is None and tokenizer.backend_tokenizer.truncation is None


def test_changes_of_the_pipeline_are_seen() -> None:
    """Programs swap parts of it; copies made for truncation must not go on with the old ones."""
    tokenizer = load("wordpiece/bert_cased_vocab")
    short = tokenizer("Hello World again", truncation=True, max_length=4)["input_ids"]
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(), tokenizer.backend_tokenizer.normalizer]
    )
    lowered = tokenizer("hello world again", truncation=True, max_length=4)["input_ids"]
    assert tokenizer("Hello World again", truncation=True, max_length=4)["input_ids"] == lowered != short
    tokenizer._tokenizer.enable_padding(length=50)
    assert len(tokenizer("hello")["input_ids"]) == 3


def test_eight_threads_with_their_own_settings() -> None:
    tokenizer = load("spm_bpe/llama2_json", padding_side="left")
    tokenizer.pad_token = tokenizer.eos_token
    texts = [f"{LONG} {number}" * (number % 5 + 1) for number in range(24)]

    def settings(number: int) -> dict[str, Any]:
        return dict(
            padding=[True, "max_length"][number % 2],
            truncation=True,
            max_length=8 + number,
            padding_side=["left", "right"][number // 2 % 2],
            split_special_tokens=bool(number % 3),
        )

    expected = [tokenizer(texts, **settings(number)).data for number in range(8)]
    fresh = copy.deepcopy(tokenizer)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: fresh(texts, **settings(number % 8)).data, range(160)))
    assert all(found[number] == expected[number % 8] for number in range(160))


def test_warning_of_long_texts_comes_once(bert: Any, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = copy.deepcopy(bert)
    for _ in range(3):
        tokenizer("hello " * 600)
    assert sum("longer than the specified maximum" in record.message for record in caplog.records) == 1


def test_words(bert: Any) -> None:
    words = ["hello", "tokenizers"]
    assert bert(words, is_split_into_words=True).word_ids() == [None, 0, 1, 1, 1, None]
    batch = bert([words, ["a"]], is_split_into_words=True)
    assert len(batch["input_ids"]) == 2
    pair = bert(words, ["second"], is_split_into_words=True)
    assert pair["token_type_ids"] == [0, 0, 0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "says"),
    [
        ((None,), {}, TokenizerError, "Nothing to encode"),
        ((5,), {}, TokenizerError, "text holds int"),
        ((["a", None],), {}, TokenizerError, "row 1, which holds NoneType"),
        (("a\ud800",), {}, TokenizerError, "half of a surrogate pair"),
        ((["a", "b"], "c"), {}, TypeError, "text_pair one text"),
        ((["a", "b"], ["c"]), {}, ValueError, "does not match"),
        (("a",), {"max_len": 5}, TypeError, "did you mean 'max_length'"),
        (("a",), {"padding": "max"}, ValueError, "padding='max'"),
        (("a",), {"truncation": "first"}, ValueError, "truncation='first'"),
        (("a",), {"max_length": "5"}, ValueError, "max_length='5'"),
        (("a",), {"max_length": 1, "truncation": True}, ValueError, "no room beside the 2 special tokens"),
        (("a b c d",), {"max_length": 5, "truncation": True, "stride": 3}, ValueError, "stride=3 is not below 3"),
        (
            (["a", "b"],),
            {"padding": True, "truncation": True, "max_length": 9, "pad_to_multiple_of": 8},
            ValueError,
            "multiple of 8",
        ),
    ],
)
def test_calls_that_cannot_be_meant(
    bert: Any, arguments: tuple[Any, ...], settings: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        bert(*arguments, **settings)


def test_changed_tokenizers_do_not_align_old_encodings() -> None:
    tokenizer = load(BERT)
    old = tokenizer(["hello newtok"], padding=True)
    tokenizer.add_tokens(["newtok"])
    with pytest.raises(TokenizerError, match="changed after this call"):
        old.tokens()


def test_training_a_new_vocabulary(bert: Any) -> None:
    corpus = [[f"word{number} other{number}" for number in range(50)] for _ in range(4)]
    trained = bert.train_new_from_iterator(corpus, vocab_size=120)
    assert len(trained) <= 120 and trained.cls_token == "[CLS]" and type(trained) is type(bert)
    out = trained("word1")
    assert out.tokens()[0] == "[CLS]" and out.tokens()[-1] == "[SEP]" and out["input_ids"][0] == trained.cls_token_id


def test_batch_encoding_stands_alone() -> None:
    encoding = BatchEncoding({"input_ids": [1, 2]}, tensor_type="np", prepend_batch_axis=True)
    assert encoding["input_ids"].shape == (1, 2) and not encoding.is_fast
    with pytest.raises(TokenizerError, match="Rust-backed"):
        encoding.tokens()


def test_fast_tokenizers_can_be_made_of_parts(tmp_path: Any) -> None:
    from autoload.text.classes import BertTokenizer, PreTrainedTokenizerFast
    from tests.tokenizers.rows import SHARED

    rust = Tokenizer.from_file(str(SHARED / BERT / "tokenizer.json"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=rust, unk_token="[UNK]", pad_token="[PAD]")
    assert tokenizer.pad_token_id == 0 and tokenizer("hello")["input_ids"] == [101, 7592, 102]
    assert rust.padding is not None, "the caller's object stays as it is"
    made = BertTokenizer(str(SHARED / BERT / "vocab.txt"), do_lower_case=False)
    assert made.tokenize("Hello") != made.tokenize("hello")
    with pytest.raises(TokenizerError, match="needs a vocabulary"):
        BertTokenizer()
