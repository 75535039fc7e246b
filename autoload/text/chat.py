"""A conversation as the text that a model was trained on: what `apply_chat_template` renders.

Everything that the template sees is rebuilt from plain JSON types first. Images, arrays and other objects that callers
put into messages have methods that no sandbox knows; templates only ask whether such a thing is there.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Mapping
from typing import Any

from autoload.errors import ArgumentError
from autoload.text.sandbox import ChatTemplateError, render
from autoload.text.schema import get_json_schema

END = "CONTINUE_FINAL_MESSAGE_TAG "  # the blank at its end shows whether the template strips the message
REASONING = ("reasoning_content", "thinking", "reasoning")  # names of one thing, the usual one first


def render_chat(
    template: str,
    conversation: list[dict[str, Any]],
    *,
    tools: list[Any] | None = None,
    documents: list[dict[str, Any]] | None = None,
    add_generation_prompt: bool = False,
    continue_final_message: bool | str = False,
    variables: dict[str, Any],
) -> tuple[str, list[tuple[int, int]]]:
    """Render one conversation.

    Args:
        template: the Jinja source.
        conversation: messages: dicts, dataclasses or pydantic models. Keys whose value is None count as absent.
        tools: JSON schemas, or functions with type hints and a docstring, which `get_json_schema` turns into schemas.
        documents: dicts for retrieval templates.
        add_generation_prompt: end with the header of an assistant message.
        continue_final_message: end inside the last message, so that the model goes on with it; a string names the
            field to go on with (default "content").
        variables: what else the template sees: the special tokens, and the caller's own keywords.

    Returns:
        The text, and the character spans (start, end) of its `{% generation %}` blocks.

    Raises:
        TemplateError: the template is wrong, refuses the conversation, does something forbidden, takes too much, or
            drops the message that is to be continued.
        ArgumentError: a message, a document or a variable is not what it should be.
    """
    if not isinstance(template, str):
        raise ArgumentError(f"chat_template is {type(template).__name__}, expected a string", name="chat_template")
    if "messages" in variables:
        raise ArgumentError("'messages' is the conversation; a variable must not have its name", name="messages")
    if documents is not None and not all(isinstance(document, dict) for document in documents):
        raise ArgumentError("documents must be a list of dicts, with 'title' and 'text'", name="documents")
    schemas = None if tools is None else [_schema(tool, n) for n, tool in enumerate(tools)]
    try:
        messages = [_message(message, n) for n, message in enumerate(getattr(conversation, "messages", conversation))]
        given = plain({"tools": schemas, "documents": documents, **variables})
    except RecursionError as error:
        raise ArgumentError("the conversation is nested too deeply, or contains itself", name="conversation") from error
    ending = None
    if continue_final_message:
        if add_generation_prompt:
            raise ChatTemplateError(
                "chat_template: continue_final_message and add_generation_prompt exclude each other: either the last "
                "message goes on, or a new one begins.",
                template=template,
                remedy="Pass one of the two.",
            )
        field = continue_final_message if isinstance(continue_final_message, str) else "content"
        ending = _mark_end(template, messages, field)
    text, spans = render(template, {**given, "messages": messages, "add_generation_prompt": add_generation_prompt})
    return (text if ending is None else _cut(template, text, ending)), spans


def plain(value: Any) -> Any:
    """`value` rebuilt from dicts, lists, tuples, strings, numbers and None; anything else becomes its type's name."""
    if value is None or type(value) in (str, bool, int, float):
        return value
    if isinstance(value, str):  # a subclass (an enum, a numpy number): without the methods that it adds
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return (list if isinstance(value, list) else tuple)(map(plain, value))
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return plain(value.item())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    dump = getattr(value, "model_dump", None)  # pydantic
    if callable(dump):
        return plain(dump())
    return f"<{type(value).__name__}>"


def _schema(tool: Any, n: int) -> dict[str, Any]:
    if isinstance(tool, dict):
        return tool
    if inspect.isfunction(tool) or inspect.ismethod(tool):
        return get_json_schema(tool)
    raise ChatTemplateError(
        f"chat_template: tools[{n}] is {type(tool).__name__}, expected a JSON schema or a function", remedy=""
    )


def _message(message: Any, n: int) -> dict[str, Any]:
    """A message in plain types, with its reasoning under the names that templates read."""
    found = plain(message)
    if not isinstance(found, dict):
        raise ArgumentError(
            f"conversation[{n}] is {type(message).__name__}, expected a dict, a dataclass or a pydantic model",
            name="conversation",
        )
    found = {key: value for key, value in found.items() if value is not None}
    reasoning = next((found[name] for name in REASONING if name in found), None)
    if reasoning is None:
        return found
    return {"thinking": reasoning} | found | {"reasoning_content": reasoning}


def _mark_end(template: str, messages: list[dict[str, Any]], field: str) -> str:
    """Append `END` to the text that is to be continued, in the messages; gives that text."""

    def wrong(what: str) -> ChatTemplateError:
        text = f"chat_template: continue_final_message is set but {what}"
        return ChatTemplateError(text, template=template, remedy="")

    if not messages:
        raise wrong("the conversation is empty")
    last = messages[-1]
    value = last.get(field)
    if value is None:
        raise wrong(f"the final message has no {field!r} to continue; it has {', '.join(map(str, last))}")
    # the reasoning stands under several names: mark it under each, whichever the template reads
    names = [n for n in REASONING if last.get(n) == value] if field in REASONING else [field]
    if not any(name in template for name in names):
        raise wrong(f"the template does not use {field!r}")
    if isinstance(value, list | tuple):
        block = next((b for b in reversed(value) if isinstance(b, dict) and isinstance(b.get("text"), str)), None)
        if block is None:
            raise wrong(f"the final message's {field!r} has no text to continue")
        text = block["text"]
        block["text"] = text + END
        return text
    if not isinstance(value, str):
        raise wrong(f"the final message's {field!r} is {type(value).__name__}, not a text")
    for name in names:
        last[name] = value + END
    return value


def _cut(template: str, text: str, ending: str) -> str:
    """The rendered text up to the end of the message that is to be continued."""
    mark = END.strip()
    at = text.rfind(mark)
    if at < 0 or ending.strip() not in text:
        raise ChatTemplateError(
            "chat_template: continue_final_message is set but the final message is not in the rendered text: the "
            f"template changes or drops it. Final message: {ending.strip()[:200]!r}, rendered: {text[-200:]!r}",
            template=template,
            remedy="",
        )
    kept = text[:at]
    return kept if text.startswith(END, at) else kept.rstrip()
