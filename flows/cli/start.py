"""Where the program begins: Ctrl-C while Python still imports ends it as quietly as later on."""


def main() -> None:
    """Run the command line."""
    try:
        from flows.cli.main import main as run
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # as ExitCode.INTERRUPTED, which may not be imported yet
    run()
