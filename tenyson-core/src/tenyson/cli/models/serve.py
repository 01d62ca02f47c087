"""tenyson serve: answer programs that are written against the openai package with a model of one's own."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from types import FrameType

    from tenyson.engines.endpoint.model_server import ModelServer
    from tenyson.engines.endpoint.server import EndpointServer

KEY = "TENYSON_API_KEY"
"""The variable that a key may be given in."""


@click.command()
@click.argument("model", metavar="RUN|MODEL")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port  [default: any that is free]")
@click.option("--engine", help="Engine that generates the replies  [default: generation.engine]")
@click.option(
    "--output-dir", default="./outputs", show_default=True, help="Folder that holds the run folders."
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a value of the configuration. Repeatable.",
)
def serve(model: str, port: int, engine: str | None, output_dir: str, overrides: tuple[str, ...]) -> int:
    """Serve a run's model, or any other, on this machine until Ctrl-C, for programs written against the openai package.

    The key is $TENYSON_API_KEY, or a random one, which is printed. Only programs on this machine can connect.

    \b
    Examples:
      tenyson serve RUN --port 8000
      tenyson serve ./model --set generation.max_new_tokens=512
    """
    from tenyson.core.stdio import say
    from tenyson.engines.endpoint.model_server import ModelServer
    from tenyson.jobs.models.served import open_served, served_config
    from tenyson.jobs.runtime.quiet import quiet_libraries

    chosen = () if engine is None else (f"generation.engine={engine}",)
    config = served_config(model, output_dir, (*overrides, *chosen))
    given = os.environ.get(KEY, "")
    with closing(_open(port)) as endpoint:
        quiet_libraries()
        served = open_served(config)
        with closing(served.engine):
            server = ModelServer(
                served.engine,
                served.renderer,
                served.sampling,
                model=model,
                context=served.context,
                batch_size=served.batch_size,
                key=given,
            )
            url = endpoint.add("", server)
            say(served.why)
            click.echo(f"OPENAI_BASE_URL={url}")
            click.echo(f"OPENAI_API_KEY=${KEY}" if given else f"OPENAI_API_KEY={server.key}")
            click.echo(f"the model is {model!r}; Ctrl-C ends it", err=True)
            sys.stdout.flush()
            _run(server)
    return 0


def _run(server: ModelServer) -> None:
    """Answer until Ctrl-C."""
    ends = [False]

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        ends[0] = True
        # A second one does not wait for what is under way.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = [(one, signal.signal(one, end)) for one in (signal.SIGINT, signal.SIGTERM)]
    try:
        server.run(lambda: not ends[0])
    finally:
        for number, handler in previous:
            signal.signal(number, handler)
        server.close()


def _open(port: int) -> EndpointServer:
    from tenyson.engines.endpoint.server import EndpointServer
    from tenyson.errors import TenysonError

    try:
        return EndpointServer(port)
    except OSError as error:
        raise TenysonError(
            f"port {port} cannot be used: {error.strerror}", next_step="Give another --port, or none."
        ) from None
