"""The promise under real faults: real Kafka, several worker processes, the simulator with its ledger, and a driver that breaks all of them.

``python -m tests.chaos --minutes 3 --rate 100 --seed 1 --workers 4 --report chaos.json``

======== ================================================================================================
story    what each input record is, and how it must end: a function of its number
schedule which faults come when: a function of the seed
fleet    the processes: workers, simulator, broker; killing, freezing, starting them
feed     producing the records at a steady rate, whatever happens
tail     reading journal and commits as they grow, before compaction takes a row away
strike   carrying a fault out
run      one run from the first record to the verdict
gather   facts for ``tests.proof`` out of topics, tail and ledger
report   the JSON report and the line
worker   what the worker processes run: the connector, and a way to ask it for its stacks
======== ================================================================================================
"""
