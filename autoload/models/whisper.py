"""Whisper: convolutions over a spectrogram, an encoder, and a decoder that writes what was said.

Radford et al. 2022 (arXiv:2212.04356).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from autoload.errors import ArgumentError
from autoload.layers.attention import encoder_mask
from autoload.losses import token_loss
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models import bart, seq2seq, seq2seq_heads, speech
from autoload.models.bart import Spec
from autoload.models.gpt_decoder import SeparateAttention
from autoload.outputs import BaseModelOutput, CausalLMOutputWithCrossAttentions, SequenceClassifierOutput


class Attention(SeparateAttention):
    """Keys have no bias, which would change no weight."""

    def __init__(self, size: int, heads: int, layer_idx: int, **options: Any):
        super().__init__(size, heads, layer_idx, **options)
        self.k_proj = nn.Linear(size, size, bias=False)


class Layer(bart.PreNormLayer):
    """With attention whose keys have no bias."""

    def make_attention(self, config: Any, heads: int, layer_idx: int, cross: bool = False) -> nn.Module:
        return Attention(config.d_model, heads, layer_idx, cross=cross, dropout=config.attention_dropout)


class Encoder(seq2seq.Stack):
    """Reads a spectrogram: two convolutions, of which the second halves the frames, then layers."""

    main_input_name = "input_features"
    embeddings_path = "conv1"
    stride: ClassVar[int] = 2  # frames of one position

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config)
        size, heads = config.d_model, config.encoder_attention_heads
        self.conv1 = nn.Conv1d(config.num_mel_bins, size, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(size, size, kernel_size=3, stride=2, padding=1)
        self.embed_positions = Sinusoids(config.max_source_positions, size)
        self.layers = nn.ModuleList(
            Layer(config, heads, config.encoder_ffn_dim, i, crosses=False) for i in range(config.encoder_layers)
        )
        self.layer_norm = nn.LayerNorm(size)
        self.dropout, self.layerdrop = nn.Dropout(config.dropout), config.encoder_layerdrop
        self._no_split_modules = [Layer.__name__]

    def close(self, x: Tensor) -> Tensor:
        return self.layer_norm(x)

    def thinned(self, mask: Tensor | None, length: int) -> None:
        """No mask for the decoder: silence is read like sound."""

    def forward(
        self,
        input_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of a recording.

        Args:
            input_features: spectrograms, (batch, filters, frames); of two frames for each position.
            attention_mask: without effect, silence is read like sound.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        frames = self.stride * self.embed_positions.num_embeddings
        if input_features is None or input_features.shape[-1] != frames:
            found = "nothing" if input_features is None else f"{input_features.shape[-1]} frames"
            text = f"forward: input_features are to have {frames} frames, found {found}. Pad the sound to that length."
            raise ArgumentError(text, name="input_features")
        x = gelu(self.conv2(gelu(self.conv1(input_features)))).transpose(1, 2)  # (batch, frames / 2, dim)
        x = self.dropout(x + self.embed_positions.weight)
        context = self.context(None, output_attentions, output_hidden_states)
        context.masks = {"full": encoder_mask(None)}
        x, seen = self.run_layers(x, context)
        attentions = tuple(context.attentions) if context.attentions is not None else None
        return finish(BaseModelOutput(x, (*seen, x) if context.states else None, attentions), return_dict, self.config)


class Sinusoids(nn.Embedding):
    """Sines, then cosines, of wavelengths up to 10,000; no training changes them."""

    def __init__(self, count: int, size: int):
        super().__init__(count, size)
        self.weight.requires_grad_(False)

    @torch.no_grad()
    def init_own(self, std: float) -> None:
        half = self.weight.shape[1] // 2
        step = torch.arange(half, device=self.weight.device) / max(half - 1, 1)
        angle = torch.arange(len(self.weight), device=self.weight.device)[:, None] / 10000.0**step  # (count, half)
        self.weight.copy_(torch.cat([angle.sin(), angle.cos()], 1))


class Decoder(bart.Side, seq2seq.Decoder):
    """Writes what was said."""

    layer_class = Layer

    def __init__(self, config: Any, spec: Spec):
        heads, inner = config.decoder_attention_heads, config.decoder_ffn_dim
        super().__init__(config, spec, config.decoder_layers, heads, inner, crosses=True)
        self.layerdrop = config.decoder_layerdrop

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        position_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """As every decoder's, with positions where they are not counted from the first token: (batch, target)."""
        x = self.lookup(input_ids, inputs_embeds, "decoder_" if self.config.is_encoder_decoder else "")
        if position_ids is None:
            past = past_key_values.get_seq_length() if past_key_values is not None else 0
            position_ids = torch.arange(x.shape[1], device=x.device) + past
        x = x + self.embed_positions(position_ids).to(x.dtype)
        return super().forward(
            *(None, attention_mask, encoder_hidden_states, encoder_attention_mask, past_key_values, x, use_cache),
            **kwargs,
        )

    def embed(self, x: Tensor, input_ids: Tensor | None, past: Any) -> Tensor:
        return self.dropout(x)


class Model(speech.Model):
    """Whisper without a head."""

    encoder_class = Encoder
    decoder_class = Decoder


class LM(speech.LM):
    """Transcribes recordings of any length."""

    output_path = "proj_out"

    def make_head(self, config: Any, table: Any) -> None:
        self.proj_out = nn.Linear(table.embedding_dim, table.num_embeddings, bias=False)

    def check_labels(self, labels: Tensor) -> None:
        if labels.shape[1] > (most := self.config.max_target_positions):
            text = f"forward: labels have {labels.shape[1]} tokens, expected at most max_target_positions ({most})."
            raise ArgumentError(text, name="labels")

    def prepare_inputs_for_generation(self, input_ids: Tensor, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As every model's; positions do not count padding on the left."""
        mask = kwargs.get("decoder_attention_mask")
        if mask is not None and kwargs.get("decoder_position_ids") is None:
            kwargs["decoder_position_ids"] = (mask.long().cumsum(-1) - 1).masked_fill(mask == 0, 0)
        return super().prepare_inputs_for_generation(input_ids, *args, **kwargs)

    @torch.no_grad()
    def detect_language(
        self,
        input_features: Tensor | None = None,
        encoder_outputs: Any = None,
        generation_config: Any = None,
        num_segment_frames: int = 3000,
    ) -> Tensor:
        """The token of the language that is heard in each recording's first window, (batch,).

        Args:
            input_features: spectrograms, (batch, filters, frames).
            encoder_outputs: what the encoder gave, in place of input_features.
            generation_config: with `lang_to_id`; the model's own by default.
            num_segment_frames: of a window.
        """
        from autoload.generation.speech_prompt import needed

        if (input_features is None) == (encoder_outputs is None):
            text = "detect_language: pass input_features or encoder_outputs, one of them."
            raise ArgumentError(text, name="input_features")
        if input_features is not None:
            encoder_outputs = self.get_encoder()(input_features[:, :, :num_segment_frames], return_dict=True)
        settings = generation_config or self.generation_config
        known = torch.tensor(sorted(needed(settings, "lang_to_id", "detect_language").values()), device=self.device)
        start = torch.full((len(encoder_outputs[0]), 1), settings.decoder_start_token_id, device=self.device)
        scores = self(encoder_outputs=encoder_outputs, decoder_input_ids=start, use_cache=False).logits[:, -1]
        return known[scores[:, known].argmax(-1)]

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self,
        input_features: Tensor | None = None,
        generation_config: Any = None,
        logits_processor: Any = None,
        stopping_criteria: Any = None,
        prefix_allowed_tokens_fn: Any = None,
        synced_gpus: bool | None = None,
        return_timestamps: bool | None = None,
        task: str | None = None,
        language: str | list[str] | None = None,
        is_multilingual: bool | None = None,
        prompt_ids: Tensor | None = None,
        prompt_condition_type: str | None = None,
        condition_on_prev_tokens: bool | None = None,
        temperature: float | tuple[float, ...] | None = None,
        compression_ratio_threshold: float | None = None,
        logprob_threshold: float | None = None,
        no_speech_threshold: float | None = None,
        num_segment_frames: int | None = None,
        attention_mask: Tensor | None = None,
        time_precision: float = 0.02,
        time_precision_features: float = 0.01,
        return_token_timestamps: bool | None = None,
        return_segments: bool = False,
        return_dict_in_generate: bool | None = None,
        force_unique_generate_call: bool | None = None,
        monitor_progress: Any = None,
        assistant_model: Any = None,
        streamer: Any = None,
        tokenizer: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Write what is said in recordings of any length.

        Args:
            input_features: spectrograms, (batch, filters, frames); more than a window's are transcribed window by window.
            generation_config, logits_processor, stopping_criteria, prefix_allowed_tokens_fn, synced_gpus,
                assistant_model, streamer, tokenizer: as those of every model's `generate`.
            return_timestamps: write time stamps too; always of recordings of more than one window.
            task: "transcribe" or "translate" (to English).
            language: name, code or token of the language, one for all rows or one for each; detected if None.
            is_multilingual: in place of the model's own setting.
            prompt_ids: a text to put before the transcription, from `get_prompt_ids`.
            prompt_condition_type: "first-segment" or "all-segments", of windows that the prompt is put before.
            condition_on_prev_tokens: put the text so far before each window.
            temperature: of sampling; of several the next is tried where a text is doubtful.
            compression_ratio_threshold: a text that compresses better is doubtful.
            logprob_threshold: a text whose tokens' mean logarithm of probability is lower is doubtful.
            no_speech_threshold: where silence is more probable than this, a doubtful text is left out.
            num_segment_frames: without effect.
            attention_mask: (batch, frames), 0 at padding.
            time_precision, time_precision_features: seconds of one time stamp, and of one frame.
            return_token_timestamps: also when each token was said.
            return_segments: also the pieces between time stamps.
            return_dict_in_generate: give more than tokens, as the settings say.
            force_unique_generate_call: transcribe the first window alone, and give its beginning too.
            monitor_progress: called before each window with (batch, 2): frames so far, and all.
            kwargs: settings that replace the configuration's, and inputs of the model.

        Returns:
            Tokens, (batch, seq); or a dictionary or an output with more.
        """
        from autoload.generation.speech import Options, transcribe

        options = Options(
            *(return_timestamps, task, language, is_multilingual, prompt_ids, prompt_condition_type),
            *(condition_on_prev_tokens, temperature, compression_ratio_threshold, logprob_threshold),
            *(no_speech_threshold, time_precision, time_precision_features, return_token_timestamps),
            *(return_segments, return_dict_in_generate, force_unique_generate_call, monitor_progress),
        )
        call = dict(
            logits_processor=logits_processor,
            stopping_criteria=stopping_criteria,
            prefix_allowed_tokens_fn=prefix_allowed_tokens_fn,
            synced_gpus=synced_gpus,
            assistant_model=assistant_model,
            streamer=streamer,
            tokenizer=tokenizer,
        )
        one = super().generate
        return transcribe(self, one, input_features, options, generation_config, call, attention_mask, kwargs)


class DecoderLM(seq2seq_heads.DecoderLM):
    """Scores of the next token, by Whisper's decoder alone, which may look at what an encoder gave."""

    decoder_class = Decoder
    output_path = "proj_out"

    def __init__(self, config: Any):
        super().__init__(config)
        self.read_from = {}

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores, and the loss when there are labels; they are not shifted.

        Args:
            input_ids: (batch, seq).
            attention_mask: (batch, all tokens so far), 0 at padding.
            encoder_outputs: of an encoder: its output, a tuple, or hidden states (batch, source, dim).
            past_key_values: cache of earlier steps.
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            labels: (batch, seq): what each position is to predict, not the token that stands there.
            use_cache: give a cache back.
            return_dict: False gives a tuple.
        """
        states = encoder_outputs if isinstance(encoder_outputs, (Tensor, type(None))) else encoder_outputs[0]
        out = self.model(
            *(input_ids, attention_mask, states, None, past_key_values, inputs_embeds, use_cache),
            return_dict=True,
            **kwargs,
        )
        logits = self.get_output_embeddings()(out.last_hidden_state)
        loss = None if labels is None else token_loss(logits, labels, kwargs.get("num_items_in_batch"))
        result = CausalLMOutputWithCrossAttentions(
            loss, logits, out.past_key_values, out.hidden_states, out.attentions, out.cross_attentions
        )
        return finish(result, return_dict, self.config)


class AudioClassification(PreTrainedModel):
    """A label for a recording, from the mean of the encoder's states."""

    main_input_name = "input_features"
    embeddings_path = "encoder.conv1"
    may_lack = ("projector", "classifier", "layer_weights")

    def __init__(self, config: Any):
        super().__init__(config)
        self.encoder = Encoder(config, self.variant.spec(config))
        if config.use_weighted_layer_sum:
            count = config.encoder_layers + 1
            self.layer_weights = nn.Parameter(torch.full((count,), 1 / count))
        self.projector = nn.Linear(config.d_model, config.classifier_proj_size)
        self.classifier = nn.Linear(config.classifier_proj_size, config.num_labels)

    def init_own(self, std: float) -> None:
        if self.config.use_weighted_layer_sum:
            self.layer_weights.fill_(1 / len(self.layer_weights))

    def freeze_encoder(self) -> None:
        """Train the head alone."""
        self.encoder.requires_grad_(False)

    def forward(
        self,
        input_features: Tensor | None = None,
        encoder_outputs: Any = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores of the labels.

        Args:
            input_features: spectrograms, (batch, filters, frames).
            encoder_outputs: what the encoder gave, as an output or a tuple, in place of input_features.
            labels: (batch,) class numbers.
            output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        weighted = self.config.use_weighted_layer_sum
        out: Any = encoder_outputs
        if out is None:
            states = True if weighted else output_hidden_states
            out = self.encoder(input_features, output_hidden_states=states, return_dict=True, **kwargs)
        elif not hasattr(out, "last_hidden_state"):
            out = BaseModelOutput(*out[:3])
        x = out.last_hidden_state
        if weighted:
            x = torch.einsum("lbsd,l->bsd", torch.stack([*out.hidden_states]), self.layer_weights.softmax(0))
        logits = self.classifier(self.projector(x).mean(1))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels.view(-1))
        result = SequenceClassifierOutput(loss, logits, out.hidden_states, out.attentions)
        return finish(result, return_dict, self.config)


VARIANTS = {
    "whisper": Variant(
        lambda c: Spec(
            pre_norm=True,
            embedding_norm=False,
            scaled_table=False,
            positions=lambda c: nn.Embedding(c.max_target_positions, c.d_model),
        )
    ),
}
TASKS = {"Model": Model, "SpeechSeq2Seq": LM, "CausalLM": DecoderLM, "AudioClassification": AudioClassification}
