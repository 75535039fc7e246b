"""The JSON schema of a Python function, from its type hints and its Google docstring: how a model is told of a tool."""

from __future__ import annotations

import inspect
import json
import re
import sys
import types
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from autoload.errors import ArgumentError

SCALARS = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
CONTAINERS = {list: "array", tuple: "array", dict: "object"}


class TypeHintParsingException(ArgumentError):
    """A type hint has no JSON schema. Facts: `name` (of the function)."""


class DocstringParsingException(ArgumentError):
    """A docstring does not describe what it should. Facts: `name` (of the function)."""


def get_json_schema(function: Callable[..., Any]) -> dict[str, Any]:
    """Describe a function as a tool.

    The description of an argument may end in its choices, as JSON: `(choices: ["tea", "coffee"])`. A `self` or `cls`
    without a type hint is left out. The `Returns` section is optional.

    Args:
        function: a function or a method with type hints and a docstring in Google's format.

    Returns:
        `{"type": "function", "function": {"name", "description", "parameters" [, "return"]}}`.

    Raises:
        TypeHintParsingException: an argument has no type hint, or one that JSON cannot express.
        DocstringParsingException: there is no docstring, or it does not describe an argument.
    """
    name = getattr(function, "__name__", "operation")
    doc = (inspect.getdoc(function) or "").strip()
    if not doc:
        raise DocstringParsingException(f"{name}: it has no docstring; a tool needs one to be described", name=name)
    hints, required = _arguments(function, name)
    properties = {}
    descriptions = _describe_arguments(_section(doc, "Args", ("Returns:", "Raises:")) or "")
    for argument, hint in hints.items():
        if argument == "return":
            continue
        schema = _convert(hint, f"{name}: argument {argument!r}", name)
        if argument not in descriptions:
            raise DocstringParsingException(
                f"{name}: the docstring has no description for the argument {argument!r}; "
                f"its Args section describes: {', '.join(descriptions) or 'nothing'}",
                name=name,
            )
        properties[argument] = schema | _description(descriptions[argument], f"{name}: argument {argument!r}", name)
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = required
    summary = re.split("Args:|Returns:|Raises:", doc, maxsplit=1)[0].strip()
    described: dict[str, Any] = {"name": name, "description": summary, "parameters": parameters}
    returned = _returned(hints, doc, name)
    if returned is not None:
        described["return"] = returned
    return {"type": "function", "function": described}


def _arguments(function: Callable[..., Any], name: str) -> tuple[dict[str, Any], list[str]]:
    """The resolved type hints, and the names of the arguments without a default."""
    try:
        hints, signature = get_type_hints(function), inspect.signature(function)
    except (NameError, TypeError, ValueError, SyntaxError) as error:
        raise TypeHintParsingException(f"{name}: its type hints cannot be read: {error}", name=name) from error
    required = []
    for n, (argument, parameter) in enumerate(signature.parameters.items()):
        if parameter.annotation is parameter.empty:
            if n == 0 and argument in ("self", "cls"):
                continue
            raise TypeHintParsingException(f"{name}: argument {argument!r} has no type hint", name=name)
        if parameter.default is parameter.empty:
            required.append(argument)
    return hints, required


def _returned(hints: dict[str, Any], doc: str, name: str) -> dict[str, Any] | None:
    """The schema of what the function gives; None where there is no hint, or one that JSON cannot express."""
    if "return" not in hints:
        return None
    try:
        schema = _convert(hints["return"], f"{name}: its result", name)
    except TypeHintParsingException:  # the model never writes a result, so the tool is usable all the same
        return None
    text = _section(doc, "Returns", ("Raises:",))
    return schema if text is None else schema | {"description": text.strip()}


# Type hints ----------------------------------------------------------------------------------------------------------


def _convert(hint: Any, where: str, name: str) -> dict[str, Any]:
    """The schema of one type hint."""
    origin, parts = get_origin(hint), get_args(hint)

    def wrong(why: str) -> TypeHintParsingException:
        return TypeHintParsingException(f"{where} has the type hint {hint!r}: {why}", name=name)

    if origin is None:
        return _convert_plain(hint, wrong)
    if origin is Union or origin is types.UnionType:
        return _convert_union(parts, where, name)
    if origin is Literal:
        return _enumerate(parts, wrong)
    if origin is list:
        return {"type": "array"} | ({"items": _convert(parts[0], where, name)} if parts else {})
    if origin is dict:
        return {"type": "object"} | ({"additionalProperties": _convert(parts[1], where, name)} if parts else {})
    if origin is tuple:
        if len(parts) == 1 or ... in parts:
            raise wrong("a tuple of one element or of any length is a list in JSON; use list[...]")
        return {"type": "array"} | ({"prefixItems": [_convert(part, where, name) for part in parts]} if parts else {})
    raise wrong("JSON has nothing for it; pass a schema written by hand instead of the function")


def _convert_plain(hint: Any, wrong: Callable[[str], TypeHintParsingException]) -> dict[str, Any]:
    if hint is Any:
        return {}
    if isinstance(hint, type):
        if issubclass(hint, Enum):
            return _enumerate([member.value for member in hint], wrong)
        kind = SCALARS.get(hint) or CONTAINERS.get(hint) or _media(hint)
        if kind:
            return {"type": kind}
    raise wrong(
        "JSON has nothing for it; use int, float, str, bool, an Enum, Literal, or list, tuple, dict and Union of "
        "these, or pass a schema written by hand instead of the function"
    )


def _media(hint: type) -> str | None:
    """Images and sounds, known by classes of packages that are only looked at if they are there already."""
    for module, attribute, kind in (("PIL.Image", "Image", "image"), ("torch", "Tensor", "audio")):
        if hint is getattr(sys.modules.get(module), attribute, None):
            return kind
    return None


def _enumerate(values: Any, wrong: Callable[[str], TypeHintParsingException]) -> dict[str, Any]:
    values = list(values)
    if not values or any(type(value) not in SCALARS for value in values):
        raise wrong("its values must be numbers, strings, booleans or None, and at least one")
    kinds = list(dict.fromkeys(SCALARS[type(value)] for value in values))
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": values}


def _convert_union(parts: tuple[Any, ...], where: str, name: str) -> dict[str, Any]:
    choices = [_convert(part, where, name) for part in parts if part is not type(None)]
    if len(choices) == 1:
        schema = choices[0]
    elif all(set(choice) == {"type"} and isinstance(choice["type"], str) for choice in choices):
        kinds = sorted({choice["type"] for choice in choices})  # list and tuple are one type in JSON
        schema = {"type": kinds[0] if len(kinds) == 1 else kinds}
    else:
        schema = {"anyOf": choices}
    return schema | ({"nullable": True} if type(None) in parts else {})


# The docstring -------------------------------------------------------------------------------------------------------


def _section(doc: str, title: str, ends: tuple[str, ...]) -> str | None:
    """The text under `title:`, which stands alone on its line, up to the next section."""
    found = re.search(rf"\n\s*{title}:\n", doc)
    if found is None:
        return None
    text = doc[found.end() :]
    for end in ends:
        text = text.split(end, 1)[0]
    return text


def _describe_arguments(text: str) -> dict[str, str]:
    """The description of each argument: `name: text`, where lines that are indented deeper go on."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    indent = ""
    for line in text.split("\n"):
        head = re.match(r"([ \t]*)(\w+):", line)
        deeper = line.startswith((indent + " ", indent + "\t"))
        if head and (current is None or (not deeper and any(current))):
            indent, argument = head.groups()
            current = found[argument] = [line[head.end() :].strip()]
        elif current is not None:
            current.append(line.strip())
    return {argument: " ".join(filter(None, lines)) for argument, lines in found.items()}


def _description(text: str, where: str, name: str) -> dict[str, Any]:
    """The description of an argument, and its choices where the text ends in them."""
    found = re.search(r"\(choices:\s*(.*?)\)\s*$", text, re.IGNORECASE)
    if found is None:
        return {"description": text}
    try:
        choices = json.loads(found[1])
    except ValueError as error:
        raise DocstringParsingException(
            f"{where}: its choices are not JSON: {found[1][:80]} ({error})", name=name
        ) from error
    if not isinstance(choices, list):
        raise DocstringParsingException(f"{where}: its choices must be a JSON list, found {found[1][:80]}", name=name)
    enum = [choice.strip() if isinstance(choice, str) else choice for choice in choices]
    return {"enum": enum, "description": text[: found.start()].strip()}
