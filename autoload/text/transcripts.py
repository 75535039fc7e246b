"""Transcripts of long recordings: Whisper hears them in windows that overlap, and their texts are joined here.

Each window gives tokens, some of which are time stamps. Text between two stamps is a chunk. Where windows overlap, what
both heard is kept once: stamps inside the overlap wait until the next window has been read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from autoload.text.languages import WHISPER
from autoload.text.specials import as_list

SEGMENT = 1500  # time stamps of one window
UNSPACED = ("chinese", "japanese", "thai", "lao", "myanmar", "cantonese")
OPENING, CLOSING = "\"'“¡¿([{-", "\"'.。,，!！?？:：”)]}、"
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
BROKEN = "\ufffd"  # what part of a character is decoded to
Times = list[tuple[float, float]]

log = logging.getLogger("autoload.text")


class Transcript:
    """A transcription that grows window by window."""

    def __init__(self, tokenizer: Any, by_word: bool, timed: bool, precision: float):
        self.tokenizer, self.by_word, self.timed, self.precision = tokenizer, by_word, timed, precision
        self.first_stamp = tokenizer.convert_tokens_to_ids("<|notimestamps|>") + 1
        self.special = set(tokenizer.all_special_ids)
        self.language: str | None = None
        self.shift = 0.0  # seconds from the start of the recording to that of the window
        self.chunks: list[dict[str, Any]] = []
        self.skip = False  # the next stamp is the second of a pair whose first was skipped
        self._begin()

    def _begin(self) -> None:
        """A new chunk."""
        self.chunk: dict[str, Any] = {"language": self.language, "timestamp": [None, None], "text": ""}
        self._forget()

    def _forget(self) -> None:
        self.runs: list[list[int]] = []  # tokens of this chunk, by window
        self.run_times: list[Times] = []
        self.run: list[int] = []
        self.times: Times = []

    def add(self, output: dict[str, Any]) -> None:
        """Read one window: `tokens`, with `stride` where windows overlap and `token_timestamps` for times of words."""
        ids = self.tokenizer._without_prompt([int(index) for index in as_list(output["tokens"][0])])
        heard = as_list(output["token_timestamps"][0]) if self.by_word else []
        length, left, right = output.get("stride") or (0.0, 0.0, 0.0)
        self.shift -= left
        opening = left / self.precision + self.first_stamp
        closing = self._closing(ids, length - right) if right else None
        latest = before = ended = 0.0  # windows of one call may hold several segments, whose stamps begin anew
        self.run, self.times = [], []
        for place, index in enumerate(ids):
            if index in self.special:
                self._special(index)
            elif index < self.first_stamp:
                self.run.append(index)
                if self.by_word:
                    spoken = (heard[place - 1] if place else 0.0, heard[place])
                    self.times.append((round(spoken[0] + self.shift, 2), round(spoken[1] + self.shift, 2)))
            else:
                time = float((index - self.first_stamp) * self.precision)
                if time < latest:
                    paired = place >= 2 and ids[place - 1] >= self.first_stamp and ids[place - 2] >= self.first_stamp
                    if place >= 2 and not paired:
                        ended += self.precision * SEGMENT
                    else:
                        latest = before
                        ended += before
                before, latest = latest, time
                self._stamp(index, round(time + self.shift + ended, 2), opening, closing)
        if "stride" in output:
            self.shift += length - right
        if self.run:
            self._keep_run()
        elif not any(self.runs):
            self._begin()

    def _closing(self, ids: list[int], end: float) -> int | None:
        """The first stamp of the overlap with the next window; the last stamp of all counts as one of it."""
        found = None
        for index in reversed(ids):
            if index >= self.first_stamp:
                if found is not None and (index - self.first_stamp) * self.precision < end:
                    break
                found = index
        return found

    def _special(self, index: int) -> None:
        """A language begins; other special tokens say nothing."""
        language = WHISPER.get(self.tokenizer.decode([index])[2:-2])
        if language is None:
            return
        if self.language and language != self.language and not self.timed:
            self._keep_run()
            self._close()
        self.chunk["language"] = self.language = language

    def _stamp(self, index: int, time: float, opening: float, closing: int | None) -> None:
        """A chunk begins or ends, unless the stamp lies where windows overlap."""
        if closing and index >= closing:
            self.skip = True
        elif self.skip or (self.runs and index < opening):
            self.skip = False
        elif self.chunk["timestamp"][0] is None:
            self.chunk["timestamp"][0] = time
        elif time != self.chunk["timestamp"][0]:  # a second stamp of the same time is the start again
            self.chunk["timestamp"][1] = time
            self._keep_run()
            self._close()

    def _keep_run(self) -> None:
        self.runs.append(self.run)
        self.run_times.append(self.times)

    def _close(self) -> None:
        """The chunk is complete: join what its windows heard."""
        tokens, times = join(self.runs, self.run_times if self.by_word else None)
        self.chunk["text"] = self.tokenizer.decode(tokens)
        if self.by_word:
            self.chunk["words"] = [
                {"text": text, "timestamp": (times[places[0]][0], times[places[-1]][1]), "language": self.language}
                for text, places in words(self.tokenizer, tokens, self.language)
            ]
        self.chunks.append(self.chunk)
        self._begin()

    def finish(self, with_language: bool) -> tuple[str, dict[str, Any]]:
        """The whole text, and its chunks or words where asked for."""
        if self.runs:
            if self.timed:
                log.warning("The transcription has no final time stamp: the recording may end within a word.")
            self._close()
        text = "".join(chunk["text"] for chunk in self.chunks)
        if not (self.timed or with_language):
            return text, {}
        parts = [word for chunk in self.chunks for word in chunk["words"]] if self.by_word else self.chunks
        names = ["language"] * with_language + ["timestamp"] * self.timed + ["text"]
        chunks = [{name: part[name] for name in names} for part in parts]
        for chunk in chunks:
            if self.timed:
                chunk["timestamp"] = tuple(chunk["timestamp"])
        return text, {"chunks": chunks}


def join(runs: list[list[int]], run_times: list[Times] | None) -> tuple[list[int], Times]:
    """Tokens of overlapping windows as one run: each pair is cut in the middle of where they agree best.

    Args:
        runs: tokens by window.
        run_times: when each token was spoken; agreeing tokens must then be in order of time, too.
    """
    left, left_times = runs[0], run_times[0] if run_times else []
    tokens: list[int] = []
    times: Times = []
    for number, right in enumerate(runs[1:], 1):
        right_times = run_times[number] if run_times else []
        left_cut, right_cut = _agreement(left, right, left_times, right_times)
        tokens += left[:left_cut]
        times += left_times[:left_cut]
        left, left_times = right[right_cut:], right_times[right_cut:]
    return tokens + left, times + left_times


def _agreement(left: list[int], right: list[int], left_times: Times, right_times: Times) -> tuple[int, int]:
    """Where to leave the left run and to enter the right one, after sliding one over the other."""
    size, other = len(left), len(right)
    best, cuts = 0.0, (size, 0)
    for overlap in range(1, size + other):
        first, start = max(0, size - overlap), max(0, overlap - size)
        count = min(size, size + other - overlap) - first
        matches = sum(
            left[first + place] == right[start + place]
            and (not left_times or left_times[first + place] <= right_times[start + place])
            for place in range(count)
        )
        score = matches / overlap + overlap / 10000.0  # long agreements before short ones that are as good
        if matches > 1 and score > best:
            best, cuts = score, ((2 * first + count) // 2, (2 * start + count) // 2)
    return cuts


def words(tokenizer: Any, tokens: list[int], language: str | None) -> list[tuple[str, list[int]]]:
    """Words of a transcription, each with the places of its tokens."""
    pieces = _characters(tokenizer, tokens)
    if (language or tokenizer.language or "english") not in UNSPACED:
        pieces = _by_spaces(pieces, tokens, tokenizer.eos_token_id)
    return _with_punctuation(pieces)


def _characters(tokenizer: Any, tokens: list[int]) -> list[tuple[str, list[int]]]:
    """The least runs of tokens that are whole characters."""
    whole = tokenizer.decode(tokens, decode_with_timestamps=True)
    pieces: list[tuple[str, list[int]]] = []
    places: list[int] = []
    offset = 0
    for place in range(len(tokens)):
        places.append(place)
        text = tokenizer.decode([tokens[index] for index in places], decode_with_timestamps=True)
        at = offset + text.find(BROKEN)
        if BROKEN not in text or at >= len(whole) or whole[at] == BROKEN:
            pieces.append((text, places))
            offset += len(text)
            places = []
    return pieces


def _by_spaces(pieces: list[tuple[str, list[int]]], tokens: list[int], end: int) -> list[tuple[str, list[int]]]:
    """Pieces joined to words; spaces, punctuation and special tokens begin new ones."""
    joined: list[tuple[str, list[int]]] = []
    for text, places in pieces:
        if not joined or tokens[places[0]] >= end or text.startswith(" ") or text.strip() in PUNCTUATION:
            joined.append((text, places))
        else:
            joined[-1] = (joined[-1][0] + text, joined[-1][1] + places)
    return joined


def _with_punctuation(pieces: Iterable[tuple[str, list[int]]]) -> list[tuple[str, list[int]]]:
    """Opening punctuation joined to the word after it, closing punctuation to the one before."""
    opened: list[tuple[str, list[int]]] = []
    for text, places in reversed(list(pieces)):
        if opened and text.startswith(" ") and text.strip() in OPENING:
            opened[-1] = (text + opened[-1][0], places + opened[-1][1])
        else:
            opened.append((text, places))
    closed: list[tuple[str, list[int]]] = []
    for text, places in reversed(opened):
        if closed and not closed[-1][0].endswith(" ") and text in CLOSING:
            closed[-1] = (closed[-1][0] + text, closed[-1][1] + places)
        else:
            closed.append((text, places))
    return [(text, places) for text, places in closed if text]
