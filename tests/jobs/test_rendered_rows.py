"""SFT rows that an earlier start rendered are used again, as long as everything that they depend on is the same."""

from __future__ import annotations

from itertools import islice

import pytest

from tenyson.config.load import parse_config
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.sample import Sample

pytestmark = pytest.mark.train


class Talk(TaskPlugin):
    name = "talk"
    words = ("one", "two", "three")

    def sft_samples(self, split, seed):
        for number, word in enumerate(self.words):
            prompt = [{"role": "user", "content": f"say {word}"}]
            yield Sample(id=str(number), prompt=prompt, completion=[{"role": "assistant", "content": word}])


class Counted:
    """A renderer that counts the conversations that it renders."""

    def __init__(self, renderer):
        self._renderer, self.rendered = renderer, 0

    def __getattr__(self, name):
        return getattr(self._renderer, name)

    def conversation(self, *arguments):
        self.rendered += 1
        return self._renderer.conversation(*arguments)


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads the rows of a task as a new start does; gives them, and how many were rendered."""
    from tenyson.engines.renderers import open_renderer
    from tenyson.jobs.data import rendered_rows
    from tenyson.jobs.data.conversations import read_conversations
    from tenyson.jobs.models.model import generation_eos, load_tokenizer, resolve_model

    monkeypatch.setenv("TENYSON_CACHE", str(tmp_path))
    monkeypatch.setattr(rendered_rows, "WORTH_SECONDS", 0.0)

    def start(task=None, **settings):
        config = parse_config(
            {"model": {"factory": "tenyson.testing.tiny:build"}, "training": {"max_length": 512, **settings}}
        )
        source = resolve_model(config)
        renderer = Counted(
            open_renderer(
                load_tokenizer(source, trust_remote_code=False), generation_eos(source), config.model
            )
        )
        rows = read_conversations(task or Talk(), renderer, "train", config)
        return (rows.ids, rows.labels), renderer.rendered

    return start


def test_a_second_start_takes_the_same_rows_and_renders_none(read):
    rows, rendered = read()
    assert rendered == 3
    again, rendered = read()
    assert (again, rendered) == (rows, 0)


def test_only_a_changed_sample_is_rendered_again(read):
    read()
    changed = Talk()
    changed.words = ("one", "four", "three", "five")
    rows, rendered = read(changed)
    assert rendered == 2
    assert read(changed) == (rows, 0)
    assert len({tuple(row) for row in rows[0]}) == 4


def test_settings_that_rows_depend_on_have_rows_of_their_own(read):
    read()
    _, rendered = read(reasoning="drop")
    assert rendered == 3
    rows, rendered = read(max_length=20)  # cut after rendering
    assert rendered == 0
    assert all(len(ids) <= 20 for ids in rows[0])


@pytest.mark.parametrize(
    "damage", [b"", b"\x10\0\0\0\0\0\0\0not safetensors", None], ids=["empty", "other", "cut"]
)
def test_a_damaged_file_is_written_again(read, tmp_path, damage):
    rows, _ = read()
    file = next(tmp_path.glob("rows/*.safetensors"))
    file.write_bytes(file.read_bytes()[:-5] if damage is None else damage)
    again, rendered = read()
    assert (again, rendered) == (rows, 3)
    assert read() == (rows, 0)
    assert [one.name for one in islice(file.parent.iterdir(), 9)] == [file.name]


def test_a_cache_that_cannot_be_written_costs_only_time(read, tmp_path):
    read()
    for file in tmp_path.glob("rows/*"):
        file.unlink()
    (tmp_path / "rows").rmdir()
    (tmp_path / "rows").write_text("in the way")
    _, rendered = read()
    assert rendered == 3
