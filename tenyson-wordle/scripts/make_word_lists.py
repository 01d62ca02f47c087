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
TINY_WORDS = 80
DATA = Path(__file__).parents[1] / "src" / "tenyson_wordle" / "data"

# Slurs and crude words, as the first eight hexadecimal digits of their SHA-256, so that nobody has to read them.
UNWANTED = frozenset((Path(__file__).parent / "unwanted_words.txt").read_text(encoding="ascii").split())


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
