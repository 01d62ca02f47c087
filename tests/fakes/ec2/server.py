"""The stand-in's process: python -m tests.fakes.ec2.server FOLDER IMAGE_JSON. Prints its port once it listens."""

from __future__ import annotations

import json
import logging
import signal
import sys
from pathlib import Path


def main() -> None:
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from tests.fakes.ec2.api import Layer
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    folder, image = Path(sys.argv[1]), json.loads(sys.argv[2])
    layer = Layer(DomainDispatcherApplication(create_backend_app), folder, image)

    def end(*_: object) -> None:
        layer.control_end()
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    server = make_server("127.0.0.1", 0, layer, threaded=True, request_handler=MotoRequestHandler)
    # Stand-ins beside each other must not share addresses, and no two have one port.
    layer.network = f"127.{1 + server.server_port // 256 % 254}.{server.server_port % 256}"
    image["environment"]["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{server.server_port}"
    print(server.server_port, flush=True)
    try:
        server.serve_forever()
    finally:
        layer.control_end()


if __name__ == "__main__":
    main()
