"""Word lists, their split and their slices."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

import tenyson_wordle
from tenyson.errors import TaskError
from tenyson_wordle.game import words

FROZEN = {
    "scowl": "97f257cf749505c87606375286e94f33570c910951bf179d80ea68592559d9a2",
    "tiny": "45859c87294adbd8eb0c280b029263520b213f4c4a45d6a3bd5afe6242d47aeb",
}


def test_the_shipped_lists_are_sorted_unique_five_letter_words():
    """Answers may all be guessed."""
    for name, least in (("scowl", 2_000), ("tiny", 80)):
        lexicon = words.load(name)
        assert len(lexicon.answers) >= least
        assert list(lexicon.answers) == sorted(set(lexicon.answers))
        assert set(lexicon.answers) <= lexicon.allowed
        assert all(len(word) == 5 and word.isascii() and word.islower() for word in lexicon.allowed)


def test_the_lists_name_their_source_and_licence():
    """Beside the data, in the package."""
    folder = Path(tenyson_wordle.__file__).parent / "data"
    assert "SCOWL" in (folder / "SOURCE.md").read_text()
    assert (
        "Permission to use, copy, modify, distribute and sell these word"
        in (folder / "COPYING-SCOWL").read_text()
    )


@pytest.mark.skipif(
    not Path("/usr/share/dict/scowl").exists(), reason="Debian's package scowl is not installed"
)
def test_the_script_makes_the_shipped_lists_again(tmp_path):
    """Byte for byte."""
    root = Path(__file__).parents[2] / "tenyson-wordle"
    subprocess.run([sys.executable, root / "scripts" / "make_word_lists.py", "--out", tmp_path], check=True)
    for name in ("answers.txt", "allowed.txt", "tiny.txt"):
        assert (tmp_path / name).read_bytes() == (root / "src/tenyson_wordle/data" / name).read_bytes()


def test_a_secret_is_held_out_by_its_own_hash():
    """So it is held out of every list, and adding words moves nothing."""
    held = [word for word in words.load("scowl").answers if words.is_held_out(word, 10)]
    assert 150 < len(held) < 260
    for word in ("crane", "slate", "audio", "zebra"):
        expected = int(hashlib.sha256(word.encode()).hexdigest()[:8], 16) % 10 == 0
        assert words.is_held_out(word, 10) == expected


def test_the_held_out_secrets_of_the_shipped_lists_do_not_move():
    """Results of different days are compared on them; a change here breaks that."""
    found = {name: words.digest(sorted(words.load(name).secrets("held_out"))) for name in ("scowl", "tiny")}
    assert found == FROZEN


def test_train_and_held_out_secrets_part_the_answers():
    """Nothing in both, nothing in neither."""
    lexicon = words.load("scowl")
    train, held = set(lexicon.secrets("train")), set(lexicon.secrets("held_out"))
    assert not train & held
    assert train | held == set(lexicon.answers) == set(lexicon.secrets("all"))


def test_slices_name_split_repeated_letters_and_traps():
    """_IGHT is a trap."""
    lexicon = words.load("scowl")
    assert "traps" in lexicon.slices("night")
    assert "duplicate_letters" in lexicon.slices("speed")
    assert not {"traps", "duplicate_letters"} & set(lexicon.slices("audio"))


@pytest.mark.slow
def test_a_users_own_list_is_read_by_path(tmp_path):
    """Comments and blank lines are skipped, case does not matter, and its hash is stored with results."""
    file = tmp_path / "mine.txt"
    own = ["crane", "SLATE", "", "# a comment", *words.load("tiny").answers]
    file.write_text("\n".join(own))
    lexicon = words.load(str(file))
    assert {"crane", "slate"} <= set(lexicon.answers)
    assert lexicon.provenance["answers_sha256"] == words.digest(lexicon.answers)
    assert lexicon.provenance["answers_sha256"] != words.load("tiny").provenance["answers_sha256"]
    more = tmp_path / "more.txt"
    more.write_text("zzzzz\n")
    assert "zzzzz" in words.load(str(file), str(more)).allowed


@pytest.mark.slow
def test_a_bad_word_list_says_where(tmp_path):
    """File and line of the word, or the reason why it cannot be read."""
    file = tmp_path / "mine.txt"
    file.write_text("crane\nfour\n")
    with pytest.raises(TaskError, match=r"mine\.txt:2: 'four' is not a word of 5 letters"):
        words.load(str(file))
    with pytest.raises(TaskError, match="cannot read the word list: No such file"):
        words.load(str(tmp_path / "none.txt"))
    file.write_text("crane\n")
    with pytest.raises(TaskError, match="'held_out' of the 1 words"):
        words.load(str(file))
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TaskError, match="cannot read the word list"):
        words.load(str(file))
