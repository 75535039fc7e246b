"""The processor of models that say who speaks when: pieces of a stream, and speakers' turns in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from autoload.errors import AudioError, did_you_mean
from autoload.processing import ProcessorMixin
from autoload.transcripts import check_piece

# Vectors in a piece of a stream, and how many more it looks ahead to.
MODES = {"low_latency": (9, 4), "very_low_latency": (6, 2), "ultra_low_latency": (3, 1)}


class Nemotron3DiarizationProcessor(ProcessorMixin):
    """Of sounds alone; `streaming_mode` sets the size of a stream's pieces."""

    reads_text = False
    audio_defaults: ClassVar[Mapping[str, Any]] = dict(return_tensors="pt")
    own_settings = ("subsampling_factor", "streaming_modes", "streaming_mode")

    def __init__(
        self,
        feature_extractor: Any,
        subsampling_factor: int = 8,
        streaming_modes: Mapping[str, Any] | None = None,
        streaming_mode: str = "low_latency",
    ):
        super().__init__(feature_extractor, None)
        self.subsampling_factor = subsampling_factor
        self.streaming_modes = dict(MODES) if streaming_modes is None else streaming_modes
        self.set_streaming_mode(streaming_mode)

    def set_streaming_mode(self, streaming_mode: str) -> None:
        """Choose the size of a stream's pieces.

        Raises:
            AudioError: there is no such mode.
        """
        if streaming_mode not in self.streaming_modes:
            text = f"streaming_mode {streaming_mode!r} is not known{did_you_mean(streaming_mode, self.streaming_modes)}"
            raise AudioError(f"{text}: {', '.join(self.streaming_modes)}.", field="streaming_mode")
        self.streaming_mode = streaming_mode

    def __call__(
        self,
        audio: Any = None,
        sampling_rate: int | None = None,
        is_streaming: bool = False,
        is_first_audio_chunk: bool = True,
        is_last_audio_chunk: bool = False,
        **keywords: Any,
    ) -> Any:
        """Inputs of the model; of a stream's piece all that its samples give, and `num_lookahead_frames` but for the last.

        Args:
            audio: an array, list, tensor or file of one channel, or several of these.
            sampling_rate: of the sounds, in hertz.
            is_streaming: the sound is a piece of a stream.
            is_first_audio_chunk: it is the first one; the others begin where `audio_chunk_start` says.
            is_last_audio_chunk: it is the last one, of any size.
            **keywords: those of the feature extractor.

        Raises:
            AudioError: a piece of another size, marks of a piece on what is none, or a sound of another rate.
        """
        check_piece(type(self).__name__, is_streaming, is_first_audio_chunk, is_last_audio_chunk)
        marks = {"center": is_first_audio_chunk, "is_last_audio_chunk": is_last_audio_chunk}
        inputs = super().__call__(audio, sampling_rate=sampling_rate, **marks, **keywords)
        if not is_streaming:
            return inputs
        frames = int(inputs["attention_mask"].sum(-1).max())
        for name in ("input_features", "attention_mask"):
            inputs[name] = inputs[name][:, :frames]
        if is_last_audio_chunk:
            return inputs
        if frames != (wanted := self.num_mel_frames_per_audio_chunk):
            size = self.num_samples_first_audio_chunk if is_first_audio_chunk else self.num_samples_per_audio_chunk
            text = f"a piece has {frames} frames, expected {wanted} for {self.streaming_mode}: pass {size} samples"
            raise AudioError(f"{type(self).__name__}: {text}, or is_last_audio_chunk=True at the end.", field="audio")
        inputs["num_lookahead_frames"] = self._sizes[1]
        return inputs

    @property
    def model_input_names(self) -> list[str]:
        return [*self.feature_extractor.model_input_names, "num_lookahead_frames"]

    # -- sizes of a stream's pieces

    @property
    def _sizes(self) -> tuple[int, int]:
        length, ahead = self.streaming_modes[self.streaming_mode]
        return length, ahead

    @property
    def streaming_latency_ms(self) -> int:
        """How long a sound waits for its piece and what that looks ahead to, in milliseconds."""
        extractor = self.feature_extractor
        return round(self.num_mel_frames_per_audio_chunk * extractor.hop_length / extractor.sampling_rate * 1000)

    @property
    def num_mel_frames_per_audio_chunk(self) -> int:
        """Frames of a piece, with those that it only looks at."""
        return sum(self._sizes) * self.subsampling_factor

    @property
    def num_mel_frames_per_step(self) -> int:
        """Frames from one piece to the next."""
        return self._sizes[0] * self.subsampling_factor

    @property
    def num_samples_first_audio_chunk(self) -> int:
        extractor = self.feature_extractor
        return (self.num_mel_frames_per_audio_chunk - 1) * extractor.hop_length + extractor.win_length // 2

    @property
    def num_samples_per_audio_chunk(self) -> int:
        """Samples of each piece after the first."""
        extractor = self.feature_extractor
        return self.num_mel_frames_per_audio_chunk * extractor.hop_length + extractor.win_length

    def audio_chunk_start(self, mel_frame_idx: int) -> int:
        """The first sample of a later piece that begins with that frame."""
        return mel_frame_idx * self.feature_extractor.hop_length - self.feature_extractor.n_fft // 2

    # -- what the model found

    def extract_speaker_dict(
        self, logits: Any, attention_mask: Any = None, threshold: float = 0.5
    ) -> list[list[dict[str, Any]]]:
        """For each recording its speakers' turns: `Start` and `End` in seconds, and `Speaker`, a number.

        Args:
            logits: (batch, frames, speakers), of the model; of a stream those of all pieces.
            attention_mask: (batch, frames), 0 at padding.
            threshold: the probability above which a speaker is heard.
        """
        active = logits.sigmoid() > threshold
        if attention_mask is not None:
            active = active & (attention_mask != 0).to(active.device)[..., None]
        around = active.new_zeros(len(active), 1, active.shape[2]).int()
        step = self.feature_extractor.hop_length / self.feature_extractor.sampling_rate
        found = []
        for row, last in zip(active.int(), around, strict=True):
            turns = []
            for speaker, heard in enumerate(row.T):
                changes = heard.diff(prepend=last[:, 0], append=last[:, 0]).nonzero()[:, 0].tolist()
                for start, end in zip(changes[::2], changes[1::2], strict=True):
                    turns.append({"Start": round(start * step, 2), "End": round(end * step, 2), "Speaker": speaker})
            found.append(sorted(turns, key=lambda turn: (turn["Start"], turn["Speaker"])))
        return found
