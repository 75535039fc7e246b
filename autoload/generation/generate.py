"""generate(): the entry of text generation, mixed into every model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class GenerationMixin:
    """What models that generate text can do. Loops, processors and settings are imported on first use."""

    config: Any
    generation_config: Any
    device: Any

    def can_generate(self) -> bool:
        """Whether `generate` works on this model."""
        return False

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        generation_config: Any = None,
        logits_processor: Any = None,
        stopping_criteria: Any = None,
        prefix_allowed_tokens_fn: Callable[[int, Tensor], list[int]] | None = None,
        synced_gpus: bool | None = None,
        assistant_model: Any = None,
        streamer: Any = None,
        negative_prompt_ids: Tensor | None = None,
        negative_prompt_attention_mask: Tensor | None = None,
        custom_generate: Callable[..., Any] | None = None,
        tokenizer: Any = None,
        assistant_tokenizer: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Continue a text.

        Args:
            inputs: prompt (batch, seq), padded on the left; the same as `input_ids`. Of models with an encoder, what the
                encoder reads.
            generation_config: settings; default the model's own, `model.generation_config`.
            logits_processor: further processors of the scores. One of a type that the settings make replaces theirs.
            stopping_criteria: further criteria, in the same way.
            prefix_allowed_tokens_fn: gives the tokens that may follow, from row number and tokens so far.
            synced_gpus: must be false.
            assistant_model: a smaller model that proposes tokens; this one accepts or corrects them.
            streamer: gets tokens as they are made, by `put` and `end`.
            negative_prompt_ids: prompt to move away from, with `guidance_scale`.
            negative_prompt_attention_mask: mask of it.
            custom_generate: function in place of the decoding loop, called with (model, input_ids, logits_processor,
                stopping_criteria, generation_config, and the model's inputs).
            tokenizer: needed by `stop_strings`, `token_healing`, and by an assistant with another vocabulary.
            assistant_tokenizer: of an assistant with another vocabulary.
            kwargs: settings that replace the configuration's (`max_new_tokens=20`), and inputs of the model
                (`attention_mask`, (batch, seq), 0 at padding).

        Returns:
            (batch * num_return_sequences, seq) with the prompt, or with `return_dict_in_generate` an output.

        Raises:
            ArgumentError: an unknown keyword, or an input that cannot be used.
            GenerationError: a setting that cannot be meant.
        """
        if not self.can_generate():
            from autoload.errors import ArgumentError

            text = f"{type(self).__name__} has no scores of tokens to generate from. Load it with AutoModelForCausalLM or another head."
            raise ArgumentError(text, name="generate")
        from autoload.generation.call import generate

        return generate(
            self,
            inputs,
            generation_config,
            kwargs,
            streamer=streamer,
            tokenizer=tokenizer,
            synced_gpus=synced_gpus,
            assistant_model=assistant_model,
            custom_generate=custom_generate,
            logits_processor=logits_processor,
            stopping_criteria=stopping_criteria,
            assistant_tokenizer=assistant_tokenizer,
            negative_prompt_ids=negative_prompt_ids,
            prefix_allowed_tokens_fn=prefix_allowed_tokens_fn,
            negative_prompt_attention_mask=negative_prompt_attention_mask,
        )

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        next_sequence_length: int | None = None,
        past_key_values: Any = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        is_first_iteration: bool | None = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Keywords of one forward pass. Called before each; models and adapters replace it.

        Args:
            input_ids: (batch, seq), the whole text so far.
            next_sequence_length: number of last tokens that the pass reads; None: all.
            past_key_values: cache; None before the first pass.
            attention_mask: (batch, all tokens); of models with an encoder, the encoder's.
            inputs_embeds: (batch, seq, dim) of the prompt, read in the first pass.
            is_first_iteration: whether this is the first pass.
            kwargs: what else the model takes; positions and token types of all tokens.
        """
        prefix = "decoder_" if self.config.is_encoder_decoder else ""
        out: dict[str, Any] = {}
        if inputs_embeds is not None and is_first_iteration and not prefix:
            x = out["inputs_embeds"] = _last(inputs_embeds, next_sequence_length, 1)
        else:
            x = out[f"{prefix}input_ids"] = _last(input_ids, next_sequence_length, 1)
        length = x.shape[1]
        if past_key_values is not None:
            out["past_key_values"] = past_key_values
        if attention_mask is not None:
            out["attention_mask"] = attention_mask
        for name, value in kwargs.items():
            if name in (f"{prefix}position_ids", "token_type_ids", "mm_token_type_ids"):
                out[name] = _last(value, length, -1)
            elif name not in out and name != "labels" and value is not None:
                out[name] = value
        return out

    def compute_transition_scores(
        self,
        sequences: Tensor,
        scores: tuple[Tensor, ...],
        beam_indices: Tensor | None = None,
        normalize_logits: bool = False,
    ) -> Tensor:
        """Score of each generated token, (batch, new tokens); 0 after the end of a beam.

        Args:
            sequences: (batch, seq) from `generate`.
            scores: per step (batch * beams, vocabulary), from `output_scores`.
            beam_indices: (batch, new tokens), of beam search.
            normalize_logits: give logarithms of probabilities.
        """
        stacked = torch.stack(scores)  # (steps, rows, vocabulary)
        if normalize_logits:
            stacked = stacked.log_softmax(-1)
        if beam_indices is None:
            beam_indices = torch.arange(stacked.shape[1], device=sequences.device)[:, None].expand(-1, len(scores))
        count = int((beam_indices >= 0).sum(-1).max())
        beam_indices = beam_indices[:, :count].long()
        steps = torch.arange(count, device=sequences.device)
        found = stacked[steps, beam_indices.clamp(min=0), sequences[:, -count:]]  # (batch, count)
        return found.masked_fill(beam_indices < 0, 0.0)


def _last(x: Any, count: int | None, axis: int) -> Any:
    """The last `count` entries; all of them for None."""
    if x is None or count is None or x.shape[axis] == count:
        return x
    return x.narrow(axis, x.shape[axis] - count, count)
