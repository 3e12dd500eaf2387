"""The demo: the whole connector on one machine, killed in the middle of its work, and every event accounted for.

``show.run`` is the way through it. Kafka (librdkafka's mock cluster, or a real broker) and Routee (the simulator) are hosted by the
demo's own process, so they outlive the connector, which is a child process like any user's: ``python -m connector run``.

| Module | What it holds |
| --- | --- |
| stories, traffic | what happens to people, and the events that tell it: three classes, three encodings, good ones and bad ones |
| place | Kafka, Routee, settings and rules of one run |
| child | the connector's process: start, kill -9, stop; what it says of itself |
| watch, seen | reading the output topics as any consumer would; what was seen there |
| verdict | the checked summary: pure, every check can fail |
| tally, screen | the live table and the summary on a terminal; plain lines without one |
| show | one run, from the first record to the exit code |
"""
