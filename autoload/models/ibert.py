"""I-BERT: RoBERTa that can compute with integers alone, held in floating point numbers.

Without `quant_mode` it is RoBERTa. With it every tensor is a whole number times a scale, and the two travel together.

Kim et al. 2021 (arXiv:2101.01321).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ConfigError
from autoload.layers.attention import Context, Mask, attend
from autoload.model import Variant
from autoload.models import bert_heads
from autoload.models.bert import Embeddings, Model, Spec

FORCE = ("none", "gelu", "softmax", "layernorm", "nonlinear")
MAX_BIT = 32
Scaled = tuple[Tensor, Any]  # a tensor, and its scale where it is quantised


def straight(value: Tensor, x: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """The value, with the gradient of x / scale: rounding has none of its own."""
    return value.detach() + (x - x.detach()) / scale if x.requires_grad else value


def floor(x: Tensor) -> Tensor:
    return straight(x.floor(), x)


def largest(bits: int) -> int:
    return 2 ** (bits - 1) - 1


def scale_of(low: Tensor, high: Tensor, bits: int) -> Tensor:
    """The scale that makes whole numbers of so many bits reach from low to high."""
    return torch.maximum(low.abs(), high.abs()).clamp(min=1e-8) / largest(bits)


def quantise(x: Tensor, bits: int, scale: Tensor) -> Tensor:
    """Whole numbers; the scale is one for all, or one for each row of a matrix."""
    scale = scale[:, None] if x.dim() == 2 else scale
    whole = (1.0 / scale * x.detach()).round().clamp(-largest(bits), largest(bits) - 1)
    return straight(whole, x, scale)


def rescale(x: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """Whole numbers of another scale, by a multiplication with a fixed point as integer hardware does it."""
    old = old if old.dim() == 3 else old.view(1, 1, -1)
    mantissa, exponent = torch.frexp(old.double() / new.double())
    mantissa = mantissa.sign() * (mantissa.abs() * 2.0**31 + 0.5).floor()
    return ((x / old).round().double() * mantissa / 2.0 ** (31.0 - exponent.double())).round()


class QuantEmbedding(nn.Embedding):
    """A table of 8 bits."""

    weight_scaling_factor: Tensor
    weight_integer: Tensor

    def __init__(self, count: int, size: int, quantised: bool, padding_idx: int | None = None):
        super().__init__(count, size, padding_idx=padding_idx)
        self.quantised = quantised
        self.register_buffer("weight_scaling_factor", torch.zeros(1))
        self.register_buffer("weight_integer", torch.zeros(count, size))

    def init_own(self, std: float) -> None:
        self.weight.normal_(0.0, std)
        if self.padding_idx is not None:
            self.weight[self.padding_idx].zero_()
        self.weight_scaling_factor.zero_()
        self.weight_integer.zero_()

    def forward(self, input: Tensor) -> Scaled:  # type: ignore[override]
        if not self.quantised:
            return super().forward(input), None
        weight = self.weight.detach()
        scale = scale_of(weight.min()[None], weight.max()[None], 8)
        whole = quantise(self.weight, 8, scale)
        self.weight_scaling_factor, self.weight_integer = scale, whole.detach()
        return F.embedding(input, whole, self.padding_idx) * scale, scale


class QuantLinear(nn.Linear):
    """Weights of 8 bits with a scale for each row, biases of 32."""

    weight_integer: Tensor
    fc_scaling_factor: Tensor
    bias_integer: Tensor

    def __init__(self, size: int, out: int, quantised: bool):
        super().__init__(size, out)
        self.quantised = quantised
        self.register_buffer("weight_integer", torch.zeros(out, size))
        self.register_buffer("fc_scaling_factor", torch.zeros(out))
        self.register_buffer("bias_integer", torch.zeros(out))

    def init_own(self, std: float) -> None:
        self.weight.normal_(0.0, std)
        for table in (self.bias, self.weight_integer, self.fc_scaling_factor, self.bias_integer):
            table.zero_()

    def forward(self, input: Tensor, scale: Any) -> Scaled:  # type: ignore[override]
        if not self.quantised:
            return super().forward(input), None
        rows = scale_of(self.weight.detach().amin(1), self.weight.detach().amax(1), 8)
        weight, bias = quantise(self.weight, 8, rows), quantise(self.bias, 32, rows * scale)
        self.fc_scaling_factor, self.weight_integer, self.bias_integer = rows, weight.detach(), bias.detach()
        return F.linear(input / scale, weight, bias) * (rows * scale), rows * scale


class QuantAct(nn.Module):
    """Numbers between layers; training learns how far they reach."""

    x_min: Tensor
    x_max: Tensor
    act_scaling_factor: Tensor

    def __init__(self, bits: int, quantised: bool):
        super().__init__()
        self.bits, self.quantised = bits, quantised
        self.register_buffer("x_min", torch.full((1,), -1e-5))
        self.register_buffer("x_max", torch.full((1,), 1e-5))
        self.register_buffer("act_scaling_factor", torch.zeros(1))

    def init_own(self, std: float) -> None:
        self.x_min.fill_(-1e-5)
        self.x_max.fill_(1e-5)
        self.act_scaling_factor.zero_()

    def forward(self, x: Tensor, scale: Any, other: Tensor | None = None, other_scale: Any = None) -> Scaled:
        """x and its scale; with `other`, the sum of both."""
        total = x if other is None else other + x
        if self.training:
            self.watch(total.detach())
        if not self.quantised:
            return total, None
        new = scale_of(self.x_min, self.x_max, self.bits)
        self.act_scaling_factor = new
        if scale is None:  # not quantised yet
            return quantise(x.flatten(), self.bits, new).view_as(x) * new, new
        with torch.no_grad():
            whole = rescale(x, scale, new)
            if other is not None:
                whole = rescale(other, other_scale, new) + whole
            whole = whole.float().clamp(-largest(self.bits) - 1, largest(self.bits))
        return straight(whole, total, new) * new, new

    def watch(self, x: Tensor) -> None:
        """A moving average of the ends, from the first ones seen."""
        fresh = bool(self.x_min > -1.1e-5) and bool(self.x_max < 1.1e-5)
        old, new = (1.0, 1.0) if fresh else (0.95, 1 - 0.95)
        self.x_min, self.x_max = self.x_min * old + x.min() * new, self.x_max * old + x.max() * new


class IntGELU(nn.Module):
    """gelu with a polynomial of second degree in place of erf."""

    def __init__(self, config: Any):
        super().__init__()
        self.quantised = config.quant_mode and config.force_dequant not in ("nonlinear", "gelu")

    def forward(self, x: Tensor, scale: Any) -> Scaled:
        if not self.quantised:
            return F.gelu(x), None
        a, b, shift = -0.2888, -1.769, 2**14  # erf(x) is near sign(x) (a (min(|x|, -b) + b)^2 + 1)
        whole, inner = x / scale, scale / 1.4142
        b_int, c_int = (b / inner).floor(), (1 / a / inner**2).floor()
        reached = torch.minimum(whole.abs(), -b_int)
        erf = floor(whole.sign() * ((reached + b_int) ** 2 + c_int) / shift)
        erf_scale = inner**2 * a * shift
        whole, scale = whole * (erf + 1.0 // erf_scale), scale * erf_scale / 2
        return whole * scale, scale


class IntSoftmax(nn.Module):
    """softmax with a polynomial between powers of two in place of exp."""

    def __init__(self, config: Any):
        super().__init__()
        self.quantised = config.quant_mode and config.force_dequant not in ("nonlinear", "softmax")
        self.act = QuantAct(16, self.quantised)

    def exp(self, x: Tensor, scale: Tensor) -> Scaled:
        """Of whole numbers up to zero: 2^-q times a polynomial of what is left."""
        a, b, c, steps = 0.35815147, 0.96963238, 1.0, 30
        ln2 = (-0.6931 / scale).floor()
        x = torch.maximum(x, steps * ln2)
        q = floor(x / ln2)
        left = x - ln2 * q
        power = (left + (b / a / scale).floor()) * left + (c / a / scale**2).floor()
        return floor(power * 2 ** (steps - q)).clamp(min=0), a * scale**2 / 2**steps

    def forward(self, x: Tensor, scale: Any) -> Scaled:
        if not self.quantised:
            return x.softmax(-1), None
        whole = x / scale
        whole = whole - whole.amax(-1, keepdim=True)
        exp, scale = self.act(*self.exp(whole, scale))
        exp = exp / scale
        factor = floor(2**MAX_BIT / exp.sum(-1, keepdim=True))
        return floor(exp * factor / 2 ** (MAX_BIT - 8)) * (1 / 2**8), 1 / 2**8


class IntLayerNorm(nn.LayerNorm):
    """Layer norm with a square root in whole numbers."""

    shift: Tensor

    def __init__(self, config: Any):
        super().__init__(config.hidden_size, eps=config.layer_norm_eps)
        self.quantised = config.quant_mode and config.force_dequant not in ("nonlinear", "layernorm")
        self.register_buffer("shift", torch.zeros(1))
        self.activation = QuantAct(32, self.quantised)

    def init_own(self, std: float) -> None:
        self.weight.fill_(1.0)
        self.bias.zero_()
        self.shift.zero_()

    @property
    def scale(self) -> Tensor | None:
        """Of what comes out."""
        return self.unit * self.weight if self.quantised else None

    @property
    def unit(self) -> Tensor:
        return torch.tensor(float(self.normalized_shape[0]), device=self.weight.device).sqrt() / 2**30

    def forward(self, input: Tensor, scale: Any) -> Scaled:  # type: ignore[override]
        if not self.quantised:
            return super().forward(input), None
        whole = input / scale
        mean = whole.mean(2, keepdim=True)
        whole = whole - straight(mean.round(), mean)
        variance = self.square(whole)
        if self.training and variance.max() >= 2**MAX_BIT:
            with torch.no_grad():
                needed = (whole**2).sum(2, keepdim=True) / 2**MAX_BIT
                self.shift = torch.maximum(self.shift, needed.sqrt().log2().ceil().max())
            variance = self.square(whole)
        factor = floor(2**31 / (floor(variance.sqrt()) * 2**self.shift))
        whole = floor(whole * factor / 2)
        bias = (self.bias / self.weight).detach()
        scale = self.scale
        assert scale is not None
        return (whole + (bias / self.unit).floor()) * scale, scale

    def square(self, whole: Tensor) -> Tensor:
        """Sum of squares, shifted down so that it fits into 32 bits."""
        return (floor(whole / 2**self.shift) ** 2).sum(2, keepdim=True)


class QuantEmbeddings(Embeddings):
    """RoBERTa's, quantised."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        quantised, size, pad = config.quant_mode, config.hidden_size, config.pad_token_id
        self.word_embeddings = QuantEmbedding(config.vocab_size, size, quantised, pad)
        self.position_embeddings = QuantEmbedding(config.max_position_embeddings, size, quantised, pad)
        self.token_type_embeddings = QuantEmbedding(config.type_vocab_size, size, quantised)
        self.LayerNorm = IntLayerNorm(config)
        self.embeddings_act1 = QuantAct(16, quantised)
        self.embeddings_act2 = QuantAct(16, quantised)  # of the first release; nothing uses it
        self.output_activation = QuantAct(8, quantised)

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        past: int,
    ) -> Tensor:
        """Before the last activation, whose scale the layers need: `Model.begin` calls it."""
        words, scale = (inputs_embeds, None) if input_ids is None else self.word_embeddings(input_ids)
        assert words is not None
        if position_ids is None:
            position_ids = self.positions(input_ids, words.shape[:2], past, words.device)
        if token_type_ids is None:
            token_type_ids = torch.zeros(words.shape[:2], dtype=torch.long, device=words.device)
        x, scale = self.embeddings_act1(words, scale, *self.token_type_embeddings(token_type_ids))  # type: ignore[misc]
        x, scale = self.embeddings_act1(x, scale, *self.position_embeddings(position_ids))
        return self.dropout(self.LayerNorm(x, scale)[0])


class QuantSelfAttention(nn.Module):
    """Queries, keys and values of 8 bits."""

    def __init__(self, config: Any):
        super().__init__()
        size, quantised = config.hidden_size, config.quant_mode
        self.heads, self.quantised = config.num_attention_heads, quantised
        self.dim = size // self.heads
        self.query, self.key, self.value = (QuantLinear(size, size, quantised) for _ in range(3))
        self.query_activation, self.key_activation = QuantAct(8, quantised), QuantAct(8, quantised)
        self.value_activation, self.output_activation = QuantAct(8, quantised), QuantAct(8, quantised)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.softmax = IntSoftmax(config)

    def forward(self, x: Tensor, scale: Any, context: Context) -> Scaled:
        q, q_scale = self.query_activation(*self.query(x, scale))
        k, k_scale = self.key_activation(*self.key(x, scale))
        v, v_scale = self.value_activation(*self.value(x, scale))
        q, k, v = (t.unflatten(-1, (self.heads, self.dim)).transpose(1, 2) for t in (q, k, v))
        mask = context.masks["full"]
        if not self.quantised:
            dropout, factor = self.dropout.p if self.training else 0.0, self.dim**-0.5
            out = attend(q, k, v, mask, context, scale=factor, dropout=dropout, weights_to=context.attentions)
            return self.output_activation(out, None)
        weights, scale = self.weigh(q, k, q_scale * k_scale, mask)
        if context.attentions is not None:
            context.attentions.append(weights)
        out = (self.dropout(weights) @ v).transpose(1, 2).flatten(2)
        return self.output_activation(out, None if scale is None else scale * v_scale)

    def weigh(self, q: Tensor, k: Tensor, scale: Tensor, mask: Mask) -> Scaled:
        root = math.sqrt(self.dim)
        scores = q @ k.transpose(2, 3) / root
        if mask.allowed is not None:
            scores = scores.masked_fill(~mask.allowed, torch.finfo(scores.dtype).min)
        return self.softmax(scores, scale / root)


class QuantOutput(nn.Module):
    """Projection, dropout, residual, norm."""

    def __init__(self, config: Any, size: int):
        super().__init__()
        self.dense = QuantLinear(size, config.hidden_size, config.quant_mode)
        self.ln_input_act = QuantAct(22, config.quant_mode)
        self.LayerNorm = IntLayerNorm(config)
        self.output_activation = QuantAct(8, config.quant_mode)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, scale: Any, residual: Tensor, residual_scale: Any) -> Scaled:
        x, scale = self.dense(x, scale)
        x, scale = self.ln_input_act(self.dropout(x), scale, residual, residual_scale)
        return self.output_activation(*self.LayerNorm(x, scale))


class QuantAttention(nn.Module):
    """Attention and its output."""

    def __init__(self, config: Any):
        super().__init__()
        self.self = QuantSelfAttention(config)
        self.output = QuantOutput(config, config.hidden_size)

    def forward(self, x: Tensor, scale: Any, context: Context) -> Scaled:
        return self.output(*self.self(x, scale, context), x, scale)


class QuantIntermediate(nn.Module):
    """The wide layer."""

    def __init__(self, config: Any):
        super().__init__()
        if config.hidden_act != "gelu":
            raise ConfigError("hidden_act", config.hidden_act, "'gelu', the one that I-BERT has in whole numbers")
        self.dense = QuantLinear(config.hidden_size, config.intermediate_size, config.quant_mode)
        self.intermediate_act_fn = IntGELU(config)
        self.output_activation = QuantAct(8, config.quant_mode)

    def forward(self, x: Tensor, scale: Any) -> Scaled:
        return self.output_activation(*self.intermediate_act_fn(*self.dense(x, scale)))


class QuantLayer(nn.Module):
    """Attention and a wide layer. All layers take their input's scale to be that of the embeddings."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.attention = QuantAttention(config)
        self.intermediate = QuantIntermediate(config)
        self.output = QuantOutput(config, config.intermediate_size)
        self.pre_intermediate_act = QuantAct(8, config.quant_mode)
        self.pre_output_act = QuantAct(8, config.quant_mode)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x, scale = self.pre_intermediate_act(*self.attention(x, context.extra["scale"], context))
        wide = self.pre_output_act(*self.intermediate(x, scale))
        return self.output(*wide, x, scale)[0]


class QuantModel(Model):
    """I-BERT without a head."""

    def __init__(self, config: Any, add_pooling_layer: bool = True):
        if config.force_dequant not in FORCE:
            raise ConfigError("force_dequant", config.force_dequant, f"one of {', '.join(FORCE)}")
        super().__init__(config, add_pooling_layer)

    def begin(self, x: Tensor, context: Context, past: int) -> Tensor:
        embeddings: Any = self.embeddings
        x, context.extra["scale"] = embeddings.output_activation(x, embeddings.LayerNorm.scale)
        return x


def refuse(self: Any, *unused: Any, **also_unused: Any) -> Any:
    """The table is kept in whole numbers too, which would have to be made again."""
    raise NotImplementedError(f"{type(self).__name__}: the table of tokens of I-BERT cannot be resized.")


VARIANTS = {
    "ibert": Variant(
        lambda c: Spec(padded_from=c.pad_token_id, embeddings=QuantEmbeddings, layer=QuantLayer, packs=False),
        members={"base_model_prefix": "ibert", "resize_token_embeddings": refuse},
    ),
}
TASKS = bert_heads.ROBERTA_TASKS | {"Model": QuantModel}
