"""BERTweet's normalization of tweets, against what the reference gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoload.text import tweets
from autoload.text.auto import AutoTokenizer
from tests.tokenizers.fixtures import build

TWEETS = [
    "SC has first two presumptive cases of coronavirus, DHEC confirms https://t.co/x9zz via @postandcourier 😢",
    "I'm can't cannot won't he'll she'd we've they're it's ain't “quoted” isn’t…",
    "@user: This is a cooool #dummysmiley: :-) :-P <3 and some arrows < > -> <--",
    "Call (555) 123-4567 or 1-800-555-1234, at 5 p.m. or 6 a . m . today!!!!!!!!",
    "www.example.com/a(b)c foo@bar.example.org google.com, see http://a.b/c?d=e&f=g).",
    "&lt;b&gt; &amp;amp; &#65; &#x42; &#150; &#xzz; &bogus; 1/2 3.5 10:30 +4-5",
    "a_b don-t #a #ab ##tag'x-y # @ . . . ...... 😂😂😂😂😂 世界 ñandú",
    "",
    "   spaces \n and\tlines  ",
]


@pytest.fixture(autouse=True)
def no_emoji(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with and without the package for emoji."""
    monkeypatch.setattr(tweets, "_demojizer", lambda: str)


@pytest.mark.parametrize("tweet", TWEETS)
def test_tweets_are_normalized_as_by_the_reference(tweet: str) -> None:
    reference = pytest.importorskip("transformers.models.bertweet.tokenization_bertweet")
    theirs = reference.BertweetTokenizer.__new__(reference.BertweetTokenizer)
    theirs.__dict__.update(special_puncts=tweets.PUNCTUATION, demojizer=None)
    theirs.__dict__["tweetPreprocessor"] = reference.TweetTokenizer()
    assert tweets.normalized(tweet) == theirs.normalizeTweet(tweet)


def test_normalization_goes_before_the_split(tmp_path: Path) -> None:
    build(tmp_path, "BertweetTokenizer")
    plain: Any = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path, normalization=True)
    assert tokenizer.tokenize("hello isn’t @you") == plain.tokenize("hello is n't @USER")
    tokenizer.save_pretrained(tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").tokenize("@you") == plain.tokenize("@USER")
