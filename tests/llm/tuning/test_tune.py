import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.errors import BusyError, ConfigError, DataError, RefusedError, UserCodeError
from headrace.core.locks import hold
from headrace.llm.tuning.records import ScoredExample


class Counted:
    """A function, and what it was called with."""

    def __init__(self, function):
        self.function, self.calls = function, []

    def __call__(self, *arguments):
        self.calls.append(repr(arguments))
        return self.function(*arguments)


def test_texts_become_better_and_the_held_out_examples_say_by_how_much(tickets, tmp_path, capfd):
    result = tickets.run(tmp_path)
    assert result.best == {"system": "Classify the ticket: account, billing, shipping"}
    assert (result.improved, result.seed_score, result.best_score) == (True, 0.0, 1.0)
    assert (result.held_out.seed, result.held_out.best) == (0.0, 1.0)
    assert result.trials[0].outcome == "seed"
    assert [trial.outcome for trial in result.trials[1:]] == ["accepted"] * 3
    assert [trial.parent for trial in result.trials] == [None, 0, 1, 2]
    assert result.stopped == "every example has a perfect score"
    assert capfd.readouterr() == ("", "")


def test_it_needs_no_client_of_language_models(tickets):
    code = (
        f"import sys, runpy, tempfile; module = runpy.run_path({tickets.__file__!r})\n"
        "module['run'](tempfile.mkdtemp()); print([each for each in ('litellm', 'openai', 'dspy') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_same_seed_gives_the_same_result_and_each_call_is_made_once(tickets, tmp_path):
    score = Counted(tickets.score)
    first = tickets.run(tmp_path / "a", score=score)
    assert len(score.calls) == len(set(score.calls)) == first.calls
    assert tickets.run(tmp_path / "b") == first


@settings(max_examples=40)
@given(st.integers(22, 60), st.integers(0, 8), st.integers(0, 5))
def test_the_budgets_are_never_exceeded(tickets, tmp_path_factory, budget, proposals, seed):
    score, propose = Counted(tickets.score), Counted(tickets.propose)
    result = tickets.run(
        tmp_path_factory.mktemp("tuning"),
        score=score,
        propose=propose,
        budget_calls=budget + 4,
        budget_proposals=proposals,
        seed=seed,
    )
    assert len(score.calls) == result.calls <= budget + 4
    assert len(propose.calls) == result.proposals <= proposals


def test_a_finished_tuning_costs_nothing_again_and_goes_on_with_a_larger_budget(tickets, tmp_path):
    small = tickets.run(tmp_path / "a", budget_calls=28)
    again = Counted(tickets.score)
    assert tickets.run(tmp_path / "a", score=again, budget_calls=28) == small
    assert again.calls == []
    larger = tickets.run(tmp_path / "a", score=again, budget_calls=60)
    assert larger == tickets.run(tmp_path / "b", budget_calls=60)
    assert larger.best_score > small.best_score
    assert len(again.calls) < larger.calls


def test_where_nothing_beats_the_seed_it_says_so(tickets, tmp_path):
    result = tickets.run(tmp_path, propose=lambda prompt: "```\nSomething else.\n```", budget_proposals=5)
    assert (result.improved, result.best, result.proposals) == (False, tickets.SEED, 5)
    assert {trial.outcome for trial in result.trials[1:]} == {"rejected"}
    assert result.held_out.seed_scores == result.held_out.best_scores


def test_better_on_what_was_learnt_and_not_on_the_held_out_is_no_improvement(tickets, tmp_path):
    held_out = [{"input": "something else", "label": "other"}]
    result = tickets.run(tmp_path, held_out=held_out)
    assert result.best_score > result.seed_score
    assert result.improved is False


def test_a_candidate_that_the_check_refuses_is_not_scored_and_the_next_proposal_knows_why(tickets, tmp_path):
    score, propose = Counted(tickets.score), Counted(tickets.propose)

    def check(candidate):
        return "it names {{ billing }}, which is no input." if "billing" in candidate["system"] else None

    result = tickets.run(tmp_path, score=score, propose=propose, check=check, seed=3, budget_proposals=12)
    refused = [trial for trial in result.trials if trial.outcome == "refused"]
    assert refused
    assert refused[0].reason == "it names {{ billing }}, which is no input."
    assert not [call for call in score.calls if "Classify the ticket: billing" in call or "account, billing" in call]
    assert any("An earlier proposal was refused: it names {{ billing }}" in call for call in propose.calls)
    assert "billing" not in result.best["system"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("", "it is empty."), ("``` \n```", "it is empty."), ("Classify the ticket.", "it was tried before.")],
)
def test_an_empty_proposal_and_the_same_again_are_refused(tickets, tmp_path, answer, reason):
    result = tickets.run(tmp_path, propose=lambda prompt: answer, budget_proposals=2)
    assert [(trial.outcome, trial.reason) for trial in result.trials[1:]] == [("refused", reason)] * 2


def test_several_components_are_tuned(tickets, tmp_path):
    def score(candidate, example):
        right = (example["label"] in candidate["a"]) + (example["label"] in candidate["b"])
        return ScoredExample(right / 2, f"should be {example['label']}")

    result = tickets.run(tmp_path, score=score, seed_candidate={"a": "x", "b": "y"}, budget_calls=120)
    assert set(result.best) == {"a", "b"}
    assert all(result.best[name] != first for name, first in (("a", "x"), ("b", "y")))


@pytest.mark.parametrize("name", ["score", "propose", "check"])
def test_a_function_that_raises_ends_the_tuning_and_what_was_paid_for_is_kept(tickets, tmp_path, name):
    def broken(*_):
        if name != "score" or len(score.calls) > 9:
            raise ZeroDivisionError("no")
        return tickets.score(*_)

    score = Counted(broken if name == "score" else tickets.score)
    functions = {"score": score} if name == "score" else {"score": score, name: broken}
    with pytest.raises(UserCodeError, match=f"{name} raised ZeroDivisionError: no") as raised:
        tickets.run(tmp_path, **functions)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    paid = Counter(score.calls[:-1] if name == "score" else score.calls)
    again = Counted(tickets.score)
    result = tickets.run(tmp_path, score=again)
    assert result == tickets.run(tmp_path.with_name("undisturbed"))
    assert not set(paid) & set(again.calls)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (0.5, "score returned 0.5"),
        (None, "score returned None"),
        (ScoredExample(float("nan"), ""), "the score nan"),
        (ScoredExample("1", ""), "the score '1'"),
    ],
)
def test_a_score_that_is_none_is_refused(tickets, tmp_path, returned, message):
    with pytest.raises(UserCodeError, match=message):
        tickets.run(tmp_path, score=lambda *_: returned)


def test_a_proposal_that_is_no_text_is_refused(tickets, tmp_path):
    with pytest.raises(UserCodeError, match="propose returned 5, not a text"):
        tickets.run(tmp_path, propose=lambda _: 5)


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"budget_calls": 0}, ConfigError, "it needs at least 26"),
        ({"budget_calls": 25}, ConfigError, "it needs at least 26"),
        ({"budget_calls": True}, ConfigError, "budget_calls=True"),
        ({"minibatch": 0}, ConfigError, "minibatch=0"),
        ({"budget_proposals": -1}, ConfigError, "budget_proposals=-1"),
        ({"seed_candidate": {}}, ConfigError, "no text to tune"),
        ({"train": []}, DataError, "no examples in train"),
        ({"validation": []}, DataError, "no examples in validation"),
        ({"held_out": []}, DataError, "no examples in held_out"),
        ({"train": [{"input": object()}]}, DataError, "train[0] is not plain data"),
        ({"held_out": [{"label": "account", "input": "reset password"}]}, DataError, "1 held-out examples are also learnt from"),
    ],
)  # fmt: skip
def test_what_cannot_be_tuned_is_refused_before_anything_is_paid(tickets, tmp_path, changed, kind, message):
    score = Counted(tickets.score)
    with pytest.raises(kind) as raised:
        tickets.run(tmp_path, score=score, **changed)
    assert message in str(raised.value)
    assert score.calls == []


def test_a_folder_belongs_to_one_tuning_and_one_process(tickets, tmp_path):
    tickets.run(tmp_path)
    for changed in (
        {"seed": 4},
        {"seed_candidate": {"system": "x"}},
        {"train": tickets.TRAIN[1:]},
        {"scored_by": "large"},
    ):
        with pytest.raises(RefusedError, match="is of other work, such as a tuning with other texts"):
            tickets.run(tmp_path, **changed)
    with hold(tmp_path / "lock"), pytest.raises(BusyError, match="another process tunes"):
        tickets.run(tmp_path)
