"""Translate with an encoder-decoder: beams, a cache, labels that make the decoder's input.

python examples/translate.py                                                 # trains a tiny model first, in seconds
python examples/translate.py --model Helsinki-NLP/opus-mt-en-de "Good morning."   # a name on the Hub, or a directory
python examples/translate.py --model google-t5/t5-small --prefix "translate English to German: " "Good morning."
python examples/translate.py --model facebook/nllb-200-distilled-600M --to deu_Latn "Good morning."
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from autoload import AutoModelForSeq2SeqLM, AutoTokenizer, BartConfig, PreTrainedTokenizerFast, T5Config

NUMBERS: dict[str, str] = dict(
    zip(
        "zero one two three four five six seven eight nine".split(),
        "null eins zwei drei vier fünf sechs sieben acht neun".split(),
        strict=True,
    )
)
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]


def word_tokenizer() -> PreTrainedTokenizerFast:
    """A token for each word of both languages."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = {word: i for i, word in enumerate([*SPECIAL, *NUMBERS, *NUMBERS.values()])}
    rust = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    rust.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    rust.post_processor = processors.TemplateProcessing(single="$0 </s>", special_tokens=[("</s>", words["</s>"])])  # type: ignore[assignment]
    names = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=rust, **names)


def pairs(random_numbers: random.Random, count: int) -> tuple[list[str], list[str]]:
    """Numbers of one to four digits in English, and in German."""
    english = [random_numbers.choices([*NUMBERS], k=random_numbers.randint(1, 4)) for _ in range(count)]
    return [" ".join(words) for words in english], [" ".join(NUMBERS[w] for w in words) for words in english]


def tiny_bart(words: int) -> BartConfig:
    """A BART of one layer on each side."""
    sizes: dict[str, Any] = dict(d_model=64, encoder_layers=1, decoder_layers=1, max_position_embeddings=80)
    heads: dict[str, Any] = dict(encoder_attention_heads=4, decoder_attention_heads=4)
    inner: dict[str, Any] = dict(encoder_ffn_dim=128, decoder_ffn_dim=128, dropout=0.0)
    tokens: dict[str, Any] = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=2)
    free: dict[str, Any] = dict(forced_eos_token_id=None, scale_embedding=True)
    return BartConfig(**sizes, **heads, **inner, **tokens, **free, vocab_size=words)


def tiny_t5(words: int) -> T5Config:
    """A T5 of one layer on each side."""
    sizes: dict[str, Any] = dict(d_model=64, d_kv=16, d_ff=128, num_layers=1, num_heads=4, dropout_rate=0.0)
    tokens: dict[str, Any] = dict(pad_token_id=0, eos_token_id=2, decoder_start_token_id=0)
    return T5Config(**sizes, **tokens, vocab_size=words)


KINDS: dict[str, Callable[[int], Any]] = {"bart": tiny_bart, "t5": tiny_t5}


def train(directory: Path, steps: int = 350, kind: str = "bart") -> float:
    """Teach a tiny model to translate digits, and save it; gives the last loss."""
    torch.manual_seed(0)
    order, tokenizer = random.Random(0), word_tokenizer()
    model = AutoModelForSeq2SeqLM.from_config(KINDS[kind](len(tokenizer)))
    optimizer, loss = torch.optim.AdamW(model.parameters(), lr=3e-3), torch.tensor(0.0)
    for _ in range(steps):
        sources, targets = pairs(order, 64)
        inputs = tokenizer(sources, padding=True, return_tensors="pt", return_token_type_ids=False)
        labels = tokenizer(targets, padding=True, return_tensors="pt")["input_ids"]
        loss = model(**inputs, labels=labels.masked_fill(labels == 0, -100)).loss  # padding does not count
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return loss.item()


def translate(model: Any, tokenizer: Any, texts: list[str], to: str | None = None) -> list[str]:
    """The best of four beams for each text; `to` is the code of the target's language, where a model has several."""
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    inputs.pop("token_type_ids", None)
    language = {} if to is None else {"forced_bos_token_id": tokenizer.convert_tokens_to_ids(to)}
    tokens = model.generate(**inputs, num_beams=4, max_new_tokens=64, **language)
    return tokenizer.batch_decode(tokens, skip_special_tokens=True)


def main(arguments: list[str] | None = None) -> list[str]:
    """Translate the texts, and give the translations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*", default=["four two", "nine one one", "one two three four"])
    parser.add_argument("--model", help="name on the Hub, or a directory; default: one that is trained now")
    parser.add_argument("--to", help="code of the target's language, for models with several")
    parser.add_argument("--prefix", default="", help="what a model of several tasks, T5 say, is to do with a text")
    parser.add_argument("--kind", choices=[*KINDS], default="bart", help="of the tiny model")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        if options.model is None:
            print(f"trained a tiny model to a loss of {train(Path(folder), kind=options.kind):.3f}")
        name = options.model or folder
        tokenizer, model = AutoTokenizer.from_pretrained(name), AutoModelForSeq2SeqLM.from_pretrained(name)
        found = translate(model, tokenizer, [options.prefix + text for text in options.texts], options.to)
    for text, translation in zip(options.texts, found, strict=True):
        print(f"  {text}  ->  {translation}")
    return found


if __name__ == "__main__":
    main()
