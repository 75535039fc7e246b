"""Transcription: windows of a recording one after another, each tried at rising temperatures until it looks right."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from autoload.errors import ArgumentError
from autoload.generation import speech_prompt as prompt
from autoload.generation.checks import check_fits
from autoload.generation.configuration import GenerationConfig, merged
from autoload.generation.processors import SuppressTokensAtBeginLogitsProcessor, SuppressTokensLogitsProcessor
from autoload.generation.speech_rules import WhisperNoSpeechDetection, WhisperTimeStampLogitsProcessor
from autoload.generation.speech_segments import Segment, joined, padded, split_window, stacked
from autoload.outputs import BaseModelOutput


@dataclass
class Options:
    """Arguments of a transcription beside the settings of `generate`."""

    return_timestamps: bool | None = None
    task: str | None = None
    language: Any = None
    is_multilingual: bool | None = None
    prompt_ids: Tensor | None = None
    prompt_condition_type: str | None = None
    condition_on_prev_tokens: bool | None = None
    temperature: Any = None
    compression_ratio_threshold: float | None = None
    logprob_threshold: float | None = None
    no_speech_threshold: float | None = None
    time_precision: float = 0.02
    time_precision_features: float = 0.01
    return_token_timestamps: bool | None = None
    return_segments: bool = False
    return_dict_in_generate: bool | None = None
    force_unique_generate_call: bool | None = None
    monitor_progress: Callable[[Tensor], None] | None = None

    @property
    def temperatures(self) -> list[float | None]:
        """The temperatures to try; None samples nothing."""
        return list(self.temperature) if isinstance(self.temperature, (list, tuple)) else [self.temperature]

    @property
    def first_temperature(self) -> float | None:
        return self.temperatures[0]


@dataclass
class Transcription:
    """One call: what stays the same from window to window, and what has been heard so far."""

    model: Any
    generate: Callable[..., Any]  # of a single window
    settings: Any
    options: Options
    call: Mapping[str, Any]  # further arguments of `generate`
    rest: dict[str, Any]  # inputs of the model
    features: Tensor | None  # (batch, filters, frames)
    encoded: Any = None  # the encoder's output of the first window, where it is known
    segments: list[list[Segment]] = field(default_factory=list)
    frames: Any = None  # (batch,) of the recordings that are real, where that was said

    def __post_init__(self) -> None:
        encoder = self.model.get_encoder()
        self.window = encoder.stride * self.model.config.max_source_positions  # frames
        self.stride = encoder.stride
        if self.encoded is not None:
            states = self.encoded[0]
            self.batch, self.total = states.shape[0], states.shape[1] * self.stride
        elif self.features is not None:
            self.batch, self.total = self.features.shape[0], self.features.shape[-1]
        else:
            raise ArgumentError("generate: pass input_features or encoder_outputs.", name="input_features")
        self.short = self.total <= self.window

    # -- before the first window

    def prepare(self, attention_mask: Tensor | None) -> None:
        """Take the options into the settings, and find what transcriptions begin with."""
        settings, options = self.settings, self.options
        if options.return_dict_in_generate is not None:
            settings.return_dict_in_generate = options.return_dict_in_generate
        self.wants_dict = settings.return_dict_in_generate
        for name in (
            "logprob_threshold",
            "compression_ratio_threshold",
            "no_speech_threshold",
            "condition_on_prev_tokens",
        ):
            given = getattr(options, name)
            setattr(settings, name, given if given is not None else getattr(settings, name, None))
        if options.return_token_timestamps:
            settings.return_dict_in_generate = settings.output_attentions = settings.output_scores = True
        if settings.logprob_threshold is not None or settings.no_speech_threshold is not None:
            settings.return_dict_in_generate = settings.output_scores = True
        check_fits(settings, self.model.config)
        self._set_timestamps()
        prompt.set_language_and_task(settings, options.language, options.task, options.is_multilingual)
        if options.return_token_timestamps:
            prompt.needed(settings, "alignment_heads", "return_token_timestamps")
        self.frames = None if attention_mask is None else attention_mask.sum(-1).cpu().long()
        kinds = ("first-segment", "all-segments")
        self.prompts = options.prompt_condition_type or kinds[0]
        if self.prompts not in kinds or (self.prompts == kinds[1] and settings.condition_on_prev_tokens is not True):
            text = f"generate: prompt_condition_type={self.prompts!r}: expected one of {', '.join(kinds)}, the last of these"
            raise ArgumentError(f"{text} only with condition_on_prev_tokens=True.", name="prompt_condition_type")
        if self.batch > 1 and not self.short and self.frames is None:
            text = "generate: several recordings of more than one window need an attention_mask, (batch, frames), which"
            raise ArgumentError(f"{text} the processor gives with return_attention_mask=True.", name="attention_mask")
        self.start = prompt.beginning(self.model, settings, self.batch, self.detect)
        self._make_processors()

    def _set_timestamps(self) -> None:
        settings, wanted = self.settings, self.options.return_timestamps
        if wanted is None:
            wanted = getattr(settings, "return_timestamps", None)
        if not self.short:
            if wanted is False:
                text = (
                    f"generate: {self.total} frames are more than one window of {self.window}, and windows are joined"
                )
                raise ArgumentError(
                    f"{text} by time stamps; leave out return_timestamps=False.", name="return_timestamps"
                )
            wanted = True
        if wanted:
            prompt.needed(settings, "no_timestamps_token_id", "return_timestamps")
        settings.return_timestamps = wanted
        silent = getattr(settings, "no_timestamps_token_id", None)
        self.first_stamp = self.model.config.vocab_size + 1 if silent is None else silent + 1

    def detect(self) -> Tensor:
        """The token of the language that is heard in each row's first window, (batch,)."""
        states = self.encoded
        if states is None:
            assert self.features is not None
            states = self.encode(self.features[:, :, : self.window])
            if self.short:
                self.encoded = states
        return self.model.detect_language(encoder_outputs=states, generation_config=self.settings)

    def encode(self, window: Tensor) -> Any:
        """What the encoder makes of a window, (batch, filters, frames)."""
        flags = {name: getattr(self.settings, name) for name in ("output_attentions", "output_hidden_states")}
        return self.model.get_encoder()(window, return_dict=True, **flags)

    def _make_processors(self) -> None:
        settings, begin = self.settings, self.start.shape[1]
        self.no_speech = None
        made: list[Any] = []
        if settings.no_speech_threshold is not None:
            token = prompt.needed(settings, "no_timestamps_token_id", "no_speech_threshold") - 1
            self.no_speech = WhisperNoSpeechDetection(token, begin, (settings.num_beams or 1) > 1)
            made.append(self.no_speech)
        if self.call.get("assistant_model") is not None:
            settings.begin_suppress_tokens = None
        if settings.begin_suppress_tokens is not None:
            made.append(SuppressTokensAtBeginLogitsProcessor(settings.begin_suppress_tokens, begin))
        self.suppressed = settings.suppress_tokens
        if self.suppressed is not None:
            made.append(SuppressTokensLogitsProcessor(self.suppressed))
        if settings.return_timestamps:
            made.append(WhisperTimeStampLogitsProcessor(settings, begin))
        settings.suppress_tokens = settings.begin_suppress_tokens = None
        self.processors = [*made, *(self.call.get("logits_processor") or ())]

    # -- windows

    def run(self) -> Any:
        """Transcribe everything."""
        options, settings = self.options, self.settings
        times = settings.num_return_sequences or 1
        if times > 1:
            self._repeat(times)
        rows = self.batch * times
        ends = (
            torch.full((rows,), self.total) if self.short or self.batch == 1 else self.frames.repeat_interleave(times)
        )
        seek = torch.zeros(rows, dtype=torch.int64)
        conditioned: list[Any] = [options.condition_on_prev_tokens] * rows
        given = options.prompt_ids
        if given is not None and self.prompts == "first-segment":
            kept = given[1:] if given[0] == getattr(settings, "prev_sot_token_id", None) else given
            self.segments = [[Segment(tokens=kept)] for _ in range(rows)]
        else:
            self.segments = [[] for _ in range(rows)]
        once = options.force_unique_generate_call
        once = getattr(settings, "force_unique_generate_call", False) if once is None else once
        tried = Tries()
        while bool((seek < ends).any()):
            if options.monitor_progress is not None:
                options.monitor_progress(torch.stack((seek, ends), 1))
            active = [row for row in range(rows) if seek[row] < ends[row]]
            lengths = (ends - seek).clamp(max=self.window)
            states = self._window(active, seek, lengths)
            ids, mask = self._ids(active, conditioned)
            self._limit(ids)
            tried = self._try(states, ids, mask, options.temperatures, seek[active], conditioned, active)
            for index, row in enumerate(active):
                if tried.skipped[index]:
                    seek[row] += lengths[row]
                    continue
                new, onward = split_window(
                    tried.sequences[index],
                    tried.outputs[index],
                    offset=seek[row].double() * options.time_precision / self.stride,
                    first_stamp=self.first_stamp,
                    frames=int(lengths[row]),
                    precisions=(options.time_precision, options.time_precision_features),
                    stride=self.stride,
                    given=ids.shape[1],
                    timed=bool(options.return_token_timestamps),
                )
                seek[row] += onward
                self.segments[row] += new
            if once:
                break
        return self._result(tried, bool(once))

    def _repeat(self, times: int) -> None:
        """Rows for several results of each recording."""
        if self.features is not None:
            self.features = self.features.repeat_interleave(times, 0)
        if self.encoded is not None:
            self.encoded = BaseModelOutput(self.encoded[0].repeat_interleave(times, 0))
        self.start = self.start.repeat_interleave(times, 0)
        self.settings.num_return_sequences = 1

    def _window(self, active: list[int], seek: Tensor, lengths: Tensor) -> Any:
        """The encoder's output for the next window of the active rows."""
        if self.encoded is not None and len(active) == len(seek) and (self.features is None or not seek.any()):
            return self.encoded
        if self.features is None:
            return BaseModelOutput(self.encoded[0][active])  # type: ignore[index]
        cut = [self.features[row, :, int(seek[row]) : int(seek[row] + lengths[row])] for row in active]
        return self.encode(torch.stack([pad(one, (0, self.window - one.shape[-1])) for one in cut]))

    def _ids(self, active: list[int], conditioned: list[Any]) -> tuple[Tensor, Tensor | None]:
        """What the decoder begins with in the active rows, and what of it is real where it was padded."""
        if (given := self.rest.pop("decoder_input_ids", None)) is not None:
            return given, None
        settings, ids, prompt_ids = self.settings, self.start[active], self.options.prompt_ids
        before = getattr(settings, "prev_sot_token_id", None)
        if before is None and self.suppressed is not None and len(self.suppressed) >= 2:
            before = self.suppressed[-2]
        if any(conditioned) and self.segments[0]:
            head = None if before is None else torch.tensor([before], device=ids.device)
            if prompt_ids is not None and self.prompts == "all-segments":
                head = prompt_ids
            heard = [self.segments[row] if conditioned[row] else [] for row in active]
            most = self.model.config.max_target_positions // 2 - 1
            texts = [joined(one, most, head, self.first_stamp) for one in heard]
            ids = torch.cat([padded(texts, settings.pad_token_id, ids.device, left=True), ids], -1)
            return ids, (ids != settings.pad_token_id).long()
        if prompt_ids is not None:
            ids = torch.cat([prompt_ids.to(ids.device)[None].repeat(len(ids), 1), ids], -1)
        return ids, None

    def _limit(self, ids: Tensor) -> None:
        """Make room for the beginning within the model's positions."""
        settings, most, length = self.settings, self.model.config.max_target_positions, ids.shape[1]
        if (new := settings.max_new_tokens or 0) + length > most:
            text = f"generate: the beginning has {length} tokens and max_new_tokens is {new}, together expected at most"
            raise ArgumentError(f"{text} {most} (max_target_positions). Shorten the prompt.", name="max_new_tokens")
        if settings.max_length is not None and settings.max_new_tokens is None:
            settings.max_length = min(settings.max_length + min(most // 2 - 1, length), most)
        for processor in self.processors:
            if hasattr(processor, "set_begin_index"):
                processor.set_begin_index(length)

    # -- one window

    def _try(
        self,
        states: Any,
        ids: Tensor,
        mask: Tensor | None,
        temperatures: Any,
        seek: Tensor,
        conditioned: list[Any],
        active: list[int],
    ) -> Tries:
        """The text of a window, at the first temperature that gives a likely one."""
        settings, count = self.settings, len(ids)
        tries = Tries([None] * count, [None] * count, [False] * count)
        left = [*range(count)]
        for turn, temperature in enumerate(temperatures):
            settings.do_sample = temperature is not None and temperature > 0
            settings.temperature = temperature if settings.do_sample else 1.0
            if settings.do_sample:
                settings.num_beams = 1
            out = self._once(states, ids, mask)
            if self.options.return_token_timestamps:
                from autoload.generation.alignment import token_times

                frames = None if self.frames is None else self.frames[active][left] - seek[left]
                width = self.model.config.median_filter_width
                out["token_timestamps"] = token_times(out, settings.alignment_heads, width, ids.shape[1], frames)
            tries.whole = out if turn == 0 else None
            again = []
            for index, place in enumerate(left):
                sequence, row = self._text(out, index, ids.shape[1])
                fails, tries.skipped[place] = self._doubts(sequence, row, index, temperature)
                ended = len(sequence) > 0 and bool((sequence[-1:] == self._eos()).any())
                tries.sequences[place] = sequence[:-1] if ended else sequence
                tries.outputs[place] = row
                conditioned[active[place]] = settings.condition_on_prev_tokens and (
                    temperature is None or temperature < 0.5
                )
                if fails:
                    again.append(index)
            if not again or turn == len(temperatures) - 1:
                break
            left = [left[index] for index in again]
            ids, mask = ids[again], None if mask is None else mask[again]
            states = BaseModelOutput(states[0][again])
        return tries

    def _eos(self) -> Tensor:
        eos = self.settings.eos_token_id
        return torch.as_tensor([] if eos is None else eos, device=self.start.device).reshape(-1)

    def _once(self, states: Any, ids: Tensor, mask: Tensor | None) -> Any:
        extra = {} if mask is None else {"decoder_attention_mask": mask}
        if self.no_speech is not None:
            self.no_speech.score = lambda: (
                self.model(encoder_outputs=states, decoder_input_ids=ids, use_cache=False, **extra).logits
            )
        call = {**self.call, "logits_processor": self.processors, "generation_config": self.settings}
        return self.generate(
            encoder_outputs=states,
            decoder_input_ids=ids,
            suppress_tokens=None,
            begin_suppress_tokens=None,
            **call,
            **extra,
            **self.rest,
        )

    def _text(self, out: Any, index: int, given: int) -> tuple[Tensor, Any]:
        """New tokens of a row, without the padding after their end, and the row's part of the output."""
        whole = out if isinstance(out, Tensor) else out["sequences"]
        sequence, pad_id, eos = whole[index, given:], self.settings.pad_token_id, self._eos()
        if len(sequence) and sequence[-1] == pad_id:
            count = int((sequence == pad_id).sum()) - int(bool((eos == pad_id).any()))
            sequence = sequence[: len(sequence) - count]
        return sequence, whole[index] if isinstance(out, Tensor) else row_of(out, index)

    def _doubts(self, sequence: Tensor, row: Any, index: int, temperature: float | None) -> tuple[bool, bool]:
        """Whether a text should be tried again, and whether nobody speaks."""
        settings, fails = self.settings, False
        if settings.compression_ratio_threshold is not None:
            fails = compression(sequence, self.model.config.vocab_size) > settings.compression_ratio_threshold
        likely: Any = None
        if settings.logprob_threshold is not None:
            likely = row.get("sequences_scores")
            likely = mean_log(row["scores"], sequence, temperature) if likely is None else likely
            fails = fails or bool(likely < settings.logprob_threshold)
        if self.no_speech is not None and float(self.no_speech.no_speech_prob[index]) > settings.no_speech_threshold:
            if likely is None or likely < settings.logprob_threshold:
                return False, True
        return fails, False

    # -- after the last window

    def _result(self, tried: Tries, once: bool) -> Any:
        options, settings = self.options, self.settings
        timed = bool(options.return_token_timestamps)
        if self.wants_dict and (once or not settings.return_timestamps):
            return tried.whole if tried.whole is not None else stacked(tried.outputs)
        first = 1 if options.prompt_ids is not None and self.prompts == "first-segment" else 0
        segments = [row[first:] for row in self.segments]
        if once:
            results = [row[0].result for row in segments]
            sequences = torch.stack([r if isinstance(r, Tensor) else r["sequences"] for r in results])
            times = torch.stack([r["token_timestamps"] for r in results]) if timed else None
        else:
            device = self.start.device
            sequences = padded([joined(row) for row in segments], settings.pad_token_id, device)
            times = self._times(segments) if timed else None
        if not (self.wants_dict or options.return_segments or timed):
            return sequences
        out: dict[str, Any] = {"sequences": sequences}
        if timed:
            out["token_timestamps"] = times
        if self.wants_dict or options.return_segments:
            out["segments"] = [[segment.to_dict() for segment in row] for row in segments]
        return out

    def _times(self, segments: list[list[Segment]]) -> Tensor:
        """When each token of the pieces was said, (batch, tokens)."""
        parts = [[s.result["token_timestamps"][s.idxs[0] : s.idxs[1]] for s in row] for row in segments]
        return padded([torch.cat(row) if row else torch.zeros(0) for row in parts], None, self.start.device)


@dataclass
class Tries:
    """Texts of a window's rows, what `generate` gave for each, and where nobody speaks."""

    sequences: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    skipped: list[bool] = field(default_factory=list)
    whole: Any = None  # the output of the only call, where there was one


def row_of(out: Any, index: int) -> dict[str, Any]:
    """One row's part of an output."""
    beams = out.get("beam_indices")
    row: dict[str, Any] = {}
    for name, value in out.items():
        if name == "scores" and beams is not None:
            row[name] = [step[beam] for step, beam in zip(value, beams[index].tolist(), strict=False)]
        elif name in ("scores", "logits", "encoder_attentions", "encoder_hidden_states"):
            row[name] = [step[index] for step in value]
        elif name in ("decoder_attentions", "decoder_hidden_states", "cross_attentions"):
            row[name] = tuple(tuple(layer[index][None] for layer in step) for step in value)
        elif name != "past_key_values":
            row[name] = value[index]
    return row


def compression(tokens: Tensor, vocabulary: int) -> float:
    """How much shorter a text becomes when it is compressed; repetition shows in it."""
    width = int(math.log2(vocabulary) / 8) + 1
    data = b"".join(token.to_bytes(width, "little") for token in tokens.tolist())
    return len(data) / len(zlib.compress(data))


def mean_log(scores: list[Tensor], tokens: Tensor, temperature: float | None) -> Tensor:
    """Mean logarithm of the tokens' probabilities, at temperature 1."""
    steps = torch.stack(scores)[: len(tokens)]  # (tokens, vocabulary)
    tokens = tokens[len(tokens) - len(steps) :]
    logs = (steps * (temperature if temperature else 1)).float().log_softmax(-1).to(steps.dtype)
    return logs.gather(-1, tokens[:, None]).sum() / max(len(tokens), 1)


def transcribe(
    model: Any,
    generate: Callable[..., Any],
    features: Tensor | None,
    options: Options,
    given: Any,
    call: Mapping[str, Any],
    attention_mask: Tensor | None,
    kwargs: dict[str, Any],
) -> Any:
    """See `generate` of Whisper; `generate` here is that of a single window."""
    own = model.generation_config if model.generation_config is not None else GenerationConfig()
    if options.first_temperature:  # so that what only sampling may ask for is not refused
        kwargs = {**kwargs, "do_sample": True, "temperature": options.first_temperature}
    settings, rest = merged(given, own, kwargs)
    encoded = rest.pop("encoder_outputs", None)
    if isinstance(encoded, Tensor):
        encoded = BaseModelOutput(encoded)
    elif isinstance(encoded, (tuple, list)):
        encoded = BaseModelOutput(*encoded)
    heard = Transcription(model, generate, settings, options, call, rest, features, encoded)
    heard.prepare(attention_mask)
    return heard.run()
