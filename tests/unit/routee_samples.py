"""The provider's documents as files: those found in the contract word for word, and those its text describes."""

from pathlib import Path

from connector.core.coerce import parse_json

_FOLDER = Path(__file__).parent.parent / "data" / "routee"


def sample_bytes(name: str) -> bytes:
    """One sample as it would come over the wire."""
    return (_FOLDER / f"{name}.json").read_bytes()


def sample(name: str) -> object:
    """One sample, parsed as the connector parses it."""
    return parse_json(sample_bytes(name))
