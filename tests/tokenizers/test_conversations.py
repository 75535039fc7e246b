"""`apply_chat_template`: what it does around the rendering of templates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autoload.errors import TemplateError, TokenizerError
from autoload.text.encoding import BatchEncoding
from tests.tokenizers.rows import all_rows, load, needs_shared

pytest.importorskip("autoload.text.chat", reason="templates are rendered in another room")
pytestmark = needs_shared
QWEN = "bytebpe/qwen2_vocab"
CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]
MARKED = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ m.content }}<|im_end|>{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module")
def qwen() -> Any:
    """A tokenizer with a template."""
    return load(QWEN)


@pytest.mark.parametrize(
    "row", [row for row in all_rows() if row["case"] == "chat"], ids=lambda row: f"{row['dir']}-{row['name']}"
)
def test_recorded_conversations(row: dict[str, Any]) -> None:
    tokenizer = load(row["dir"])
    if "error" in row:
        with pytest.raises(ValueError):
            tokenizer.apply_chat_template(row["conversation"], tokenize=False, **row["kwargs"])
        return
    assert tokenizer.apply_chat_template(row["conversation"], tokenize=False, **row["kwargs"]) == row["rendered"]
    if "input_ids" in row:
        assert tokenizer.apply_chat_template(row["conversation"], **row["kwargs"])["input_ids"] == row["input_ids"]


def test_recorded_masks(qwen: Any) -> None:
    (row,) = [row for row in all_rows() if row["case"] == "chat_semantics" and row["name"] == "assistant_mask_batch_np"]
    out = qwen.apply_chat_template(
        row["conversation"],
        chat_template=row["template"],
        return_assistant_tokens_mask=True,
        padding=True,
        return_tensors="np",
    )
    assert {key: value.tolist() for key, value in out.items()} == row["result"]


def test_what_comes_back(qwen: Any) -> None:
    assert isinstance(qwen.apply_chat_template(CHAT), BatchEncoding)
    ids = qwen.apply_chat_template(CHAT, return_dict=False)
    assert ids == qwen.apply_chat_template(CHAT)["input_ids"]
    batch = qwen.apply_chat_template([CHAT, CHAT[:1]], padding=True, return_tensors="np")
    assert isinstance(batch["input_ids"], np.ndarray) and batch["input_ids"].shape[0] == 2
    assert len(qwen.apply_chat_template([CHAT, CHAT], tokenize=False)) == 2
    cut = qwen.apply_chat_template(CHAT, truncation=True, max_length=5)
    assert len(cut["input_ids"]) == 5


def test_masks_of_one_conversation_are_flat(qwen: Any) -> None:
    out = qwen.apply_chat_template(CHAT, chat_template=MARKED, return_assistant_tokens_mask=True)
    assert out["assistant_masks"] == [0, 0, 1, 1, 1] or sum(out["assistant_masks"]) == 2
    assert len(out["assistant_masks"]) == len(out["input_ids"])


def test_templates_by_name() -> None:
    tokenizer = load(QWEN)
    tokenizer.chat_template = {"default": "D{{ messages[0].content }}", "tool_use": "T", "rag": "R"}
    render = tokenizer.apply_chat_template
    assert render(CHAT, tokenize=False) == "DHi"
    assert render(CHAT, tokenize=False, tools=[{"type": "function", "function": {"name": "f"}}]) == "T"
    assert render(CHAT, tokenize=False, chat_template="rag") == "R"
    assert render(CHAT, tokenize=False, chat_template="{{ bos }}x", bos="b") == "bx"
    tokenizer.chat_template = {"rag": "R", "other": "O"}
    with pytest.raises(TemplateError, match="other, rag and no default"):
        render(CHAT)


def test_named_templates_are_saved(tmp_path: Any) -> None:
    from autoload.text.auto import AutoTokenizer

    tokenizer = load(QWEN)
    tokenizer.chat_template = {"default": "D", "rag": "R"}
    tokenizer.save_pretrained(tmp_path)
    assert (tmp_path / "chat_template.jinja").read_text() == "D"
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == {"default": "D", "rag": "R"}


@pytest.mark.parametrize(
    ("conversation", "settings", "says"),
    [
        ([], {}, "conversation is empty"),
        (CHAT, {"add_generation_prompt": True, "continue_final_message": True}, "pass one"),
        (CHAT, {"return_assistant_tokens_mask": True, "return_dict": False}, "needs tokenize=True"),
        (CHAT, {"return_assistant_tokens_mask": True, "continue_final_message": True}, "does not go with"),
    ],
)
def test_settings_that_contradict(qwen: Any, conversation: Any, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(TokenizerError, match=says):
        qwen.apply_chat_template(conversation, **settings)


def test_no_template() -> None:
    with pytest.raises(TemplateError, match="this tokenizer has none"):
        load("wordpiece/bert_uncased_json").apply_chat_template(CHAT)
