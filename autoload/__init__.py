"""Load any model of the Hugging Face Hub from its name. Names are resolved on first use; importing this is cheap."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"
REFERENCE_VERSION = "5.23.0"  # the release of transformers whose files and behaviour this one matches

# Public name -> module that defines it. The Auto classes of models, and the concrete classes of each model type and
# tokenizer, follow from tables of their own.
_HOME: dict[str, str] = {
    **dict.fromkeys(("AutoConfig",), "autoload.auto"),
    **dict.fromkeys(("AutoTokenizer",), "autoload.text.auto"),
    **dict.fromkeys(("AutoFeatureExtractor",), "autoload.audio.auto"),
    **dict.fromkeys(("BatchFeature",), "autoload.audio.batch"),
    **dict.fromkeys(("SequenceFeatureExtractor",), "autoload.audio.extractor"),
    **dict.fromkeys(
        (
            "ASTFeatureExtractor",
            "SeamlessM4TFeatureExtractor",
            "Speech2TextFeatureExtractor",
        ),
        "autoload.audio.kaldi",
    ),
    **dict.fromkeys(("ClapFeatureExtractor",), "autoload.audio.clap"),
    **dict.fromkeys(("NemotronAsrStreamingFeatureExtractor",), "autoload.audio.nemotron"),
    **dict.fromkeys(("Gemma4AudioFeatureExtractor",), "autoload.audio.gemma4"),
    **dict.fromkeys(
        ("CohereAsrFeatureExtractor", "GraniteSpeech5FeatureExtractor", "LasrFeatureExtractor"),
        "autoload.audio.conformer",
    ),
    **dict.fromkeys(("Wav2Vec2FeatureExtractor",), "autoload.audio.waves"),
    **dict.fromkeys(("ParakeetFeatureExtractor", "WhisperFeatureExtractor"), "autoload.audio.whisper"),
    **dict.fromkeys(
        (
            "AutoProcessor",
            "ClapProcessor",
            "GraniteSpeech5Processor",
            "LasrProcessor",
            "MoonshineStreamingProcessor",
            "ProcessorMixin",
            "Speech2TextProcessor",
            "Wav2Vec2BertProcessor",
            "Wav2Vec2Processor",
            "WhisperProcessor",
        ),
        "autoload.processing",
    ),
    **dict.fromkeys(("Nemotron3DiarizationProcessor",), "autoload.diarization"),
    **dict.fromkeys(
        ("Nemotron3_5AsrProcessor", "NemotronAsrStreamingProcessor", "ParakeetProcessor"), "autoload.transcripts"
    ),
    **dict.fromkeys(("CanaryProcessor", "CohereAsrProcessor"), "autoload.speech_prompts"),
    **dict.fromkeys(("AutoModelForSentenceEmbedding",), "autoload.sentence"),
    **dict.fromkeys(("PreTrainedTokenizerBase",), "autoload.text.base"),
    **dict.fromkeys(("PreTrainedTokenizer",), "autoload.text.python"),
    **dict.fromkeys(("PreTrainedTokenizerFast",), "autoload.text.fast"),
    **dict.fromkeys(("BatchEncoding", "CharSpan"), "autoload.text.encoding"),
    **dict.fromkeys(("PreTrainedConfig", "PretrainedConfig"), "autoload.config"),
    **dict.fromkeys(("PreTrainedModel",), "autoload.model"),
    **dict.fromkeys(("ModelOutput",), "autoload.outputs"),
    **dict.fromkeys(
        ("Cache", "DynamicCache", "StaticCache", "QuantizedCache", "EncoderDecoderCache"), "autoload.layers.cache"
    ),
    **dict.fromkeys(("DecisionConfig",), "autoload.decision"),
    **dict.fromkeys(("GenerationConfig",), "autoload.generation.configuration"),
    **dict.fromkeys(("CompileConfig",), "autoload.generation.watermarks"),
    **dict.fromkeys(("WatermarkingConfig", "SynthIDTextWatermarkingConfig"), "autoload.generation.watermarks"),
    **dict.fromkeys(("GenerationMixin",), "autoload.generation.generate"),
    **dict.fromkeys(
        (
            "LogitsProcessor",
            "LogitNormalization",
            "LogitsProcessorList",
            "MinLengthLogitsProcessor",
            "NoBadWordsLogitsProcessor",
            "InfNanRemoveLogitsProcessor",
            "SequenceBiasLogitsProcessor",
            "NoRepeatNGramLogitsProcessor",
            "ExponentialDecayLengthPenalty",
            "ForcedBOSTokenLogitsProcessor",
            "ForcedEOSTokenLogitsProcessor",
            "SuppressTokensLogitsProcessor",
            "PrefixConstrainedLogitsProcessor",
            "RepetitionPenaltyLogitsProcessor",
            "MinNewTokensLengthLogitsProcessor",
            "EncoderNoRepeatNGramLogitsProcessor",
            "SuppressTokensAtBeginLogitsProcessor",
            "EncoderRepetitionPenaltyLogitsProcessor",
        ),
        "autoload.generation.processors",
    ),
    **dict.fromkeys(
        (
            "EpsilonLogitsWarper",
            "EtaLogitsWarper",
            "MinPLogitsWarper",
            "TemperatureLogitsWarper",
            "TopHLogitsWarper",
            "TopKLogitsWarper",
            "TopPLogitsWarper",
            "TypicalLogitsWarper",
        ),
        "autoload.generation.warpers",
    ),
    **dict.fromkeys(
        ("ClassifierFreeGuidanceLogitsProcessor", "UnbatchedClassifierFreeGuidanceLogitsProcessor"),
        "autoload.generation.guidance",
    ),
    **dict.fromkeys(
        ("SynthIDTextWatermarkLogitsProcessor", "WatermarkLogitsProcessor"), "autoload.generation.watermarking"
    ),
    **dict.fromkeys(
        (
            "ConfidenceCriteria",
            "EosTokenCriteria",
            "MaxLengthCriteria",
            "MaxTimeCriteria",
            "StoppingCriteria",
            "StoppingCriteriaList",
        ),
        "autoload.generation.stopping",
    ),
    **dict.fromkeys(("WhisperTimeStampLogitsProcessor",), "autoload.generation.speech_rules"),
    **dict.fromkeys(("StopStringCriteria",), "autoload.generation.stop_strings"),
    **dict.fromkeys(
        ("AsyncTextIteratorStreamer", "BaseStreamer", "TextIteratorStreamer", "TextStreamer"),
        "autoload.generation.streamers",
    ),
    **dict.fromkeys(("register",), "autoload.registry"),
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name.startswith("Auto"):
        value = importlib.import_module("autoload.auto").AUTO_CLASSES.get(name)
    elif name.endswith(("Tokenizer", "TokenizerFast")):
        value = importlib.import_module("autoload.text.classes").tokenizer_class(name)
    elif name[:1].isupper():
        value = importlib.import_module("autoload.registry").find_name(name)
    else:
        value = None
    if value is None:
        raise AttributeError(f"module 'autoload' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    from autoload.auto import AUTO_CLASSES

    return sorted({*globals(), *_HOME, *AUTO_CLASSES})
