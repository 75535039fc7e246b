"""Streamers: get tokens while they are made, and give text on as soon as it cannot change any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from queue import Queue
from typing import Any

from autoload.errors import ArgumentError

# Scripts that are written without spaces, so that every character may be given on at once: CJK ideographs.
IDEOGRAPHS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)


class BaseStreamer:
    """Base of all streamers."""

    def put(self, value: Any) -> None:
        """Takes the prompt (batch, seq), then the tokens of each step (batch,)."""
        raise NotImplementedError(f"{type(self).__name__} has no put")

    def end(self) -> None:
        """Called once, after the last token."""
        raise NotImplementedError(f"{type(self).__name__} has no end")


class TextStreamer(BaseStreamer):
    """Prints text up to the last whole word.

    Args:
        tokenizer: decodes the tokens.
        skip_prompt: leave the prompt out.
        decode_kwargs: keywords of the tokenizer's `decode`.
    """

    def __init__(self, tokenizer: Any, skip_prompt: bool = False, **decode_kwargs: Any):
        self.tokenizer, self.skip_prompt, self.decode_kwargs = tokenizer, skip_prompt, decode_kwargs
        self._tokens: list[int] = []  # since the last line break
        self._given = 0  # characters of their text that were given on
        self._at_prompt = True

    def put(self, value: Any) -> None:
        if value.dim() > 1:
            if value.shape[0] > 1:
                text = f"{type(self).__name__}: a batch of {value.shape[0]}, expected one text."
                raise ArgumentError(text, name="streamer")
            value = value[0]
        if self._at_prompt and self.skip_prompt:
            self._at_prompt = False
            return
        self._at_prompt = False
        self._tokens.extend(value.tolist())
        text = self._decoded()
        if text.endswith("\n"):
            new, self._tokens, self._given = text[self._given :], [], 0
        else:
            end = len(text) if text and _is_ideograph(text[-1]) else text.rfind(" ") + 1
            new = text[self._given : end]
            self._given += len(new)
        self.on_finalized_text(new)

    def end(self) -> None:
        rest = self._decoded()[self._given :] if self._tokens else ""
        self._tokens, self._given, self._at_prompt = [], 0, True
        self.on_finalized_text(rest, stream_end=True)

    def _decoded(self) -> str:
        return self.tokenizer.decode(self._tokens, **self.decode_kwargs)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Called with every piece of text; with `stream_end` it is the last."""
        print(text, flush=True, end="\n" if stream_end else "")


class TextIteratorStreamer(TextStreamer):
    """Iterates over the pieces of text, in another thread than the one that generates.

    Args:
        tokenizer: decodes the tokens.
        skip_prompt: leave the prompt out.
        timeout: seconds to wait for a piece; queue.Empty is raised after them.
        decode_kwargs: keywords of the tokenizer's `decode`.
    """

    def __init__(self, tokenizer: Any, skip_prompt: bool = False, timeout: float | None = None, **decode_kwargs: Any):
        super().__init__(tokenizer, skip_prompt, **decode_kwargs)
        self.timeout = timeout
        self.text_queue: Queue[str | None] = Queue()  # None: the end

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self.text_queue.put(text)
        if stream_end:
            self.text_queue.put(None)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        piece = self.text_queue.get(timeout=self.timeout)
        if piece is None:
            raise StopIteration
        return piece


class AsyncTextIteratorStreamer(TextStreamer):
    """The same for `async for`; made inside the event loop that iterates. `timeout` raises asyncio.TimeoutError."""

    def __init__(self, tokenizer: Any, skip_prompt: bool = False, timeout: float | None = None, **decode_kwargs: Any):
        super().__init__(tokenizer, skip_prompt, **decode_kwargs)
        self.timeout = timeout
        self.text_queue: asyncio.Queue[str | None] = asyncio.Queue()  # None: the end
        self.loop = asyncio.get_running_loop()

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self.loop.call_soon_threadsafe(self.text_queue.put_nowait, text)
        if stream_end:
            self.loop.call_soon_threadsafe(self.text_queue.put_nowait, None)

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        piece = await asyncio.wait_for(self.text_queue.get(), self.timeout)
        if piece is None:
            raise StopAsyncIteration
        return piece


def _is_ideograph(character: str) -> bool:
    return any(low <= ord(character) <= high for low, high in IDEOGRAPHS)
