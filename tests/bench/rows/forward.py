"""Forward passes on the CPU: fp32, no gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.bench.checkpoints import made, minilm, packages
from tests.bench.row import Goal, Row, Times, in_turn

Clock = Callable[[], float]
REPEATS = 20  # of what takes milliseconds, so that the clock can tell


def by_hand(weights: dict[str, Any], ids: Any, config: Any) -> Any:
    """BERT as a loop over the kernels."""
    import torch.nn.functional as F

    size, heads, eps = config.hidden_size, config.num_attention_heads, config.layer_norm_eps

    def linear(name: str, x: Any) -> Any:
        return F.linear(x, weights[name + ".weight"], weights[name + ".bias"])

    def norm(name: str, x: Any) -> Any:
        return F.layer_norm(x, (size,), weights[name + ".weight"], weights[name + ".bias"], eps)

    def split(x: Any) -> Any:
        return x.view(1, -1, heads, size // heads).transpose(1, 2)

    table = "embeddings.{}_embeddings.weight".format
    x = F.embedding(ids, weights[table("word")]) + weights[table("position")][: ids.shape[1]]
    x = norm("embeddings.LayerNorm", x + weights[table("token_type")][0])
    for i in range(config.num_hidden_layers):
        layer = f"encoder.layer.{i}."
        q, k, v = (split(linear(f"{layer}attention.self.{name}", x)) for name in ("query", "key", "value"))
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(1, -1, size)
        x = norm(layer + "attention.output.LayerNorm", x + linear(layer + "attention.output.dense", seen))
        wide = F.gelu(linear(layer + "intermediate.dense", x))
        x = norm(layer + "output.LayerNorm", x + linear(layer + "output.dense", wide))
    return linear("pooler.dense", x[:, 0]).tanh()


def _one_sentence(runs: int, clock: Clock) -> Times:
    import torch

    models = {key: package.AutoModel.from_pretrained(minilm()).eval() for key, package in packages().items()}
    weights = {name: value.detach() for name, value in models["autoload"].state_dict().items()}
    ids = torch.arange(1000, 1008)[None]
    passes = {"limit": lambda: by_hand(weights, ids, models["autoload"].config)}
    passes |= {key: lambda model=model: model(input_ids=ids) for key, model in models.items()}

    def repeated(one: Callable[[], Any]) -> Callable[[], None]:
        return lambda: [one() for _ in range(REPEATS)].clear()

    with torch.no_grad():
        times = in_turn({key: repeated(one) for key, one in passes.items()}, 3 * runs, clock)
    return {key: [seconds / REPEATS for seconds in values] for key, values in times.items()}


def products(model: Any, rows: int) -> Callable[[], None]:
    """Every matrix of a model times `rows` vectors, and nothing else."""
    import torch
    import torch.nn.functional as F

    weights = [m.weight.detach() for m in model.modules() if isinstance(m, torch.nn.Linear)]
    weights += [m.weight.detach().T for m in model.modules() if type(m).__name__ == "Conv1D"]
    vectors = {size: torch.randn(rows, size) for size in {w.shape[1] for w in weights}}
    return lambda: [F.linear(vectors[w.shape[1]], w) for w in weights].clear()


def _pass(name: str, task: str, batch: int, seq: int):
    """Texts of `seq` tokens, which an encoder-decoder reads on both sides; images where `seq` is 0."""

    def measure(runs: int, clock: Clock) -> Times:
        import torch

        folder, libraries = made(name, task=task), packages()
        models = {key: getattr(p, f"AutoModel{task}").from_pretrained(folder).eval() for key, p in libraries.items()}
        generator, config = torch.Generator().manual_seed(0), models["autoload"].config
        if seq:
            ids = torch.randint(5, 1000, (batch, seq), generator=generator)
            inputs = {"input_ids": ids, **({"decoder_input_ids": ids} if config.is_encoder_decoder else {})}
        else:
            size, patch = config.image_size, config.patch_size
            inputs = {"pixel_values": torch.randn(batch, 3, size, size, generator=generator)}
        rows = batch * (seq or (size // patch) ** 2 + 1)
        functions: dict[str, Callable[[], Any]] = {"limit": products(models["autoload"], rows)}
        functions |= {key: lambda model=model: model(**inputs) for key, model in models.items()}
        with torch.no_grad():
            return in_turn(functions, runs, clock)

    return measure


BATCH, SHORTEST, LONGEST = 32, 5, 128


def _bell(texts: int, generator: Any) -> Any:
    """Log-normal lengths, as those of sentences are."""
    import torch

    return (24 * (0.75 * torch.randn(texts, generator=generator)).exp()).round().clamp(SHORTEST, LONGEST).long()


def _level(texts: int, generator: Any) -> Any:
    """One length for all."""
    import torch

    return torch.full((texts,), 32)


def _sentences(checkpoint: Callable[[], Any], texts: int, lengths_of: Callable[[int, Any], Any]):
    """Padded batches; the limit is the same texts one by one, without padding."""

    def measure(runs: int, clock: Clock) -> Times:
        import torch

        generator = torch.Generator().manual_seed(0)
        batches, lengths = [], lengths_of(texts, generator)
        for part in lengths.split(BATCH):
            mask = (torch.arange(int(part.max())) < part[:, None]).long()
            ids = torch.randint(1000, 30000, mask.shape, generator=generator)
            batches.append({"input_ids": ids * mask, "attention_mask": mask})
        alone = [torch.randint(1000, 30000, (1, int(length)), generator=generator) for length in lengths]
        models = {key: package.AutoModel.from_pretrained(checkpoint()).eval() for key, package in packages().items()}
        functions: dict[str, Callable[[], Any]] = {"limit": lambda: [models["autoload"](ids) for ids in alone].clear()}
        functions |= {key: lambda model=model: [model(**b) for b in batches].clear() for key, model in models.items()}
        with torch.inference_mode():
            return in_turn(functions, max(2, runs // 2), clock)

    return measure


def _bert_base() -> str:
    return made("bert-base", task="")


ROWS = [
    Row("sentence", "MiniLM, one sentence of 8 tokens; limit: a loop by hand", Goal(1.1), _one_sentence),
    Row("ragged", "MiniLM, 256 sentences in batches of 32; limit: one by one", Goal(1 / 1.5, "reference"), _sentences(minilm, 256, _bell)),
    Row("ragged-base", "BERT-base, 64 sentences in batches of 32; limit: one by one", Goal(1 / 1.5, "reference"), _sentences(_bert_base, 64, _bell)),
    Row("level", "MiniLM, 256 sentences of 32 tokens; limit: one by one", Goal(1.0, "reference"), _sentences(minilm, 256, _level)),
    Row("level-base", "BERT-base, 64 sentences of 32 tokens; limit: one by one", Goal(1.0, "reference"), _sentences(_bert_base, 64, _level)),
    *(
        Row(f"{name}-{batch}x{seq}", f"{name}, {batch} x {seq}; limit: its products", Goal(1.0, "reference"), _pass(name, task, batch, seq))
        for name, task in (("bert-base", ""), ("gpt2", "ForCausalLM"), ("llama-150m", "ForCausalLM"), ("t5-small", "ForSeq2SeqLM"))
        for batch, seq in ((1, 16), (1, 128), (16, 16), (16, 128))
    ),
    *(Row(f"vit-base-{batch}", f"vit-base, {batch} images; limit: its products", Goal(1.0, "reference"), _pass("vit-base", "", batch, 0)) for batch in (1, 16)),
]  # fmt: skip
