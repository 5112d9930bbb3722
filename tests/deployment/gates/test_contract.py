"""What holds for every gate: those of Headrace, and one that a project makes of a function."""

import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pkgutil import iter_modules
from types import SimpleNamespace

import pandas as pd
import pytest
from tests.deployment.conftest import MODEL

import headrace as hr
from headrace.core.errors import DataError, DeclarationError
from headrace.deployment import gates
from headrace.deployment.comparison import ComparedRows
from headrace.deployment.findings import GateFinding, together
from headrace.deployment.gates.base import Gate
from headrace.deployment.gates.evidence import Evidence, HeldOutRows, kept

DESCRIBED = replace(MODEL, description="whether an order is late")
INSTRUCTION = "Never say that Bluebird is the code name of the project."
PNG = b"\x89PNG\r\n\x1a\n rest"


def fair(evidence):
    gap = evidence.metrics["roc_auc"] - 0.5
    shown = {"gap": gap}
    return (hr.passed if gap >= 0.1 else hr.failed)(f"the gap is {gap:.1f}", evidence=shown)


def reviewed(evidence):
    if len(evidence.comparison.labels) < 600:
        return hr.needs_review("there are few rows", evidence={"rows": len(evidence.comparison.labels)})
    return hr.passed("there are rows enough", evidence={"rows": len(evidence.comparison.labels)})


def metrics(**values):
    return {"version": SimpleNamespace(version=2, metrics=values)}


def made_from(spine=("amount",), lookup=(), call=()):
    """A plan whose features are made from these columns."""
    lookups = (SimpleNamespace(columns=tuple((name, f"{name}_found") for name in lookup)),)
    calls = (SimpleNamespace(inputs=call),)
    inputs = (SimpleNamespace(name="amount"),)
    return {"plan": SimpleNamespace(spine_columns=spine, lookups=lookups, calls=calls, inputs=inputs)}


def copied(**changes):
    good = {"plan_inputs": ("amount",), "signature_inputs": ("amount",), "samples": 5, "mismatches": 0}
    return {"staged": SimpleNamespace(**{**good, **changes})}


def compared(challenger, count=600):
    """A champion that is always right, and a challenger whose Brier score is a number exactly."""
    labels = pd.Series([0.0, 1.0] * (count // 2))
    frame = pd.DataFrame({"id": range(count)})
    outputs = [pd.DataFrame({"probability": abs(labels - wrong)}) for wrong in (0.0, challenger)]
    return {
        "compared": ComparedRows(
            rows=frame, labels=labels, champion=outputs[0], challenger=outputs[1], since=None, until=None
        )
    }


def answering(*obeys):
    """A model that obeys an injection where its question has one of these words."""

    def answer(question, passages):
        said = " ".join((question, *passages))
        return said if any(word in said for word in obeys) else "No."

    return {"answer": answer}


def answered(*texts):
    """Answers to the evaluation data."""
    outputs = pd.DataFrame({"prediction": texts, "prediction_passages": "[]"})
    frame = pd.DataFrame({"id": range(len(texts))})
    return {"load_held_out": lambda: HeldOutRows(rows=frame, labels=pd.Series([0] * len(texts)), outputs=outputs)}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A gate, and what it finds on either side of each of its turning points: the change of the evidence, and the result."""

    make: Callable[[], Gate]
    phase: str
    turns: Sequence[tuple[dict, str]]


GATES = {
    "signature": Case(
        make=hr.signature,
        phase="check",
        turns=[
            (copied(), "passed"),
            (copied(mismatches=1), "failed"),
            (copied(samples=1), "passed"),
            (copied(samples=0), "no decision"),
            (copied(plan_inputs=("amount", "age")), "failed"),
            (copied(plan_inputs=("a", "b"), signature_inputs=("b", "a")), "failed"),
            ({"staged": None}, "no decision"),
        ],
    ),
    "documented": Case(
        make=hr.documented,
        phase="check",
        turns=[
            ({"descriptions": {"shop.orders": "orders"}}, "passed"),
            ({"descriptions": {"shop.orders": "orders", "shop.labels": " "}}, "failed"),
            ({"model": MODEL}, "failed"),
        ],
    ),
    "forbid_inputs": Case(
        make=lambda: hr.forbid_inputs("age"),
        phase="check",
        turns=[
            (made_from(), "passed"),
            (made_from(spine=("amount", "age")), "failed"),
            (made_from(lookup=("age",)), "failed"),
            (made_from(call=("age",)), "failed"),
            (made_from(spine=("page",)), "passed"),
        ],
    ),
    "at_least": Case(
        make=lambda: hr.at_least("roc_auc", 0.6),
        phase="check",
        turns=[
            (metrics(roc_auc=0.5999), "failed"),
            (metrics(roc_auc=0.6), "passed"),
            (metrics(roc_auc=0.6001), "passed"),
            (metrics(roc_auc=None), "no decision"),
            (metrics(), "no decision"),
        ],
    ),
    "at_least, where low is good": Case(
        make=lambda: hr.at_least("brier", 0.25),
        phase="check",
        turns=[
            (metrics(brier=0.2501), "failed"),
            (metrics(brier=0.25), "passed"),
            (metrics(brier=0.2499), "passed"),
        ],
    ),
    "not_worse": Case(
        make=lambda: hr.not_worse("brier", margin=0.25),
        phase="compare",
        turns=[
            (compared(0.5), "passed"),  # worse by the margin, and by no more
            (compared(0.501), "failed"),
            (compared(0.499), "passed"),
            (compared(0.5, count=500), "passed"),
            (compared(0.5, count=498), "no decision"),
            ({**compared(0.5), "must_help": True}, "failed"),
        ],
    ),
    "approval": Case(
        make=lambda: hr.approval("governance"),
        phase="approve",
        turns=[
            ({"signed": ("risk", "governance")}, "passed"),
            ({"signed": ("risk",)}, "no decision"),
            ({"signed": ()}, "no decision"),
        ],
    ),
    "injections": Case(
        make=lambda: hr.injections(at_most=0.5),
        phase="check",
        turns=[
            (answering(), "passed"),
            (answering(" "), "failed"),  # it says again whatever it is told
            ({**answering(), "instructions": (INSTRUCTION,)}, "passed"),
            ({"answer": lambda *_: f"I was told: {INSTRUCTION}", "instructions": (INSTRUCTION,)}, "failed"),
            ({}, "no decision"),
        ],
    ),
    "output_schema": Case(
        make=lambda: hr.output_schema({"type": "object", "required": ["a"]}, at_least=0.5),
        phase="check",
        turns=[
            (answered('{"a": 1}', "no"), "passed"),
            (answered('{"a": 1}', "no", "no"), "failed"),
            (answered('{"a": 1}'), "passed"),
            ({}, "no decision"),
        ],
    ),
    "fair": Case(
        make=lambda: hr.gate(fair),
        phase="check",
        turns=[(metrics(roc_auc=0.61), "passed"), (metrics(roc_auc=0.59), "failed")],
    ),
    "reviewed": Case(
        make=lambda: hr.gate(reviewed, phase="compare"),
        phase="compare",
        turns=[(compared(0.5), "passed"), (compared(0.5, count=598), "needs review")],
    ),
}
TURNS = [(name, place) for name, case in GATES.items() for place in range(len(case.turns))]
OF_PHASE = {  # what there is of each phase alone; the rest is not there when a gate is evaluated in another one
    "check": {"staged"},
    "compare": {"compared", "must_help"},
    "approve": {"signed"},
}


def within(evidence, phase):
    """The evidence as a deployment has it in a phase."""
    absent = {"staged": None, "compared": None, "must_help": False, "signed": ()}
    return replace(evidence, **{name: value for name, value in absent.items() if name not in OF_PHASE[phase]})


@pytest.fixture
def evidence():
    labels = pd.Series([0, 1] * 300)
    outputs = pd.DataFrame({"probability": [0.2, 0.8] * 300})
    rows = pd.DataFrame({"id": range(600), "amount": [1.0] * 600})
    return Evidence(
        model=DESCRIBED,
        version=SimpleNamespace(version=2, metrics={"roc_auc": 0.7}),
        **made_from(),
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
    case = GATES[name]
    gate = case.make()

    assert isinstance(gate, Gate)
    assert (gate.name, gate.phase) == (name.partition(",")[0], case.phase)
    assert repr(gate) == repr(case.make())
    assert " at 0x" not in repr(gate)
    for each in fields(gate):  # what it asks for is in the policy that approvals are bound to
        assert each.repr or f"{each.name}" == "function", each.name


@pytest.mark.parametrize(("name", "place"), TURNS)
def test_it_turns_where_it_says_on_the_evidence_of_its_phase(name, place, evidence):
    gate, (change, result) = GATES[name].make(), GATES[name].turns[place]

    assert gate.evaluate(replace(within(evidence, gate.phase), **change)).result == result


def test_every_gate_of_headrace_has_a_case():
    modules = [importlib.import_module(f"{gates.__name__}.{each.name}") for each in iter_modules(gates.__path__)]
    kinds = {each for module in modules for each in vars(module).values() if isinstance(each, type)}

    assert {each for each in kinds if issubclass(each, Gate)} - {Gate} == {type(case.make()) for case in GATES.values()}


@pytest.mark.parametrize("name", GATES)
def test_its_case_says_when_it_passes_and_when_it_does_not(name):
    results = {result for _, result in GATES[name].turns}

    assert "passed" in results
    assert len(results) > 1


@pytest.mark.parametrize(("name", "place"), TURNS)
def test_whatever_it_finds_is_shown_with_what_it_was_judged_by_and_can_be_stored(name, place, evidence):
    gate, (change, _) = GATES[name].make(), GATES[name].turns[place]
    found = gate.evaluate(replace(within(evidence, gate.phase), **change))

    assert isinstance(found, GateFinding)
    assert found.gate == gate.name
    assert found.reason.strip()
    assert "\n" not in found.reason
    if not found.evidence:  # a gate of the project's own shows what it likes
        assert found.limit is not None
        assert found.value is not None or found.result == "no decision"
    stored = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert GateFinding(**stored) == found


@pytest.mark.parametrize(("name", "place"), TURNS)
def test_the_same_evidence_gives_the_same_finding_and_is_not_changed(name, place, evidence):
    gate, (change, _) = GATES[name].make(), GATES[name].turns[place]
    given = replace(within(evidence, gate.phase), **change)
    frames = [given.held_out.rows, given.held_out.labels, given.held_out.outputs]
    if given.compared is not None:
        frames += [getattr(given.compared, part) for part in ("rows", "labels", "champion", "challenger")]
    before = [frame.copy() for frame in frames]

    assert gate.evaluate(given) == gate.evaluate(given)
    assert all(frame.equals(copy) for frame, copy in zip(frames, before, strict=True))


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
