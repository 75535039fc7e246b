"""Settings of watermarks and of compilation: plain data that a GenerationConfig may hold. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from autoload.errors import GenerationError


def _checked(condition: bool, field: str, got: Any, expected: str) -> None:
    if not condition:
        text = f"watermarking_config: {field} is {got!r}, expected {expected}."
        raise GenerationError(text, field=field, got=got, expected=expected)


class BaseWatermarkingConfig:
    """Data that makes a logits processor."""

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any]) -> Any:
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        for name in config_dict:
            _checked(name in known, name, config_dict[name], f"one of {', '.join(sorted(known))}")
        try:
            return cls(**config_dict)
        except TypeError as e:
            raise GenerationError(f"watermarking_config: {e}.", field="watermarking_config", got=config_dict) from None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)  # type: ignore[call-overload]

    def validate(self) -> None:
        """Raise GenerationError for values that cannot be meant."""

    def construct_processor(self, vocab_size: int, device: Any) -> Any:
        raise NotImplementedError


@dataclass
class WatermarkingConfig(BaseWatermarkingConfig):
    """Favours a pseudo-random "green" part of the vocabulary (Kirchenbauer et al. 2023, arXiv:2301.10226)."""

    greenlist_ratio: float = 0.25
    bias: float = 2.0
    hashing_key: int = 15485863
    seeding_scheme: str = "lefthash"
    context_width: int = 1

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        _checked(
            self.seeding_scheme in ("lefthash", "selfhash"), "seeding_scheme", self.seeding_scheme, "lefthash, selfhash"
        )
        _checked(
            isinstance(self.greenlist_ratio, (int, float)) and 0 < self.greenlist_ratio < 1,
            "greenlist_ratio",
            self.greenlist_ratio,
            "a number between 0 and 1",
        )
        _checked(
            isinstance(self.context_width, int) and self.context_width >= 1,
            "context_width",
            self.context_width,
            "a positive integer",
        )

    def construct_processor(self, vocab_size: int, device: Any) -> Any:
        from autoload.generation.watermarking import WatermarkLogitsProcessor

        return WatermarkLogitsProcessor(
            vocab_size,
            device,
            self.greenlist_ratio,
            self.bias,
            self.hashing_key,
            self.seeding_scheme,
            self.context_width,
        )


@dataclass
class SynthIDTextWatermarkingConfig(BaseWatermarkingConfig):
    """Tournament sampling with keyed hashes of the context (Dathathri et al. 2024, Nature 634)."""

    ngram_len: int
    keys: list[int]
    context_history_size: int = 1024
    sampling_table_seed: int = 0
    sampling_table_size: int = 2**16
    skip_first_ngram_calls: bool = False
    debug_mode: bool = False

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        _checked(
            isinstance(self.ngram_len, int) and self.ngram_len > 1, "ngram_len", self.ngram_len, "an integer above 1"
        )
        _checked(
            isinstance(self.sampling_table_size, int) and 0 < self.sampling_table_size <= 2**24,
            "sampling_table_size",
            self.sampling_table_size,
            "an integer from 1 to 2**24",
        )

    def construct_processor(self, vocab_size: int, device: Any) -> Any:
        from autoload.generation.watermarking import SynthIDTextWatermarkLogitsProcessor

        return SynthIDTextWatermarkLogitsProcessor(
            self.ngram_len,
            self.keys,
            self.sampling_table_size,
            self.sampling_table_seed,
            self.context_history_size,
            device,
            self.skip_first_ngram_calls,
            self.debug_mode,
        )


@dataclass
class CompileConfig:
    """Arguments of torch.compile for the decoding step over a static cache."""

    fullgraph: bool = False
    dynamic: bool | None = None
    backend: Any = "inductor"
    mode: str | None = "reduce-overhead"
    options: dict[str, Any] | None = None
    _compile_all_devices: bool = False  # on the CPU too, where compiling rarely pays

    def to_dict(self) -> dict[str, Any]:
        """Keywords of torch.compile."""
        return {f.name: getattr(self, f.name) for f in fields(self) if not f.name.startswith("_")}
