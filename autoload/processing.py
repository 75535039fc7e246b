"""Processors: a feature extractor and a tokenizer as one; and AutoProcessor, which finds those of a repository."""

from __future__ import annotations

import importlib
import inspect
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from autoload.audio.batch import BatchFeature
from autoload.audio.extractor import open_for, save
from autoload.bridge import Anchor, stands_for
from autoload.errors import ArgumentError, AudioError, CorruptFile, RemoteCodeRefused, unknown_argument
from autoload.hub import Files

if TYPE_CHECKING:
    from typing_extensions import Self

FILE = "processor_config.json"
GROUPS = ("text_kwargs", "audio_kwargs", "common_kwargs")
TEXT_FILES = ("tokenizer_config.json", "tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model",
              "sentencepiece.bpe.model")  # fmt: skip


@stands_for("transformers.processing_utils")
class ProcessorMixin(Anchor):
    """Hands sounds to a feature extractor and texts to a tokenizer.

    Args:
        feature_extractor: for sounds.
        tokenizer: for texts.
    """

    text_defaults: ClassVar[Mapping[str, Any]] = {}
    audio_defaults: ClassVar[Mapping[str, Any]] = {}
    own_settings: ClassVar[tuple[str, ...]] = ()  # that files hold beside the two
    reads_text: ClassVar[bool] = True
    text_becomes: ClassVar[str] = "labels"  # the name of a text's ids beside a sound

    def __init__(self, feature_extractor: Any, tokenizer: Any, chat_template: Any = None):
        self.feature_extractor, self.tokenizer, self.chat_template = feature_extractor, tokenizer, chat_template

    def __call__(self, audio: Any = None, text: Any = None, **keywords: Any) -> Any:
        """Inputs of the model from sounds, from texts, or from both: then the texts' ids are the labels.

        Args:
            audio: an array, list, tensor or file of one channel, or several of these.
            text: a text or several.
            **keywords: those of the feature extractor and of the tokenizer; what both know goes to both. Groups of
                them for one of the two are `audio_kwargs` and `text_kwargs`.

        Returns:
            A `BatchFeature`, or a `BatchEncoding` of texts alone.

        Raises:
            AudioError: neither sounds nor texts.
            ArgumentError: a keyword that neither of the two has.
        """
        if audio is None and text is None:
            raise AudioError(f"{type(self).__name__}: pass audio, text or both.", field="audio")
        for_audio, for_text = self.split(keywords)
        inputs = None if audio is None else self.feature_extractor(audio, **for_audio)
        if text is None:
            return inputs
        encoded = self.tokenizer(text, **for_text)
        return encoded if inputs is None else self.join(inputs, encoded)

    def join(self, inputs: Any, encoded: Any) -> Any:
        """Inputs from a sound and its text."""
        inputs[self.text_becomes] = encoded["input_ids"]
        return inputs

    def split(self, keywords: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The keywords of a call for the feature extractor, and for the tokenizer."""
        plain = {key: value for key, value in keywords.items() if key not in GROUPS}
        known_audio, known_text = _keywords(self.feature_extractor), _keywords(self.tokenizer)
        for name in plain:
            if name not in known_audio and name not in known_text:
                raise unknown_argument(type(self).__name__, name, known_audio | known_text | {*GROUPS})
        common = dict(keywords.get("common_kwargs") or {})
        for_audio = {k: v for k, v in {**common, **plain}.items() if k in known_audio}
        for_text = {k: v for k, v in {**common, **plain}.items() if k in known_text}
        audio_own, text_own = keywords.get("audio_kwargs") or {}, keywords.get("text_kwargs") or {}
        return {**self.audio_defaults, **for_audio, **audio_own}, {**self.text_defaults, **for_text, **text_own}

    @property
    def known_keywords(self) -> set[str]:
        """Names of the keywords that a call hands on to one of the two."""
        return {*GROUPS} | _keywords(self.feature_extractor) | _keywords(self.tokenizer)

    def pad(self, input_features: Any = None, labels: Any = None, **keywords: Any) -> Any:
        """Give examples one length, for collators: sounds by the feature extractor, ids by the tokenizer."""
        if input_features is None and labels is None:
            raise AudioError(f"{type(self).__name__}.pad: pass input_features, labels or both.", field="input_features")
        padded = None if input_features is None else self.feature_extractor.pad(input_features, **keywords)
        if labels is None:
            return padded
        ids = self.tokenizer.pad(labels, **keywords)
        if padded is None:
            return ids
        padded["labels"] = ids["input_ids"]
        return padded

    def batch_decode(self, *args: Any, **keywords: Any) -> Any:
        """The tokenizer's."""
        return self.tokenizer.batch_decode(*args, **keywords)

    def decode(self, *args: Any, **keywords: Any) -> Any:
        """The tokenizer's."""
        return self.tokenizer.decode(*args, **keywords)

    @property
    def model_input_names(self) -> list[str]:
        return [*self.feature_extractor.model_input_names, *self.tokenizer.model_input_names]

    # -- reading and saving

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **settings: Any) -> Self:
        """The processor of a directory or Hub repository; takes the keywords of `AutoProcessor.from_pretrained`."""
        from autoload.audio.auto import AutoFeatureExtractor
        from autoload.text.auto import AutoTokenizer

        files = open_for(pretrained_model_name_or_path, rest := dict(settings))
        hub = {key: value for key, value in settings.items() if key not in rest}
        config = rest.pop("config", None)
        found = _object(files, FILE)
        own = {key: rest.pop(key, found.get(key)) for key in cls.own_settings if key in rest or key in found}
        pair: Any = AutoFeatureExtractor.from_pretrained(
            pretrained_model_name_or_path, config=config, return_unused_kwargs=True, **hub, **rest
        )
        extractor, rest = pair
        if not cls.reads_text:
            if rest:
                raise unknown_argument(f"{cls.__name__}.from_pretrained", next(iter(rest)), cls.own_settings)
            return cls(extractor, **own)
        tokenizer = AutoTokenizer.from_pretrained(pretrained_model_name_or_path, config=config, **hub, **rest)
        processor = cls(extractor, tokenizer, **own)
        processor.chat_template = found.get("chat_template") or getattr(tokenizer, "chat_template", None)
        files.confirm()
        return processor

    def to_dict(self) -> dict[str, Any]:
        """The settings, as processor_config.json holds them."""
        own = {name: getattr(self, name) for name in self.own_settings}
        return {**own, "feature_extractor": self.feature_extractor.to_dict(), "processor_class": type(self).__name__}

    def to_json_string(self) -> str:
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **hub: Any) -> list[str]:
        """Write processor_config.json and the tokenizer's files into a directory, all of them or none.

        Raises:
            FileError: `save_directory` is a file, or cannot be written.
        """
        from autoload.commit import output_directory
        from autoload.text.saving import outdated

        contents, folder = {FILE: self.to_json_string()}, output_directory(save_directory)
        if not self.reads_text:
            return save(contents, folder, push_to_hub, hub)
        return save({**self.tokenizer.saved_files(), **contents}, folder, push_to_hub, hub, outdated(folder))

    def push_to_hub(self, repo_id: str, **hub: Any) -> Any:
        """Upload to a repository of the Hub, which is made where it is missing."""
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, push_to_hub=True, repo_id=repo_id, **hub)

    def __repr__(self) -> str:
        parts = "\n".join(f"- {name}: {getattr(self, name)!r}" for name in ("feature_extractor", "tokenizer"))
        return f"{type(self).__name__}:\n{parts}\n\n{self.to_json_string()}"

    def _repr_html_(self) -> str:
        from autoload.notebook import card

        parts = [part._repr_html_() for part in (self.feature_extractor, self.tokenizer) if part is not None]
        return card(type(self).__name__, {"inputs": ", ".join(self.model_input_names)}) + "".join(parts)


def _keywords(part: Any) -> set[str]:
    """Names of the keywords that a part's call takes; a class may leave them to its base."""
    calls = [vars(cls)["__call__"] for cls in type(part).__mro__ if "__call__" in vars(cls)]
    parameters = [p for call in calls for p in inspect.signature(call).parameters.values()]
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)} - {"self"}


class LabelProcessor(ProcessorMixin):
    """Of models that get nothing but labels from a text."""

    @property
    def model_input_names(self) -> list[str]:
        return [*self.feature_extractor.model_input_names, self.text_becomes]


class Wav2Vec2Processor(LabelProcessor):
    """Of CTC models that read the waveform."""


class Wav2Vec2BertProcessor(LabelProcessor):
    """Of CTC models that read filter banks."""


class GraniteSpeech5Processor(LabelProcessor):
    """Of Granite Speech's CTC models."""


class LasrProcessor(LabelProcessor):
    """Of LASR's CTC models. Unlike the reference's it keeps the mask of a sound that has a text: the loss needs it."""

    text_defaults: ClassVar[Mapping[str, Any]] = dict(
        padding=True, padding_side="right", add_special_tokens=False, return_tensors="pt"
    )
    audio_defaults: ClassVar[Mapping[str, Any]] = dict(
        padding="longest", return_attention_mask=True, return_tensors="pt"
    )


class MoonshineStreamingProcessor(LabelProcessor):
    """Of the streaming Moonshine, which reads whole frames."""

    text_defaults = {"return_tensors": "pt"}
    audio_defaults = {"pad_to_multiple_of": 80, "padding": True, "return_tensors": "pt"}


class Speech2TextProcessor(ProcessorMixin):
    """Of Speech2Text."""


class WhisperProcessor(ProcessorMixin):
    """Of Whisper: also what transcriptions begin with."""

    def get_decoder_prompt_ids(
        self, task: str | None = None, language: str | None = None, no_timestamps: bool = True
    ) -> list[tuple[int, int]]:
        """Position and id of each token that generation is forced to begin with, after the start token."""
        return self.tokenizer.get_decoder_prompt_ids(task=task, language=language, no_timestamps=no_timestamps)

    def get_prompt_ids(self, text: str, return_tensors: Any = "np") -> Any:
        """Ids of a text to put before a transcription, as its context."""
        return self.tokenizer.get_prompt_ids(text, return_tensors=return_tensors)


class ClapProcessor(ProcessorMixin):
    """Of models that compare a text and a sound: both are inputs."""

    def __call__(
        self, images: None = None, text: Any = None, videos: None = None, audio: Any = None, **keywords: Any
    ) -> Any:
        """As elsewhere; `images` and `videos` are only there for those who pass the text by its place."""
        if images is not None or videos is not None:
            raise ArgumentError("ClapProcessor: expected text and audio, found images or videos.", name="images")
        return super().__call__(audio, text, **keywords)

    def join(self, inputs: Any, encoded: Any) -> Any:
        return BatchFeature({**encoded, **inputs})


CLASSES: dict[str, type[ProcessorMixin]] = {
    cls.__name__: cls
    for cls in (
        *(ClapProcessor, GraniteSpeech5Processor, LasrProcessor, MoonshineStreamingProcessor, Speech2TextProcessor),
        *(Wav2Vec2BertProcessor, Wav2Vec2Processor, WhisperProcessor),
    )
}
ELSEWHERE = {  # class -> file, read when it is first asked for
    **dict.fromkeys(("CanaryProcessor", "CohereAsrProcessor"), "autoload.speech_prompts"),
    "Nemotron3DiarizationProcessor": "autoload.diarization",
    "Nemotron3_5AsrProcessor": "autoload.transcripts",
    "NemotronAsrStreamingProcessor": "autoload.transcripts",
    "ParakeetProcessor": "autoload.transcripts",
}
CLASS_OF_TYPE = {  # of models whose files do not name the class
    "canary": "CanaryProcessor",
    "clap": "ClapProcessor",
    "cohere_asr": "CohereAsrProcessor",
    "granite_speech5_ctc": "GraniteSpeech5Processor",
    **dict.fromkeys(("lasr_ctc", "lasr_encoder"), "LasrProcessor"),
    "moonshine_streaming": "MoonshineStreamingProcessor",
    "nemotron3_5_asr": "Nemotron3_5AsrProcessor",
    "nemotron3_diarization": "Nemotron3DiarizationProcessor",
    "nemotron_asr_streaming": "NemotronAsrStreamingProcessor",
    **dict.fromkeys(("parakeet_ctc", "parakeet_rnnt", "parakeet_tdt"), "ParakeetProcessor"),
    "speech_to_text": "Speech2TextProcessor",
    "wav2vec2-bert": "Wav2Vec2BertProcessor",
    "whisper": "WhisperProcessor",
    **dict.fromkeys(
        (
            "hubert",
            "moonshine",
            "sew",
            "sew-d",
            "unispeech",
            "unispeech-sat",
            "wav2vec2",
            "wav2vec2-conformer",
            "wavlm",
        ),
        "Wav2Vec2Processor",
    ),
}
_registered: dict[type, type] = {}


class AutoProcessor:
    """Finds the processor of a repository; never an object itself."""

    def __init__(self) -> None:
        raise ArgumentError(
            "AutoProcessor makes no objects itself: call AutoProcessor.from_pretrained(name).", name="AutoProcessor"
        )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **settings: Any) -> Any:
        """The processor of a directory or of a Hub repository.

        Args:
            pretrained_model_name_or_path: a directory, or the name of a repository.
            config: a model configuration that says which class to take, where the files do not name it.
            revision, subfolder, cache_dir, token, force_download, local_files_only: as for models.
            settings: settings of the feature extractor or of the tokenizer; they win over the files'.

        Returns:
            A processor; where the files are of one alone, the tokenizer, or else the feature extractor.

        Raises:
            MissingFile: no files of any of these.
            AudioError: a processor that is not known.
            RemoteCodeRefused: only code of the repository could load it.
        """
        trust = settings.pop("trust_remote_code", None)
        files = open_for(pretrained_model_name_or_path, dict(settings))
        if trust:
            text = f"{files.where}: code from repositories never runs here; leave trust_remote_code out."
            raise RemoteCodeRefused(text, where=files.where)
        chosen = choose(files, settings.get("config"))
        return chosen.from_pretrained(pretrained_model_name_or_path, **settings)

    @staticmethod
    def register(config_class: type, processor_class: type, exist_ok: bool = False) -> None:
        """Use a processor's class for the models of a configuration class.

        Raises:
            AudioError: the configuration class has one already, and `exist_ok` is False.
        """
        if _registered.get(config_class, processor_class) is not processor_class and not exist_ok:
            name = _registered[config_class].__name__
            text = f"{config_class.__name__} is registered with {name} already; pass exist_ok=True to replace it."
            raise AudioError(text, field="config_class")
        _registered[config_class] = processor_class


def choose(files: Files, config: Any) -> Any:
    """What loads the processor of a repository: a processor's class, or AutoTokenizer or AutoFeatureExtractor."""
    name, own_code = _declared(files)
    own = {cls.__name__: cls for cls in _registered.values()}
    if name in own:
        return own[name]
    if name in CLASSES or name in ELSEWHERE:
        return processor_class(name)
    fields = config if config is not None else _object(files, "config.json")
    model_type = fields.get("model_type") if isinstance(fields, dict) else getattr(fields, "model_type", None)
    for key, cls in _registered.items():
        if model_type and getattr(key, "model_type", None) == model_type:
            return cls
    if name is not None:
        if own_code:
            text = f"{files.where}: its processor is the class {name} of its own code, which never runs here."
            raise RemoteCodeRefused(text, where=files.where)
        text = f"{files.where}: processor_class is {name!r}, expected one of {', '.join([*CLASSES, *ELSEWHERE])}."
        raise AudioError(f"{text} AutoTokenizer and AutoFeatureExtractor load its parts.", field="processor_class")
    if model_type in CLASS_OF_TYPE:
        found = processor_class(CLASS_OF_TYPE[model_type])
        if not found.reads_text or any(files.find(name) is not None for name in TEXT_FILES):
            return found
    return _part_of(files)


def processor_class(name: str) -> Any:
    """The class of that name."""
    return CLASSES[name] if name in CLASSES else getattr(importlib.import_module(ELSEWHERE[name]), name)


def _part_of(files: Files) -> Any:
    """The Auto class of the one part that a repository has files of."""
    from autoload.audio.auto import AutoFeatureExtractor
    from autoload.text.auto import AutoTokenizer

    if any(files.find(name) is not None for name in TEXT_FILES):
        return AutoTokenizer
    if any(files.find(name) is not None for name in (FILE, "preprocessor_config.json")):
        return AutoFeatureExtractor
    raise files.missing([FILE, "preprocessor_config.json", "tokenizer_config.json"], "a processor, or a part of one")


def _declared(files: Files) -> tuple[str | None, bool]:
    """The name of the processor's class that the files declare, and whether they bring code for it."""
    for place in (FILE, "preprocessor_config.json", "tokenizer_config.json", "config.json"):
        found = _object(files, place)
        if isinstance(name := found.get("processor_class"), str):
            return name, "AutoProcessor" in (found.get("auto_map") or {})
    return None, False


def _object(files: Files, name: str) -> dict[str, Any]:
    found = files.json(name)
    if found is not None and not isinstance(found, dict):
        path = f"{files.where}/{name}"
        raise CorruptFile(f"{path}: expected a JSON object, found {type(found).__name__}.", path=path)
    return found or {}
