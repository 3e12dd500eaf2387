"""An asyncio loop in virtual time whose handles belong to simulated processes.

Nothing here waits: when nothing is ready, time jumps to the next timer. A process is the value of a context variable, and each handle
carries its context, so the loop knows whose step it runs. ``kill`` is a real kill -9: no further handle of the process runs, so no
``finally`` and no ``except``. ``freeze`` is SIGSTOP: its handles are kept and run after ``thaw``, while every clock has gone on.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import inspect
import itertools
from asyncio import Handle, TimerHandle
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

_STUCK = 2_000_000  # steps without time moving: somebody spins
_CLOSINGS = 20


class Process:
    """What a step belongs to. ``kill_at``: the number of the step that is not run any more; ``freeze_at``: of the last before a stop."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: deque[Handle] = deque()
        self.alive = True
        self.frozen = False
        self.steps = 0
        self.kill_at = 0
        self.freeze_at = 0
        self.on_freeze: Callable[[], None] = _nothing
        self.on_kill: Callable[[], None] = _nothing
        self.context: Context = contextvars.copy_context()
        self.context.run(CURRENT.set, self)

    @property
    def running(self) -> bool:
        """Neither dead nor stopped."""
        return self.alive and not self.frozen


CURRENT: ContextVar[Process | None] = ContextVar("process", default=None)


def _nothing() -> None:
    return None


class _Task(asyncio.Task[Any]):
    """Sets of tasks are walked in the order of their hashes: by number, not by address, so that a seed replays."""

    def __init__(self, coro: Coroutine[Any, Any, Any], number: int, **rest: Any) -> None:  # noqa: ANN401 - what asyncio.Task takes
        self.number = number
        super().__init__(coro, **rest)

    def __hash__(self) -> int:
        return self.number


class _Future(asyncio.Future[Any]):
    """The same for futures."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class SimLoop(asyncio.BaseEventLoop):
    """``shuffled``: which process takes the next step is drawn; within a process steps keep their order, as in a real one."""

    def __init__(self, rng: Random, *, shuffled: bool = True) -> None:
        super().__init__()
        self.world = Process("world")
        self.troubles: list[str] = []
        self._rng = rng
        self._shuffled = shuffled
        self._now = 0.0
        self._timers: list[tuple[float, int, TimerHandle]] = []
        self._numbers = itertools.count(1)
        self._runnable: list[Process] = []
        self._graveyard: list[asyncio.Task[Any]] = []
        self._buried = False
        self._still = 0
        self.set_task_factory(self._make_task)  # type: ignore[arg-type]  # typeshed knows no keyword context of 3.11

    # ---------------------------------------------------------------------------------------------------------- processes

    def kill(self, process: Process) -> None:
        """From now on nothing of it runs. Its tasks are kept, for a coroutine that is collected would run its ``finally``."""
        if not process.alive:
            return
        process.alive = False
        self._graveyard += asyncio.all_tasks(self)
        process.ready.clear()
        if process in self._runnable:
            self._runnable.remove(process)
        self.world.context.copy().run(process.on_kill)

    def freeze(self, process: Process) -> None:
        """SIGSTOP."""
        process.frozen = True
        if process in self._runnable:
            self._runnable.remove(process)

    def thaw(self, process: Process) -> None:
        """SIGCONT."""
        process.frozen = False
        if process.alive and process.ready and process not in self._runnable:
            self._runnable.append(process)

    def in_world(self, delay: float, callback: Callable[..., object], *args: object) -> TimerHandle:
        """Call it later, whatever becomes of the process that asks."""
        return self.call_later(delay, callback, *args, context=self.world.context.copy())

    def on(self, process: Process, delay: float, callback: Callable[..., object], *args: object) -> TimerHandle:
        """Call it later as a step of that process: never, if it is dead by then; when it wakes, if it sleeps."""
        return self.call_later(delay, callback, *args, context=process.context.copy())

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run the world's main coroutine to its end, then close whatever is left without letting it act."""
        try:
            return self.world.context.copy().run(self.run_until_complete, main)
        finally:
            self._bury()
            self.close()

    # ----------------------------------------------------------------------------------------------------- asyncio's side

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Handle:  # type: ignore[override]  # noqa: ANN401
        """Queue a step behind its process's others."""
        handle = Handle(callback, args, self, context)
        self._enqueue(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None) -> TimerHandle:  # type: ignore[override]  # noqa: ANN401
        """Queue a step for that time."""
        return self.call_at(self._now + max(delay, 0.0), callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None) -> TimerHandle:  # type: ignore[override]  # noqa: ANN401
        """Queue a step for that time; equal times in the order of asking."""
        timer = TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def create_future(self) -> asyncio.Future[Any]:
        """A future with a number."""
        future = _Future(loop=self)
        future.number = next(self._numbers)
        return future

    def create_task(self, coro: Any, *, name: object = None, context: Context | None = None) -> asyncio.Task[Any]:  # noqa: ANN401
        """A task with a number; none any more once everything is being closed."""
        if self._buried:
            coro.close()
            return self.create_future()  # type: ignore[return-value]
        return super().create_task(coro, name=None, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What asyncio would log is a finding, unless it is about the dead."""
        process = CURRENT.get() or self.world
        if not self._buried and process.alive:
            self.troubles.append(f"{process.name}: {context.get('message')}: {context.get('exception')!r}")

    def _make_task(self, _loop: object, coro: Coroutine[Any, Any, Any], **rest: Any) -> asyncio.Task[Any]:  # noqa: ANN401
        return _Task(coro, next(self._numbers), loop=self, **rest)

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        """Nothing: a cancelled timer is passed over when its time comes."""

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:  # noqa: ANN401
        self._asyncgens.discard(agen)  # type: ignore[attr-defined]
        if not self._buried and (CURRENT.get() or self.world).alive:
            self.call_soon(self.create_task, agen.aclose())

    def _enqueue(self, handle: Handle) -> None:
        if self._buried:
            return
        process = handle._context.get(CURRENT) or self.world  # type: ignore[attr-defined]
        if not process.alive:
            return
        process.ready.append(handle)
        if len(process.ready) == 1 and not process.frozen:
            self._runnable.append(process)

    def _run_once(self) -> None:
        """One step of one process."""
        while not self._runnable:
            self._jump()
        self._still += 1
        if self._still > _STUCK:
            raise RuntimeError(f"nothing moves the time on at {self._now}")
        index = self._rng.randrange(len(self._runnable)) if self._shuffled and len(self._runnable) > 1 else 0
        process = self._runnable[index]
        handle = process.ready.popleft()
        if not process.ready:
            del self._runnable[index]
        elif index == 0 and len(self._runnable) > 1:
            self._runnable.append(self._runnable.pop(0))
        if handle._cancelled:
            return
        process.steps += 1
        if process.steps == process.kill_at:
            self.kill(process)
            return
        handle._run()
        if process.steps == process.freeze_at:
            self.world.context.copy().run(process.on_freeze)

    def _jump(self) -> None:
        if not self._timers:
            raise RuntimeError("everybody waits for ever")
        self._now = max(self._now, self._timers[0][0])
        self._still = 0
        while self._timers and self._timers[0][0] <= self._now:
            timer = heapq.heappop(self._timers)[2]
            if not timer._cancelled:
                self._enqueue(timer)

    def _bury(self) -> None:
        """Close every coroutine that is left. Their ``finally`` runs now, where nothing they do has an effect."""
        self._buried = True
        left = dict.fromkeys([*self._graveyard, *asyncio.all_tasks(self)])
        for task in left:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            _close(task.get_coro())
        self._graveyard.clear()
        self._timers.clear()
        with contextlib.suppress(RuntimeError):
            self.world.ready.clear()


def _close(coro: Any) -> None:  # noqa: ANN401 - a coroutine or a generator
    """Close it, whatever it says; one that never began is asked for the coroutines it was given."""
    if inspect.iscoroutine(coro) and inspect.getcoroutinestate(coro) == inspect.CORO_CREATED:
        for given in coro.cr_frame.f_locals.values() if coro.cr_frame is not None else ():
            if inspect.iscoroutine(given):
                given.close()
    for _ in range(_CLOSINGS):
        try:
            coro.close()
        except RuntimeError:  # it awaits something in its ``finally``: that is cut, too
            continue
        except BaseException:  # noqa: BLE001, S110 - the dead have no say
            pass
        break
