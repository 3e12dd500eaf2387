"""Implementations of the ports: each file maps one foreign library, its exceptions included, to ours once."""
