"""What holds for every gate: those of Headrace, and one that a project makes of a function."""

from dataclasses import fields, replace
from types import SimpleNamespace

import pandas as pd
import pytest
from tests.deployment.conftest import MODEL

import headrace as hr
from headrace.core.errors import DataError, DeclarationError
from headrace.deployment.comparison import ComparedRows
from headrace.deployment.findings import GateFinding, together
from headrace.deployment.gates.base import Gate
from headrace.deployment.gates.evidence import Evidence, HeldOutRows, kept

PNG = b"\x89PNG\r\n\x1a\n rest"


def fair(evidence):
    gap = evidence.metrics["roc_auc"] - 0.5
    return hr.passed(f"the gap is {gap:.1f}", evidence={"gap": gap})


GATES = {
    "signature": (hr.signature, "check"),
    "documented": (hr.documented, "check"),
    "forbid_inputs": (lambda: hr.forbid_inputs("age"), "check"),
    "at_least": (lambda: hr.at_least("roc_auc", 0.6), "check"),
    "not_worse": (lambda: hr.not_worse("roc_auc", margin=0.1), "compare"),
    "approval": (lambda: hr.approval("governance"), "approve"),
    "fair": (lambda: hr.gate(fair), "check"),
}


@pytest.fixture
def evidence():
    labels = pd.Series([0, 1] * 300)
    outputs = pd.DataFrame({"probability": [0.2, 0.8] * 300})
    rows = pd.DataFrame({"id": range(600), "amount": [1.0] * 600})
    plan = SimpleNamespace(spine_columns=("amount",), lookups=(), calls=(), inputs=(SimpleNamespace(name="amount"),))
    return Evidence(
        model=MODEL,
        version=SimpleNamespace(version=2, metrics={"roc_auc": 0.7}),
        plan=plan,
        descriptions={"shop.orders": "orders"},
        staged=SimpleNamespace(plan_inputs=("amount",), signature_inputs=("amount",), samples=5, mismatches=0),
        compared=ComparedRows(
            rows=rows, labels=labels, champion=outputs.copy(), challenger=outputs.copy(), since=None, until=None
        ),
        signed=("governance",),
        load_held_out=lambda: HeldOutRows(rows=rows, labels=labels, outputs=outputs),
    )


@pytest.mark.parametrize("name", GATES)
def test_a_gate_has_a_name_a_phase_and_a_text_that_is_the_same_each_time(name):
    make, phase = GATES[name]
    gate = make()

    assert isinstance(gate, Gate)
    assert (gate.name, gate.phase) == (name, phase)
    assert repr(gate) == repr(make())
    assert " at 0x" not in repr(gate)
    for each in fields(gate):  # what it asks for is in the policy that approvals are bound to
        assert each.repr or f"{each.name}" == "function", each.name


@pytest.mark.parametrize("name", GATES)
def test_the_same_evidence_gives_the_same_finding_and_is_not_changed(name, evidence):
    gate = GATES[name][0]()
    before = evidence.comparison.labels.copy()
    found = gate.evaluate(evidence)

    assert isinstance(found, GateFinding)
    assert found.gate == name
    assert found.reason
    assert found == gate.evaluate(evidence)
    assert found == GateFinding(**found.to_json())
    pd.testing.assert_series_equal(evidence.comparison.labels, before)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("signature", {"staged": None}),
        ("at_least", {"version": SimpleNamespace(version=2, metrics={})}),
        ("approval", {"signed": ()}),
    ],
)
def test_what_cannot_be_judged_is_no_pass(name, change, evidence):
    assert GATES[name][0]().evaluate(replace(evidence, **change)).result == "no decision"


def raises(evidence):
    raise ValueError("no\nsuch thing")


def leaves(evidence):
    raise SystemExit(0)


def nothing(evidence):
    return None


def yes(evidence):
    return True


def silent(evidence):
    return hr.passed(" ")


def nan(evidence):
    return hr.passed("good", evidence={"gap": float("nan")})


def no_picture(evidence):
    return hr.passed("good", evidence={"plot": b"GIF89a"})


def thing(evidence):
    return hr.passed("good", evidence={"thing": object()})


def no_names(evidence):
    return hr.passed("good", evidence=[1])


def compares(evidence):
    return hr.passed(str(len(evidence.comparison.labels)))


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (raises, "raised ValueError: no"),
        (leaves, "raised SystemExit"),
        (nothing, "returned None"),
        (yes, "returned True"),
        (silent, "no reason"),
        (nan, "'gap' is nan"),
        (no_picture, "no PNG"),
        (thing, "of type object"),
        (no_names, "not a dictionary"),
    ],
)
def test_a_function_that_gives_no_answer_is_a_failed_gate_that_names_it(function, says, evidence):
    found = hr.gate(function).evaluate(evidence)

    assert found.result == "failed"
    assert says in found.reason
    assert function.__name__ in found.reason
    assert "Traceback" not in found.reason
    assert "\n" not in found.reason


def test_a_gate_of_the_phase_check_has_no_comparison(evidence):
    found = hr.gate(compares).evaluate(replace(evidence, compared=None))

    assert found.result == "failed"
    assert "phase 'compare'" in found.reason


def spoils(evidence):
    evidence.comparison.labels[:] = 0
    evidence.held_out.labels[:] = 0
    return hr.passed("done")


def test_a_function_that_changes_rows_changes_them_for_nobody_else(evidence):
    assert hr.gate(spoils, phase="compare").evaluate(evidence).result == "passed"
    assert evidence.comparison.labels.sum() == 300
    assert evidence.held_out.labels.sum() == 300


def with_limit(limit):
    def below(evidence):
        return hr.passed("good") if limit else hr.failed("bad")

    return hr.gate(below)


def test_the_text_of_a_gate_says_what_the_function_refers_to():
    assert repr(with_limit(1)) == repr(with_limit(1))
    assert repr(with_limit(1)) != repr(with_limit(2))
    assert "test_contract:fair" in repr(hr.gate(fair))


@pytest.mark.parametrize("bad", [len, "fair", None, hr.Retrain])
def test_what_is_no_function_is_refused(bad):
    with pytest.raises(DeclarationError, match="no function"):
        hr.gate(bad)


def test_an_unknown_phase_is_refused():
    with pytest.raises(DeclarationError, match="phase="):
        hr.gate(fair, phase="later")


def test_evidence_is_kept_within_bounds_and_says_what_is_cut():
    frame = pd.DataFrame({"text": ["x" * 1000] * 60, "value": [1.5, None] * 30})
    shown = kept({"large": frame, "big": PNG + b"x" * 300_000, "plot": PNG, "share": 0.5, "rows": 3})

    assert shown["numbers"] == {"share": 0.5, "rows": 3}
    assert len(shown["tables"]["large"]["rows"]) == 50
    assert shown["tables"]["large"]["rows"][1] == ["x" * 200, None]
    assert list(shown["pictures"]) == ["plot"]
    assert shown["cut"] == ["10 of 60 rows of large", "picture big, 300,013 bytes"]


@pytest.mark.parametrize(
    ("results", "worst"),
    [
        ([], "passed"),
        (["passed", "needs review"], "needs review"),
        (["needs review", "no decision"], "no decision"),
        (["no decision", "failed"], "failed"),
    ],
)
def test_together_the_worst_counts(results, worst):
    findings = [GateFinding(gate="g", result=each, value=None, limit=None, reason="r") for each in results]
    assert together(findings) == worst


@pytest.mark.parametrize(("phase", "roles", "says"), [("compares", (), "'compares'"), ("approve", (), "names no role")])
def test_a_gate_that_nobody_would_ask_is_refused(phase, roles, says):
    class Odd(Gate):
        name, phase, roles = "odd", None, ()

        def evaluate(self, evidence):
            raise AssertionError

    Odd.phase, Odd.roles = phase, roles
    with pytest.raises(DeclarationError, match=says):
        hr.Deployment(MODEL, score=hr.Score(into="gold.x"), gates=[Odd()])


def test_a_finding_without_a_result_that_is_known_is_no_pass():
    with pytest.raises(DataError, match="'fail', which is no result"):
        GateFinding(gate="odd", result="fail", value=0, limit=0, reason="typed wrongly")
