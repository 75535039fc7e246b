"""XLM and FlauBERT."""

from torch import Tensor

from tests.parity.harness import Case

TINY = dict(vocab_size=99, emb_dim=32, n_layers=3, n_heads=4, layer_norm_eps=1e-3, max_position_embeddings=40)


def languages(ids: Tensor) -> dict[str, Tensor]:
    return {"langs": ids % 3, "token_type_ids": (ids + 1) % 99} if ids.dim() == 2 else {}


CASES = [
    Case("xlm", TINY | dict(n_langs=3), inputs=languages),
    Case("xlm", TINY | dict(causal=True, gelu_activation=False), label="causal", tasks=("Model",)),
    Case("flaubert", TINY | dict(n_langs=3, summary_type="mean"), inputs=languages),
]
