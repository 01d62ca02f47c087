"""The output folder is tried before a job starts, and is left to whoever uses it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tenyson.errors import ConfigError
from tenyson.jobs.runtime.writable import check_output_dir


def test_two_commands_that_try_it_at_once_do_not_disturb_each_other(tmp_path):
    """Nor one that makes the folder meanwhile."""
    folders = [tmp_path / str(number) / "outputs" / "job" for number in range(150)]

    def look():
        for folder in folders:
            check_output_dir(folder)

    def use():
        for folder in folders:
            check_output_dir(folder)
            folder.mkdir(parents=True)
            (folder / "log.txt").touch()

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(look), pool.submit(look), pool.submit(use)]:
            done.result()
    assert all((folder / "log.txt").exists() for folder in folders)


def test_it_is_not_made(tmp_path):
    check_output_dir(tmp_path / "outputs" / "job")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x" * 300, "nul\0l", "file/job", "file"])
def test_a_folder_that_cannot_be_made_is_refused(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="output folder"):
        check_output_dir(tmp_path / name)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
