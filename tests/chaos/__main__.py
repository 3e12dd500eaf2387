"""``python -m tests.chaos``: see the package."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.report import Report
from tests.chaos.run import Run
from tests.kafka import NoBroker, own_broker

_LASTING_MINUTES = 5.0  # from here on a broker that is compiled at its best is worth its slow start


def main() -> int:
    """One run; 0: every law was checked and holds."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Break everything, and prove that nothing was lost or doubled."
    )
    parser.add_argument("--minutes", type=float, default=3.0, help="how long faults come (default 3)")
    parser.add_argument("--rate", type=float, default=100.0, help="events per second (default 100)")
    parser.add_argument("--seed", type=int, default=1, help="decides events and faults (default 1)")
    parser.add_argument("--workers", type=int, default=4, help="worker processes (default 4)")
    parser.add_argument("--calm", action="store_true", help="no faults: how fast is it?")
    parser.add_argument("--report", type=Path, help="write the report there, too")
    parser.add_argument("--keep", action="store_true", help="keep the folder also when all is well")
    given = parser.parse_args()
    report = Report(seed=given.seed, rate=given.rate, workers=given.workers, minutes=given.minutes, faults=not given.calm)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # takes everything down, as Ctrl-C does
    try:
        with own_broker(lasting=given.minutes >= _LASTING_MINUTES) as broker:
            report.broker = broker.description
            Run(broker, folder, report).execute()
    except NoBroker as reason:
        sys.stderr.write(f"no broker that may be killed: {reason}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 130
    finally:
        report.write(folder / "report.json")
        if given.report is not None:
            given.report.parent.mkdir(parents=True, exist_ok=True)
            report.write(given.report)
        if report.is_good and report.checked and not given.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            sys.stderr.write(f"logs, ledger, settings and report: {folder}\n")
    sys.stdout.write(report.line + "\n")
    for problem in report.problems[:20]:
        sys.stdout.write(f"  {problem.law}: {problem.text}\n")
    return 0 if report.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
