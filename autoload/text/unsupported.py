"""Tokenizer classes that are not here, and what to do instead."""

from __future__ import annotations

from autoload.errors import TokenizerError

PACKAGES = {
    "CpmAntTokenizer": "rjieba",
    "CpmTokenizer": "jieba",
    "FSMTTokenizer": "sacremoses",
    "FlaubertTokenizer": "sacremoses",
    "RoFormerTokenizer": "rjieba",
    "XLMTokenizer": "sacremoses",
}
OTHERS = {
    "ClvpTokenizer": "it writes numbers out in English before it splits",
    "MyT5Tokenizer": "it rewrites bytes by language",
    "RagTokenizer": "it is two tokenizers: load them with subfolder='question_encoder_tokenizer' and "
    "subfolder='generator_tokenizer'",
}


def refusal(name: str, where: str) -> TokenizerError | None:
    """The error for a class that is known and not supported; None for other names."""
    name = name.removesuffix("Fast")
    if name in PACKAGES:
        why = f"it needs the package `{PACKAGES[name]}`"
    elif name in OTHERS:
        why = OTHERS[name]
    else:
        return None
    return TokenizerError(f"{where}: the tokenizer class {name} is not supported: {why}.", field="tokenizer_class")
