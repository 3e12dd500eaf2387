"""How long to wait before the next try. Chance is an argument, so that no test depends on it."""

from __future__ import annotations

from dataclasses import dataclass

_MAX_DOUBLINGS = 40  # 2^40 times any first delay is beyond every cap; more would only build huge integers


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubling delays from ``first_ms`` up to ``cap_ms``.

    *Equal* jitter (the default) keeps half of the delay, so a dependency always gets its pause; ``full`` spreads over all of it, which
    parts a crowd best.
    """

    first_ms: int
    cap_ms: int
    full: bool = False

    def delay_ms(self, attempt: int, u: float) -> int:
        """Milliseconds to wait after try number ``attempt`` (from 1) failed; ``u`` is chance in [0, 1)."""
        whole = min(self.cap_ms, self.first_ms << min(max(attempt - 1, 0), _MAX_DOUBLINGS))
        fixed = 0 if self.full else whole // 2
        return fixed + int((whole - fixed) * min(max(u, 0.0), 1.0))
