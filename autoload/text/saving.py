"""`save_pretrained`: files that this library, the reference and converters for other engines read."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Tokenizer

from autoload.errors import TokenizerError
from autoload.text.specials import reject_unknown

if TYPE_CHECKING:
    from pathlib import Path

    from autoload.commit import Content

UPLOAD = ("token", "private", "commit_message", "commit_description", "revision", "create_pr")
MOST_IDS = 1 << 24
FLAGS = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")


class Saving:
    """Saving and uploading of a tokenizer."""

    _kept: dict[str, bytes] = {}  # vocabulary files as they were read, for programs that read these alone

    def save_pretrained(
        self: Any,
        save_directory: str | os.PathLike,
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
        push_to_hub: bool = False,
        **hub: Any,
    ) -> tuple[str, ...]:
        """Write the tokenizer into a directory, which is made where it is missing. All its files are replaced as one.

        Args:
            save_directory: the directory.
            legacy_format: accepted for older callers; the files are the same.
            filename_prefix: put before each name, with a hyphen.
            push_to_hub: upload the directory afterwards; `repo_id`, `token` and others go with it.

        Returns:
            Paths of the files.

        Raises:
            FileError: `save_directory` is a file, or cannot be written.
        """
        from autoload.commit import output_directory, replace

        contents = self.saved_files(f"{filename_prefix}-" if filename_prefix else "")
        folder = output_directory(save_directory)
        replace(folder, contents, [] if filename_prefix else outdated(folder))
        paths = tuple(os.path.join(folder, name) for name in contents)
        if push_to_hub:
            upload(str(folder), hub.pop("repo_id", None) or os.path.basename(os.path.abspath(folder)), hub)
        return paths

    def saved_files(self: Any, prefix: str = "") -> dict[str, Content]:
        """The files that `save_pretrained` writes, by name; `prefix` comes before the names."""
        contents: dict[str, Content] = {
            f"{prefix}tokenizer_config.json": _dump(self._saved_config()),
            f"{prefix}special_tokens_map.json": _dump(saved_names(self)),
            **_templates(self.chat_template),
        }
        return contents | {prefix + name: text for name, text in self._saved_vocabulary().items()}

    def push_to_hub(self: Any, repo_id: str, **hub: Any) -> Any:
        """Upload the tokenizer to a repository of the Hub, which is made where it is missing."""
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return upload(folder, repo_id, hub)

    def save_vocabulary(self: Any, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write the vocabulary alone."""
        from autoload.commit import output_directory, replace

        prefix = f"{filename_prefix}-" if filename_prefix else ""
        contents = {prefix + name: text for name, text in self._saved_vocabulary().items()}
        folder = output_directory(save_directory)
        replace(folder, contents)
        return tuple(os.path.join(folder, name) for name in contents)

    def _saved_vocabulary(self: Any) -> dict[str, str | bytes]:
        """File name -> content of the vocabulary."""
        return {"tokenizer.json": written(self._rust).to_str(pretty=True), **self._kept}

    def _saved_config(self: Any) -> dict[str, Any]:
        """What tokenizer_config.json gets."""
        config = {key: value for key, value in self.init_kwargs.items() if _plain(value)}
        config.update(self._named)
        for name in ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"):
            if name not in self._named:
                config.pop(name, None)
                if name in self.recipe.tokens:  # an explicit null keeps the class's default away
                    config[name] = None
        config["added_tokens_decoder"] = {
            str(index): {flag: getattr(token, flag) for flag in FLAGS if flag != "__type"}
            for index, token in self.added_tokens_decoder.items()
        }
        if self._extra:
            config["extra_special_tokens"] = self._extra
        config["model_max_length"] = self.model_max_length
        config["clean_up_tokenization_spaces"] = self.clean_up_tokenization_spaces
        for side in ("padding_side", "truncation_side"):
            if side in config or getattr(self, side) != getattr(type(self), side):
                config[side] = getattr(self, side)
        config["tokenizer_class"] = type(self).__name__
        return dict(sorted(config.items()))


def saved_names(tokenizer: Any) -> dict[str, Any]:
    """What special_tokens_map.json gets: named tokens with their flags, and the extra ones."""
    known = {token.content: token for token in tokenizer.added_tokens_decoder.values()}
    names: dict[str, Any] = {name: _flags(known.get(text, text)) for name, text in tokenizer._named.items()}
    if tokenizer._extra:
        names["additional_special_tokens"] = [_flags(known.get(text, text)) for text in tokenizer._extra]
    return names


def _flags(token: Any) -> Any:
    if not isinstance(token, AddedToken):
        return token
    return {flag: getattr(token, flag) for flag in FLAGS if flag != "special"}


def written(rust: Tokenizer) -> Tokenizer:
    """The pipeline, fit to be written: that takes memory for every number up to the largest id.

    Raises:
        TokenizerError: an id is out of all proportion.
    """
    vocab = rust.get_vocab(with_added_tokens=False)
    largest = max(vocab, key=vocab.__getitem__, default=None)
    if largest is not None and vocab[largest] >= MOST_IDS:
        text = f"model.vocab[{largest!r}] is {vocab[largest]}, expected an id below {MOST_IDS} in what is to be copied or saved."
        raise TokenizerError(f"{text} Correct the vocabulary.", field="model.vocab")
    return rust


def outdated(folder: Path) -> list[str]:
    """Files of an earlier save that a tokenizer without them must not find there."""
    extra = [f"additional_chat_templates/{path.name}" for path in folder.glob("additional_chat_templates/*.jinja")]
    return ["tokenizer.json", "added_tokens.json", "chat_template.jinja", *extra]


def _dump(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _plain(value: Any) -> bool:
    """Whether JSON can hold it."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _templates(template: Any) -> dict[str, str]:
    """Files of the chat templates."""
    if template is None:
        return {}
    if isinstance(template, str):
        return {"chat_template.jinja": template}
    files = {f"additional_chat_templates/{name}.jinja": text for name, text in template.items() if name != "default"}
    return {**({"chat_template.jinja": template["default"]} if "default" in template else {}), **files}


def upload(folder: str, repo_id: str, hub: dict[str, Any]) -> Any:
    from huggingface_hub import HfApi

    from autoload.repository import forget

    reject_unknown("push_to_hub", {key: value for key, value in hub.items() if key not in UPLOAD}, UPLOAD)
    api = HfApi(token=hub.get("token"))
    repo = api.create_repo(repo_id, private=hub.get("private"), exist_ok=True).repo_id
    forget(repo)
    return api.upload_folder(
        repo_id=repo,
        folder_path=folder,
        commit_message=hub.get("commit_message") or "Upload tokenizer",
        commit_description=hub.get("commit_description"),
        revision=hub.get("revision"),
        create_pr=hub.get("create_pr", False),
    )
