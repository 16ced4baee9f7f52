"""Error rates of words and characters are jiwer's."""

import numpy as np
import pytest

import edgeml
from edgeml.errors import ConfigError, DataError
from edgeml.evaluation import character_error_rate, word_error_rate

WORDS = ["turn", "the", "kitchen", "light", "on", "off", "please", "now", "it's", "bright"]


def utterances(n=40):
    rng = np.random.default_rng(0)
    said, heard = [], []
    for _ in range(n):
        words = list(rng.choice(WORDS, rng.integers(1, 9)))
        said.append(" ".join(words))
        kept = [w for w in words if rng.random() > 0.1]
        kept = [w if rng.random() > 0.15 else str(rng.choice(WORDS)) for w in kept]
        heard.append(" ".join(kept + list(rng.choice(WORDS, rng.integers(0, 2)))))
    return said, heard


def test_rates():
    jiwer = pytest.importorskip("jiwer", reason="the judge of these numbers")
    said, heard = utterances()
    assert word_error_rate(said, heard) == pytest.approx(jiwer.wer(said, heard))
    assert character_error_rate(said, heard) == pytest.approx(jiwer.cer(said, heard))


def test_normalisation():
    assert word_error_rate("It\u2019s  BRIGHT, now!", "it's bright now") == 0
    assert word_error_rate("Now!", "now", normalize="none") == 1
    assert word_error_rate("ten", "10", normalize=lambda text: "10") == 0
    assert word_error_rate("a b", "a b c d e") == 1.5
    with pytest.raises(ConfigError, match="normalize"):
        word_error_rate("a", "a", normalize="fancy")
    with pytest.raises(DataError, match="nothing was said"):
        word_error_rate("", "a")
    with pytest.raises(DataError, match="2 texts were said"):
        word_error_rate(["a", "b"], ["a"])


def test_a_report_of_recognition():
    said, heard = utterances()
    report = edgeml.evaluate(heard, y=said, groups=np.arange(40) % 8)
    assert report.kind == "text"
    assert report.metrics["wer"].value == pytest.approx(word_error_rate(said, heard))
    assert report.metrics["wer"].method == "clustered bootstrap"
    assert {b.name for b in report.baselines} == {"nothing recognised", "commonest text"}
    assert report.beats_baseline

    by_call = dict(zip(range(40), heard, strict=True))
    called = edgeml.evaluate(lambda i: by_call[i], list(range(40)), said)
    assert called.metrics["wer"].value == report.metrics["wer"].value
