"""Routee in the box: tokens, the three Failover sends, tracking and callbacks, with faults, for the demo, our tests and the users' own.

It follows the provider's contract alone and shares no code with the connector, so that it can be its oracle: it refuses what the
contract refuses, and notes what is odd. What the contract leaves open is a switch (switches.py); what becomes of a flow is chosen by its
recipient (scenarios.py); what goes wrong, by scenario or by rate (faults.py).

| Module | What it holds |
| --- | --- |
| server, control | the HTTP server and its routes; the panel under /_simulator/ |
| wire | HTTP/1.1 and the faults on the wire |
| checks, rules, voice, otp_rules, requests | what the contract refuses |
| sends, accept, answers | judging and answering a send |
| walk, plan | the life of a flow in provider time |
| tracking, search, documents | what is shown of a flow |
| callbacks, posting | calling back |
| ledger, flows, provider, tokens | state |
"""

from connector.simulator.faults import FAULTS, Faults
from connector.simulator.ledger import Entry, Ledger
from connector.simulator.options import SimulatorOptions
from connector.simulator.scenarios import SCENARIOS, recipient_for
from connector.simulator.server import Simulator
from connector.simulator.switches import SWITCHES

__all__ = ["FAULTS", "SCENARIOS", "SWITCHES", "Entry", "Faults", "Ledger", "Simulator", "SimulatorOptions", "recipient_for"]
