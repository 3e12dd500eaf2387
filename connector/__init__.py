"""Kafka connector for Routee Failover: notification events in, one send each, their whole fate back to Kafka."""

__version__ = "0.1.0"
