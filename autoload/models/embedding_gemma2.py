"""EmbeddingGemma 2: texts, images, films and sounds in one space; Gemma 4's towers beside a text encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.layers.norms import UnweightedRMSNorm
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models.encoder_decoder import make_part
from autoload.outputs import ImageAudioTextModelOutput


class Embedder(nn.Module):
    """A tower's tokens as embeddings of the text model."""

    def __init__(self, config: Any, text_config: Any):
        super().__init__()
        size = getattr(config, "output_proj_dims", config.hidden_size)
        self.embedding_projection = nn.Linear(size, text_config.hidden_size, bias=False)
        self.embedding_pre_projection_norm = UnweightedRMSNorm(size, config.rms_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.embedding_projection(self.embedding_pre_projection_norm(x))


class Towers(PreTrainedModel):
    """A text model with a tower for images and one for sounds, either of which may be absent."""

    input_modalities = ("image", "text", "video", "audio")
    embeddings_path = "language_model.embed_tokens"

    def __init__(self, config: Any):
        super().__init__(config)
        vision, audio, text = config.vision_config, config.audio_config, config.text_config
        self.vision_tower = None if vision is None else make_part(config, vision, "Model")
        self.language_model = make_part(config, text, "Model")
        self.audio_tower = None if audio is None else make_part(config, audio, "Model")
        self.embed_vision = None if vision is None else Embedder(vision, text)
        self.embed_audio = None if audio is None else Embedder(audio, text)
        parts = (self.vision_tower, self.language_model, self.audio_tower)
        self._no_split_modules = [name for part in parts if part is not None for name in part._no_split_modules]

    def tower(self, kind: str) -> tuple[Any, Any]:
        """The tower for "vision" or "audio", and what follows it."""
        found = getattr(self, f"{kind}_tower")
        if found is None:
            text = (
                f"{type(self).__name__}: the configuration has no {kind}_config, so there is no tower for these inputs."
            )
            raise ArgumentError(text, name=f"{kind}_config")
        return found, getattr(self, f"embed_{kind}")

    def get_image_features(
        self,
        pixel_values: Tensor,
        image_position_ids: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """What the image tower gives; `pooler_output` has the embeddings of each image, (tokens, dim).

        Args:
            pixel_values: (images, patches, 3 * patch_size ** 2), from 0 to 1.
            image_position_ids: (images, patches, 2), column and row of each patch, -1 and -1 where there is none.
            return_dict: False gives a tuple.
            **kwargs: of the tower.
        """
        return self.pictures(pixel_values, image_position_ids, None, return_dict, kwargs)

    def get_video_features(
        self,
        pixel_values_videos: Tensor,
        video_position_ids: Tensor | None = None,
        num_frames_per_video: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """As of images, from the frames of all films; `pooler_output` has the embeddings of each film.

        Args:
            pixel_values_videos: (frames, patches, 3 * patch_size ** 2), from 0 to 1.
            video_position_ids: (frames, patches, 2).
            num_frames_per_video: (films,), how many of the frames belong to each.
            return_dict: False gives a tuple.
            **kwargs: of the tower.
        """
        if num_frames_per_video is None:
            text = "get_video_features: pass num_frames_per_video, which says where one film ends and the next begins."
            raise ArgumentError(text, name="num_frames_per_video")
        frames = [int(count) for count in num_frames_per_video]
        if sum(frames) != len(pixel_values_videos):
            text = f"get_video_features: num_frames_per_video counts {sum(frames)} frames, "
            raise ArgumentError(text + f"but there are {len(pixel_values_videos)}.", name="num_frames_per_video")
        return self.pictures(pixel_values_videos, video_position_ids, frames, return_dict, kwargs)

    def pictures(
        self, pixels: Tensor, places: Any, frames: list[int] | None, return_dict: bool | None, options: dict[str, Any]
    ) -> Any:
        """The image tower's output, with the embeddings of each image, or of each film of so many frames."""
        tower, embed = self.tower("vision")
        out = tower(pixels, places, return_dict=True, **options)
        counts = torch.tensor(tower.counts(places))
        each = counts if frames is None else torch.stack([part.sum() for part in counts.split(frames)])
        out.pooler_output = embed(out.last_hidden_state).split(each.tolist())
        return finish(out, return_dict, self.config)

    def get_audio_features(
        self,
        input_features: Tensor,
        input_features_mask: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """What the audio tower gives; `pooler_output` are embeddings, of which `attention_mask` says which are real.

        Args:
            input_features: (sounds, frames, bins).
            input_features_mask: (sounds, frames), 0 at padding.
            return_dict: False gives a tuple.
            **kwargs: of the tower.
        """
        tower, embed = self.tower("audio")
        out = tower(input_features, input_features_mask, return_dict=True, **kwargs)
        out.pooler_output = embed(out.last_hidden_state)
        return finish(out, return_dict, self.config)

    def sounds(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """The embeddings of all sounds, one after the other; (tokens, dim)."""
        out = self.get_audio_features(features, mask, return_dict=True)
        x = out.pooler_output
        return x.flatten(0, 1) if out.attention_mask is None else x[out.attention_mask.bool()]

    def stands_for(self, name: str, input_ids: Tensor | None, embeds: Tensor | None) -> Tensor:
        """Where the token stands that keeps a place for an "image", "video" or "audio"; (batch, seq)."""
        number = getattr(self.config, f"{name}_token_id")
        if input_ids is not None:
            return input_ids == (-1 if number is None else number)
        assert embeds is not None
        table = self.get_input_embeddings()
        if number is None or number >= table.num_embeddings:
            return torch.zeros(embeds.shape[:2], dtype=torch.bool, device=embeds.device)
        return (embeds == table(torch.tensor(number, device=embeds.device))).all(-1)

    def fill(self, x: Tensor, goes: Tensor, tokens: Tensor, name: str) -> Tensor:
        """The embeddings (batch, seq, dim) with other ones (tokens, dim) where they go."""
        if not torch.compiler.is_compiling() and (count := int(goes.sum())) != len(tokens):
            number = getattr(self.config, f"{name}_token_id")
            text = f"forward: the texts have places for {count} tokens of {name} ({name}_token_id={number}), "
            raise ArgumentError(text + f"but the inputs give {len(tokens)}.", name="input_ids")
        return x.masked_scatter(goes[..., None], tokens.to(x))


class Model(Towers):
    """EmbeddingGemma 2."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_values_videos: Tensor | None = None,
        input_features: Tensor | None = None,
        attention_mask: Tensor | None = None,
        input_features_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        image_position_ids: Tensor | None = None,
        video_position_ids: Tensor | None = None,
        num_frames_per_video: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the words, and of the images', films' and sounds' tokens among them.

        Args:
            input_ids: (batch, seq); `image_token_id`, `video_token_id` and `audio_token_id` stand where tokens of these go.
            pixel_values, image_position_ids: see `get_image_features`.
            pixel_values_videos, video_position_ids, num_frames_per_video: see `get_video_features`.
            input_features, input_features_mask: see `get_audio_features`.
            attention_mask: (batch, seq), 0 at padding.
            position_ids: (batch, seq).
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            return_dict: False gives a tuple.
            **kwargs: of the text encoder.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ArgumentError("forward: pass input_ids or inputs_embeds, one of them.", name="input_ids")
        places = {name: self.stands_for(name, input_ids, inputs_embeds) for name in ("image", "video", "audio")}
        x: Tensor = inputs_embeds  # type: ignore[assignment]
        if input_ids is not None:  # the tokens that keep places may be no words of the vocabulary
            held = places["image"] | places["video"] | places["audio"]
            x = self.get_input_embeddings()(input_ids.masked_fill(held, self.config.text_config.pad_token_id or 0))
        images = sounds = None
        if pixel_values is not None:
            out = self.get_image_features(pixel_values, image_position_ids, return_dict=True)
            images = torch.cat(out.pooler_output)
            x = self.fill(x, places["image"], images, "image")
        if pixel_values_videos is not None:
            films = (pixel_values_videos, video_position_ids, num_frames_per_video)
            out = self.get_video_features(*films, return_dict=True)
            x = self.fill(x, places["video"], torch.cat(out.pooler_output), "video")
        if input_features is not None:
            sounds = self.sounds(input_features, input_features_mask)
            x = self.fill(x, places["audio"], sounds, "audio")
        out = self.language_model(
            inputs_embeds=x, attention_mask=attention_mask, position_ids=position_ids, return_dict=True, **kwargs
        )
        result = ImageAudioTextModelOutput(out.last_hidden_state, out.hidden_states, out.attentions, images, sounds)
        return finish(result, return_dict, self.config)


def absent(config: Any) -> str:
    """Names of what the Hub's files have for towers that the configuration leaves out."""
    kinds = "|".join(kind for kind in ("vision", "audio") if getattr(config, f"{kind}_config") is None)
    return rf"(^|\.)(?:(?:{kinds})_tower|embed_(?:{kinds}))\." if kinds else "(?!)"


VARIANTS = {"embedding_gemma2": Variant(ignores=absent)}
TASKS = {"Model": Model}
