"""The pure core: values in, values out. No I/O, no clock, no randomness, no logging.

Time comes in as an argument (``now_ms``: epoch milliseconds), chance as a number in [0, 1).
"""
