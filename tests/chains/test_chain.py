"""A chain: what its function is given, what it may do, and what it leaves behind."""

import inspect
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.chains.chain import Chain
from headrace.chains.declarations import check_predict, check_uses
from headrace.core.errors import DataError, DeclarationError, HeadraceError, NotFoundError, UserCodeError
from headrace.environments.llm import LlmConfig, LlmRoute
from headrace.llm.gateway.declarations import Route
from headrace.llm.gateway.gateway import Gateway
from headrace.llm.prompts.version import PromptVersion
from headrace.testing.llm_endpoint import Endpoint


@pytest.fixture(scope="module")
def gateway():
    with Endpoint(model="small") as endpoint:
        route = LlmRoute(name="small", protocol="openai", url=endpoint.url, model="small", output_price=10**9)
        with Gateway(LlmConfig(routes={"small": route})) as made:
            yield made


def chain(function, **more):
    return Chain(name="helper", function=function, inputs=check_predict("model", function), **more)


def test_an_answer_remembers_its_calls(gateway):
    def answer(question, ctx):
        first = ctx.complete([{"role": "user", "content": question}])
        return first + ctx.complete([{"role": "user", "content": "!"}])

    made = chain(answer, route=Route("small")).answer({"question": "hello"}, gateway, user="me", version=3)
    assert made.text == "hello!"
    assert [each.text for each in made.calls] == ["hello", "!"]
    assert [each.messages for each in made.calls] == [(("user", "hello"),), (("user", "!"),)]
    row = made.row()
    assert row["prediction_output_tokens"] == sum(each.output_tokens for each in made.calls) > 0
    assert row["prediction_cost"] == pytest.approx(sum(each.cost_nano for each in made.calls) / 1e9)
    assert "messages" not in json.loads(row["prediction_calls"])[0]


def test_pieces_come_as_they_are_made_and_the_answer_is_all_of_them(gateway):
    def answer(question, ctx):
        yield "so: "
        yield from ctx.stream([{"role": "user", "content": question}])

    stream = chain(answer, route=Route("small")).stream({"question": "one two three"}, gateway)
    assert next(stream) == "so: "
    begun = stream.answer("cancelled")
    assert (begun.text, begun.finish_reason, begun.calls) == ("so: ", "cancelled", ())
    pieces = ["so: ", *stream]
    whole = stream.answer()
    assert "".join(pieces) == whole.text == "so: one two three"
    assert whole.finish_reason == "stop"
    assert len(whole.calls) == 1
    assert whole.latency_ms == stream.answer().latency_ms  # it has ended


def test_an_answer_that_is_left_early_ends_its_call(gateway):
    ended = []

    def answer(question, ctx):
        try:
            yield from ctx.stream([{"role": "user", "content": question}])
        finally:
            ended.append(True)

    stream = chain(answer, route=Route("small")).stream({"question": "one two three four five"}, gateway)
    next(stream)
    stream.close()
    assert ended == [True]


@pytest.mark.parametrize("returned", [None, 7, ["text"], b"text", True], ids=repr)
def test_what_is_no_text_is_no_answer(returned):
    with pytest.raises(UserCodeError, match=f"returned {type(returned).__name__}"):
        chain(lambda question, ctx: returned).answer({"question": "x"}, None)


def test_what_the_function_raises_is_told_with_its_model():
    def answer(question, ctx):
        raise ZeroDivisionError(question)

    with pytest.raises(UserCodeError, match=r"predict of model 'helper'.*ZeroDivisionError"):
        chain(answer).answer({"question": "x"}, None)


@pytest.mark.parametrize(
    ("value", "said"), [(None, "missing"), (float("nan"), "missing"), (3, "int"), ("x" * 1_000_001, "1,000,001")]
)
def test_an_input_is_a_text_of_bounded_length(value, said):
    with pytest.raises(DataError, match=said):
        chain(lambda question, ctx: question).answer({"question": value}, None)


@given(st.text(max_size=200))
def test_any_text_comes_through_as_it_is(text):
    assert chain(lambda question, ctx: question).answer({"question": text}, None).text == text


def test_the_context_knows_what_is_used_and_nothing_else():
    prompt = PromptVersion(name="answer", text="# user\n{{ question }}", inputs=("question",))

    def answer(question, ctx):
        return "\n".join(each.content for each in ctx.render("answer", question=question))

    assert "hello" in chain(answer, prompts={"answer": prompt}).answer({"question": "hello"}, None).text
    for use, error in (
        (lambda question, ctx: ctx.render("other", question=question), NotFoundError),
        (lambda question, ctx: ctx.search("other", question), NotFoundError),
        (lambda question, ctx: ctx.complete("answer", question=question), DeclarationError),
    ):
        with pytest.raises(error):
            chain(use, prompts={"answer": prompt}).answer({"question": "x"}, None)


def test_without_routes_it_says_how_to_configure_them():
    def ask(question, ctx):
        return ctx.complete([{"role": "user", "content": question}])

    with pytest.raises(DeclarationError, match="no routes are configured here") as told:
        chain(ask, route=Route("small")).answer({"question": "x"}, None)
    assert "HEADRACE_LLM_ROUTES" in told.value.hint


def test_messages_take_no_inputs(gateway):
    def answer(question, ctx):
        return ctx.complete([{"role": "user", "content": "x"}], question=question)

    with pytest.raises(DeclarationError, match="messages take no inputs"):
        chain(answer, route=Route("small")).answer({"question": "x"}, gateway)


@pytest.mark.parametrize("messages", [[], [3], [{"role": "user"}], [{"role": "oracle", "content": "x"}]], ids=repr)
def test_messages_that_are_none(gateway, messages):
    with pytest.raises(HeadraceError):
        chain(lambda question, ctx: ctx.complete(messages), route=Route("small")).answer({"question": "x"}, gateway)


def test_a_function_is_named_by_its_inputs_and_its_context():
    def several(question: str, language: str, *, tone: str, ctx: object) -> str: ...

    assert check_predict("model", several) == ("question", "language", "tone")
    assert "ctx" in inspect.signature(several).parameters


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (3, "is no function"),
        (str, "is no function"),
        (lambda question: "", "no parameter 'ctx'"),
        (lambda ctx: "", "no input"),
        (lambda *questions, ctx: "", "'questions'"),
        (lambda ctx, **questions: "", "'questions'"),
        (lambda question, /, ctx: "", "'question'"),
    ],
)
def test_a_function_that_cannot_be_asked(function, said):
    with pytest.raises(DeclarationError, match=said) as told:
        check_predict("model", function)
    assert "ctx: hr.LLMContext" in told.value.hint


@pytest.mark.parametrize(
    ("uses", "said"),
    [("small", "is no list"), (["small"], "no prompt, vector index or route"), ([Route("a"), Route("b")], "more than one route")],
)  # fmt: skip
def test_uses_that_are_none(uses, said):
    with pytest.raises(DeclarationError, match=said):
        check_uses("model", uses)
