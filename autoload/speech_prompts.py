"""Processors of models whose texts begin with tokens that say what is asked for: the language, punctuation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from autoload.audio.batch import BatchFeature
from autoload.errors import ArgumentError, AudioError, did_you_mean
from autoload.processing import LabelProcessor

LANGUAGES = dict(
    bg="Bulgarian", hr="Croatian", cs="Czech", da="Danish", nl="Dutch", en="English", et="Estonian", fi="Finnish",
    fr="French", de="German", el="Greek", hu="Hungarian", it="Italian", lv="Latvian", lt="Lithuanian", mt="Maltese",
    pl="Polish", pt="Portuguese", ro="Romanian", sk="Slovak", sl="Slovenian", es="Spanish", sv="Swedish", ru="Russian",
    uk="Ukrainian",
)  # fmt: skip
COHERE_LANGUAGES = tuple("ar de el en es fr it ja ko nl pl pt vi zh".split())
UNSPACED = ("ja", "zh")  # languages without spaces between words
PROMPT = (
    "▁ <|startofcontext|> <|startoftranscript|> <|emo:undefined|> <|{0}|> <|{0}|> <|{1}|> <|noitn|> <|notimestamp|> "
    "<|nodiarize|>"
)


class CohereAsrProcessor(LabelProcessor):
    """Of Cohere's ASR, which is told the language of a sound."""

    text_defaults: ClassVar[Mapping[str, Any]] = dict(
        padding=True, padding_side="right", add_special_tokens=False, return_tensors="pt"
    )
    audio_defaults: ClassVar[Mapping[str, Any]] = dict(padding="longest", return_tensors="pt")

    def __call__(  # type: ignore[override]
        self,
        audio: Any,
        language: str,
        text: Any = None,
        punctuation: bool = True,
        sampling_rate: int | None = None,
        **keywords: Any,
    ) -> Any:
        """Inputs of the model, with `decoder_input_ids` that ask for a language.

        Args:
            audio: an array, list, tensor or file of one channel, or several of these; long ones become several rows.
            language: code of the language that is spoken.
            text: what is said, for training.
            punctuation: ask for it.
            sampling_rate: of the sounds, in hertz.
            **keywords: as of every processor.

        Raises:
            AudioError: a sound of another rate.
            ArgumentError: a language that the model does not know.
        """
        if audio is None:
            raise AudioError(f"{type(self).__name__}: pass audio.", field="audio")
        prompt = self.get_decoder_prompt_ids(language, punctuation)
        inputs = super().__call__(audio, text, sampling_rate=sampling_rate, **keywords)
        prompts = [prompt] * len(inputs["input_features"])
        inputs.update(BatchFeature({"decoder_input_ids": prompts}, tensor_type="pt"))
        return inputs

    def get_decoder_prompt_ids(self, language: str, punctuation: bool = True) -> list[int]:
        """Ids of what a transcription in that language begins with."""
        if language not in COHERE_LANGUAGES:
            text = f"language={language!r}: expected one of {', '.join(COHERE_LANGUAGES)}"
            raise ArgumentError(f"{text}{did_you_mean(language, COHERE_LANGUAGES)}.", name="language")
        tokens = PROMPT.format(language, "pnc" if punctuation else "nopnc").split()
        return self.tokenizer.convert_tokens_to_ids(tokens)

    def decode(self, *args: Any, audio_chunk_index: Any = None, language: str | None = None, **keywords: Any) -> Any:
        """The tokenizer's; of sounds in pieces, one text for each sound.

        Args:
            *args: ids, as for the tokenizer.
            audio_chunk_index: what the feature extractor said of each row: the sound, and which piece of it.
            language: of the texts, which says whether spaces go between the pieces.
            **keywords: of the tokenizer.
        """
        texts = self.tokenizer.decode(*args, **keywords)
        if audio_chunk_index is None:
            return texts
        if language is None:
            raise ArgumentError("decode: audio_chunk_index needs language, to join the pieces.", name="language")
        pieces: list[list[tuple[int, str]]] = [[] for _ in range(max(sound for sound, _ in audio_chunk_index) + 1)]
        whole: dict[int, str] = {}
        for (sound, piece), text in zip(audio_chunk_index, texts, strict=True):
            if piece is None:
                whole[sound] = text
            elif text.strip():
                pieces[sound].append((piece, text))
        between = "" if language in UNSPACED else " "
        return [whole[i] if i in whole else joined(sorted(parts), between) for i, parts in enumerate(pieces)]


def joined(parts: Sequence[tuple[int, str]], between: str) -> str:
    """The texts of a sound's pieces; what comes before the first one's first word stays."""
    texts = [text.strip() if i else text.rstrip() for i, (_, text) in enumerate(parts)]
    return between.join(texts)


class CanaryProcessor(LabelProcessor):
    """Of Canary, which transcribes and translates; a chat template writes what is asked for."""

    text_defaults: ClassVar[Mapping[str, Any]] = dict(padding=True, return_tensors="pt")
    audio_defaults: ClassVar[Mapping[str, Any]] = dict(return_tensors="pt")

    def __call__(self, audio: Any = None, text: Any = None, output_labels: bool = False, **keywords: Any) -> Any:  # type: ignore[override]
        """Inputs of the model; prompts become `decoder_input_ids`.

        Args:
            audio: an array, list, tensor or file of one channel, or several of these.
            text: prompts, one for each sound; for training with what is said after them.
            output_labels: also give labels: the next token of each.
            **keywords: as of every processor.

        Raises:
            AudioError: no sounds.
            ArgumentError: another kind of tensors than PyTorch's.
        """
        if audio is None:
            raise AudioError(f"{type(self).__name__}: pass audio.", field="audio")
        if keywords.get("return_tensors", "pt") != "pt":
            found = keywords["return_tensors"]
            raise ArgumentError(
                f"{type(self).__name__}: return_tensors={found!r}, expected 'pt'.", name="return_tensors"
            )
        inputs = super().__call__(audio, [text] if isinstance(text, str) else text, **keywords)
        if text is not None and output_labels:
            ids = inputs["decoder_input_ids"]
            inputs["decoder_input_ids"], labels = ids[..., :-1], ids[..., 1:]
            inputs["labels"] = labels.masked_fill(labels == self.tokenizer.pad_token_id, -100)
        return inputs

    text_becomes = "decoder_input_ids"

    @property
    def model_input_names(self) -> list[str]:
        return [*super().model_input_names, "labels"]

    def apply_transcription_request(
        self,
        audio: Any,
        source_language: str | Sequence[str] = "en",
        target_language: str | Sequence[str] | None = None,
        punctuation: bool = True,
        tokenize: bool = True,
        **keywords: Any,
    ) -> Any:
        """Inputs that ask for transcriptions, or for translations.

        Args:
            audio: an array, list, tensor or file of one channel, or several of these.
            source_language: name or code of what is spoken, one for all sounds or one for each.
            target_language: of what is to be written; as spoken where None.
            punctuation: ask for it, and for capitals.
            tokenize: False gives the prompts as texts.
            **keywords: of `apply_chat_template`.

        Raises:
            ArgumentError: a language that the model does not know, or another number of them than of sounds.
        """
        sounds = listed(audio)
        source = languages(source_language, len(sounds), "source_language")
        target = source if target_language is None else languages(target_language, len(sounds), "target_language")
        conversations = []
        for sound, spoken, written in zip(sounds, source, target, strict=True):
            heard = {"type": "audio", "path" if isinstance(sound, str) else "audio": sound}
            asked = {"type": "text", "source_language": spoken, "target_language": written, "punctuation": punctuation}
            conversations.append([{"role": "user", "content": [heard, asked]}])
        options = dict(tokenize=tokenize, add_generation_prompt=True, return_dict=True)
        return self.apply_chat_template(conversations, **options, **keywords)

    def apply_chat_template(
        self,
        conversation: Any,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        tokenize: bool = False,
        return_dict: bool = False,
        processor_kwargs: Mapping[str, Any] | None = None,
        **variables: Any,
    ) -> Any:
        """Conversations with sounds in them as prompts, or as inputs of the model.

        Args:
            conversation: messages with "role" and "content", or a list of such lists. Content of the type "audio" has
                a sound or a file under "audio" or "path".
            chat_template: in place of the processor's own.
            add_generation_prompt, continue_final_message: as for tokenizers.
            tokenize: give inputs; the prompts as texts where False.
            return_dict: give all inputs; the ids alone where False.
            processor_kwargs: keywords for the processor's call.
            **variables: of the template; keywords of the processor's call go there too.

        Raises:
            TemplateError: there is no template, or it fails.
        """
        known, calls = self.known_keywords | {"output_labels"}, dict(processor_kwargs or {})
        calls |= {name: variables.pop(name) for name in [*variables] if name in known}
        batched = isinstance(conversation[0], (list, tuple))
        prompts = self.tokenizer.apply_chat_template(
            conversation,
            chat_template=chat_template or self.chat_template,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            tokenize=False,
            **variables,
        )
        if not tokenize:
            return prompts
        start, first = self.tokenizer.bos_token, prompts[0] if batched else prompts
        if start is not None and first.startswith(start):
            calls["add_special_tokens"] = False
        sounds = heard_in(conversation if batched else [conversation])
        if not any(isinstance(sound, str) for sound in sounds):  # files say their rate
            calls.setdefault("sampling_rate", self.feature_extractor.sampling_rate)
        inputs = self(sounds, prompts, **calls)
        return inputs if return_dict else inputs["decoder_input_ids"]


def listed(audio: Any) -> list[Any]:
    """The sounds of a call, one by one."""
    if isinstance(audio, str) or (isinstance(audio, (list, tuple)) and audio and isinstance(audio[0], (int, float))):
        return [audio]
    if getattr(audio, "ndim", None) == 1:
        return [audio]
    if not isinstance(audio, Sequence) and not hasattr(audio, "ndim") or not len(audio):
        raise AudioError("audio: expected a sound, or several of them, found none.", field="audio")
    return [*audio]


def languages(names: str | Sequence[str], count: int, field: str) -> list[str]:
    """Codes of languages, one for each of `count` sounds."""
    given = [names] * count if isinstance(names, str) else [*names]
    if len(given) != count:
        raise ArgumentError(f"{field}: {len(given)} languages, expected one for each of {count} sounds.", name=field)
    codes = {name.lower(): code for code, name in LANGUAGES.items()} | {code: code for code in LANGUAGES}
    for name in given:
        if not isinstance(name, str) or name.lower() not in codes:
            text = f"{field}={name!r}: expected one of {', '.join(LANGUAGES)}, or its name"
            raise ArgumentError(f"{text}{did_you_mean(str(name), codes)}.", name=field)
    return [codes[name.lower()] for name in given]


def heard_in(conversations: Sequence[Sequence[Mapping[str, Any]]]) -> list[Any]:
    """All sounds and files in conversations, in their order."""
    contents = (message.get("content") for messages in conversations for message in messages)
    parts = (part for content in contents if isinstance(content, (list, tuple)) for part in content)
    audio = (part for part in parts if isinstance(part, Mapping) and part.get("type") == "audio")
    return [part[key] for part in audio for key in ("audio", "path") if key in part]
