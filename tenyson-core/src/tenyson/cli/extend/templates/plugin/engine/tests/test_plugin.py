from importlib import import_module

from my_thing import plugin


def test_it_registers_what_exists() -> None:
    [entry] = plugin.tenyson_engines()
    assert entry.name == "my-thing"
    assert isinstance(entry.load, str)
    module, _, attribute = entry.load.partition(":")
    assert hasattr(import_module(module), attribute)
