"""AutoFeatureExtractor: from the name of a repository to its feature extractor."""

from __future__ import annotations

import importlib
import os
from typing import Any

from autoload.audio.extractor import SequenceFeatureExtractor, open_for, read_settings
from autoload.errors import ArgumentError, AudioError, RemoteCodeRefused, did_you_mean
from autoload.hub import Files

CLASSES = {  # class -> file of this folder
    "ASTFeatureExtractor": "kaldi",
    "ClapFeatureExtractor": "clap",
    "Gemma4AudioFeatureExtractor": "gemma4",
    "CohereAsrFeatureExtractor": "conformer",
    "GraniteSpeech5FeatureExtractor": "conformer",
    "LasrFeatureExtractor": "conformer",
    "NemotronAsrStreamingFeatureExtractor": "nemotron",
    "ParakeetFeatureExtractor": "whisper",
    "SeamlessM4TFeatureExtractor": "kaldi",
    "Speech2TextFeatureExtractor": "kaldi",
    "Wav2Vec2FeatureExtractor": "waves",
    "WhisperFeatureExtractor": "whisper",
}
CLASS_OF_TYPE = {  # of models whose files do not name the class
    "audio-spectrogram-transformer": "ASTFeatureExtractor",
    "clap": "ClapFeatureExtractor",
    **dict.fromkeys(("embedding_gemma2", "gemma4"), "Gemma4AudioFeatureExtractor"),
    "cohere_asr": "CohereAsrFeatureExtractor",
    **dict.fromkeys(("granite_speech5_ctc", "granite_speech5_encoder"), "GraniteSpeech5FeatureExtractor"),
    **dict.fromkeys(("lasr_ctc", "lasr_encoder"), "LasrFeatureExtractor"),
    **dict.fromkeys(
        ("parakeet_ctc", "parakeet_encoder", "parakeet_rnnt", "parakeet_tdt", "canary"), "ParakeetFeatureExtractor"
    ),
    **dict.fromkeys(
        ("nemo_speechlm", "nemotron3_5_asr", "nemotron3_diarization", "nemotron_asr_streaming",
         "nemotron_asr_streaming_encoder"),
        "NemotronAsrStreamingFeatureExtractor",
    ),
    **dict.fromkeys(("seamless_m4t", "seamless_m4t_v2"), "SeamlessM4TFeatureExtractor"),
    "speech_to_text": "Speech2TextFeatureExtractor",
    **dict.fromkeys(
        ("data2vec-audio", "hubert", "moonshine", "sew", "sew-d", "unispeech", "unispeech-sat", "wav2vec2",
         "wav2vec2-bert", "wav2vec2-conformer", "wavlm"),
        "Wav2Vec2FeatureExtractor",
    ),
    **dict.fromkeys(
        ("audioflamingo3", "glmasr", "qwen2_5_omni", "qwen2_audio", "qwen3_omni_moe", "voxtral", "whisper"),
        "WhisperFeatureExtractor",
    ),
}  # fmt: skip
_registered: dict[type, type] = {}


class AutoFeatureExtractor:
    """Finds the feature extractor of a repository; never an object itself."""

    def __init__(self) -> None:
        text = "AutoFeatureExtractor makes no objects itself: call AutoFeatureExtractor.from_pretrained(name)."
        raise ArgumentError(text, name="AutoFeatureExtractor")

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike, **settings: Any
    ) -> SequenceFeatureExtractor:
        """The feature extractor of a directory or of a Hub repository.

        Args:
            pretrained_model_name_or_path: a directory, or the name of a repository.
            config: a model configuration that says which class to take, where the files do not name it.
            revision, subfolder, cache_dir, token, force_download, local_files_only: as for models.
            settings: settings of the extractor; they win over the file's.

        Raises:
            MissingFile: no file that says what the extractor does.
            AudioError: a class that is not known, or none named.
            RemoteCodeRefused: only code of the repository could load it.
            ArgumentError: an unknown keyword.
        """
        config, trust = settings.pop("config", None), settings.pop("trust_remote_code", None)
        files = open_for(pretrained_model_name_or_path, settings)
        if trust:
            text = f"{files.where}: code from repositories never runs here; leave trust_remote_code out."
            raise RemoteCodeRefused(text, where=files.where)
        found = read_settings(files)
        return choose(files, found, config).from_dict(found, **settings)

    @staticmethod
    def register(config_class: type, feature_extractor_class: type, exist_ok: bool = False) -> None:
        """Use an extractor's class for the models of a configuration class.

        Raises:
            AudioError: the configuration class has one already, and `exist_ok` is False.
        """
        if _registered.get(config_class, feature_extractor_class) is not feature_extractor_class and not exist_ok:
            name = _registered[config_class].__name__
            text = f"{config_class.__name__} is registered with {name} already; pass exist_ok=True to replace it."
            raise AudioError(text, field="config_class")
        _registered[config_class] = feature_extractor_class


def choose(files: Files, found: dict[str, Any], config: Any) -> Any:
    """The class of a repository's extractor."""
    name = found.get("feature_extractor_type")
    own = [cls for cls in _registered.values() if cls.__name__ == name]
    if own:
        return own[0]
    if isinstance(name, str) and name in CLASSES:
        return feature_extractor_class(name)
    fields = config if config is not None else files.json("config.json") or {}
    model_type = fields.get("model_type") if isinstance(fields, dict) else getattr(fields, "model_type", None)
    if isinstance(name, str):
        if found.get("auto_map"):
            text = f"{files.where}: its feature extractor is the class {name} of its own code, which never runs here."
            raise RemoteCodeRefused(text, where=files.where, auto_map=found["auto_map"])
        text = f"{files.where}: feature_extractor_type is {name!r}, which is none of the extractors of sounds here"
        raise AudioError(f"{text}{did_you_mean(name, CLASSES)}: {', '.join(CLASSES)}.", field="feature_extractor_type")
    for key, cls in _registered.items():
        if model_type and getattr(key, "model_type", None) == model_type:
            return cls
    if model_type in CLASS_OF_TYPE:
        return feature_extractor_class(CLASS_OF_TYPE[model_type])
    text = f"{files.where}: neither feature_extractor_type nor the model type {model_type!r} says which class to take"
    raise AudioError(f"{text}, expected one of {', '.join(CLASSES)}. Add the field.", field="feature_extractor_type")


def feature_extractor_class(name: str) -> Any:
    """The class of that name, or None."""
    if name not in CLASSES:
        return None
    return getattr(importlib.import_module(f"autoload.audio.{CLASSES[name]}"), name)
