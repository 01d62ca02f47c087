"""Samples: what the model is asked, and the answer that it is to give."""

import itertools
import random
from collections.abc import Iterator

from tenyson.tasks import Sample

WORDS = ["".join(letters) for letters in itertools.permutations("abcdefgh", 3)]


def samples(split: str, seed: int) -> Iterator[Sample]:
    """Every fifth word is for evaluation, and never trained on. An id is the same in every run."""
    words = [word for number, word in enumerate(WORDS) if (number % 5 == 0) == (split != "train")]
    random.Random(seed).shuffle(words)
    for word in words:
        answer = "".join(sorted(word))
        yield Sample(
            id=word,
            prompt=[{"role": "user", "content": word}],
            completion=[{"role": "assistant", "content": answer}],
            data={"answer": answer},
        )
