"""Deterministic simulation: the real services in processes that are killed and frozen, on a Kafka and a Routee made of one seed."""
