"""Rules files: every problem is told, each with its line and what to do; the version is that of the content."""

from __future__ import annotations

from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.errors import ConfigError
from connector.rules_file import load_rules, rules_json_schema
from connector.rules_model import RuleDoc
from connector.rules_yaml import read_yaml
from tests.unit.rules_text import SENDER, TEMPLATE, document, load, one, problems, table

EXAMPLE = Path(__file__).parents[2] / "deploy" / "local" / "rules.yaml"
SMS = "- sms: {from: A, body: b}"
FREE = f"- viber: {{sender: {SENDER}, text: hi}}"
APPROVED = f"- viber: {{sender: {SENDER}, template: {TEMPLATE}, lang: en}}"
OTP = f"- viber_otp: {{sender: {SENDER}, template: {TEMPLATE}, pin: '1234', ttl: 60s}}"
CALL = "- voice: {from: A, say: [{text: hi, language: en-GB}]}"


def with_keys(step: str, keys: str) -> str:
    """The step with more keys at its end."""
    return step[: step.rindex("}")] + ", " + keys + "}"


def test_the_example_loads_without_a_warning() -> None:
    """The example rule set is right, uses all three sends, and its version does not change by chance."""
    found, warnings = load_rules(EXAMPLE, {})
    assert warnings == ()
    assert {rule.api for rule in found.rules} == {"otp", "transactional", "standard"}
    assert found.version == load_rules(EXAMPLE, {"HOME": "/"})[0].version


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        # shape
        ("- sms: {from: A, bdy: b}", "did you mean body?"),
        ("- sms: {from: A}", "body is missing"),
        ("- sms: {from: A, body: 5}", "body must be a text\n    hint: write it in quotes"),
        ("- sms: {body: b}", "from is missing"),
        ("- sms: {from: A, body: b, flash: yes}", "flash"),
        ("- sms: {from: A, body: b, ttl: 10}", "a duration needs a unit"),
        ("- sms: {from: A, body: b, ttl: 10 min}", "is not a duration"),
        ("- {}", "exactly one of"),
        ("- sms: {from: A, body: b}\n  voice: {from: A, play: [{url: https://e.x/a}]}", "exactly one of"),
        ("- email: {}", "unknown key email"),
        (with_keys(FREE, "params: {}"), "only a template step"),
        (with_keys(APPROVED, "label: x"), "a template step does not"),
        (with_keys(FREE, "fail_over_on: [expird]"), "did you mean expired?"),
        (with_keys(FREE, "fail_over_on: []"), "fail_over_on"),
        (with_keys(SMS, "fail_over_on: [expired]"), "'expired' is not known"),
        (with_keys(APPROVED, "params: {a: [1]}"), "must be a text, a number"),
        (with_keys(APPROVED, "params: {a: null}"), "must be a text, a number"),
        (with_keys(SMS, "url_shortener: {valid: 1d}"), "did you mean validity?"),
        ("- voice: {from: A, say: [{text: hi, language: en-XX}]}", "not known here"),
        ("- voice: {from: A, verbs: [{say: {text: hi, language: en-GB}, play: {url: https://e.x/a}}]}", "either say or play"),
        # limits of constant texts
        ("- sms: {from: ABCDEFGHIJKL, body: b}", "at most 11"),
        ('- sms: {from: "12345678901234567", body: b}', "at most 16"),
        ('- sms: {from: "+30210", body: b}', "without +"),
        ('- sms: {from: A, body: " "}', "empty"),
        (FREE.replace("hi", "x" * 1001), "at most 1000"),
        (f"- viber: {{sender: {SENDER}}}", "needs a text, an image, a file or a video"),
        (with_keys(FREE, "image: http://e.x/a.png"), "no whole https address"),
        (with_keys(FREE, f"image: https://e.x/{'a' * 1000}"), "at most 1000"),
        (with_keys(FREE, "button: {caption: Go}"), "url is missing"),
        (with_keys(FREE, f"button: {{caption: {'x' * 31}, url: https://e.x}}"), "at most 30"),
        (with_keys(FREE, f"file: {{name: {'x' * 26}, type: pdf, url: https://e.x/a}}"), "at most 25"),
        (with_keys(FREE, "file: {name: a, type: exe, url: https://e.x/a}"), "not known here"),
        (with_keys(FREE, "video: {url: https://e.x/a, thumbnail: https://e.x/b, size_mb: 201, duration: 5}"), "at most 200 MB"),
        (with_keys(FREE, "video: {url: https://e.x/a, thumbnail: https://e.x/b, size_mb: 0, duration: 5}"), "at most 200 MB"),
        (with_keys(FREE, "video: {url: https://e.x/a, thumbnail: https://e.x/b, size_mb: 5, duration: 11m}"), "at most 600 seconds"),
        (with_keys(FREE, "video: {url: https://e.x/a, thumbnail: https://e.x/b, size_mb: 5, duration: true}"), "must be seconds"),
        (APPROVED.replace(TEMPLATE, "7d2"), "this is no UUID"),
        (OTP.replace("1234", "123"), "at least 4"),
        (with_keys(OTP, "lang: xx"), "no language of OTP templates"),
        (with_keys(OTP, "template_type: with_reason"), "business_name is missing"),
        (with_keys(OTP, "template_type: basik"), "did you mean basic?"),
        (with_keys(OTP, "fail_over_on: [failed]"), "unknown key fail_over_on"),
        (OTP.replace(", ttl: 60s", ""), "ttl is missing"),
        (OTP + "\n- sms: {body: b, ttl: 60s, flash: true}", "flash is not possible here"),
        (OTP + "\n- sms: {body: b, ttl: 60s, fail_over_on: [failed]}", "fail_over_on is not possible here"),
        ("- voice: {from: A}", "something to say or play"),
        (with_keys(CALL, "verbs: [{play: {url: https://e.x/a}}]"), "verbs together with say"),
        (with_keys(CALL, "event_url: https://e.x/a"), "needs machine_detection: continue"),
        (with_keys(SMS, "url_shortener: {validity: 10m}"), "1h to 30d"),
        # units
        (with_keys(SMS, "ttl: 90s"), "write 1m or 2m"),
        (with_keys(SMS, "ttl: 30s"), "outside 1m to 24h"),
        (with_keys(SMS, "ttl: 25h"), "outside 1m to 24h"),
        (with_keys(FREE, "ttl: 20s"), "outside 30s to 24h"),
        (with_keys(FREE, "ttl: 40s"), "write 36s or 42s"),
        (OTP.replace("60s", "1500ms"), "write 1s or 2s"),
        # what the connector keeps for itself
        (with_keys(SMS, "extra: {ttl: 5}"), "extra cannot set ttl"),
        (with_keys(SMS, "extra: {to: x}"), "extra cannot set to"),
        (with_keys(SMS, "extra: {message: {label: x}}"), "extra cannot set message.label"),
        (with_keys(SMS, "extra: {message: x}"), "extra cannot replace message"),
        # texts
        (SMS.replace("body: b", 'body: "{{ dta.a }}"'), "did you mean data?"),
        (SMS.replace("body: b", 'body: "{{ data.a"'), "unexpected end"),
        (with_keys(APPROVED, 'params: {a: "{{ data.a | uper }}"}'), "unknown filter uper"),
        (SMS + '\n  if: "{{ data.a }}"', "written without braces"),
    ],
)
def test_a_wrong_step_is_told_with_its_line(steps: str, words: str) -> None:
    """Each mistake in a step is told on the line of the step, and the problem says what to do."""
    told = problems(document(steps))
    last = 5 + steps.count("\n")
    assert any(words in problem for problem in told), told
    assert len(told) <= 2  # a misspelt key that is needed is unknown, and missing
    assert all(5 <= int(problem.split(":")[1]) <= last for problem in told), told


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("name: two words", "name is here twice"),
        ("sned: otp", "did you mean send?"),
        ("send: OTP", "did you mean otp?"),
        ("class: promo", "not known here"),
        ("when: data.a >", "unexpected end"),
        ("default: true", "takes what no other rule matched"),
        ("expires_after: 0s", "longer than 0"),
        ("quiet_hours: {from: 25:00, to: 08:00}", "no time of day"),
        ("quiet_hours: {from: 08:00, to: 08:00}", "same time"),
        ("quiet_hours: {from: 21:00, to: 08:00, timezone: Mars/Base}", "no time zone"),
        ("limit: {count: 0, per: 1d}", "count"),
        ("quiet_hours: 22-8", "quiet_hours must be a mapping of keys and values\n    hint: its keys: from, to, timezone"),
        ('label: "{{ data.a }"', "label: template: unexpected `}`"),
        ("extra: {callback: {}}", "extra cannot set callback"),
        (f"label: {'x' * 305}", "at most 304"),
        ("callback: onstep", "did you mean on_step?"),
    ],
)
def test_a_wrong_rule_key_is_told(head: str, words: str) -> None:
    """Each mistake in a rule's own keys gives exactly one problem."""
    (problem,) = problems(document(SMS, head))
    assert words in problem
    assert problem.startswith("rules.yaml:4:")


def test_all_problems_at_once_with_their_lines() -> None:
    """Several mistakes are told together, each with the line of its own key."""
    found = problems(f"""\
        rules:
          - name: first
            match: {{type: a}}
            steps:
              - sms:
                  from: ABCDEFGHIJKL
                  body: |
                    fine
                    {{{{ dta.x }}}}
                  ttl: 90s
          - name: second
            match: {{typ: b}}
            when: data.a >
            steps:
              - viber: {{sender: x, template: {TEMPLATE}, lang: en}}
              - viber: {{sender: x, text: hi}}
          - name: first
            match: {{type: c}}
            steps: [{{sms: {{from: A, body: b}}}}]
    """)
    assert [int(problem.split(":")[1]) for problem in found] == [6, 9, 10, 12, 13, 16, 17]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "rules is missing"),
        ("rules: []", "rules"),
        ("rules: 5", "rules"),
        ("- a", "the file"),
        ("rules: [\n", "this is no YAML"),
        ("a: b: c", "this is no YAML"),
        ("rules: &a [*a]", "too large or too deep"),
        ("rulez: []", "did you mean"),
        ("rules:\n  - match: {type: t}\n    match: {type: u}\n", "rules.yaml:3: match is here twice"),
        ("rules: !!python/name:os.system ''", "tag"),
        ("rules: .nan", "not a number"),
        ("rules: 1.0e+999", "too large"),
        ("rules: 99999999999999999999", "too large"),
        ('rules: "\\ud800"', "half a character"),
        ("? [a]\n: b", "a key must be a text"),
        ("<<: 5\nrules: []", "takes a mapping"),
        ("a: &x [1,2]\n---\nb: 1", "this is no YAML"),
        ("rules:\n  - {name: a b, match: {type: t}, steps: [{sms: {from: A, body: b}}]}", "1 to 100 letters"),
        ("rules:\n  - {name: r, steps: [{sms: {from: A, body: b}}]}", "would take every event"),
        ("rules:\n  - {name: r, match: {}, steps: [{sms: {from: A, body: b}}]}", "would take every event"),
        ("rules:\n  - {name: r, match: {type: t}, steps: []}", "steps"),
        (
            "rules:\n" + "".join(f"  - {{name: r{n}, default: true, steps: [{{sms: {{from: A, body: b}}}}]}}\n" for n in range(2)),
            "rules.yaml:3: a default rule is at rules.yaml:2 already",
        ),
    ],
)
def test_a_wrong_file_is_told(text: str, words: str) -> None:
    """Files that are no YAML, no rules, or contradict themselves."""
    assert any(words in problem for problem in problems(text)), problems(text)


def test_billion_laughs_end_early() -> None:
    """Aliases that grow without bound are refused, not followed."""
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    (problem,) = problems("\n".join(lines))
    assert "too large" in problem


def test_plain_values_mean_what_they_say() -> None:
    """``no``, times, phones and leading zeros are texts, as in YAML 1.2; anchors and merges work."""
    text = "a: no\nb: 22:00\nc: +302101234567\nd: 007\ne: 2026-01-01\nf: true\ng: 1.5\nh: ~\ni: !!str 5\n"
    text += "j: &x {k: 1, l: 2}\nm: {<<: *x, l: 3}\n"
    source = read_yaml(text, "x.yaml")
    assert source.problems == []
    assert source.data == {
        "a": "no",
        "b": "22:00",
        "c": "+302101234567",
        "d": "007",
        "e": "2026-01-01",
        "f": True,
        "g": 1.5,
        "h": None,
        "i": "5",
        "j": {"k": 1, "l": 2},
        "m": {"k": 1, "l": 3},
    }


def test_a_directory_is_read_in_order(tmp_path: Path) -> None:
    """``*.yaml`` and ``*.yml`` in sorted order; hidden files are passed over; problems name the file; an empty one is refused."""
    folder = tmp_path / "rules"
    folder.mkdir()
    with pytest.raises(ConfigError, match="holds no rules"):
        load_rules(folder, {})
    for name in ("b.yaml", "a.yml"):
        (folder / name).write_text(document(SMS).replace("name: r", f"name: {name}").replace("{type: t}", f"{{type: {name}}}"))
    (folder / ".hidden.yaml").write_text("nonsense: [")
    (folder / "notes.txt").write_text("nonsense: [")
    assert [rule.name for rule in load_rules(folder, {})[0].rules] == ["a.yml", "b.yaml"]
    (folder / "c.yaml").write_text(document(SMS).replace("name: r", "name: b.yaml"))
    with pytest.raises(ConfigError, match=r"rules/c.yaml:2: a rule named b.yaml is at rules/b.yaml:2 already"):
        load_rules(folder, {})


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file and one that is no UTF-8 are problems, not tracebacks."""
    with pytest.raises(ConfigError, match=r"cannot be read: .*\n    hint: the setting `rules` in connector.yaml"):
        load_rules(tmp_path / "none.yaml", {})
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe4")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_rules(tmp_path / "latin.yaml", {})


def test_env_is_only_what_begins_with_rule() -> None:
    """Secrets of the process are no part of ``env``; what is, changes the version when it changes."""
    text = document('- sms: {from: "{{ env.RULE_BRAND }}", body: b}')
    assert "env.RULE_BRAND is not set" in problems(text)[0]
    assert "env.CONNECTOR_KEY is not set" in problems(text.replace("RULE_BRAND", "CONNECTOR_KEY"), {"CONNECTOR_KEY": "s"})[0]
    assert "at most 11" in problems(text, {"RULE_BRAND": "x" * 12})[0]
    versions = {table(text, {"RULE_BRAND": brand}).version for brand in ("ACME", "EMCA")}
    assert len(versions) == 2


def test_the_version_is_that_of_the_content() -> None:
    """Comments, layout and the order of keys do not change it; any word of a rule does."""
    text = document(SMS)
    assert table(text).version == table("# hello\n" + text.replace("{from: A, body: b}", "{body: b,   from: A}")).version
    assert table(text).version != table(text.replace("body: b", "body: c")).version


def test_a_rule_that_is_never_reached_is_a_warning() -> None:
    """The same match again, behind a rule that takes everything of it."""
    again = document(SMS, "class: marketing") + document(SMS, "class: marketing").removeprefix("rules:\n").replace("name: r", "name: s")
    _, warnings = load(again)
    assert ["never reached" in str(warning) for warning in warnings] == [True]
    assert load(again.replace("class: marketing", "class: marketing\n    continue: true", 1))[1] == ()


def test_the_json_schema_accepts_the_example_and_refuses_slips() -> None:
    """The schema for editors is a valid 2020-12 schema that agrees with the loader on the example and on an unknown key."""
    schema = rules_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(yaml.safe_load(EXAMPLE.read_text()))
    assert not validator.is_valid(yaml.safe_load(document(SMS).replace("body", "bdy")))
    assert {"class", "continue", "match"} <= {field.alias or name for name, field in RuleDoc.model_fields.items()}


@settings(deadline=None)
@given(st.text(max_size=200) | st.text(alphabet="rules:-[]{}&*!|>\"'\n \tab01.~<", max_size=80))
def test_any_text_gives_rules_or_problems(text: str) -> None:
    """No file makes the loader raise anything but ConfigError."""
    source = read_yaml(text, "x.yaml")
    assert all(problem.where.startswith("x.yaml:") for problem in source.problems)


RULE_PARTS = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["t", "{{ data.a }}", "{{", "90s", "otp", "+306912345678", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "match",
                    "when",
                    "send",
                    "class",
                    "steps",
                    "sms",
                    "viber",
                    "voice",
                    "viber_otp",
                    "if",
                    "body",
                    "from",
                    "text",
                    "sender",
                    "template",
                    "pin",
                    "ttl",
                    "extra",
                    "say",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(RULE_PARTS, RULE_PARTS)
def test_any_shape_gives_rules_or_problems(rule: object, steps: object) -> None:
    """No shape of data makes the loader raise anything but ConfigError."""
    whole = {"name": "r", "match": {"type": "t"}, "steps": steps}
    for value in (
        rule,
        whole,
        {**whole, "steps": [{"sms": steps}]},
        {**whole, "match": rule, "steps": [{"sms": {"from": "A", "body": "b"}}]},
    ):
        try:
            load(yaml.safe_dump({"rules": [value]}))
        except ConfigError as error:
            told = error.problems
        else:
            told = ()
        assert all(str(problem) for problem in told)


def test_numbers_in_quotes_are_asked_for() -> None:
    """A sender written as a number would lose its leading zeros, so quotes are asked for."""
    assert "quotes" in problems(document("- sms: {from: 54321, body: b}"))[0]
    assert one('- sms: {from: "54321", body: b}').steps[0].tree["from"] == "54321"
