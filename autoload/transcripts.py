"""Processors of models that transcribe step by step: what they make of a text, and when each of its tokens was said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from autoload.errors import AudioError, ConfigError, did_you_mean
from autoload.processing import FILE, ProcessorMixin

# Numbers of the languages that Nemotron 3.5 is told, with their names.
LANGUAGES = (
    "en-US/en=0 en-GB/enGB=1 es-ES/esES=2 es-US/es=3 zh-CN/zh-ZH=4 zh-TW=5 hi-IN/hi/hi-HI=6 ar-AR/ar=7 fr-FR/fr=8 de- "
    "DE/de=9 ja-JP/ja-JA=10 ru-RU/ru=11 pt-BR=12 pt-PT/pt=13 ko-KR/ko/ko-KO=14 it-IT/it=15 nl-NL/nl=16 pl-PL/pl=17 "
    "tr-TR/tr=18 uk-UA/uk=19 ro-RO/ro=20 el-GR/el=21 cs-CZ/cs=22 hu-HU/hu=23 sv-SE/sv=24 da-DK/da=25 fi-FI/fi=26 no- "
    "NO/no=27 nb-NO/nb=103 nn-NO/nn=104 sk-SK/sk=28 hr-HR/hr=29 bg-BG/bg=30 lt-LT/lt=31 et-EE/et=60 lv-LV/lv=61 sl- "
    "SI/sl=62 th-TH=32 vi-VN=33 id-ID=34 ms-MY=35 bn-IN=36 ur-PK=37 fa-IR=38 ta-IN=39 te-IN=40 mr-IN=41 gu-IN=42 kn- "
    "IN=43 ml-IN=44 si-LK=45 ne-NP=46 km-KH=47 sw-KE=48 am-ET=49 ha-NG=50 zu-ZA=51 yo-NG=52 ig-NG=53 af-ZA=54 rw- "
    "RW=55 so-SO=56 ny-MW=57 ln-CD=58 or-KE=59 he-IL=64 ku-TR=65 az-AZ=66 ka-GE=67 hy-AM=68 uz-UZ=69 tg-TJ=70 ky- "
    "KG=71 qu-PE=80 ay-BO=81 gn-PY=82 nah-MX=83 mi-NZ=96 haw-US=97 sm-WS=98 to-TO=99 fr-CA=100 mt-MT=102 auto=101"
)
PUNCTUATION = frozenset("?'¡¿-:,%/.!")  # which has no length of its own where tokens have durations


class TransducerProcessor(ProcessorMixin):
    """With a text also gives what a transducer reads of it: a blank, and the text."""

    text_defaults: ClassVar[Mapping[str, Any]] = dict(
        padding=True, padding_side="right", add_special_tokens=False, return_tensors="pt"
    )
    audio_defaults: ClassVar[Mapping[str, Any]] = dict(return_attention_mask=True, return_tensors="pt")
    own_settings: ClassVar[tuple[str, ...]] = ("blank_token",)
    subsampling_factor: ClassVar[int] = 8  # frames of one vector
    blank_token = "<blank>"

    def __init__(self, feature_extractor: Any, tokenizer: Any, blank_token: str = "<blank>", chat_template: Any = None):
        super().__init__(feature_extractor, tokenizer, chat_template)
        self.blank_token, self.blank_token_id = blank_token, tokenizer.convert_tokens_to_ids(blank_token)

    def __call__(self, audio: Any = None, text: Any = None, sampling_rate: int | None = None, **keywords: Any) -> Any:
        """Inputs of the model: of sounds, and beside these of their texts, `labels` and `decoder_input_ids`.

        Args:
            audio: an array, list, tensor or file of one channel, or several of these.
            text: a text or several.
            sampling_rate: of the sounds, in hertz.
            **keywords: as of every processor.

        Raises:
            AudioError: a sound of another rate, or neither sounds nor texts.
        """
        rate = {} if audio is None else {"sampling_rate": sampling_rate}
        inputs = super().__call__(audio, text, **rate, **keywords)
        if audio is not None and text is not None:
            texts = [self.blank_token + one for one in ([text] if isinstance(text, str) else text)]
            inputs["decoder_input_ids"] = self.tokenizer(texts, **self.split(keywords)[1])["input_ids"]
        return inputs

    @property
    def merges(self) -> bool:
        """Whether equal tokens one after another are one."""
        return False

    @property
    def has_durations(self) -> bool:
        """Whether a token's duration says how long it was said; else it is one vector long."""
        return False

    @property
    def model_input_names(self) -> list[str]:
        return [*self.feature_extractor.model_input_names, "labels", "decoder_input_ids"]

    # -- decoding

    def batch_decode(self, *args: Any, **keywords: Any) -> Any:
        """Texts of a batch of ids."""
        return self.tokenizer.batch_decode(*args, **{"group_tokens": self.merges, **keywords})

    def decode(self, *args: Any, durations: Any = None, **keywords: Any) -> Any:
        """The text of ids, or texts of a batch.

        Args:
            *args: ids, as of the tokenizer's `decode`; (batch, steps) beside durations.
            durations: (batch, steps) from `generate`: also give, for each text, its tokens with `start` and `end` in
                seconds.
            **keywords: those of the tokenizer's `decode`.
        """
        texts = self.tokenizer.decode(*args, **{"group_tokens": self.merges, **keywords})
        if durations is None:
            return texts
        ids = args[0] if args else keywords["token_ids"]
        places = durations.cumsum(-1) - durations
        rows = zip(ids.tolist(), places.tolist(), durations.tolist(), strict=True)
        return texts, [self._times(*row) for row in rows]

    def _times(self, ids: list[int], places: list[int], durations: list[int]) -> list[dict[str, Any]]:
        """The pieces of a text and when they were said, in seconds."""
        from tokenizers.decoders import DecodeStream

        extractor, stream = self.feature_extractor, DecodeStream(skip_special_tokens=True)
        seconds = extractor.hop_length / extractor.sampling_rate * self.subsampling_factor
        found: list[dict[str, Any]] = []
        for token, place, duration in zip(ids, places, durations, strict=True):
            if token in (self.tokenizer.pad_token_id, self.blank_token_id):
                continue
            piece = stream.step(self.tokenizer._tokenizer, token)
            if piece is None:  # not all bytes of a character are there
                continue
            start, end = place * seconds, (place + (duration if self.has_durations else 1)) * seconds
            if self.has_durations and piece in PUNCTUATION and found:
                start = end = found[-1]["end"]
            found.append({"token": piece, "start": start, "end": end})
        return found


class ParakeetProcessor(TransducerProcessor):
    """Of Parakeet: `decoder_type` is "ctc", "rnnt" or "tdt"; without it the tokenizer's blank says which."""

    own_settings = ("blank_token", "decoder_type")

    def __init__(
        self,
        feature_extractor: Any,
        tokenizer: Any,
        blank_token: str = "<blank>",
        decoder_type: str | None = None,
        chat_template: Any = None,
    ):
        super().__init__(feature_extractor, tokenizer, blank_token, chat_template)
        if decoder_type not in (None, "ctc", "rnnt", "tdt"):
            raise ConfigError("decoder_type", decoder_type, "'ctc', 'rnnt', 'tdt' or null", where=FILE)
        self.decoder_type = decoder_type

    @property
    def kind(self) -> str:
        if self.decoder_type is not None:
            return self.decoder_type
        return "tdt" if self.blank_token in self.tokenizer.get_vocab() else "ctc"

    @property
    def merges(self) -> bool:
        return self.kind == "ctc"

    @property
    def has_durations(self) -> bool:
        return self.kind == "tdt"


class NemotronAsrStreamingProcessor(TransducerProcessor):
    """Of models that hear a stream; `num_lookahead_tokens`, how far they look ahead, sets the size of its pieces."""

    audio_defaults = {**TransducerProcessor.audio_defaults, "padding": "longest"}
    own_settings = ("blank_token", "supported_num_lookahead_tokens", "default_num_lookahead_tokens")

    def __init__(
        self,
        feature_extractor: Any,
        tokenizer: Any,
        blank_token: str = "<blank>",
        supported_num_lookahead_tokens: list[int] | None = None,
        default_num_lookahead_tokens: int | None = None,
        chat_template: Any = None,
    ):
        super().__init__(feature_extractor, tokenizer, blank_token, chat_template)
        supported = [13, 6, 1, 0] if supported_num_lookahead_tokens is None else supported_num_lookahead_tokens
        self.supported_num_lookahead_tokens = supported
        first = supported[0] if default_num_lookahead_tokens is None else default_num_lookahead_tokens
        self.default_num_lookahead_tokens = first

    def __call__(
        self,
        audio: Any = None,
        text: Any = None,
        sampling_rate: int | None = None,
        is_streaming: bool = False,
        is_first_audio_chunk: bool = True,
        **keywords: Any,
    ) -> Any:
        """Inputs of the model, with `num_lookahead_tokens`.

        Args:
            audio, text, sampling_rate: as of every transducer's processor.
            is_streaming: the sound is a piece of a stream.
            is_first_audio_chunk: it is the first one; the others begin before the time of their first frame.
            **keywords: as of every processor.

        Raises:
            AudioError: a later piece of what is no stream, or a sound of another rate.
        """
        check_piece(type(self).__name__, is_streaming, bool(is_first_audio_chunk), False)
        if audio is None:
            return super().__call__(audio, text, **keywords)
        keywords["center"] = bool(is_first_audio_chunk)
        inputs = super().__call__(audio, text, sampling_rate, **keywords)
        inputs["num_lookahead_tokens"] = self.default_num_lookahead_tokens
        return inputs

    def set_num_lookahead_tokens(self, num_lookahead_tokens: int) -> None:
        """Choose how far ahead the model looks.

        Raises:
            AudioError: it was not trained for that.
        """
        supported = self.supported_num_lookahead_tokens
        if num_lookahead_tokens not in supported:
            text = (
                f"num_lookahead_tokens is {num_lookahead_tokens!r}, expected one of {', '.join(map(str, supported))}."
            )
            raise AudioError(f"{type(self).__name__}: {text}", field="num_lookahead_tokens")
        self.default_num_lookahead_tokens = num_lookahead_tokens

    @property
    def frame_milliseconds(self) -> float:
        """Of one vector."""
        extractor = self.feature_extractor
        return self.subsampling_factor * extractor.hop_length / extractor.sampling_rate * 1000

    @property
    def streaming_latency_ms(self) -> int:
        """How long a sound waits for its piece to be full, in milliseconds."""
        return round((self.default_num_lookahead_tokens + 1) * self.frame_milliseconds)

    @property
    def supported_streaming_latencies_ms(self) -> dict[int, int]:
        """The same for each choice."""
        return {count: round((count + 1) * self.frame_milliseconds) for count in self.supported_num_lookahead_tokens}

    @property
    def num_mel_frames_first_audio_chunk(self) -> int:
        return self.subsampling_factor * self.default_num_lookahead_tokens + 1

    @property
    def num_mel_frames_per_audio_chunk(self) -> int:
        """Frames of each piece after the first."""
        return self.subsampling_factor * (self.default_num_lookahead_tokens + 1)

    @property
    def num_samples_first_audio_chunk(self) -> int:
        """Samples that the first piece's frames need."""
        extractor = self.feature_extractor
        return (self.num_mel_frames_first_audio_chunk - 1) * extractor.hop_length + extractor.win_length // 2

    @property
    def num_samples_per_audio_chunk(self) -> int:
        """Samples that a later piece's frames need."""
        extractor = self.feature_extractor
        return self.num_mel_frames_per_audio_chunk * extractor.hop_length + extractor.win_length


class Nemotron3_5AsrProcessor(NemotronAsrStreamingProcessor):
    """Also gives the number of the language; "auto" asks the model to find it out."""

    own_settings = (*NemotronAsrStreamingProcessor.own_settings, "prompt_dictionary", "num_prompts")

    def __init__(
        self,
        feature_extractor: Any,
        tokenizer: Any,
        blank_token: str = "<blank>",
        decoder_type: None = None,
        supported_num_lookahead_tokens: list[int] | None = None,
        default_num_lookahead_tokens: int | None = None,
        prompt_dictionary: dict[str, int] | None = None,
        num_prompts: int = 128,
        chat_template: Any = None,
    ):
        choices = supported_num_lookahead_tokens, default_num_lookahead_tokens
        super().__init__(feature_extractor, tokenizer, blank_token, *choices, chat_template)
        self.prompt_dictionary = languages() if prompt_dictionary is None else prompt_dictionary
        self.num_prompts = num_prompts

    def __call__(
        self,
        audio: Any = None,
        text: Any = None,
        sampling_rate: int | None = None,
        is_streaming: bool = False,
        is_first_audio_chunk: bool = True,
        language: str | list[str] = "auto",
        **keywords: Any,
    ) -> Any:
        """As in the base class, with `prompt_ids` (batch,) of the language, or of one for each sound."""
        inputs = super().__call__(audio, text, sampling_rate, is_streaming, is_first_audio_chunk, **keywords)
        if audio is not None:
            inputs["prompt_ids"] = self.prompts(language, len(inputs["input_features"]))
        return inputs

    def prompts(self, language: str | list[str], count: int) -> Any:
        """Numbers of languages as a tensor."""
        import torch

        names = [language] * count if isinstance(language, str) else list(language)
        if len(names) != count:
            text = f"language has {len(names)} entries, expected {count}, one for each sound"
            raise AudioError(f"{type(self).__name__}: {text}.", field="language")
        for name in names:
            if name not in self.prompt_dictionary:
                text = f"language {name!r} is not known{did_you_mean(name, self.prompt_dictionary)}"
                raise AudioError(f"{type(self).__name__}: {text}.", field="language")
        return torch.tensor([self.prompt_dictionary[name] for name in names])

    @property
    def model_input_names(self) -> list[str]:
        return [*super().model_input_names, "prompt_ids"]


def languages() -> dict[str, int]:
    """Names of languages, and the number that each is told by."""
    pairs = (entry.split("=") for entry in LANGUAGES.split())
    return {name: int(number) for names, number in pairs for name in names.split("/")}


def check_piece(owner: str, streams: bool, first: bool, last: bool) -> None:
    """Refuse the marks of a stream's pieces on what is none."""
    if not streams and (last or not first):
        text = (
            "is_first_audio_chunk=False and is_last_audio_chunk=True are of streams; pass is_streaming=True with them"
        )
        raise AudioError(f"{owner}: {text}.", field="is_streaming")
