"""Assisted decoding: a draft proposes several tokens, one pass of the model accepts or corrects them.

Leviathan et al. 2022 (arXiv:2211.17192). Greedy results equal those without a draft; sampled ones have the same
distribution.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from autoload.errors import ArgumentError
from autoload.generation.checks import refused
from autoload.generation.outputs import Record
from autoload.generation.run import Run
from autoload.layers.cache import StaticCache


class Lookup:
    """Proposes what followed the last tokens where they appeared before (prompt lookup decoding)."""

    def __init__(self, run: Run):
        settings = run.settings
        self.count, self.longest = settings.prompt_lookup_num_tokens, settings.max_matching_ngram_size or 2
        self.max_length = settings.max_length

    def propose(self, input_ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Proposed tokens (1, any), and no scores."""
        length = input_ids.shape[1]
        count = min(self.count, self.max_length - length - 1)
        for n in range(min(self.longest, length - 1), 0, -1):
            found = (input_ids[0].unfold(0, n, 1)[:-1] == input_ids[0, -n:]).all(-1).nonzero()
            if len(found) and count > 0:
                begin = int(found[0]) + n
                return input_ids[:, begin : begin + count], None
        return input_ids[:, :0], None

    wants: dict[str, Any] = {}  # further inputs of the model that checks

    def learn(self, accepted: int, proposed: int, out: Any) -> None:
        """Told how many of the proposed tokens were accepted, and what the model made of them."""


class Borrower:
    """Proposes what a small model says that looks at the keys and values of the model that checks.

    Args:
        run: of the model that checks.
        assistant: the small model.
    """

    def __init__(self, run: Run, assistant: Any):
        if not getattr(run.model.base_model, "lends", False):
            text = (
                f"generate: {type(assistant).__name__} reads keys and values that {type(run.model).__name__} does not"
            )
            raise ArgumentError(f"{text} lend; expected a Gemma 4 text model beside it.", name="assistant_model")
        size, width = assistant.config.backbone_hidden_size, run.model.config.get_text_config().hidden_size
        if size != width:
            text = f"generate: assistant_model was made for a model of hidden_size {size}, found {width}."
            raise ArgumentError(text, name="assistant_model")
        self.model, self.embed = assistant, run.model.get_input_embeddings()
        self.max_length, self.samples = run.settings.max_length, run.settings.do_sample
        self.count = assistant.generation_config.num_assistant_tokens or run.settings.num_assistant_tokens
        self.mask = run.inputs.kwargs.get("attention_mask")
        self.wants = dict(output_hidden_states=True, return_shared_kv_states=True)
        self.state: Tensor | None = None  # (1, 1, width), of the last token that was checked
        self.lent: dict[str, tuple[Tensor, Tensor]] = {}

    def propose(self, input_ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Proposed tokens (1, any); without scores where tokens are drawn, for these are not."""
        length, state = input_ids.shape[1], self.state
        count = min(int(self.count), self.max_length - length - 1)
        if state is None or count <= 0:
            return input_ids[:, :0], None
        mask = self.mask
        if mask is not None:
            mask = torch.cat([mask, mask.new_ones(1, length - mask.shape[1])], 1)
        position = torch.tensor([[length - 1]], device=self.model.device)
        token, tokens, scores = input_ids[:, -1:], [], []
        for _ in range(count):
            embeds = torch.cat([self.embed(token), state.to(input_ids.device)], -1)
            inputs = dict(inputs_embeds=embeds, attention_mask=mask, position_ids=position, return_dict=True)
            out = self.model(**inputs, shared_kv_states=self.lent)
            token, state = out.logits.argmax(-1), out.last_hidden_state
            tokens.append(token)
            scores.append(out.logits)
        return torch.cat(tokens, 1), None if self.samples else torch.cat(scores, 1)

    def learn(self, accepted: int, proposed: int, out: Any) -> None:
        """Go on from the last accepted token; keys of refused ones are dropped."""
        last = out.hidden_states[-1]
        where, wrong = last.shape[1] - 1 - proposed + accepted, proposed - accepted
        self.state = last[:, where : where + 1]
        cut = {kind: k.shape[2] - wrong for kind, (k, _) in out.shared_kv_states.items()}
        self.lent = {
            kind: (k[:, :, : cut[kind]], v[:, :, : cut[kind]]) for kind, (k, v) in out.shared_kv_states.items()
        }


class Draft:
    """Proposes what a smaller model of the same vocabulary would say.

    Args:
        run: of the model that checks.
        assistant: the smaller model.
        prompt: of the call; what an encoder reads.
    """

    def __init__(self, run: Run, assistant: Any, prompt: Tensor):
        own, theirs = run.model.config.get_text_config(), assistant.config.get_text_config()
        if own.vocab_size != theirs.vocab_size:
            text = f"generate: assistant_model has a vocabulary of {theirs.vocab_size}, expected {own.vocab_size}."
            raise ArgumentError(
                f"{text} Of another tokenizer: pass tokenizer and assistant_tokenizer.", name="assistant_model"
            )
        if run.inputs.kwargs.get("inputs_embeds") is not None:
            raise ArgumentError("generate: an assistant_model needs input_ids.", name="inputs_embeds")
        self.model, self.max_length, self.cache = assistant, run.settings.max_length, None
        config = assistant.generation_config
        self.schedule = config.num_assistant_tokens_schedule or run.settings.num_assistant_tokens_schedule
        self.count = config.num_assistant_tokens or run.settings.num_assistant_tokens
        self.settings = copy.deepcopy(run.settings)
        threshold = config.assistant_confidence_threshold
        self.settings.update(
            is_assistant=True,
            max_length=None,
            min_length=None,
            min_new_tokens=None,
            return_dict_in_generate=True,
            output_scores=True,
            output_logits=False,
            output_attentions=False,
            output_hidden_states=False,
            stop_strings=None,
            prompt_lookup_num_tokens=None,
            assistant_early_exit=None,
        )
        if threshold is not None:
            self.settings.update(assistant_confidence_threshold=threshold)
        self.inputs = self._inputs(run, prompt)

    def _inputs(self, run: Run, prompt: Tensor) -> dict[str, Any]:
        """What the assistant reads besides tokens."""
        mask = run.inputs.kwargs.get("attention_mask")
        if not self.model.config.is_encoder_decoder:
            return {} if mask is None else {"attention_mask": mask}
        given = {} if mask is None else {"attention_mask": mask}
        return given | {"encoder_outputs": self.model.get_encoder()(prompt, **given, return_dict=True)}

    def propose(self, input_ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Proposed tokens (1, any), and the scores they were chosen by (1, any, vocabulary)."""
        length = input_ids.shape[1]
        count = min(int(self.count), self.max_length - length - 1)
        if count <= 0:
            return input_ids[:, :0], None
        if self.cache is not None:
            self.cache.crop(-max(0, int(self.cache.get_seq_length()) - (length - 1)))
        name = "decoder_input_ids" if self.model.config.is_encoder_decoder else "input_ids"
        inputs = dict(self.inputs)
        mask = inputs.get("attention_mask")
        if mask is not None and name == "input_ids":
            inputs["attention_mask"] = torch.cat([mask, mask.new_ones(1, length - mask.shape[1])], 1)
        ids = input_ids.to(self.model.device)
        out = self.model.generate(
            **{name: ids},
            generation_config=self.settings,
            max_new_tokens=count,
            past_key_values=self.cache,
            **inputs,
        )
        self.cache = out.past_key_values
        return out.sequences[:, length:].to(input_ids.device), torch.stack(out.scores, 1).to(input_ids.device)

    wants: dict[str, Any] = {}

    def learn(self, accepted: int, proposed: int, out: Any) -> None:
        """Propose more when all was accepted, less otherwise, if the schedule says so."""
        if self.schedule in ("heuristic", "heuristic_transient"):
            self.count = self.count + 2 if accepted == proposed else max(1, self.count - 1)
        if self.schedule == "heuristic":
            self.model.generation_config.num_assistant_tokens = self.count


def assisted(run: Run, input_ids: Tensor, assistant: Any, prompt: Tensor, tokenizers: tuple[Any, Any]) -> Any:
    """The text with what follows it; (1, seq), or an output with more where it is asked for.

    Args:
        run: of the model that checks.
        input_ids: (1, seq).
        assistant: the smaller model; None: the text itself is looked up.
        prompt: of the call; what an encoder reads.
        tokenizers: of the two models, where they are not the same.
    """
    settings, record = run.settings, Record(run.settings, run.encoder_outputs)
    _check(run, input_ids)
    source = _source(run, assistant, prompt, tokenizers)
    made, out = 0, None
    while True:
        drafted, draft_scores = source.propose(input_ids)
        count = drafted.shape[1]
        text = torch.cat([input_ids, drafted], 1)
        out = _pass(run, text, input_ids, made, count, out is None, source.wants)
        logits = out.logits[:, -count - 1 :].to(input_ids.device, torch.float32)  # (1, count + 1, vocabulary)
        scores = _processed(run, text, logits)
        tokens = _chosen(run, scores, drafted, draft_scores)  # (1, accepted + 1)
        record_at = len(record.scores or ())
        kept, stopped = 0, False
        while kept < tokens.shape[1] and not stopped:
            kept += 1
            input_ids = torch.cat([input_ids, tokens[:, kept - 1 : kept]], 1)
            if record.scores is not None:
                record.scores += (scores[:, kept - 1],)
            stopped = bool(torch.as_tensor(run.criteria.check(input_ids, record.scores)).any())
        made += kept
        if record.scores is not None:
            record.scores = record.scores[:record_at]
        for i in range(kept):
            record.add(scores[:, i], logits[:, i], _part(out, count, i, first=made == kept))
        if run.streamer is not None:
            run.streamer.put(tokens[0, :kept].cpu())
        if (wrong := count - (kept - 1)) > 0:
            run.cache.crop(-wrong)
        source.learn(kept - 1, count, out)
        if stopped:
            break
    if run.streamer is not None:
        run.streamer.end()
    return record.output(input_ids, run.cache) if settings.return_dict_in_generate else input_ids


def _source(run: Run, assistant: Any, prompt: Tensor, tokenizers: tuple[Any, Any]) -> Any:
    """Where proposals come from."""
    if run.settings.assistant_early_exit is not None:
        from autoload.generation.early_exit import first_layers

        return Draft(run, first_layers(run.model, run.settings.assistant_early_exit), prompt)
    if assistant is None:
        return Lookup(run)
    if tokenizers[1] is not None:
        from autoload.generation.translated import Translated

        return Translated(run, assistant, *tokenizers)
    return Borrower(run, assistant) if getattr(assistant, "borrows", False) else Draft(run, assistant, prompt)


def _check(run: Run, input_ids: Tensor) -> None:
    settings = run.settings
    if input_ids.shape[0] != 1:
        text = f"generate: a batch of {input_ids.shape[0]}, expected one text with an assistant or prompt lookup."
        raise ArgumentError(text, name="input_ids")
    if not settings.use_cache:
        raise refused("use_cache", False, "true, with an assistant or prompt lookup", "generate")
    if isinstance(run.cache, StaticCache):
        text = "a cache that can be cropped, with an assistant or prompt lookup"
        raise refused("cache_implementation", settings.cache_implementation, text, "generate")
    if settings.assistant_ensemble_weight is not None and settings.prompt_lookup_num_tokens is not None:
        weight = settings.assistant_ensemble_weight
        raise refused("assistant_ensemble_weight", weight, "null: prompt lookup gives no scores", "generate")


def _pass(run: Run, text: Tensor, input_ids: Tensor, made: int, count: int, first: bool, wants: dict[str, Any]) -> Any:
    """One pass over the proposed tokens and the one before them; the first also over the prompt."""
    new: int | None = count + 1
    if first:
        own = run.first_length(input_ids)
        new = None if own is None else own + count
    more = wants | {"logits_to_keep": count + 1} if "logits_to_keep" in run.inputs.kwargs else wants
    out = run.forward(text, made + count, new, first, **more)
    if run.cache is None or not getattr(run.cache, "is_croppable", True):
        raise ArgumentError(
            f"generate: {type(run.model).__name__} keeps states that cannot go back, so it takes no assistant.",
            name="assistant_model",
        )
    return out


def _processed(run: Run, text: Tensor, logits: Tensor) -> Tensor:
    """Scores after the processors, each position with the tokens before it."""
    if not run.processors:
        return logits
    count = logits.shape[1]
    start = text.shape[1] - count + 1
    return torch.stack([run.processors(text[:, : start + i], logits[:, i].clone()) for i in range(count)], 1)


def _chosen(run: Run, scores: Tensor, drafted: Tensor, draft_scores: Tensor | None) -> Tensor:
    """The proposed tokens that are accepted, and the model's own next one; (1, accepted + 1)."""
    settings, weight = run.settings, run.settings.assistant_ensemble_weight
    if settings.do_sample and draft_scores is not None:
        return _speculative(scores, drafted, draft_scores, weight)
    if settings.do_sample:
        own = torch.multinomial(scores[0].softmax(-1), 1).T
    elif weight is not None and draft_scores is not None:
        p, q = scores[:, :-1].softmax(-1), draft_scores.softmax(-1)
        own = torch.cat([(weight * p + (1 - weight) * q).argmax(-1), scores[:, -1:].argmax(-1)], 1)
    else:
        own = scores.argmax(-1)
    accepted = int((own[:, :-1] == drafted).long().cumprod(-1).sum())
    return own[:, : accepted + 1]


def _speculative(scores: Tensor, drafted: Tensor, draft_scores: Tensor, weight: float | None) -> Tensor:
    """Accept with probability min(1, p/q), then draw from what q leaves of p; algorithm 1 of the paper."""
    p, q = scores.softmax(-1), draft_scores.softmax(-1)
    ratio = p[:, :-1].gather(-1, drafted[..., None]) / q.gather(-1, drafted[..., None])
    if weight is not None:
        ratio = 1 - weight + weight * ratio
    accepted = int((torch.rand_like(ratio) <= ratio).long().cumprod(1).sum())
    rest = p[:, accepted]
    if accepted < drafted.shape[1]:
        left = (rest - q[:, accepted]).clamp(min=0)
        total = left.sum()
        rest = left / total if total > torch.finfo(left.dtype).tiny else rest
    return torch.cat([drafted[:, :accepted], torch.multinomial(rest, 1)], 1)


def _part(out: Any, count: int, i: int, first: bool) -> dict[str, Any]:
    """What a pass over a single token would have given of position `i`; the prompt belongs to the very first."""

    def rows(x: Tensor, axis: int) -> Tensor:
        last = x.shape[axis] - count - 1
        return x.narrow(axis, 0, last + 1) if first and i == 0 else x.narrow(axis, last + i, 1)

    def states(name: str) -> Any:
        return None if (got := out.get(name)) is None else tuple(rows(x, 1) for x in got)

    def weights(name: str, own: bool) -> Any:
        if (got := out.get(name)) is None:
            return None
        return tuple(rows(x[..., : x.shape[-1] - count + i] if own else x, 2) for x in got)

    parts = {name: states(name) for name in ("hidden_states", "decoder_hidden_states")}
    parts |= {name: weights(name, True) for name in ("attentions", "decoder_attentions")}
    return parts | {"cross_attentions": weights("cross_attentions", False)}
