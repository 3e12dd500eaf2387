"""The lost reply, row by row: what was answered to the POST × what a search says × the class. The expected columns are written by hand.

The lane, the adapter, its paging and its parsers are the real code (``lost_replies``). T = 10 s, V = 20 s; a transactional flow waits
120 s instead of V; a failing search is given up after 150 s here.
"""

from __future__ import annotations

import pytest

from connector.services.parts import Policy
from connector.services.throttle import Breaker
from tests.service.lost_replies import ID, Reply, Search, answer, at_desk, event, fate, json_answer, lose, phone_of_record
from tests.service.world import Process, World

PATIENCE = Policy(give_up_s=150)


def otp_failed(code: int) -> Reply:
    """OTP's 200 that is none (contract §4.5)."""
    return Reply(json_answer({"flowId": None, "status": "Failed", "statusCode": code}))


KINDS = ("login", "code", "order", "notice", "call", "sale", "ring")

# ------------------------------------------------------------------------------------------------- 1. the reply was lost

DOUBTS: dict[str, Reply] = {
    "no answer": Reply(ending="silent"),
    "closed after read": Reply(ending="closed"),
    "reset after read": Reply(ending="reset"),
    "half a status line": Reply(b"HTTP/1.1 20", "closed"),
    "half a body": Reply(json_answer({"trackingId": ID, "flowId": ID})[:-2], "closed"),
    "half a body, then silence": Reply(json_answer({"trackingId": ID, "flowId": ID})[:-2], "silent"),
    "half a chunk": Reply(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"tr', "closed"),
    "no HTTP": Reply(b"SSH-2.0-OpenSSH\r\n"),
    "101": Reply(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    "200 empty": Reply(answer(200)),
    "200 cut JSON": Reply(answer(200, b'{"trackingId": "0000')),
    "200 no id": Reply(json_answer({"status": "Queued"})),
    "200 null id": Reply(json_answer({"trackingId": None, "flowId": None})),
    "Failed, code 9": Reply(json_answer({"flowId": None, "status": "Failed", "statusCode": 9})),
    "Failed, code 0, with id": Reply(json_answer({"flowId": ID, "status": "Failed", "statusCode": 0})),
    "204": Reply(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "307": Reply(answer(307, b"", "Location: http://elsewhere/\r\n")),
    "408": Reply(answer(408, b"{}")),
    "418": Reply(answer(418, b"{}")),
    "500": Reply(json_answer({"code": "500000000"}, 500)),
    "502": Reply(answer(502, b"<html>Bad gateway</html>")),
    "503": Reply(answer(503, b"", "Retry-After: 1\r\n")),
}

SEARCHES: dict[str, Search] = {
    "found at once": Search(),
    "found after 3 s": Search(shows_after_s=3),
    "found on page 3": Search(others=2, page_size=1),
    "never found": Search(shows_after_s=None),
    "not on 3 pages": Search(shows_after_s=None, others=3, page_size=1),
    "429": Search(trouble=lambda _page, _age_s: answer(429, b"{}")),
    "500": Search(trouble=lambda _page, _age_s: answer(500)),
    "403": Search(trouble=lambda _page, _age_s: answer(403, b"{}")),
    "cut JSON": Search(trouble=lambda _page, _age_s: answer(200, b'{"content": [], "resul')),
    "page 3 is 429": Search(others=2, page_size=1, trouble=lambda page, _age_s: answer(429) if page == 2 else None),
    "page 3 is 500": Search(None, others=3, page_size=1, trouble=lambda page, _age_s: answer(500) if page == 2 else None),
    "429 for 60 s": Search(trouble=lambda _page, age_s: answer(429) if age_s < 60 else None),
    "a stranger": Search(shows_after_s=None, strangers=1),
    "two strangers": Search(shows_after_s=None, strangers=2),
    "found by a stranger": Search(strangers=1),
}

FATES = {
    "found": "1 post; ACCEPTED #1",
    "30 s": "2 posts, 30 s apart; ACCEPTED #2 resent_after_doubt",
    "130 s": "2 posts, 130 s apart; ACCEPTED #2 resent_after_doubt",
    "absent": "1 post; UNKNOWN not_found",
    "failed": "1 post; UNKNOWN search_failed",
    "several": "1 post; UNKNOWN ambiguous",
    "theirs": "1 post; ACCEPTED stranger-0",
}

# 30 s, 130 s: sent again so long after the first POST, flagged. found: no second POST, accepted under the first one's id. absent, failed,
# several: UNKNOWN, never sent again. theirs: an unexplained flow counts as ours. A search that proves nothing never leads to a POST.
#
#   class              otp      otp      transact.  transact.  transact.  marketing  marketing
#   first step         sms      otp api  sms        template   voice      sms        voice
#   label shows        yes      no       yes        no         no         yes        no
EXPECTED = """
    search               login    code     order      notice     call       sale       ring
    found at once        found    found    found      found      found      found      found
    found after 3 s      found    found    found      found      found      found      found
    found on page 3      found    found    found      found      found      found      found
    never found          30 s     30 s     130 s      130 s      130 s      absent     absent
    not on 3 pages       30 s     30 s     130 s      130 s      130 s      absent     absent
    429                  failed   failed   failed     failed     failed     failed     failed
    500                  failed   failed   failed     failed     failed     failed     failed
    403                  failed   failed   failed     failed     failed     failed     failed
    cut JSON             failed   failed   failed     failed     failed     failed     failed
    page 3 is 429        failed   failed   failed     failed     failed     failed     failed
    page 3 is 500        failed   failed   failed     failed     failed     failed     failed
    429 for 60 s         found    found    found      found      found      found      found
    a stranger           30 s     theirs   130 s      theirs     theirs     absent     theirs
    two strangers        30 s     several  130 s      several    several    absent     several
    found by a stranger  found    several  found      several    several    found      several
"""


def rows(table: str) -> dict[str, dict[str, str]]:
    """A table as text: row name → column name → cell. Cells are two spaces apart."""
    head, *lines = ([cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.strip().splitlines())
    return {name: dict(zip(head[1:], cells, strict=True)) for name, *cells in lines}


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_lost_reply_ends_as_the_table_says(world: World, kind: str, search: str) -> None:
    """Whatever was lost of the reply, the class and the search decide alone what follows."""
    desk = at_desk(world, SEARCHES[search])
    process = await Process(world, PATIENCE).start()
    records = {}
    for number, (name, reply) in enumerate(DOUBTS.items()):
        records[name] = event(world, kind, number)
        desk.replies[phone_of_record(records[name])] = [reply]
        await process.put(records[name])
    await world.clock.advance(190)
    expected = FATES[rows(EXPECTED)[search][kind]]
    assert {name: fate(world, desk, record, kind) for name, record in records.items()} == dict.fromkeys(DOUBTS, expected)
    await process.kill()


# ------------------------------------------------------------------------------------------------ 2. the reply was heard

ONCE = "1 post; ACCEPTED #1"
AGAIN = "2 posts, 0 s apart; ACCEPTED #2"
AFTER_PROBE = "2 posts, 10 s apart; ACCEPTED #2"
HEARD: dict[str, tuple[tuple[Reply, ...], str]] = {
    "200": ((), ONCE),
    "201": ((Reply(json_answer({"trackingId": ID, "flowId": ID}, 201)),), ONCE),
    "200 in an array": ((Reply(json_answer([{"trackingId": ID, "flowId": ID}])),), ONCE),
    # no byte written: the same attempt again
    "dns": ((Reply(unsent="dns"),), ONCE),
    "refused": ((Reply(unsent="refused"),) * 2, ONCE),
    "tls": ((Reply(unsent="tls"),), ONCE),
    "no connection": ((Reply(unsent="pool_timeout"),), ONCE),
    "lease over": ((Reply(unsent="lease_over"),), ONCE),
    # refused: the next attempt, unflagged; the second 401 or 403, and an empty account, only once a probe says so
    "401": ((Reply(answer(401)),), "2 posts, 2 s apart; ACCEPTED #2"),
    "403": ((Reply(answer(403)),), "2 posts, 2 s apart; ACCEPTED #2"),
    "401, 403": ((Reply(answer(401)), Reply(answer(403))), "3 posts, 2+8 s apart; ACCEPTED #3"),
    "429": ((Reply(answer(429)),), AGAIN),
    "429 for 4 s": ((Reply(answer(429, b"", "Retry-After: 4\r\n")),), "2 posts, 4 s apart; ACCEPTED #2"),
    "429 for 15 s": ((Reply(answer(429, b"", "Retry-After: 15\r\n")),), "2 posts, 15 s apart; ACCEPTED #2"),
    "425": ((Reply(answer(425)),), AGAIN),
    "no money": ((Reply(json_answer({"code": "400001009"}, 400)),), AFTER_PROBE),
    # the provider's no
    "400": ((Reply(json_answer({"code": "400005000"}, 400)),), "1 post; REJECTED 400005000"),
    "404": ((Reply(answer(404)),), "1 post; REJECTED HTTP_404"),
    "409": ((Reply(answer(409)),), "1 post; REJECTED HTTP_409"),
    "413": ((Reply(answer(413)),), "1 post; REJECTED HTTP_413"),
    "422": ((Reply(json_answer({"detail": []}, 422)),), "1 post; REJECTED HTTP_422"),
}
HEARD_OF_OTP: dict[str, tuple[tuple[Reply, ...], str]] = {
    "Failed 0": ((otp_failed(0),), AGAIN),
    "Failed 0, 3 times": ((otp_failed(0),) * 3, "3 posts, 0+0 s apart; REJECTED STATUS_CODE_0"),
    "Failed 1": ((otp_failed(1),), AFTER_PROBE),
    "Failed 2": ((otp_failed(2),), "1 post; REJECTED STATUS_CODE_2"),
    "Failed 3": ((otp_failed(3),), "1 post; REJECTED STATUS_CODE_3"),
}


@pytest.mark.parametrize(
    ("kind", "name"), [*((kind, name) for name in HEARD for kind in KINDS), *(("code", name) for name in HEARD_OF_OTP)]
)
async def test_what_was_heard_needs_no_search(world: World, kind: str, name: str) -> None:
    """An answer that says what became of the request is believed, whatever a search would say: nothing is searched, nothing flagged."""
    replies, expected = (HEARD | HEARD_OF_OTP)[name]
    desk = at_desk(world)
    process = await Process(world).start()
    record = await lose(process, desk, kind, *replies)
    await world.clock.advance(9.9)
    for breaker in Breaker:
        process.throttle.close(breaker)
    await world.clock.advance(10)
    assert fate(world, desk, record, kind) == expected
    assert not desk.searches
    await process.kill()
