"""`apply_chat_template`: conversations as text or ids, in the format that the model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autoload.errors import TemplateError, TokenizerError


class Conversations:
    """Chat templates of a tokenizer. Rendering itself is `autoload.text.chat`, imported on first use."""

    chat_template: Any

    def get_chat_template(self, chat_template: str | None = None, tools: list[Any] | None = None) -> str:
        """The template for a conversation: the one passed or named, else "tool_use" for tools, else the default.

        Raises:
            TemplateError: there is none, or none of that name.
        """
        own = self.chat_template
        if isinstance(own, dict):
            if chat_template is not None:
                return own.get(chat_template, chat_template)
            name = "tool_use" if tools is not None and "tool_use" in own else "default"
            if name in own:
                return own[name]
            raise TemplateError(
                f"chat_template: this tokenizer has the templates {', '.join(sorted(own))} and no default.",
                template="",
                remedy="Name one with chat_template=...",
            )
        if chat_template is not None:
            return chat_template
        if own is None:
            raise TemplateError(
                "chat_template: this tokenizer has none.",
                template="",
                remedy="Pass chat_template=..., or set tokenizer.chat_template.",
            )
        return own

    def apply_chat_template(
        self: Any,
        conversation: Any,
        tools: list[Any] | None = None,
        documents: list[dict[str, str]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: Any = False,
        tokenize: bool = True,
        padding: Any = False,
        truncation: Any = False,
        max_length: int | None = None,
        return_tensors: Any = None,
        return_dict: bool = True,
        return_assistant_tokens_mask: bool = False,
        tokenizer_kwargs: dict[str, Any] | None = None,
        **variables: Any,
    ) -> Any:
        """A conversation, or a batch of these, as model inputs.

        Args:
            conversation: messages with "role" and "content", or a list of such lists.
            tools: functions, or JSON schemas of functions, that the model may call.
            documents: dictionaries with "title" and "text", for templates that know them.
            chat_template: a template, or the name of one of the tokenizer's.
            add_generation_prompt: end with what starts an answer of the model.
            continue_final_message: end inside the last message, so that the model continues it.
            tokenize: give ids; the text where False.
            return_dict: give a `BatchEncoding`; ids alone where False.
            return_assistant_tokens_mask: add `assistant_masks`, 1 for tokens within the template's generation blocks.
            variables: further variables of the template.

        Raises:
            TemplateError: there is no template, or it fails.
            TokenizerError: an empty conversation, or settings that contradict each other.
        """
        _check(
            conversation,
            add_generation_prompt,
            continue_final_message,
            tokenize,
            return_dict,
            return_assistant_tokens_mask,
        )
        template = self.get_chat_template(chat_template, tools)
        from autoload.text.chat import render_chat

        batched = _is_batch(conversation)
        texts, spans = [], []
        for chat in conversation if batched else [conversation]:
            text, blocks = render_chat(
                template,
                list(getattr(chat, "messages", chat)),
                tools=tools,
                documents=documents,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=continue_final_message,
                variables={**self.special_tokens_map, **variables},
            )
            texts.append(text)
            spans.append(blocks)
        if not tokenize:
            return texts if batched else texts[0]
        settings = dict(tokenizer_kwargs or {})
        out = self(
            texts if batched else texts[0],
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            add_special_tokens=settings.pop("add_special_tokens", False),
            return_tensors=return_tensors,
            **settings,
        )
        if return_assistant_tokens_mask:
            masks = [_mask(out, index, blocks) for index, blocks in enumerate(spans)]
            out["assistant_masks"] = masks if batched or return_tensors is not None else masks[0]
            if return_tensors is not None:
                out.convert_to_tensors(return_tensors)
        return out if return_dict else out["input_ids"]


def _is_batch(conversation: Any) -> bool:
    if not isinstance(conversation, (list, tuple)):
        return False
    return isinstance(conversation[0], (list, tuple)) or hasattr(conversation[0], "messages")


def _check(
    conversation: Any, prompt: bool, continued: Any, tokenize: bool, return_dict: bool, assistant_mask: bool
) -> None:
    """Refuse empty conversations and settings that contradict each other."""
    if not hasattr(conversation, "messages") and (not isinstance(conversation, Sequence) or not len(conversation)):
        raise TokenizerError(
            "The conversation is empty: expected messages with 'role' and 'content'.", field="conversation"
        )
    if continued and prompt:
        raise TokenizerError(
            "continue_final_message goes on with the last message, add_generation_prompt starts a new one: pass one.",
            field="continue_final_message",
        )
    if assistant_mask and not (tokenize and return_dict):
        raise TokenizerError(
            "return_assistant_tokens_mask needs tokenize=True and return_dict=True.",
            field="return_assistant_tokens_mask",
        )
    if assistant_mask and continued:
        raise TokenizerError(
            "return_assistant_tokens_mask does not go with continue_final_message.",
            field="return_assistant_tokens_mask",
        )


def _mask(encoding: Any, index: int, spans: list[tuple[int, int]]) -> list[int]:
    """1 for the tokens within the character spans of one row; a span whose start was truncated counts nothing."""
    row = encoding.encodings[index] if encoding.encodings is not None else None
    if row is None:
        raise TokenizerError(
            "return_assistant_tokens_mask needs a Rust-backed tokenizer.", field="return_assistant_tokens_mask"
        )
    mask = [0] * len(row)
    for start, end in spans:
        first = row.char_to_token(start)
        if first is None:
            continue
        last = row.char_to_token(end - 1)
        for position in range(first, len(row) if last is None else last + 1):
            mask[position] = 1
    return mask
