"""The three sends: judge a request, accept it or not, answer it truly or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import orjson

from connector.simulator import answers, documents
from connector.simulator.accept import flow_from, label_in, recipient_in, scenario_for, template_fault
from connector.simulator.checks import Checks
from connector.simulator.faults import FAULTS, Fault
from connector.simulator.ledger import Entry, attempt_of, words
from connector.simulator.model import Api, Flow, Json
from connector.simulator.otp_rules import check_otp
from connector.simulator.provider import Provider
from connector.simulator.requests import check_request
from connector.simulator.rules import check_send
from connector.simulator.scenarios import CallbackStyle, Scenario, slow_seconds
from connector.simulator.tokens import Bearer
from connector.simulator.wire import Answer, HttpRequest

BALANCE = FAULTS["balance"]


@dataclass(slots=True)
class Post:
    """One request to send while it is judged."""

    api: Api
    request: HttpRequest
    doc: object
    checks: Checks
    bearer: Bearer
    recipient: str | None
    scenario: Scenario
    accepted: Flow | None = None
    fault: Fault | None = None


class Sends:
    """The send endpoints. ``first_callback`` gives what the answer of a callback-before-answer flow has to wait for."""

    def __init__(self, provider: Provider, first_callback: Callable[[Flow], Awaitable[object]]) -> None:
        self._provider = provider
        self._first_callback = first_callback
        self._met: Counter[str] = Counter()  # POSTs to a magic recipient that met its fault

    def handle(self, api: Api, request: HttpRequest) -> Answer:
        """Answer one POST; it is in the ledger before the answer goes out."""
        post = self._read(api, request)
        reply = self._judge(post)
        slow_s = slow_seconds(post.accepted.recipient) if post.accepted is not None and post.scenario.is_slow else 0
        self._record(post, reply)
        return self._provider.delayed(reply, slow_s)

    def _read(self, api: Api, request: HttpRequest) -> Post:
        provider = self._provider
        try:
            doc = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            doc = None
            checks = Checks()
            checks.note("not_json", (), "the body must be JSON")
        else:
            checks = check_otp(doc, provider.switches) if api is Api.OTP else check_send(doc, api, provider.switches)
        bearer = check_request(request, checks, provider.tokens)
        label = label_in(doc)
        if label is not None and provider.ledger.is_repeat(label):
            checks.note("repeated_label", (), "this attempt was POSTed before", refuses=False)
        recipient = recipient_in(doc)
        return Post(api, request, doc, checks, bearer, recipient, scenario_for(recipient, provider.options.scenario))

    def _judge(self, post: Post) -> Answer:
        provider = self._provider
        faults = provider.board.now()
        drawn = provider.board.draw(faults.sends)
        if post.bearer is not Bearer.VALID:
            return self._unauthorized(post)
        if drawn is not None and not drawn.accepts and drawn.otp_code is None:
            return self._fail(post, drawn, {})
        refusals = [issue for issue in post.checks.issues if issue.refuses]
        if refusals:
            return answers.refused(post.api, refusals, provider.switches)
        doc = post.doc
        assert isinstance(doc, dict)  # noqa: S101 - else it would have been refused
        if provider.switches.word("template_check") == "sync" and (wrong := template_fault(doc, post.api)):
            return answers.platform_error(400, wrong, provider.switches)
        fault = drawn or (BALANCE if faults.balance <= 0 else self._scenario_fault(post))
        if fault is not None and not fault.accepts and not self._fails_later(post.api, fault):
            return self._fail(post, fault, {})
        return self._accept(post, doc, fault)

    def _fails_later(self, api: Api, fault: Fault) -> bool:
        """Does this fault, in this API, show only after the flow was accepted?"""
        if api is Api.OTP or fault.otp_code is None:
            return False
        return fault is not BALANCE or self._provider.switches.word("balance") == "async"

    def _accept(self, post: Post, doc: Json, fault: Fault | None) -> Answer:
        provider = self._provider
        flow = flow_from(doc, post.api, provider, post.scenario, post.recipient or "")
        post.accepted = flow
        if fault is not None and self._fails_later(post.api, fault):
            flow.fails_with = fault.otp_code
            post.fault, fault = fault, None
        provider.flows.add(flow)
        first = self._first_callback(flow) if self._calls_back_first(flow) else None
        provider.walk.begin(flow)
        created = documents.otp_created(flow, provider.switches) if post.api is Api.OTP else documents.created(flow, provider.switches)
        reply = answers.answer(created) if fault is None else self._fail(post, fault, created)
        return reply if first is None else replace(reply, after=first)

    def _calls_back_first(self, flow: Flow) -> bool:
        style = flow.scenario.callbacks
        return style is CallbackStyle.BEFORE_ANSWER and flow.callback is not None and self._provider.options.callbacks

    def _scenario_fault(self, post: Post) -> Fault | None:
        fault = post.scenario.fault
        if fault is None or post.recipient is None:
            return None
        times = post.scenario.times
        over = self._provider.options.fault_times
        if times is not None and over is not None:
            times = over or None
        if times is not None and self._met[post.recipient] >= times:
            return None
        self._met[post.recipient] += 1
        return fault

    def _fail(self, post: Post, fault: Fault, ordinary: Json) -> Answer:
        post.fault = fault
        provider = self._provider
        retry_after_s = provider.board.now().retry_after_s
        return answers.faulty(fault, ordinary, api=post.api, retry_after_s=retry_after_s, now=provider.clock(), switches=provider.switches)

    def _unauthorized(self, post: Post) -> Answer:
        is_otp = post.api is Api.OTP
        status = 401
        if post.bearer is Bearer.MISSING:
            status = int(self._provider.switches.word("otp_missing_token_status" if is_otp else "missing_token_status"))
        return answers.unauthorized(status, is_otp=is_otp)

    def _record(self, post: Post, reply: Answer) -> None:
        ledger = self._provider.ledger
        label = label_in(post.doc)
        flow_id, attempt = attempt_of(label)
        callback = post.doc.get("callback") if isinstance(post.doc, dict) else None
        ledger.add(
            Entry(
                seq=ledger.next_seq(),
                at=self._provider.clock(),
                what="send",
                method=post.request.method,
                path=post.request.path,
                status=reply.status if answers.is_whole(reply) else 0,
                api=post.api.value,
                label=label,
                flow_id=flow_id,
                attempt=attempt,
                recipient=post.recipient,
                accepted=None if post.accepted is None else post.accepted.tracking_id,
                fault=None if post.fault is None else post.fault.name,
                scenario=post.scenario.name,
                callback_url=callback.get("url") if isinstance(callback, dict) else None,
                violations=words(post.checks.issues),
            ),
        )
