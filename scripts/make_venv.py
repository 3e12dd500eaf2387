"""Make a virtual environment, or say which system package is missing. Also runs on old Pythons, to answer them clearly."""

import importlib.util
import subprocess
import sys


def missing() -> str:
    """What keeps this Python from making an environment, with the remedy; an empty text when nothing does."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if sys.version_info < (3, 11):  # noqa: UP036 - this is the one file that an older Python gets to run
        return f"{sys.executable} is {name}, but Python 3.11 or newer is needed. Install one and name it: make PYTHON=python3.12 …"
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        return ""
    return (
        f"{sys.executable} lacks venv or ensurepip. Install the package that brings them:\n"
        f"  Debian, Ubuntu:  apt-get install {name}-venv   (or python3-venv)\n"
        f"  Fedora, RHEL:    dnf install {name}\n"
        "or name another Python: make PYTHON=/path/to/python3 …"
    )


if __name__ == "__main__":
    trouble = missing()
    if trouble:
        sys.exit(trouble)
    sys.exit(subprocess.call([sys.executable, "-m", "venv", sys.argv[1]]))
