"""Interim."""

from __future__ import annotations

import json
from typing import Any


class GenerationConfig:
    def __init__(self, **fields: Any):
        self.__dict__.update(fields)

    @classmethod
    def from_model_config(cls, config: Any) -> GenerationConfig:
        return cls(
            bos_token_id=getattr(config, "bos_token_id", None), eos_token_id=getattr(config, "eos_token_id", None)
        )

    @classmethod
    def from_file_content(cls, raw: Any, where: str) -> GenerationConfig:
        return cls(**raw)

    def to_json_string(self) -> str:
        return json.dumps(self.__dict__)
