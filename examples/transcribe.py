"""Transcribe a sound file with a Whisper checkpoint, and see what each step gives.

Without arguments it makes a file of tones itself, and a tiny checkpoint with random weights beside it, so that it runs
offline; what such a model hears is no language.

    python examples/transcribe.py --model openai/whisper-tiny --sound speech.wav
"""

from __future__ import annotations

import argparse
import math
import tempfile
import wave
from array import array
from pathlib import Path
from typing import Any

import torch

import autoload

RATE = 16000
TINY = dict(
    vocab_size=128,
    d_model=32,
    encoder_layers=1,
    decoder_layers=1,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    encoder_ffn_dim=64,
    decoder_ffn_dim=64,
    decoder_start_token_id=1,
    pad_token_id=0,
    bos_token_id=0,
    eos_token_id=0,
)


def write_tones(path: Path, notes: tuple[float, ...] = (440.0, 554.4, 659.3), seconds: float = 0.4) -> Path:
    """A WAV file with one tone after another, in hertz."""
    count = int(seconds * RATE)
    samples = array("h", (int(9000 * math.sin(2 * math.pi * f * i / RATE)) for f in notes for i in range(count)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return path


def make_checkpoint(folder: Path) -> Path:
    """A Whisper with random weights, and the settings of its feature extractor."""
    torch.manual_seed(0)
    config = autoload.AutoConfig.for_model("whisper", **TINY)
    autoload.AutoModelForSpeechSeq2Seq.from_config(config).save_pretrained(folder)
    autoload.WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def transcribe(model_name: str, sound: str, language: str | None = None) -> dict[str, Any]:
    """Features, label scores and tokens of a sound file; the text too where the checkpoint has a tokenizer."""
    processor = autoload.AutoProcessor.from_pretrained(model_name)
    model = autoload.AutoModelForSpeechSeq2Seq.from_pretrained(model_name)
    extractor = getattr(processor, "feature_extractor", processor)
    inputs = extractor(sound, return_tensors="pt", return_attention_mask=True, resample=True)
    tokens = model.generate(**inputs, language=language, max_new_tokens=32)
    found = {"features": inputs.input_features, "tokens": tokens}
    if hasattr(processor, "tokenizer"):
        found["text"] = processor.batch_decode(tokens, skip_special_tokens=True)[0]
    return found


def classify(model_name: str, sound: str) -> dict[str, float]:
    """How probable each label is; the head is new unless the checkpoint has one."""
    extractor = autoload.AutoFeatureExtractor.from_pretrained(model_name)
    model = autoload.AutoModelForAudioClassification.from_pretrained(model_name)
    inputs = extractor(sound, return_tensors="pt", resample=True)
    with torch.no_grad():
        shares = model(**inputs).logits.softmax(-1)[0]
    return {model.config.id2label[i]: float(share) for i, share in enumerate(shares)}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Transcribe and classify, and print what comes out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a directory, or the name of a Hub repository")
    parser.add_argument("--sound", help="a sound file")
    parser.add_argument("--language", help="name or code; heard by the model if left out")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or str(make_checkpoint(Path(folder)))
        sound = options.sound or str(write_tones(Path(folder) / "tones.wav"))
        found = transcribe(model, sound, options.language)
        labels = classify(model, sound)
    print(f"features  {tuple(found['features'].shape)}: (batch, filters, frames)")
    print(f"tokens    {found['tokens'][0].tolist()}")
    if "text" in found:
        print(f"text      {found['text']}")
    for label, share in sorted(labels.items(), key=lambda pair: -pair[1]):
        print(f"{label:9} {share:.2f}")
    return {**found, "labels": labels}


if __name__ == "__main__":
    main()
