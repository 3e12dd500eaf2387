"""How well messages arrive and what they cost: by channel, and how often a fallback reaches whom the first step did not.

    python examples/delivery_report.py --bootstrap-servers localhost:9092 --since 24h

Reads the sends and statuses topics to their present end, as any consumer would; it joins no group and commits nothing. Needs
confluent-kafka, and for Avro the connector's package, which has the schemas. What it shows of a consumer's duties:

* Drop repeats by the header ``failover.id``: an event may stand in its topic twice.
* Take the last decision of a flow: a ``correction`` replaces an earlier one; a ``duplicate`` only tells that a person may have got two.
* Take times from the event, not from the record: ``sent_at``, ``accepted_at``, ``delivered_at``, ``step.ended_at``.
* Of a flow's statuses count those of its last ``tracking_id``: a correction may name another one.
* Count flows by their decision: of one that was decided before the window only later statuses lie in it, so it is left out.
* Take the price of a step from its last event: failed ones may cost as well. They need not add up to the flow's last ``total_price``.
* Order a flow's statuses by ``seq``. ``delivered`` says that a person was reached; ``SUCCEEDED`` of an OTP only says that it was taken.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

Event = Mapping[str, Any]

REACHED = frozenset({"DELIVERED", "SEEN", "COMPLETED"})
FAILED = frozenset({"EXPIRED", "UNDELIVERED", "FAILED", "UNSENT", "BUSY", "NO_ANSWER"})
PATIENCE_S = 10.0
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass
class Step:
    """One step of a flow, as its last status has it."""

    channel: str
    seq: int = 0
    status: str = ""
    reached_after_s: float | None = None  # from the POST until it arrived
    price: Decimal | None = None


@dataclass
class Flow:
    """What both topics say of one flow."""

    outcome: str | None = None
    decided: tuple[bool, str] = (False, "")  # a correction, and the later one, wins
    kind: str | None = None
    delivered: bool = False
    terminal: bool = False
    seq: int = 0
    price: Decimal | None = None  # of all
    tracking_id: str | None = None
    accepted_after_s: float | None = None  # from the POST
    delivered_after_s: float | None = None  # from the POST, by whichever step
    steps: dict[int, Step] = field(default_factory=dict)  # by order


@dataclass
class Share:
    """So many of so many."""

    tried: int = 0
    delivered: int = 0
    price: Decimal = Decimal(0)

    @property
    def rate(self) -> float | None:
        """0 … 1; None where nothing was tried."""
        return self.delivered / self.tried if self.tried else None


class Report:
    """Takes events of both topics in any order, each as often as it comes."""

    def __init__(self) -> None:
        self.flows: dict[str, Flow] = {}
        self.repeats = 0
        self._seen: set[str] = set()

    def take(self, kind: str, event_id: str, event: Event) -> None:
        """``kind``: send or status; ``event_id``: the header failover.id."""
        if event_id in self._seen:
            self.repeats += 1
            return
        self._seen.add(event_id)
        flow = self.flows.setdefault(event["flow_id"], Flow())
        flow.kind = event["class"]
        if kind == "send":
            self._decide(flow, event)
        else:
            self._hear(flow, event)

    @staticmethod
    def _decide(flow: Flow, event: Event) -> None:
        decided = (event["correction"], event["settled_at"] or "")
        if not event["duplicate"] and decided >= flow.decided:
            flow.outcome, flow.decided = event["outcome"], decided

    @staticmethod
    def _hear(flow: Flow, event: Event) -> None:
        if event["seq"] < flow.seq and event["tracking_id"] != flow.tracking_id:
            return  # of a message that turned out to be somebody else's
        if event["seq"] > flow.seq:
            if event["tracking_id"] != flow.tracking_id:
                flow.steps.clear()
            flow.tracking_id = event["tracking_id"]
            flow.seq, flow.delivered, flow.terminal = event["seq"], event["delivered"], event["terminal"]
            flow.price = amount(event["total_price"])
            flow.accepted_after_s = seconds_between(event.get("sent_at"), event["accepted_at"])
            flow.delivered_after_s = seconds_between(event.get("sent_at"), event.get("delivered_at"))
        told = event["step"]
        if told is None:
            return
        step = flow.steps.setdefault(told["order"], Step(told["channel"]))
        if event["seq"] > step.seq:
            step.seq, step.status, step.price = event["seq"], told["status"], amount(told["price"])
            step.reached_after_s = seconds_between(event.get("sent_at"), told.get("ended_at")) if told["status"] in REACHED else None

    @property
    def decided(self) -> Sequence[Flow]:
        """Flows whose decision was read."""
        return [flow for flow in self.flows.values() if flow.outcome is not None]

    def outcomes(self) -> dict[str, int]:
        """Flows by their decision as it stands."""
        words = [flow.outcome or "" for flow in self.decided]
        return {word: words.count(word) for word in sorted(set(words))}

    def accepted(self, kind: str | None = None) -> Share:
        """Flows that Routee took, of a class or of all, and how many of them reached a person."""
        chosen = [flow for flow in self.flows.values() if flow.outcome == "ACCEPTED" and kind in {None, flow.kind}]
        return Share(len(chosen), sum(flow.delivered for flow in chosen), sum((flow.price or Decimal(0) for flow in chosen), Decimal(0)))

    def channels(self) -> dict[str, Share]:
        """By channel: steps that were tried, and those that reached the person."""
        shares: dict[str, Share] = {}
        for flow in self.decided:
            for step in flow.steps.values():
                share = shares.setdefault(step.channel, Share())
                share.tried += 1
                share.delivered += step.status in REACHED
                share.price += step.price or 0
        return dict(sorted(shares.items()))

    def fallbacks(self) -> dict[str, Share]:
        """``viber → sms``: how often the second was tried because the first failed, and how often it reached the person."""
        shares: dict[str, Share] = {}
        for flow in self.decided:
            orders = sorted(flow.steps)
            for first, second in itertools.pairwise(orders):
                if flow.steps[first].status in FAILED:
                    share = shares.setdefault(f"{flow.steps[first].channel} → {flow.steps[second].channel}", Share())
                    share.tried += 1
                    share.delivered += flow.steps[second].status in REACHED
                    share.price += flow.steps[second].price or 0
        return dict(sorted(shares.items()))

    def median_s(self, channel: str) -> float | None:
        """Half of the messages of this channel had arrived so soon after the POST; the steps before it are part of that time."""
        return median(step.reached_after_s for flow in self.decided for step in flow.steps.values() if step.channel == channel)

    def acceptance_s(self) -> float | None:
        """Half of the flows were accepted so soon after their POST."""
        return median(flow.accepted_after_s for flow in self.decided)

    def delivery_s(self, kind: str | None = None) -> float | None:
        """Half of the flows that reached a person had done so so soon after their POST; of a class or of all."""
        return median(flow.delivered_after_s for flow in self.decided if kind in {None, flow.kind})

    @property
    def under_way(self) -> int:
        """Accepted flows whose end is still awaited: the rates rise by some of them."""
        return sum(flow.outcome == "ACCEPTED" and not flow.terminal for flow in self.flows.values())


# ------------------------------------------------------------------------------------------------------------- reading


def read(consumer: Consumer, topics: Mapping[str, str], since_ms: int | None) -> Iterator[tuple[str, str, Event]]:
    """Kind, id and body of every event from ``since_ms`` (None: the beginning) to the present end. ``topics``: topic → kind."""
    places = [TopicPartition(topic, number) for topic in topics for number in partitions(consumer, topic)]
    starts = [begin(consumer, place, since_ms) for place in places]
    left = {(place.topic, place.partition) for place in starts if place.offset < end_of(consumer, place)}
    consumer.assign([place for place in starts if (place.topic, place.partition) in left])
    while left:
        message = consumer.poll(PATIENCE_S)
        if message is None:
            raise KafkaException(KafkaError(KafkaError.REQUEST_TIMED_OUT, "no answer from the broker"))
        error, topic = message.error(), message.topic() or ""
        if error is None and message.timestamp()[1] < (since_ms or 0):
            continue
        if error is None:
            yield topics[topic], header(message, "failover.id"), decode(message.value() or b"", topics[topic])
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own codes have no other name
            left.discard((topic, message.partition() or 0))
        else:
            raise KafkaException(error)


def partitions(consumer: Consumer, topic: str) -> Sequence[int]:
    """Of a topic. Raises KafkaException where it does not exist."""
    found = consumer.list_topics(topic, PATIENCE_S).topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    return sorted(found.partitions)


def begin(consumer: Consumer, place: TopicPartition, since_ms: int | None) -> TopicPartition:
    """Where to read from: the first event at or after the time; from the first one where the broker cannot tell (as the demo's)."""
    if since_ms is not None:
        (found,) = consumer.offsets_for_times([TopicPartition(place.topic, place.partition, since_ms)], PATIENCE_S)
        if found.offset >= 0:
            return found
    return TopicPartition(place.topic, place.partition, consumer.get_watermark_offsets(place, PATIENCE_S)[0])


def end_of(consumer: Consumer, place: TopicPartition) -> int:
    """The offset behind the last event."""
    return int(consumer.get_watermark_offsets(place, PATIENCE_S)[1])


def header(message: Message, name: str) -> str:
    """A header's text."""
    values = [pair[1] for pair in message.headers() or () if pair[0] == name]
    return values[-1].decode() if values and isinstance(values[-1], bytes) else ""


def decode(value: bytes, kind: str) -> Event:
    """JSON as it is; Avro (with a registry or without) with the schemas of the connector's package."""
    if value.startswith(b"{"):
        body: Event = json.loads(value)
        return body
    from connector.adapters.encode import decode_event  # noqa: PLC0415 - not needed for JSON

    return decode_event(value, kind)


def seconds_between(start: str | None, end: str | None) -> float | None:
    """Of two times in ISO 8601; None where one of them is not known."""
    return None if start is None or end is None else (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def amount(text: str | Decimal | None) -> Decimal | None:
    """Money, as JSON or as Avro has it."""
    return None if text is None else Decimal(text)


def median(times: Iterable[float | None]) -> float | None:
    """Of those that are known."""
    known = [seconds for seconds in times if seconds is not None]
    return statistics.median(known) if known else None


# ------------------------------------------------------------------------------------------------------------- telling


def as_data(report: Report) -> dict[str, Any]:
    """The whole report."""

    def shares(found: Mapping[str, Share]) -> dict[str, Any]:
        return {
            name: {"tried": share.tried, "delivered": share.delivered, "rate": share.rate, "price": f"{share.price:f}"}
            for name, share in found.items()
        }

    kinds = sorted({flow.kind for flow in report.decided if flow.kind})
    return {
        "flows": len(report.decided),
        "decided_before": len(report.flows) - len(report.decided),
        "outcomes": report.outcomes(),
        "accepted": shares({"all": report.accepted(), **{kind: report.accepted(kind) for kind in kinds}}),
        "under_way": report.under_way,
        "channels": shares(report.channels()),
        "fallbacks": shares(report.fallbacks()),
        "median_seconds": {channel: report.median_s(channel) for channel in report.channels()},
        "median_seconds_to_acceptance": report.acceptance_s(),
        "median_seconds_to_delivery": {"all": report.delivery_s(), **{kind: report.delivery_s(kind) for kind in kinds}},
        "repeats_dropped": report.repeats,
    }


def as_text(report: Report) -> str:
    """The same for people."""
    outcomes = ", ".join(f"{count} {word}" for word, count in report.outcomes().items())
    lines = [f"{len(report.decided)} flows: {outcomes}", f"accepted and still under way: {report.under_way}"]
    if before := len(report.flows) - len(report.decided):
        lines.append(f"left out, as they were decided before: {before}")
    lines.append("")
    kinds = sorted({flow.kind for flow in report.decided if flow.kind})
    delivery = {"all": report.delivery_s(), **{kind: report.delivery_s(kind) for kind in kinds}}
    lines += table("accepted", {"all": report.accepted(), **{kind: report.accepted(kind) for kind in kinds}}, halves(delivery))
    lines += table("channel", report.channels(), halves({channel: report.median_s(channel) for channel in report.channels()}))
    lines += table("fallback", report.fallbacks())
    return "\n".join(lines) + f"{report.repeats} repeats were dropped\n"


def halves(medians: Mapping[str, float | None]) -> dict[str, str]:
    """The remark of each line whose median is known."""
    return {name: f"half within {seconds:.1f} s" for name, seconds in medians.items() if seconds is not None}


def table(title: str, shares: Mapping[str, Share], remarks: Mapping[str, str] | None = None) -> list[str]:
    """Lines of one table."""
    lines = [f"{title:<24}{'tried':>8}{'delivered':>11}{'rate':>9}{'price':>11}"]
    for name, share in shares.items():
        rate = "–" if share.rate is None else f"{share.rate:.1%}"
        lines.append(
            f"{name:<24}{share.tried:>8}{share.delivered:>11}{rate:>9}{share.price:>11.4f}   {(remarks or {}).get(name, '')}".rstrip()
        )
    return [*lines, ""]


def since(text: str) -> int:
    """Epoch milliseconds of so long ago: ``90s``, ``15m``, ``24h``, ``7d``."""
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError("write a number and one of s, m, h, d, as in 24h")
    return int((time.time() - int(found[1]) * SECONDS[found[2]]) * 1000)


def pair(text: str) -> tuple[str, str]:
    """``name=value``."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError("write NAME=VALUE, as in security.protocol=SSL")
    return name, value


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 where Kafka cannot be read."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument("--sends", default="failover.sends", metavar="TOPIC")
    parser.add_argument("--statuses", default="failover.statuses", metavar="TOPIC")
    parser.add_argument("--since", type=since, metavar="DURATION", help="only events of the last 90s, 15m, 24h, 7d; else all there are")
    parser.add_argument("--property", type=pair, action="append", default=[], metavar="NAME=VALUE", help="of librdkafka: TLS, SASL …")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    consumer = Consumer(
        {
            "log_level": 0,  # what is wrong is told once, at the end
            "group.id": "delivery-report",  # librdkafka wants one; nothing is joined or committed under it
            **dict(chosen.property),
            "bootstrap.servers": chosen.bootstrap_servers,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    report = Report()
    try:
        for kind, event_id, event in read(consumer, {chosen.sends: "send", chosen.statuses: "status"}, chosen.since):
            report.take(kind, event_id or event["id"], event)
    except KafkaException as error:
        print(f"Kafka cannot be read: {error.args[0].str()}", file=sys.stderr)
        return 1
    finally:
        consumer.close()
    print(json.dumps(as_data(report), indent=2, ensure_ascii=False) if chosen.json else as_text(report), end="\n" if chosen.json else "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
