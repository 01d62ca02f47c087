"""The doctor of Modal: token, environment, volume, secrets, image and price are tried without anything being started."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tenyson.cli.rented import Check
from tenyson.errors import TenysonError
from tenyson_modal import price
from tenyson_modal.api.failures import explained, modal_errors
from tenyson_modal.app.apps import find_apps
from tenyson_modal.backend import hello
from tenyson_modal.settings import ModalSettings


def examine(settings: ModalSettings) -> Iterator[Check]:
    """Try what a launch needs, one thing after another; what cannot be tried is a warning."""
    try:
        hello(ModalSettings(environment_name=settings.environment_name))
        yield Check("ok", "token", "Modal knows it")
    except TenysonError as error:
        yield Check("error", "token", str(error))
        return
    yield from _tried("environment", lambda: _apps(settings))
    for name in settings.secrets:
        yield from _tried(f"secret {name}", lambda name=name: _secret(settings, name))  # type: ignore[misc]
    yield from _tried("volume", lambda: _volume(settings))
    yield from _packages(settings)
    yield from _price(settings)


def _tried(what: str, work: Callable[[], str]) -> Iterator[Check]:
    try:
        yield Check("ok", what, work())
    except modal_errors(TenysonError) as error:
        told = error if isinstance(error, TenysonError) else explained(error, "Modal refuses")
        yield Check("error", what, str(told))


def _apps(settings: ModalSettings) -> str:
    running = len(find_apps(settings.environment_name))
    name = settings.environment_name or "that of your profile"
    return f"{name}; {running} app(s) of Tenyson run in it"


def _secret(settings: ModalSettings, name: str) -> str:
    import modal

    modal.Secret.from_name(name, environment_name=settings.environment_name).hydrate()
    return "it is there"


def _volume(settings: ModalSettings) -> str:
    import modal
    import modal.exception

    try:
        modal.Volume.from_name(settings.volume, environment_name=settings.environment_name).hydrate()
    except modal.exception.NotFoundError:
        return f"{settings.volume}: none yet; the first launch makes it"
    return f"{settings.volume} is there"


def _packages(settings: ModalSettings) -> Iterator[Check]:
    """Wheels are made here: what a machine would install must be had before one is asked for."""
    from tenyson.cloud.remote.bundle import make_bundle
    from tenyson.jobs.spec import JobSpec

    spec = JobSpec("doctor", "eval", "none:None", {})
    try:
        bundle = make_bundle(spec, ["tenyson-modal"], settings.extras, python=settings.python)
    except TenysonError as error:
        yield Check("error", "packages", str(error))
        return
    yield Check(
        "ok", "packages", f"{len(bundle.wheels)} wheel(s) of here, {len(bundle.constraints)} versions pinned"
    )


def _price(settings: ModalSettings) -> Iterator[Check]:
    from tenyson.cloud.backend import cost_in_words

    estimate = price.estimate(settings)
    known = estimate.worst_case is not None
    yield Check("ok" if known else "warning", "price", f"{cost_in_words(estimate)} ({estimate.note})")
