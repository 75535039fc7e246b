"""Comparison of a model type with the reference: one tiny random checkpoint, written by the reference, loaded by both."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import autoload
from autoload import registry


@dataclass(frozen=True, eq=False)  # hashed by identity
class Case:
    """One model type at a tiny size.

    `config` are fields of its configuration; what is common to a family stands in the family's case file. `tolerance` is
    relative; 1e-5 unless depth or a kernel needs more, with the reason beside it. `skip` names checks that do not apply,
    each with its reason.
    """

    model_type: str
    config: Mapping[str, Any]
    tolerance: float = 1e-5
    skip: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    tasks: tuple[str, ...] = ()  # to compare; none named: all
    # Further inputs, or others, from the token ids; None takes an input away.
    inputs: Callable[[Tensor], Mapping[str, Any]] | None = None
    mend: Callable[[], None] | None = None  # what the reference needs before it can build the type at all
    tables: Mapping[str, int] = field(default_factory=dict)  # buffers of numbers below these; a list of all is shuffled
    image: tuple[int, ...] = ()  # channels, height and width, for a type that reads images and no tokens
    sound: tuple[int, ...] = ()  # shape of one recording, for models that hear: (samples,) or (frames, bins)

    def __str__(self) -> str:
        return f"{self.model_type}-{self.label}" if self.label else self.model_type


LABELS = 5
TARGETS = (
    "Model",
    "Seq2SeqLM",
    "QuestionAnswering",
    "SpeechSeq2Seq",
    "ImageTextToText",
)  # of encoder-decoders: those with a target of its own
SPANS = ("QuestionAnswering", "DocumentQuestionAnswering")


def reference_class(model_type: str, task: str) -> type:
    """The reference's class behind its Auto class."""
    import transformers
    from transformers import CONFIG_MAPPING

    mapping, config = getattr(transformers, registry.auto_class_name(task))._model_mapping, CONFIG_MAPPING[model_type]
    try:
        found = mapping[config]
    except ValueError:  # named there, but not exported
        module = importlib.import_module(config.__module__.replace(".configuration_", ".modeling_"))
        found = getattr(module, mapping._model_mapping[model_type])
    return found[0] if isinstance(found, (tuple, list)) else found


@functools.lru_cache(maxsize=64)
def reference_model(case: Case, task: str) -> Any:
    """A tiny reference model in which every parameter and saved buffer was moved away from its initial value."""
    from transformers import CONFIG_MAPPING

    if case.mend is not None:
        case.mend()
    fields = dict(case.config)
    if task in (*SPANS, "MultipleChoice"):
        fields["num_labels"] = 2
    else:
        fields.setdefault("num_labels", LABELS)
    if task == "CausalLM" and hasattr(CONFIG_MAPPING[case.model_type](**fields), "is_decoder"):
        fields.setdefault("is_decoder", True)  # an encoder predicts the next token only when it looks backwards
    config = CONFIG_MAPPING[case.model_type](**fields)
    torch.manual_seed(1)
    model = reference_class(case.model_type, task)(config)
    perturb(model, case.tables)
    return model.eval()


def perturb(model: torch.nn.Module, tables: Mapping[str, int] | None = None) -> None:
    """Move every parameter and saved buffer, norms and biases included, so that none can be forgotten unseen."""
    generator = torch.Generator().manual_seed(2)
    unsaved = getattr(model, "_keys_to_ignore_on_save", None) or ()  # made anew at each load
    with torch.no_grad():
        for p in (p for name, p in model.named_parameters() if name not in unsaved):
            p.add_(torch.randn(p.shape, generator=generator) * (0.1 if p.dim() == 1 else 0.06))
        saved = model.state_dict().keys()
        buffer: Tensor
        for name, buffer in model.named_buffers():
            if name in saved and buffer.is_floating_point():  # upwards: it may be a variance
                buffer.add_(torch.rand(buffer.shape, generator=generator) * 0.1)
                if buffer.isinf().all():  # a limit that limits nothing
                    buffer.copy_(buffer.sign() * (0.3 + torch.rand(buffer.shape, generator=generator)))
            elif (count := (tables or {}).get(name.rpartition(".")[2])) is not None:
                mixed = torch.randperm(count, generator=generator)
                drawn = torch.randint(0, count, buffer.shape, generator=generator)
                buffer.copy_(mixed if buffer.shape == mixed.shape else drawn)
    model.tie_weights()


def inputs_for(case: Case, task: str, batch: int = 3, seq: int = 12) -> dict[str, Tensor]:
    """Token ids and whatever else the task asks for, without padding."""
    generator = torch.Generator().manual_seed(3)
    if case.sound:
        sound = torch.randn(batch, *case.sound, generator=generator)
        return {main_input(case, task): sound} | (case.inputs(sound) if case.inputs is not None else {})
    vocabulary = case.config.get("vocab_size", 99)
    shape = (batch, 2, seq) if task == "MultipleChoice" else (batch, seq)
    low = max(3, (case.config.get("pad_token_id") or 0) + 1)
    ids = torch.randint(low, vocabulary, shape, generator=generator)
    if encodes(case) and task == "SequenceClassification":
        ids[:, 6] = case.config.get("eos_token_id", 2)  # where the label is read; no padding gets there
    target = target_for(vocabulary, low, batch) if encodes(case) and task in TARGETS else {}
    read = {"pixel_values": torch.randn(batch, *case.image, generator=generator)} if case.image else {"input_ids": ids}
    made = read | target | (dict(case.inputs(ids)) if case.inputs is not None else {})
    return {name: value for name, value in made.items() if value is not None}


def main_input(case: Case, task: str) -> str:
    """What the model calls its main input."""
    return registry.resolve(case.model_type, task).main_input_name  # type: ignore[attr-defined]


def encodes(case: Case) -> bool:
    """Whether the type has an encoder and a decoder."""
    return registry.config_class(case.model_type)(**case.config).is_encoder_decoder


def target_for(vocabulary: int, low: int, batch: int, length: int = 9) -> dict[str, Tensor]:
    """What a decoder reads, of another length than the source, and ragged."""
    generator = torch.Generator().manual_seed(5)
    mask = torch.ones(batch, length, dtype=torch.int64)
    mask[-1, -3:] = 0
    ids = torch.randint(low, vocabulary, (batch, length), generator=generator)
    return {"decoder_input_ids": ids, "decoder_attention_mask": mask}


def labels_for(task: str, inputs: Mapping[str, Tensor], num_labels: int = LABELS) -> dict[str, Tensor]:
    """Labels that a task takes; some tokens do not count."""
    main = ("decoder_input_ids", "input_ids", "input_features", "input_values", "pixel_values")
    input_ids = next(inputs[name] for name in main if name in inputs)
    generator = torch.Generator().manual_seed(4)
    batch = input_ids.shape[0]

    def numbers(high: int, *shape: int) -> Tensor:
        return torch.randint(0, high, shape, generator=generator)

    if task == "CTC":
        labels = numbers(30, batch, 5) + 4  # above the blank
        labels[-1, -2:] = -100
        return {"labels": labels}
    if task == "AudioFrameClassification":
        frames = 16  # of the recordings in the cases
        return {"labels": numbers(2, batch, frames, num_labels)}
    if task in ("AudioClassification", "AudioXVector"):
        return {"labels": numbers(num_labels, batch)}
    if task == "PreTraining" and "input_values" in inputs:
        hidden = torch.zeros(batch, 16, dtype=torch.bool)
        hidden[:, 3:9] = True
        others = torch.stack([numbers(16, 16, 5) + 16 * row for row in range(batch)])
        return {"mask_time_indices": hidden, "sampled_negative_indices": others}
    if task in ("CausalLM", "MaskedLM", "Seq2SeqLM", "SpeechSeq2Seq", "ImageTextToText"):
        labels = input_ids.clone()
        labels[0, :3] = -100
        return {"labels": labels}
    if task == "TokenClassification":
        return {"labels": numbers(num_labels, *input_ids.shape)}
    if task in ("SequenceClassification", "ImageClassification", "AudioClassification"):
        return {"labels": numbers(num_labels, batch)}
    if task in ("MultipleChoice", "NextSentencePrediction"):
        return {"labels": numbers(2, batch)}
    if task in SPANS:
        return {
            "start_positions": numbers(input_ids.shape[1], batch),
            "end_positions": numbers(input_ids.shape[1], batch),
        }
    return {}


def assert_close(ours: Any, theirs: Any, tolerance: float, what: str) -> None:
    """Largest difference relative to the largest value."""
    if isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs), f"{what}: {len(ours)} entries, expected {len(theirs)}"
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_close(a, b, tolerance, f"{what}[{i}]")
        return
    if isinstance(theirs, Mapping):
        assert [*ours] == [*theirs], what
        for key in theirs:
            assert_close(ours[key], theirs[key], tolerance, f"{what}[{key}]")
        return
    if theirs is None:  # a model without entities says so layer by layer
        assert ours is None, what
        return
    assert ours.shape == theirs.shape, f"{what}: {tuple(ours.shape)}, expected {tuple(theirs.shape)}"
    a, b = ours.detach().double(), theirs.detach().double()
    assert torch.isfinite(b).all(), f"{what}: the reference is not finite"
    scale = b.abs().max().clamp(min=1e-6)
    error = ((a - b).abs().max() / scale).item()
    assert error <= tolerance, f"{what}: relative difference {error:.2e}, allowed {tolerance:.0e}"


def leaves(out: Mapping[str, Any]) -> dict[str, Any]:
    """What an output holds, with what stands in outputs within it."""
    found: dict[str, Any] = {}
    for key, value in out.items():
        found |= {f"{key}.{k}": v for k, v in leaves(value).items()} if hasattr(value, "to_tuple") else {key: value}
    return found


def load_ours(case: Case, task: str, directory: Path) -> Any:
    """The checkpoint of the reference's model, loaded here; nothing may be missing or left over."""
    reference_model(case, task).save_pretrained(directory)
    model, info = getattr(autoload, registry.auto_class_name(task)).from_pretrained(directory, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"], info
    return model
