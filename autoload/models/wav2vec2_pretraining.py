"""wav2vec 2.0's pre-training: tell the quantized frame that was hidden from frames of other moments."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.layers.convolution import UniformLinear
from autoload.model import finish
from autoload.models.wav2vec2_heads import SpeechHead
from autoload.outputs import Wav2Vec2ForPreTrainingOutput


class UnitLinear(nn.Linear):
    """Begins with values of variance one."""

    def init_own(self, std: float) -> None:
        self.weight.normal_()
        self.bias.zero_()


class Quantizer(nn.Module):
    """Each frame becomes a word of each codebook, side by side; drawn in training (arXiv:1611.01144)."""

    def __init__(self, config: Any, size: int | None = None):
        super().__init__()
        self.groups, self.words = config.num_codevector_groups, config.num_codevectors_per_group
        if config.codevector_dim % self.groups:
            raise ConfigError("codevector_dim", config.codevector_dim, f"a multiple of {self.groups} groups")
        self.codevectors = nn.Parameter(torch.zeros(1, self.groups * self.words, config.codevector_dim // self.groups))
        self.weight_proj = UnitLinear(size or config.conv_dim[-1], self.groups * self.words)
        self.temperature = 2.0

    def init_own(self, std: float) -> None:
        self.codevectors.uniform_()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Quantized frames, and how many words are in use; `mask` (batch, frames) says which frames count for that."""
        scores = self.weight_proj(x).unflatten(-1, (self.groups, self.words))  # (batch, frames, groups, words)
        if self.training:
            chosen = F.gumbel_softmax(scores.float(), tau=self.temperature, hard=True).to(x.dtype)
            shares = scores.float().softmax(-1)
        else:
            chosen = shares = F.one_hot(scores.argmax(-1), self.words).to(x.dtype)
        books = self.codevectors.view(self.groups, self.words, -1)
        vectors = torch.einsum("bfgw,gwd->bfgd", chosen, books).flatten(2)
        return vectors, self.perplexity(shares.flatten(0, 1), mask)

    @staticmethod
    def perplexity(shares: Tensor, mask: Tensor | None) -> Tensor:
        """(frames, groups, words) to the number of words that a frame could be, over all groups."""
        if mask is None:
            mean = shares.mean(0)
        else:
            mean = shares.masked_fill(~mask.flatten()[:, None, None], 0.0).sum(0) / mask.sum()
        return torch.exp(-torch.xlogy(mean, mean).sum(-1)).sum()


class PreTraining(SpeechHead):
    """Compares what the encoder says of hidden frames with the quantized frames."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.dropout_features = nn.Dropout(config.feat_quantizer_dropout)
        self.quantizer = Quantizer(config)
        self.project_hid = UniformLinear(config.hidden_size, config.proj_codevector_dim)
        self.project_q = UniformLinear(config.codevector_dim, config.proj_codevector_dim)

    def set_gumbel_temperature(self, temperature: float) -> None:
        """How freely words are drawn in training."""
        self.quantizer.temperature = temperature

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        mask_time_indices: Any = None,
        sampled_negative_indices: Any = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Both views of the frames, and the loss where there are frames to compare with.

        Args:
            input_values: (batch, samples).
            attention_mask: (batch, samples), 0 at padding.
            mask_time_indices: (batch, frames), True at hidden frames; a tensor or an array.
            sampled_negative_indices: (batch, frames, count), places in the flattened batch of the frames to compare.
            return_dict: False gives a tuple.
        """
        if sampled_negative_indices is not None and mask_time_indices is None:
            raise ArgumentError("forward: sampled_negative_indices need mask_time_indices.", name="mask_time_indices")
        hidden = None
        if mask_time_indices is not None:
            hidden = torch.as_tensor(mask_time_indices, device=self.device).bool()
        out = self.base_model(input_values, attention_mask, hidden, return_dict=True, **kwargs)
        states = self.project_hid(out.last_hidden_state)
        quantized, perplexity = self.quantizer(self.dropout_features(out.extract_features), hidden)
        quantized = self.project_q(quantized.to(self.project_q.weight.dtype))
        loss = contrast = diversity = None
        if sampled_negative_indices is not None and hidden is not None:
            others = torch.as_tensor(sampled_negative_indices, device=self.device).long()
            contrast = self.contrast(states, quantized, others, hidden)
            words = self.config.num_codevectors_per_group * self.config.num_codevector_groups
            diversity = (words - perplexity) / words * hidden.sum()
            loss = contrast + self.config.diversity_loss_weight * diversity
        shown = (out.hidden_states, out.attentions, contrast, diversity)
        result = Wav2Vec2ForPreTrainingOutput(loss, states, quantized, perplexity, *shown)
        return finish(result, return_dict, self.config)

    def contrast(self, states: Tensor, quantized: Tensor, others: Tensor, hidden: Tensor) -> Tensor:
        """Cross entropy of the right frame against others, summed over the hidden frames."""
        wrong = quantized.flatten(0, 1)[others]  # (batch, frames, count, dim)
        choices = torch.cat([quantized[:, :, None], wrong], 2)
        scores = F.cosine_similarity(states[:, :, None].float(), choices.float(), dim=-1).to(choices.dtype)
        scores = scores / self.config.contrastive_logits_temperature
        same = F.pad((wrong == quantized[:, :, None]).all(-1), (1, 0))  # a wrong frame that happens to be the right one
        scores = scores.masked_fill(same, float("-inf"))[hidden].float()  # (hidden frames, 1 + count)
        return F.cross_entropy(scores, scores.new_zeros(len(scores), dtype=torch.long), reduction="sum")
