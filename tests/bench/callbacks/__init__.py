"""The ingress under load, forgery, slowness and kills: real Kafka, receivers as processes, a client of raw sockets.

``python -m tests.bench.callbacks`` (``make bench-callbacks``): all parts one after the other; ``--only plain --only storm``: some.

======== ================================================================================================
plain    as fast as one receiver takes them: callbacks per second of its processor time
storm    a steady rate while receivers are killed and the broker bounces: is every 200 in Kafka?
forged   forged calls of every kind from many sources, a trickle of true ones among them
slow     a worker that sends, with and without a thousand slow sockets on its public port
calls    the calls, true and forged: a function of their number
client   kept connections, one call each at a time; when a callback is called again, and where
fleet    receivers as child processes, and what they tell of themselves
verdict  from what was answered and what Kafka has to what is wrong: pure
======== ================================================================================================

No speed is asserted, since machines differ; what is lost, forged or answered wrongly is: exit code 1.
"""
