"""``failover-connector`` and ``python -m connector``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process, and leave with its exit code."""
    from connector.cli.main import main as run  # noqa: PLC0415 - nothing is imported by importing this

    sys.exit(run())


if __name__ == "__main__":
    main()
