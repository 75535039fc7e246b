"""XLNet: attention to relative positions, in one stream of contents and, for pre-training, one of queries.

Yang et al. 2019 (arXiv:1906.08237).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoload import heads
from autoload.errors import ArgumentError, ConfigError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, Mask, attend, kernel_of
from autoload.losses import token_loss
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models.bert_heads import Summary
from autoload.outputs import ALWAYS, ModelOutput, States


@dataclass
class XLNetModelOutput(ModelOutput):
    """XLNet's hidden states; `mems` are what each layer remembers, (past, batch, dim)."""

    last_hidden_state: Tensor = ALWAYS
    mems: States = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class XLNetLMHeadModelOutput(ModelOutput):
    """`logits` (batch, targets, vocabulary) of XLNet."""

    loss: Any = None
    logits: Tensor = ALWAYS
    mems: States = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class XLNetForSequenceClassificationOutput(ModelOutput):
    """`logits` (batch, labels) of XLNet."""

    loss: Any = None
    logits: Tensor = ALWAYS
    mems: States = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class XLNetForTokenClassificationOutput(ModelOutput):
    """`logits` (batch, seq, labels) of XLNet."""

    loss: Any = None
    logits: Tensor = ALWAYS
    mems: States = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class XLNetForMultipleChoiceOutput(ModelOutput):
    """`logits` (batch, choices) of XLNet."""

    loss: Any = None
    logits: Tensor = ALWAYS
    mems: States = None
    hidden_states: States = None
    attentions: States = None


@dataclass
class XLNetForQuestionAnsweringSimpleOutput(ModelOutput):
    """`start_logits` and `end_logits` (batch, seq) of XLNet."""

    loss: Any = None
    start_logits: Tensor = ALWAYS
    end_logits: Tensor = ALWAYS
    mems: States = None
    hidden_states: States = None
    attentions: States = None


Streams = tuple[Tensor, Tensor | None]  # of contents (batch, seq, dim), of queries (batch, targets, dim)


class RelativeAttention(nn.Module):
    """Scores of contents, of distances and of segments, each with a bias of its own on the queries."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        size, self.layer_idx, self.scale = config.d_model, layer_idx, config.d_head**-0.5
        shape = (size, config.n_head, config.d_head)
        self.q, self.k, self.v, self.o, self.r = (nn.Parameter(torch.zeros(shape)) for _ in range(5))
        self.r_r_bias, self.r_s_bias, self.r_w_bias = (nn.Parameter(torch.zeros(shape[1:])) for _ in range(3))
        self.seg_embed = nn.Parameter(torch.zeros(2, *shape[1:]))
        self.layer_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def init_own(self, std: float) -> None:
        for parameter in (self.q, self.k, self.v, self.o, self.r, self.seg_embed):
            parameter.normal_(0.0, std)
        for parameter in (self.r_r_bias, self.r_s_bias, self.r_w_bias):
            parameter.normal_(0.0, std)

    @staticmethod
    def project(x: Tensor, matrix: Tensor) -> Tensor:
        return torch.einsum("bsd,dhe->bhse", x, matrix)  # (batch, heads, seq, head dim)

    def forward(self, streams: Streams, context: Context) -> Streams:
        h, g = streams
        extra = context.extra
        past = extra["mems"][self.layer_idx]
        seen = h if past is None else torch.cat([past.transpose(0, 1), h], 1)
        k, v = self.project(seen, self.k), self.project(seen, self.v)
        r = self.project(extra["distances"], self.r)  # (1 or batch, heads, distances, head dim)
        out, weights = self.look(self.project(h, self.q), k, v, r, context.masks["content"], context)
        h = self.add(h, out)
        if g is None:
            if context.attentions is not None:
                context.attentions.append(weights)  # type: ignore[arg-type]
            return h, None
        q, targets = self.project(g, self.q), extra["target_mapping"]
        if targets is None:
            out, query_weights = self.look(q, k, v, r, context.masks["query"], context)
        else:  # each query stands where its target does
            q = torch.einsum("bhmd,bml->bhld", q, targets)
            out, query_weights = self.look(q, k, v, r, context.masks["query"], context)
            out = torch.einsum("blx,bml->bmx", out, targets)
        if context.attentions is not None:
            context.attentions.append((weights, query_weights))  # type: ignore[arg-type]
        return h, self.add(g, out)

    def look(
        self, q: Tensor, k: Tensor, v: Tensor, r: Tensor, mask: Mask, context: Context
    ) -> tuple[Tensor, Tensor | None]:
        """What the queries see, (batch, seq, heads * head dim), and the weights when they are asked for."""
        apart = (q + self.r_r_bias[:, None]) @ r.transpose(2, 3)  # (batch, heads, queries, distances)
        index = context.extra["index"].expand(*apart.shape[:2], -1, -1)
        bias = apart.gather(-1, index)
        other = context.extra["other_segment"]
        if other is not None:
            segments = torch.einsum("bhid,shd->bhis", q + self.r_s_bias[:, None], self.seg_embed)
            bias = bias + torch.where(other[:, None], segments[..., 1:], segments[..., :1])
        shown: list[Tensor] | None = None if context.attentions is None else []
        dropout = self.dropout.p if self.training else 0.0
        q = q + self.r_w_bias[:, None]
        out = attend(
            q, k, v, mask, context, scale=self.scale, dropout=dropout, bias=bias * self.scale, weights_to=shown
        )
        return out, shown[0] if shown else None

    def add(self, x: Tensor, out: Tensor) -> Tensor:
        heads, dim = self.o.shape[1:]
        out = torch.einsum("bshe,dhe->bsd", out.unflatten(-1, (heads, dim)), self.o)
        return self.layer_norm(self.dropout(out) + x)


class FeedForward(nn.Module):
    """The wide layer, residual, norm."""

    def __init__(self, config: Any):
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.d_model, eps=config.layer_norm_eps)
        self.layer_1 = nn.Linear(config.d_model, config.d_inner)
        self.layer_2 = nn.Linear(config.d_inner, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.activation_function = Activation(config.ff_activation)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer_2(self.dropout(self.activation_function(self.layer_1(x))))
        return self.layer_norm(self.dropout(y) + x)


class XLNetLayer(nn.Module):
    """Attention and a wide layer, on one stream or two."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.rel_attn = RelativeAttention(config, layer_idx)
        self.ff = FeedForward(config)

    def forward(self, streams: Streams, context: Context) -> Streams:
        h, g = self.rel_attn(streams, context)
        return self.ff(h), None if g is None else self.ff(g)


class Model(PreTrainedModel):
    """XLNet without a head."""

    embeddings_path = "word_embedding"
    main_input_name = "input_ids"
    _no_split_modules = ["XLNetLayer"]

    def __init__(self, config: Any):
        super().__init__(config)
        if config.attn_type not in ("bi", "uni"):
            raise ConfigError("attn_type", config.attn_type, "'bi' or 'uni'")
        self.word_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.mask_emb = nn.Parameter(torch.zeros(1, 1, config.d_model))
        self.layer = nn.ModuleList(XLNetLayer(config, i) for i in range(config.n_layer))
        self.dropout = nn.Dropout(config.dropout)

    def init_own(self, std: float) -> None:
        self.mask_emb.normal_(0.0, std)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        mems: Any = None,
        perm_mask: Tensor | None = None,
        target_mapping: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        input_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        use_mems: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the tokens, or of the targets.

        Args:
            input_ids: (batch, seq).
            attention_mask: (batch, seq), 0 at padding.
            mems: for each layer what it remembers of earlier segments, (past, batch, dim).
            perm_mask: (batch, seq, seq), 1 where a token must not see another.
            target_mapping: (batch, targets, seq), 1 where a target stands; a second stream predicts the targets.
            token_type_ids: (batch, seq), segments.
            input_mask: (batch, seq), 1 at padding, in place of attention_mask.
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            use_mems: give `mems` back.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ArgumentError("forward: pass input_ids or inputs_embeds, one of them.", name="input_ids")
        if input_mask is not None and attention_mask is not None:
            raise ArgumentError("forward: pass attention_mask or input_mask, not both.", name="input_mask")
        config = self.config
        keeps = (config.use_mems_train if self.training else config.use_mems_eval) if use_mems is None else use_mems
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        x = self.word_embedding(input_ids) if inputs_embeds is None else inputs_embeds  # (batch, seq, dim)
        mems = [None] * len(self.layer) if mems is None else mems
        past = 0 if mems[0] is None else mems[0].shape[0]
        if attention_mask is not None:
            input_mask = 1 - attention_mask
        content, query = self.make_masks(x, past, input_mask, perm_mask)
        context = Context(
            masks={"content": content, "query": query},
            kernel=kernel_of(config),
            attentions=[] if attentions else None,
            extra={"mems": mems, "target_mapping": target_mapping} | self.relate(x, past, token_type_ids),
        )
        h, g = self.dropout(x), None
        if target_mapping is not None:
            g = self.dropout(self.mask_emb.expand(len(x), target_mapping.shape[1], -1))
        streams: Any = (h, g)
        kept, seen = [], []
        for layer, old in zip(self.layer, mems, strict=True):
            if keeps:
                kept.append(self.remember(streams[0], old))
            seen.append(streams)
            streams = self.run(layer, streams, context)
        seen.append(streams)
        out = XLNetModelOutput(
            self.dropout(streams[0] if g is None else streams[1]),
            tuple(kept) if keeps else None,
            tuple(stream for pair in seen for stream in pair if stream is not None) if states else None,
            tuple(context.attentions) if context.attentions is not None else None,
        )
        return finish(out, return_dict, config)

    def make_masks(
        self, x: Tensor, past: int, input_mask: Tensor | None, perm_mask: Tensor | None
    ) -> tuple[Mask, Mask]:
        """For the stream of contents, in which a token always sees itself, and for that of queries."""
        seq, keys = x.shape[1], x.shape[1] + past
        hidden = None
        if self.config.attn_type == "uni":
            hidden = torch.ones((seq, keys), dtype=torch.bool, device=x.device).triu(past + 1)
            if self.config.same_length:
                hidden[:, :seq] |= torch.ones((seq, seq), dtype=torch.bool, device=x.device).tril(-1)
            hidden = hidden[None]
        data = None if input_mask is None else input_mask[:, None, :] > 0
        if perm_mask is not None:
            data = perm_mask > 0 if data is None else (data | (perm_mask > 0))
        if data is not None:
            data = nn.functional.pad(data, (past, 0))
            hidden = data if hidden is None else hidden | data
        if hidden is None:
            return Mask(), Mask()
        itself = torch.eye(seq, keys, dtype=torch.bool, device=x.device).roll(past, 1)
        return Mask(~(hidden & ~itself)[:, None]), Mask(~hidden[:, None])

    def relate(self, x: Tensor, past: int, token_type_ids: Tensor | None) -> dict[str, Any]:
        """Vectors of distances, which of them belongs to a query and a key, and which pairs are of two segments."""
        config, (batch, seq) = self.config, x.shape[:2]
        keys = seq + past
        last = -seq if config.attn_type == "bi" else -1
        forward = torch.arange(keys, last, -1, device=x.device).float()
        vectors = self.sinusoids(forward)[None]
        if config.bi_data:  # the second half of the batch is read backwards
            half = batch // 2
            backward = self.sinusoids(-forward)[None]
            vectors = torch.cat([vectors.expand(half, -1, -1), backward.expand(half, -1, -1)])
        i, j = torch.arange(seq, device=x.device)[:, None], torch.arange(keys, device=x.device)
        index = (seq - i + j).clamp(max=len(forward) - 1)
        other = None
        if token_type_ids is not None:
            padded = nn.functional.pad(token_type_ids, (past, 0))
            other = token_type_ids[:, :, None] != padded[:, None, :]
        return {"distances": self.dropout(vectors.to(x.dtype)), "index": index, "other_segment": other}

    def sinusoids(self, places: Tensor) -> Tensor:
        """(places, dim)."""
        size, furthest = self.config.d_model, self.config.clamp_len
        places = places.clamp(-furthest, furthest) if furthest > 0 else places
        steps = 1 / 10000 ** (torch.arange(0, size, 2, device=places.device).float() / size)
        angles = places[:, None] * steps
        return torch.cat([angles.sin(), angles.cos()], -1)

    def remember(self, h: Tensor, old: Tensor | None) -> Tensor:
        """The last `mem_len` states; (past, batch, dim)."""
        new = h.transpose(0, 1)
        if self.config.reuse_len:
            new = new[: self.config.reuse_len]
        new = new if old is None else torch.cat([old, new])
        return new[-(self.config.mem_len or 0) :].detach()


class XLNetHead(heads.EncoderHead):
    """Hands on what the layers remember."""

    further_outputs = ("mems",)


class LMHead(XLNetHead):
    """Scores of the tokens, or of the targets."""

    output_class = XLNetLMHeadModelOutput
    output_path = "lm_loss"

    def __init__(self, config: Any):
        super().__init__(config)
        self.lm_loss = nn.Linear(config.d_model, config.vocab_size)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"lm_loss.weight": "transformer.word_embedding.weight"}

    def scores(self, out: Any) -> Tensor:
        return self.lm_loss(out.last_hidden_state)

    def loss(self, logits: Tensor, labels: Tensor, attention_mask: Tensor | None) -> Tensor:
        return token_loss(logits, labels)


class Classification(XLNetHead):
    """Labels from a summary of the text."""

    output_class = XLNetForSequenceClassificationOutput

    def __init__(self, config: Any):
        super().__init__(config)
        self.sequence_summary = Summary(config)
        self.logits_proj = nn.Linear(config.d_model, config.num_labels)

    def scores(self, out: Any) -> Tensor:
        return self.logits_proj(self.sequence_summary(out.last_hidden_state))


class TokenLabels(XLNetHead):
    """A label for each token."""

    output_class = XLNetForTokenClassificationOutput

    def __init__(self, config: Any):
        super().__init__(config)
        self.classifier = nn.Linear(config.d_model, config.num_labels)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(out.last_hidden_state)

    def loss(self, logits: Tensor, labels: Tensor, attention_mask: Tensor | None) -> Tensor:
        return token_loss(logits, labels)


class Answer(heads.QuestionAnswering):
    """Where an answer begins and ends."""

    base_options = {}
    output_class = XLNetForQuestionAnsweringSimpleOutput
    further_outputs = ("mems",)


class Choice(heads.MultipleChoice):
    """The best of several continuations."""

    output_class = XLNetForMultipleChoiceOutput
    further_outputs = ("mems",)

    def __init__(self, config: Any):
        super(heads.MultipleChoice, self).__init__(config)
        self.sequence_summary = Summary(config)
        self.logits_proj = nn.Linear(config.d_model, 1)

    def scores(self, out: Any) -> Tensor:
        return self.logits_proj(self.sequence_summary(out.last_hidden_state))


VARIANTS = {"xlnet": Variant(members={"base_model_prefix": "transformer"})}
TASKS = {
    "Model": Model,
    "CausalLM": LMHead,
    "SequenceClassification": Classification,
    "TokenClassification": TokenLabels,
    "QuestionAnswering": Answer,
    "MultipleChoice": Choice,
}
