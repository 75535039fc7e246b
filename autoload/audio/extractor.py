"""What all feature extractors can do: reading, saving, padding."""

from __future__ import annotations

import copy
import inspect
import json
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from autoload.audio.batch import BatchFeature
from autoload.audio.sound import waveforms
from autoload.bridge import Anchor, stands_for
from autoload.errors import (
    UNFORESEEN,
    ArgumentError,
    AudioError,
    AutoloadError,
    ConfigError,
    CorruptFile,
    unknown_argument,
)
from autoload.hub import Files, open_files

if TYPE_CHECKING:
    from typing_extensions import Self

    from autoload.commit import Content

Array = NDArray[Any]
FILE = "preprocessor_config.json"
MOST = 2**26  # of any size
# What the sizes of tables and of padded sounds multiply to.
PRODUCTS = {
    ("n_fft", "feature_size"): 2**25,
    ("n_fft", "num_mel_bins"): 2**25,
    ("fft_window_size", "feature_size"): 2**25,
    ("max_length", "num_mel_bins"): 2**25,
    ("chunk_length", "sampling_rate"): 2**26,
    ("max_length_s", "sampling_rate"): 2**26,
}
PIECE = 2**12  # samples that are summed in single precision
ONES = np.ones(PIECE, np.float32)
HUB = ("subfolder", "revision", "cache_dir", "force_download", "local_files_only", "lock", "token", "proxies")
WITHOUT_EFFECT = ("_from_auto", "code_revision", "use_fast", "trust_remote_code")
STRATEGIES = ("longest", "max_length", "do_not_pad")
# Keywords of other extractors and of tokenizers, which a processor or a pipeline may hand on; they mean nothing here.
FOREIGN = frozenset(
    ("add_special_tokens", "device", "do_normalize", "max_length", "padding", "padding_side", "pad_to_multiple_of",
     "return_attention_mask", "return_token_timestamps", "truncation", "padding_value", "text_kwargs", "audio_kwargs",
     "do_normalize_per_mel_bins", "common_kwargs", "is_split_into_words", "return_offsets_mapping", "return_length")
)  # fmt: skip


@stands_for("transformers.feature_extraction_sequence_utils")
class SequenceFeatureExtractor(Anchor):
    """Makes a model's inputs from sounds; its attributes are the settings that files hold."""

    model_input_names: ClassVar[list[str]] = ["input_values", "attention_mask"]
    tables: ClassVar[tuple[str, ...]] = ("mel_filters", "window")  # computed, and not saved
    __call__: Callable[..., BatchFeature]  # features of sounds; each class has its own

    def __init__(self, feature_size: int, sampling_rate: int, padding_value: float = 0.0, **settings: Any):
        self.feature_size, self.sampling_rate, self.padding_value = feature_size, sampling_rate, padding_value
        self.padding_side = settings.pop("padding_side", "right")
        self.return_attention_mask = settings.pop("return_attention_mask", True)
        for name in ("feature_extractor_type", "processor_class", *self.tables):  # older files hold tables too
            settings.pop(name, None)
        self.__dict__.update(settings)
        for name in ("feature_size", "sampling_rate", "hop_length", "n_fft", "num_mel_bins"):
            if hasattr(self, name):
                _whole(name, getattr(self, name), 1)
        if self.padding_side not in ("left", "right"):
            raise ConfigError("padding_side", self.padding_side, "'left' or 'right'", where=FILE)

    # -- reading and saving

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **settings: Any) -> Self:
        """The extractor of a directory or Hub repository; takes the keywords of `AutoFeatureExtractor`."""
        files = open_for(pretrained_model_name_or_path, settings)
        return cls.from_dict(read_settings(files), **settings)

    @classmethod
    def from_dict(cls, feature_extractor_dict: Mapping[str, Any], **settings: Any) -> Any:
        """An extractor with the settings of a file, and others that win over them.

        Raises:
            ArgumentError: a setting that neither the file nor the class has.
            ConfigError: a setting that cannot be meant.
        """
        unused = settings.pop("return_unused_kwargs", False)
        known = {*feature_extractor_dict, *inspect.signature(cls.__init__).parameters, "padding_side"} - {"self"}
        left = {key: settings.pop(key) for key in [*settings] if key not in known}
        if left and not unused:
            raise unknown_argument(f"{cls.__name__}.from_pretrained", next(iter(left)), [*known, *HUB])
        fields = {**feature_extractor_dict, **settings}
        check(cls, fields)
        try:
            made = cls(**fields)
        except UNFORESEEN as e:
            if isinstance(e, AutoloadError):
                raise
            raise ConfigError.of(e, FILE, cls.__name__) from e
        return (made, left) if unused else made

    def to_dict(self) -> dict[str, Any]:
        """The settings, as files hold them."""
        own = {key: copy.deepcopy(value) for key, value in self.__dict__.items() if key not in self.tables}
        return {**own, "feature_extractor_type": type(self).__name__}

    def to_json_string(self) -> str:
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **hub: Any) -> list[str]:
        """Write preprocessor_config.json into a directory, which is made where it is missing.

        Raises:
            FileError: `save_directory` is a file, or cannot be written.
        """
        return save({FILE: self.to_json_string()}, save_directory, push_to_hub, hub)

    def push_to_hub(self, repo_id: str, **hub: Any) -> Any:
        """Upload to a repository of the Hub, which is made where it is missing."""
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, push_to_hub=True, repo_id=repo_id, **hub)

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"

    def _repr_html_(self) -> str:
        from autoload.notebook import card

        names = ("sampling_rate", "feature_size", "num_mel_bins", "chunk_length", "padding_side")
        facts = {name: getattr(self, name, None) for name in names}
        facts["inputs"] = ", ".join(self.model_input_names)
        return card(type(self).__name__, facts, self.to_json_string())

    # -- calls

    def sounds(self, raw_speech: Any, sampling_rate: int | None, resample: bool, foreign: Collection[str]) -> list[Any]:
        """The sounds of a call, each (samples,) in float32; `foreign` are keywords that the call does not know."""
        for name in foreign:
            if name not in FOREIGN:
                known = [*inspect.signature(type(self).__call__).parameters]
                raise unknown_argument(type(self).__name__, name, known)
        return waveforms(raw_speech, sampling_rate, self.sampling_rate, type(self).__name__, resample)

    def pad(
        self,
        processed_features: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        truncation: bool = False,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """Give the rows of a batch one length.

        Args:
            processed_features: name to rows, or a list of examples, as a collator has them.
            padding: True or "longest", "max_length", False or "do_not_pad".
            max_length: that length, and what rows are cut to with `truncation`.
            truncation: cut what is longer.
            pad_to_multiple_of: round the length up.
            return_attention_mask: 1 at what is real; None asks the extractor's setting.
            return_tensors: "np" or "pt"; None keeps the kind of the rows.

        Raises:
            AudioError: the input of the model is not there, or a length is needed and not given.
        """
        if isinstance(processed_features, (list, tuple)):
            names = processed_features[0].keys() if processed_features else ()
            processed_features = {key: [example[key] for example in processed_features] for key in names}
        name = self.model_input_names[0]
        if name not in processed_features:
            found = ", ".join(processed_features) or "nothing"
            raise AudioError(f"{type(self).__name__}.pad: expected {name}, found {found}.", field=name)
        columns: dict[str, Any] = {key: [*map(as_array, rows)] for key, rows in processed_features.items()}
        if return_tensors is None and len(columns[name]) and hasattr(processed_features[name][0], "detach"):
            return_tensors = "pt"
        masked = self.return_attention_mask if return_attention_mask is None else return_attention_mask
        lengths = (padding, max_length, truncation, pad_to_multiple_of)
        columns[name], counts = self.even(columns[name], *lengths)
        if "attention_mask" in columns and masked:
            columns["attention_mask"], _ = self.even(columns["attention_mask"], *lengths, fill=0)
        elif masked:
            columns["attention_mask"] = self.mask(columns[name], counts)
        strategy = self.strategy(padding, max_length)
        if strategy == "do_not_pad" and len({len(row) for row in columns[name]}) > 1:
            return BatchFeature(columns, return_tensors)
        return BatchFeature(columns, return_tensors or "np")

    def even(
        self,
        rows: list[Array],
        padding: bool | str,
        max_length: int | None,
        truncation: bool,
        multiple: int | None = None,
        fill: float | None = None,
    ) -> tuple[Any, list[int]]:
        """Rows of one length in a new array, (batch, length, ...), and how much of each is real.

        Without padding these are a list of new arrays. `fill` is `padding_value` where it is None.
        """
        strategy = self.strategy(padding, max_length)
        if truncation and max_length is None:
            raise AudioError("truncation=True needs max_length.", field="max_length")
        if max_length is not None and multiple:
            max_length = -(-max_length // multiple) * multiple
        if truncation:
            rows = [row[:max_length] for row in rows]
        counts = [*map(len, rows)]
        if strategy == "do_not_pad" or not rows:
            return [row.copy() for row in rows], counts
        longest = max(counts)
        if strategy == "longest":
            length = -(-longest // multiple) * multiple if multiple else longest
        else:
            length = max(longest, max_length or 0)
        dtype = np.float32 if rows[0].dtype == np.float64 else rows[0].dtype
        out = np.empty((len(rows), length, *rows[0].shape[1:]), dtype)
        for place, row, (start, end) in zip(out, rows, self._places(counts, length), strict=True):
            place[start:end] = row
            place[:start] = place[end:] = self.padding_value if fill is None else fill
        return out, counts

    def mask(self, rows: Any, counts: list[int]) -> Any:
        """1 at what is real of rows that `even` gave, (batch, length); a list where these are one."""
        if isinstance(rows, list):
            return [np.ones(count, np.int32) for count in counts]
        out = np.zeros(rows.shape[:2], np.int32)
        for i, (start, end) in enumerate(self._places(counts, rows.shape[1])):
            out[i, start:end] = 1
        return out

    def _places(self, counts: list[int], length: int) -> list[tuple[int, int]]:
        """Where in a padded row what is real begins and ends."""
        if self.padding_side == "left":
            return [(length - count, length) for count in counts]
        return [(0, count) for count in counts]

    def strategy(self, padding: Any, max_length: int | None) -> str:
        """One of `STRATEGIES`, from what a caller says."""
        padding = getattr(padding, "value", padding)
        named = {True: "longest", False: "do_not_pad", None: "do_not_pad"}.get(padding, padding)
        if named not in STRATEGIES:
            raise ArgumentError(
                f"padding={padding!r}: expected True, False or one of {', '.join(STRATEGIES)}.", name="padding"
            )
        if named == "max_length" and max_length is None:
            raise AudioError("padding='max_length' needs max_length.", field="max_length")
        return named


def as_array(row: Any) -> Array:
    """A row as an array; tensors from wherever they are."""
    return row.detach().cpu().numpy() if hasattr(row, "detach") else np.asarray(row)


def normalise(rows: Any, counts: list[int] | None = None, fill: float = 0.0) -> None:
    """Give each row mean 0 and variance 1, in place; where counts are given these count what is real, the rest is `fill`."""
    for i, row in enumerate(rows):
        real = row if counts is None else row[: counts[i]]
        mean, square = _mean(real, ONES), _mean(real, real)
        if mean * mean > square - mean * mean:  # little would be left of their difference
            real -= np.float32(mean)
            mean, square = 0.0, _mean(real, real)
        scale = 1 / math.sqrt(square - mean * mean + 1e-7)
        real *= np.float32(scale)
        real -= np.float32(mean * scale)
        row[len(real) :] = fill


def _mean(a: Array, b: Array) -> float:
    """The mean of products; single precision holds sums of a piece, double those of the pieces."""
    whole = len(a) - len(a) % PIECE
    rows = a[:whole].reshape(-1, 1, PIECE)
    columns = b.reshape(1, PIECE, 1) if b is ONES else b[:whole].reshape(-1, PIECE, 1)
    total = np.matmul(rows, columns).sum(dtype=np.float64)
    last = a[whole:]
    return (float(total) + float(np.dot(last, b[: len(last)] if b is ONES else b[whole:]))) / max(len(a), 1)


def open_for(name: str | os.PathLike, settings: dict[str, Any]) -> Files:
    """The files of a repository; takes the Hub's keywords out of `settings`."""
    hub = {key: settings.pop(key) for key in HUB if key in settings}
    for key in WITHOUT_EFFECT:
        settings.pop(key, None)
    return open_files(name, **{key: value for key, value in hub.items() if value is not None})


def check(cls: type, fields: Mapping[str, Any]) -> None:
    """Refuse settings that an extractor cannot have, before tables of their size are made.

    Raises:
        ConfigError: one of them.
    """
    for name, parameter in inspect.signature(cls.__init__).parameters.items():  # type: ignore[misc]
        value, default = fields.get(name, parameter.default), parameter.default
        if name not in fields or default is parameter.empty or default is None or value == default:
            continue
        if isinstance(default, bool):
            if not isinstance(value, bool):
                raise ConfigError(name, value, "true or false", where=FILE)
        elif isinstance(default, int) and "float" not in str(parameter.annotation):
            if value is not None or "None" not in str(parameter.annotation):
                _whole(name, value, min(default, 1))
        elif isinstance(default, (int, float)):
            if value is None and "None" in str(parameter.annotation):
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ConfigError(name, value, "a finite number", where=FILE)
        elif isinstance(default, str) and not isinstance(value, str):
            raise ConfigError(name, value, "a text", where=FILE)
    for names, most in PRODUCTS.items():
        present = {name: fields[name] for name in names if type(fields.get(name)) is int}
        if math.prod(present.values()) > most:
            raise ConfigError(" * ".join(present), math.prod(present.values()), f"at most {most}", where=FILE)


def _whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MOST:
        expected = "a positive whole number" if least == 1 else f"a whole number from {least}"
        raise ConfigError(name, value, f"{expected}, at most {MOST}", where=FILE)


def read_settings(files: Files) -> dict[str, Any]:
    """What a repository says of its feature extractor.

    Raises:
        MissingFile: none of the files that could.
        CorruptFile: such a file holds no object.
    """
    of_processor = files.json("processor_config.json")
    for key in ("feature_extractor", "audio_processor"):
        if isinstance(of_processor, dict) and isinstance(of_processor.get(key), dict):
            files.confirm()
            return of_processor[key]
    path = files.require(FILE, "the settings of the feature extractor")
    found = files.json(FILE)
    files.confirm()
    if not isinstance(found, dict):
        raise CorruptFile(f"{path}: expected a JSON object, found {type(found).__name__}.", path=str(path))
    return found


def save(
    contents: Mapping[str, Content],
    folder: str | os.PathLike,
    push: bool,
    hub: dict[str, Any],
    removed: Iterable[str] = (),
) -> list[str]:
    """Write files into a directory, all of them or none, and upload it if asked for; files that are `removed` go."""
    from autoload.commit import output_directory, replace

    folder = output_directory(folder)
    replace(folder, contents, removed)
    if push:
        from autoload.text.saving import upload

        name = hub.pop("repo_id", None) or os.path.basename(os.path.abspath(folder))
        upload(str(folder), name, {"commit_message": "Upload processor", **hub})
    return [os.path.join(folder, name) for name in contents]
