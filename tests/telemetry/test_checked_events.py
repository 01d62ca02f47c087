"""Events that came from elsewhere are checked field by field, by what their classes say."""

from __future__ import annotations

from dataclasses import fields

import pytest

from tenyson.telemetry.events import Event, RolloutFinished
from tenyson.telemetry.events.checked import fault

EVENTS = [one for one in Event.__subclasses__() if one.__module__ == Event.__module__]
FIELDS = [(event, field.name) for event in EVENTS for field in fields(event)]


@pytest.mark.parametrize(("event", "name"), FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_every_field_of_every_event_is_checked(event, name):
    """A value of no type is refused by its field's name, wherever an event is read."""
    kind = event.__name__
    assert fault({"event": kind, name: object()}, whole=False) == f"{kind}: {name}"
    assert fault({"event": kind}, whole=False) is None


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_a_field_without_a_default_is_needed_in_a_whole_event(event):
    """The first one that is missing is named."""
    assert len(EVENTS) >= 8
    assert (fault({"event": event.__name__, "run_id": "r", "time": 1.0}) or "").startswith(
        f"{event.__name__}: no "
    )


def test_a_rollout_needs_all_its_fields():
    """Also those with a default: its row is made of them in one pass."""
    whole = vars(
        RolloutFinished(
            run_id="r",
            phase="rl",
            training=True,
            step=1,
            sample_id="a",
            group="1/a",
            prompt="?",
            completion="!",
            reward=1.0,
            components={"right": 1.0},
        )
    )
    assert fault(dict(whole)) is None
    for name in whole.keys() - {"event", "v"}:
        assert fault({key: value for key, value in whole.items() if key != name}) is not None, name


def test_an_event_that_is_not_known_here_is_bounded_only():
    """A plugin's own, or that of a later version."""
    assert fault({"event": "Another", "run_id": "r", "time": 1.0, "x": [1]}) is None
