"""The few values that know something of themselves."""

from __future__ import annotations

from connector.core.model import MessageClass, Record


def test_a_code_goes_before_an_order_and_an_order_before_a_sale() -> None:
    """Lower priority goes first."""
    assert sorted(MessageClass, key=lambda kind: kind.priority) == ["otp", "transactional", "marketing"]


def test_a_records_coordinates_name_it() -> None:
    """Topic, partition, offset."""
    assert Record("in", 3, 7, 0, None, None).coordinates == "in/3/7"


def test_a_record_is_as_large_as_what_it_holds() -> None:
    """Key, value and headers count; a tombstone is not free."""
    empty = Record("in", 0, 0, 0, None, None).size
    assert empty > 0
    assert Record("in", 0, 0, 0, b"12", b"345", (("6", b"78"), ("9", None))).size == empty + 9


def test_the_last_header_of_a_name_counts() -> None:
    """As Kafka's convention says; a name that is not there is None."""
    record = Record("in", 0, 0, 0, None, b"", (("a", b"1"), ("b", b"2"), ("a", b"3")))
    assert (record.header("a"), record.header("c")) == (b"3", None)
