"""The settings that tokenizers know, and what values they can have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from autoload.errors import ConfigError, unknown_argument
from autoload.text.specials import NAMES, content

FLAG = "true or false"
TEXT = "a text"
COUNT = "a whole number, 0 or more"

# setting -> what it has to be; null stands for "not set" everywhere
KINDS = {
    "model_max_length": "a number above 0",
    "max_len": "a number above 0",
    "padding_side": "'right' or 'left'",
    "truncation_side": "'right' or 'left'",
    "extra_special_tokens": "a list of tokens, or an object of name -> token",
    "additional_special_tokens": "a list of tokens",
    "model_input_names": "a list of names",
    **dict.fromkeys(
        (
            "add_bos_token add_eos_token add_prefix_space clean_up_tokenization_spaces do_lower_case do_upper_case "
            "fix_mistral_regex keep_accents legacy legacy_behaviour predict_timestamps remove_space separate_vocabs split_by_punct "
            "split_special_tokens strip_accents tokenize_chinese_chars trim_offsets"
        ).split(),
        FLAG,
    ),
    **dict.fromkeys(
        "language_codes language replace_word_delimiter_char source_lang src_lang target_lang task tgt_lang "
        "tokenizer_class wordpieces_prefix".split(),
        TEXT,
    ),
    **dict.fromkeys("extra_ids num_madeup_words offset pad_token_type_id".split(), COUNT),
}
# keywords that are taken before settings are, for suggestions
LOADING = ("use_fast", "config", "tokenizer_type", "trust_remote_code", "subfolder", "revision", "cache_dir",
           "force_download", "local_files_only", "token", "proxies", "code_revision")  # fmt: skip
# settings that are read elsewhere, or kept for a save and otherwise without effect
OTHERS = (
    "chat_template cls_token_box entity_token_1 entity_token_2 max_entity_length max_mention_length clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output "
    "do_basic_tokenize errors from_slow lang_codes max_length mistral_format model_specific_special_tokens name_or_path "
    "never_split normalization only_label_first_subword pad_token_box pad_token_label processor_class "
    "response_schema response_template return_token_type_ids sep_token_box sp_model_kwargs "
    "spaces_between_special_tokens truncation padding unk_id use_default_system_prompt verbose vocab_type"
).split()


def check(settings: dict[str, Any], where: str) -> None:
    """Refuse values that cannot be meant, naming the field and the file.

    Raises:
        ConfigError: there is one.
    """
    for key, value in settings.items():
        if value is None:
            continue
        if key in NAMES and content(value) is None:
            raise ConfigError(key, value, "a text, or an object with `content`", where=where)
        expected = KINDS.get(key)
        if expected is not None and not TESTS.get(expected, TESTS[KINDS["extra_special_tokens"]])(value):
            raise ConfigError(key, value, expected, where=where)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _tokens(value: Any) -> bool:
    return isinstance(value, (list, tuple, dict)) and all(
        content(token) is not None for token in (value.values() if isinstance(value, dict) else value)
    )


TESTS: dict[str, Callable[[Any], bool]] = {
    "a number above 0": _number,
    "'right' or 'left'": lambda value: value in ("right", "left"),
    FLAG: lambda value: isinstance(value, bool),
    TEXT: lambda value: isinstance(value, str),
    COUNT: lambda value: type(value) is int and value >= 0,
    KINDS["extra_special_tokens"]: _tokens,
    KINDS["additional_special_tokens"]: lambda value: isinstance(value, (list, tuple)) and _tokens(value),
}


def reject_unknown(function: str, given: Iterable[str], config: Iterable[str], defaults: Iterable[str]) -> None:
    """Refuse keywords that are no setting of any tokenizer.

    Args:
        given: keywords of the caller.
        config: settings that the repository has, which a caller may change.
        defaults: settings of the tokenizer's class.

    Raises:
        ArgumentError: there is one; it names the nearest setting.
    """
    known = {*KINDS, *OTHERS, *NAMES, *config, *defaults}
    for key in given:
        if key not in known and not key.endswith(("_token", "_tokens")):
            raise unknown_argument(function, key, {*known, *LOADING})
