"""The services: async, on ports only. Read ``lane`` first, then ``claim``, ``keeper`` and ``intake``."""
