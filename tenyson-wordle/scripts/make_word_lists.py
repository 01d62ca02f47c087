"""Makes the shipped word lists from SCOWL: `apt-get install scowl`, then `python make_word_lists.py`.

Common words (SCOWL sizes 10 to 35) without plain inflections are answers; words up to size 70 may be guessed.
The closed world of the tiny model is drawn by hash from size 10.
Sizes above 70 are left out: they bring rare words, and one source whose terms ask for more than a notice.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from pathlib import Path

ANSWER_SIZES = (10, 20, 35)
GUESS_SIZES = (10, 20, 35, 40, 50, 55, 60, 70)
TINY_SIZES = (10,)
TINY_WORDS = 100
DATA = Path(__file__).parents[1] / "src" / "tenyson_wordle" / "data"

# Slurs and crude words, as the first eight hexadecimal digits of their SHA-256, so that nobody has to read them.
UNWANTED = frozenset(
    [
        "0033728f",
        "0228f90e",
        "044eb98b",
        "08a841e9",
        "0bd965aa",
        "0c5964a0",
        "0ca06fe6",
        "0f28c496",
        "11cf8376",
        "12ff999b",
        "1600725e",
        "17a7c60b",
        "183936b0",
        "186a51dd",
        "268651b3",
        "2c32c156",
        "2da888fb",
        "302e51d6",
        "3175bf06",
        "31ebe936",
        "4140197e",
        "42ea5be1",
        "45fb7c3b",
        "4704a1ea",
        "47b673e0",
        "517ae3f7",
        "522788b6",
        "52566cb7",
        "5d59a0e0",
        "5e5fe409",
        "6122fdf4",
        "63bd9333",
        "6556c1a5",
        "681a5528",
        "6adc452d",
        "6cd1442a",
        "71ace2cf",
        "7602c1a4",
        "78a00d18",
        "7e85c676",
        "80c6b7cd",
        "8171c4ec",
        "82159dd0",
        "860836fa",
        "867d7897",
        "8c6f7be1",
        "8dcbbb8d",
        "92a9bf81",
        "94a2b576",
        "94c6d2e1",
        "99e367bc",
        "9ae315a9",
        "9f1c7abf",
        "9ff6fa40",
        "a02d538d",
        "a40ccba8",
        "ac1d2ec6",
        "acc96930",
        "ad6cacf3",
        "b27c1d7f",
        "b68ee257",
        "bbf8bb78",
        "bf7e9c38",
        "c5116290",
        "c7653054",
        "ca05283d",
        "d5146a62",
        "d75a838d",
        "daec0c23",
        "dc2abe4e",
        "e14a747f",
        "e5313522",
        "e552a09f",
        "e84dde50",
        "e96d8eb3",
        "e9b64384",
        "eb9f46c0",
        "eea29916",
        "ef4e7377",
        "f59e28f8",
        "f6952d6e",
        "f86e4f74",
        "f9d0d9b1",
        "fa38a8d3",
    ]
)


def words_of(folder: Path, sizes: tuple[int, ...]) -> set[str]:
    """Lower-case words of SCOWL's `english` and `american` lists; names and abbreviations have lists of their own."""
    words: set[str] = set()
    for size in sizes:
        for spelling in ("english", "american"):
            file = folder / f"{spelling}-words.{size}"
            lines = file.read_text(encoding="latin-1").split() if file.exists() else []
            words.update(word for word in lines if re.fullmatch("[a-z]+", word))
    return words


def is_inflected(word: str, words: set[str]) -> bool:
    """Whether it is a plural, a third person or a past tense by a mere suffix of another word."""
    stems: list[str] = []
    if word.endswith("s") and not word.endswith("ss"):
        stems.append(word[:-1])
        if word.endswith("es"):
            stems.append(word[:-2])
        if word.endswith("ies"):
            stems.append(word[:-3] + "y")
    if word.endswith("ed"):
        stems += [word[:-1], word[:-2]]
        if word.endswith("ied"):
            stems.append(word[:-3] + "y")
    return any(stem in words for stem in stems)


def is_wanted(word: str) -> bool:
    """Whether it may be in either list."""
    return len(word) == 5 and hashlib.sha256(word.encode()).hexdigest()[:8] not in UNWANTED


def main() -> None:
    """Write answers.txt, allowed.txt and tiny.txt."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scowl", type=Path, default=Path("/usr/share/dict/scowl"))
    parser.add_argument("--out", type=Path, default=DATA)
    options = parser.parse_args()
    every = words_of(options.scowl, GUESS_SIZES)
    allowed = sorted(filter(is_wanted, every))
    common = sorted(filter(is_wanted, words_of(options.scowl, ANSWER_SIZES)))
    answers = [word for word in common if not is_inflected(word, every)]
    commonest = [
        word
        for word in filter(is_wanted, words_of(options.scowl, TINY_SIZES))
        if not word.endswith(("s", "ed"))
    ]
    tiny = sorted(
        sorted(commonest, key=lambda word: hashlib.sha256(f"lex:{word}".encode()).hexdigest())[:TINY_WORDS]
    )
    for name, words in {"answers": answers, "allowed": allowed, "tiny": tiny}.items():
        (options.out / f"{name}.txt").write_text("\n".join(words) + "\n", encoding="ascii")
        print(f"{name}.txt: {len(words)} words")  # noqa: T201


if __name__ == "__main__":
    main()
