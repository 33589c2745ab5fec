"""Run the loopback server by hand: `python -m tests.messages_server --port 8080`."""

import argparse
from collections.abc import Sequence

from tests.messages_server.faults import ALL_FAULTS
from tests.messages_server.server import MessagesServer
from tests.messages_server.settings import API_KEY, Settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted; the first lines printed are what the SDK needs to know."""
    parser = argparse.ArgumentParser("python -m tests.messages_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--requests-per-minute", type=float, default=0.0, help="0: no bound")
    parser.add_argument("--burst", type=int, default=1)
    parser.add_argument("--answer-seconds", type=float, default=0.0)
    parser.add_argument("--batch-seconds", type=float, default=0.0)
    parser.add_argument("--batch-not-found", type=int, default=0, metavar="READS")
    parser.add_argument("--lost-creates", type=int, default=0, metavar="BATCHES")
    parser.add_argument("--expired-batches", type=int, default=0, metavar="BATCHES")
    parser.add_argument("--seed", type=int, default=0)
    shares = parser.add_argument("--share", action="append", default=[], metavar="FAULT=SHARE")
    shares.help = f"let a share of the requests fail: {', '.join(sorted(ALL_FAULTS))}"
    given = vars(parser.parse_args(arguments))
    pairs = (text.partition("=") for text in given.pop("share"))
    server = MessagesServer(
        given.pop("port"),
        Settings(**given, shares={name: float(share) for name, _, share in pairs}),
    )
    print(f"export ANTHROPIC_BASE_URL={server.base_url}")
    print(f"export ANTHROPIC_API_KEY={API_KEY}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
