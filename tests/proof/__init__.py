"""The promise as laws over facts: ``facts`` is what is known in the end, ``checker`` judges it; pure, so that tests can break it."""
