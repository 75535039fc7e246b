"""BigBird: long texts are cut into blocks; a block sees its neighbours, the first, the last and some drawn by chance.

Zaheer et al. 2020 (arXiv:2007.14062).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload import heads
from autoload.errors import ArgumentError, ConfigError
from autoload.layers.activations import activation
from autoload.layers.attention import Context
from autoload.losses import token_loss
from autoload.model import Variant
from autoload.models import bert_heads
from autoload.models.bert import Attention, Embeddings, Encoder, Intermediate, Layer, Model, Output, SelfAttention, Spec
from autoload.outputs import ALWAYS, ModelOutput, States


@dataclass
class BigBirdForQuestionAnsweringModelOutput(ModelOutput):
    """`start_logits` and `end_logits` (batch, seq)."""

    loss: Any = None
    start_logits: Tensor = ALWAYS
    end_logits: Tensor = ALWAYS
    pooler_output: Tensor | None = None
    hidden_states: States = None
    attentions: States = None


ATTENTION_TYPES = ("block_sparse", "original_full")
PAPER_LENGTHS = (1024, 3072, 4096)  # for which blocks are drawn as the paper's models drew them
DRAWN_BELOW = 1024  # tokens, for these lengths


class BigBirdEmbeddings(Embeddings):
    """Words may be scaled; dropout comes before the norm."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        self.scale = config.hidden_size**0.5 if config.rescale_embeddings else 1.0

    def add_types(self, x: Tensor, token_type_ids: Tensor | None) -> Tensor:
        return super().add_types(x * self.scale, token_type_ids)

    def finish(self, x: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(x))


class BlockSelfAttention(SelfAttention):
    """Over blocks of a long text, over all of a short one."""

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__(config, layer_idx, cross)
        self.block, self.drawn = config.block_size, config.num_random_blocks
        self.longest = config.max_position_embeddings

    def make_projections(self, config: Any, size: int) -> None:
        self.query = nn.Linear(config.hidden_size, size, bias=config.use_bias)
        self.key = nn.Linear(config.hidden_size, size, bias=config.use_bias)
        self.value = nn.Linear(config.hidden_size, size, bias=config.use_bias)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        real = context.extra["real"]
        if real is None:
            return super().forward(x, context)
        seq, short = x.shape[1], real.shape[1] - x.shape[1]
        q, k, v = (F.pad(t, (0, 0, 0, short)) for t in self.project(x, context))
        ends = [slice(None, self.block), slice(-self.block, None)]
        whole = [self.look(q[:, :, end], k, v, real[:, None, None, :], context) for end in ends]
        seen = self.seen(real.shape[1] // self.block, x.device)  # (heads, blocks - 2, slots)
        out, weights = self.in_blocks(q, k, v, seen, real, context)
        out = torch.cat([whole[0][0], out, whole[1][0]], 2)[:, :, :seq]
        if context.attentions is not None and weights is not None:
            shown = torch.cat([whole[0][1], self.spread(weights, seen), whole[1][1]], 2)  # type: ignore[list-item]
            context.attentions.append(shown[:, :, :seq, :seq])
        return out.transpose(1, 2).flatten(2) * real[:, :seq, None]

    def look(self, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor, context: Context) -> tuple[Tensor, Tensor | None]:
        """What the queries see, and the weights where they are asked for."""
        if context.attentions is None and context.kernel != "eager":
            return F.scaled_dot_product_attention(q, k, v, allowed, scale=self.dim**-0.5), None
        scores = q @ k.transpose(-1, -2) * self.dim**-0.5
        weights = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).softmax(-1)
        return weights @ v, weights

    def in_blocks(
        self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor, real: Tensor, context: Context
    ) -> tuple[Tensor, Tensor | None]:
        """All blocks but the first and the last; (batch, heads, seq - 2 blocks, dim)."""
        heads, blocks, slots = seen.shape
        q = q.unflatten(2, (-1, self.block))[:, :, 1:-1]  # (batch, heads, blocks, block, dim)
        k, v = (self.gather(F.pad(t, (0, 0, 0, self.block)).unflatten(2, (-1, self.block)), seen) for t in (k, v))
        allowed = F.pad(real, (0, self.block)).unflatten(1, (-1, self.block))  # an empty block at the end
        allowed = allowed[:, seen.flatten()].view(-1, heads, blocks, 1, slots * self.block)
        # A block of nothing but padding looks at what it likes: it is thrown away.
        allowed = allowed | ~allowed.any(-1, keepdim=True)
        out, weights = self.look(q, k, v, allowed, context)
        return out.flatten(2, 3), weights

    def gather(self, x: Tensor, seen: Tensor) -> Tensor:
        """(batch, heads, all blocks, block, dim) to (batch, heads, blocks, slots * block, dim)."""
        heads, blocks, slots = seen.shape
        found = x[:, torch.arange(heads, device=x.device)[:, None], seen.flatten(1)]
        return found.view(len(x), heads, blocks, slots * self.block, -1)

    def spread(self, weights: Tensor, seen: Tensor) -> Tensor:
        """Weights of the seen blocks at their places among all; (batch, heads, seq - 2 blocks, seq)."""
        weights = weights.unflatten(-1, (-1, self.block)).transpose(3, 4)  # (batch, heads, blocks, slots, block, block)
        places = seen[None, :, :, :, None, None].expand_as(weights)
        out = weights.new_zeros((*weights.shape[:3], seen.shape[1] + 3, *weights.shape[4:]))
        out = out.scatter(3, places, weights)[:, :, :, :-1]
        return out.transpose(3, 4).flatten(4, 5).flatten(2, 3)

    def seen(self, blocks: int, device: Any) -> Tensor:
        """Which blocks each block but the first and the last sees; (heads, blocks - 2, slots)."""
        middle = torch.arange(1, blocks - 1, device=device)[:, None]
        none = torch.full_like(middle, blocks)  # the empty block past the end
        first, last = torch.zeros_like(middle), torch.full_like(middle, blocks - 1)
        fixed = torch.cat([torch.where(middle == 1, none, first), middle - 1, middle, middle + 1, last], 1)
        fixed[-1, -1] = blocks  # the last but one has the last block as its neighbour
        if self.training:
            drawn = draw(self.heads, blocks, self.block, self.drawn, self.longest, self.layer_idx)
        else:  # nothing is left to chance: as many times the first block
            drawn = np.zeros((self.heads, blocks - 2, self.drawn), dtype=np.int64)
        return torch.cat([fixed.expand(self.heads, -1, -1), torch.from_numpy(drawn).to(device)], -1)


def draw(heads: int, blocks: int, size: int, count: int, longest: int, seed: int) -> np.ndarray:
    """Numbers of the blocks that each block sees by chance; (heads, blocks - 2, count)."""
    chance = np.random.RandomState(seed)
    if blocks * size in PAPER_LENGTHS:
        return np.stack([_as_in_paper(chance, longest // size, size, count)[: blocks - 2] for _ in range(heads)])
    among = 2 * count + 5
    drawn = np.zeros((blocks - 2, heads, count), dtype=np.int64)
    for block in range(1, blocks - 1):
        near = {block - 1, block, block + 1, 0, among - 1}
        near |= {among - 2} if block == 1 else {1} if block == among - 2 else set()
        for head in range(heads):
            order = chance.permutation(np.arange(among, dtype=np.int32))
            drawn[block - 1, head] = [b for b in order if b not in near][:count]
    return drawn.transpose(1, 0, 2)


def _as_in_paper(chance: np.random.RandomState, blocks: int, size: int, count: int) -> np.ndarray:
    """For the longest text that the model takes; (blocks - 2, count)."""
    middle = np.arange(1, blocks - 1, dtype=np.int32)
    last = DRAWN_BELOW // size - 1 if DRAWN_BELOW > 2 * size else blocks - 1
    drawn = np.zeros((blocks - 2, count), dtype=np.int64)
    for block in range(1, blocks - 1):
        before = middle[: min(block - 2, last)]
        if block <= 2:
            among = middle[block + 1 : last]
        elif block >= blocks - 3:
            among = middle[:last]
        elif block - 2 > last or block + 1 == last:
            among = before
        else:
            among = np.concatenate([before, middle[block + 1 : last]])
        drawn[block - 1] = chance.permutation(among)[:count]
    return drawn


class BlockAttention(Attention):
    """With BigBird's attention."""

    self_class = BlockSelfAttention


class BlockLayer(Layer):
    """With BigBird's attention."""

    attention_class = BlockAttention


class BlockEncoder(Encoder):
    """Decides whether a text is long enough for blocks, and which of its tokens are real."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        self.sparse, self.block = config.attention_type == "block_sparse" and not config.is_decoder, config.block_size
        self.short = (5 + 2 * config.num_random_blocks) * self.block  # the longest text that is seen whole

    def begin(self, x: Tensor, context: Context, past: int) -> Tensor:
        real, mask = None, context.extra["attention_mask"]
        if self.sparse and x.shape[1] > self.short:
            real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask != 0
            real = F.pad(real, (0, -x.shape[1] % self.block))
        context.extra["real"] = real
        return x


class FirstTokenPooler(nn.Linear):
    """Dense layer and tanh on the first token, without a name of its own."""

    def __init__(self, config: Any):
        super().__init__(config.hidden_size, config.hidden_size)

    def forward(self, input: Tensor) -> Tensor:
        return torch.tanh(super().forward(input[:, 0]))


class BigBirdModel(Model):
    """BigBird without a head. A decoder, and a text too short for blocks, sees everything."""

    def __init__(self, config: Any, add_pooling_layer: bool = True):
        if config.attention_type not in ATTENTION_TYPES:
            raise ConfigError("attention_type", config.attention_type, " or ".join(map(repr, ATTENTION_TYPES)))
        super().__init__(config, add_pooling_layer)

    def set_attention_type(self, value: str) -> None:
        """See blocks ("block_sparse") or everything ("original_full")."""
        if value not in ATTENTION_TYPES:
            raise ArgumentError(
                f"attention_type is {value!r}, expected one of {', '.join(ATTENTION_TYPES)}.", name="value"
            )
        encoder: Any = self.encoder
        encoder.sparse = value == "block_sparse" and not self.decodes


class Classifier(heads.TwoLayerClassifier):
    """With the model's activation."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.activation = activation(config.hidden_act)  # type: ignore[method-assign]


class MaskedLM(bert_heads.MaskedLM):
    """BigBird's hidden tokens; the pooler stays."""

    base_options = {}


class CausalLM(bert_heads.CausalLM):
    """BigBird's next token; the pooler stays."""

    base_options = {}


class PreTraining(bert_heads.PreTraining):
    """Hidden tokens, and the next sentence where it is told."""

    def loss(self, words: Tensor, follows: Tensor, labels: Tensor | None, next_label: Tensor | None) -> Tensor | None:
        if labels is None:
            return None
        loss = token_loss(words, labels)
        return loss if next_label is None else loss + token_loss(follows, next_label)


class Classification(heads.FirstTokenClassification):
    """BigBird's labels; the pooler stays."""

    base_options = {}
    classifier_class = Classifier


class TokenLabels(heads.TokenClassification):
    """BigBird's label for each token; the pooler stays."""

    base_options = {}


class SpanScores(nn.Module):
    """A wide layer before the scores of both ends."""

    def __init__(self, config: Any):
        super().__init__()
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.intermediate = Intermediate(config)
        self.output = Output(config, config.intermediate_size)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.qa_outputs(self.output(self.intermediate(self.dropout(x)), x))


class Answer(heads.QuestionAnswering):
    """BigBird's answer, which never stands in the question."""

    output_class = BigBirdForQuestionAnsweringModelOutput
    further_outputs = ("pooler_output",)

    def __init__(self, config: Any):
        config.num_labels = 2
        super(heads.QuestionAnswering, self).__init__(config)
        self.qa_classifier = SpanScores(config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        question_lengths: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """question_lengths: (batch, 1), tokens; None: up to the first separator. start_positions, end_positions: (batch,)."""
        given = input_ids if input_ids is not None else inputs_embeds
        if question_lengths is None and input_ids is not None:
            question_lengths = (input_ids == self.config.sep_token_id).int().argmax(-1, keepdim=True) + 1
        in_question = None
        if question_lengths is not None and given is not None:
            places = torch.arange(given.shape[1], device=given.device)
            in_question = places < question_lengths  # (batch, seq)
            token_type_ids = (~in_question).long() if token_type_ids is None else token_type_ids
            in_question = in_question & (places > 0)  # the first token says that there is no answer
        out = self.base_model(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        scores = self.qa_classifier(out.last_hidden_state)
        if in_question is not None:
            scores = scores - in_question[..., None] * 1e6
        return heads.span_output(self, scores, start_positions, end_positions, out, return_dict)


VARIANTS = {
    "big_bird": Variant(
        lambda c: Spec(
            inputs=("attention_mask",),
            pooler=FirstTokenPooler,
            embeddings=BigBirdEmbeddings,
            encoder=BlockEncoder,
            layer=BlockLayer,
            packs=False,
        ),
        members={"base_model_prefix": "bert"},
    ),
}
TASKS = bert_heads.TASKS | {
    "Model": BigBirdModel,
    "MaskedLM": MaskedLM,
    "CausalLM": CausalLM,
    "PreTraining": PreTraining,
    "SequenceClassification": Classification,
    "TokenClassification": TokenLabels,
    "QuestionAnswering": Answer,
}
