"""Spans of an answer by OpenTelemetry's conventions; contents only where they are asked for."""

from dataclasses import replace

from tests.pipelines.test_answers import answered

from headrace.serving.generation_spans import spans_of


def test_searches_and_calls_are_spans_without_contents():
    search, call = spans_of(answered("Where is the moon?"), contents=False)
    assert (search.name, call.name) == ("retrieval features.docs_index", "chat small-model")
    names = ("operation.name", "request.model", "response.model", "usage.input_tokens", "usage.output_tokens")
    assert [call.attributes[f"gen_ai.{name}"] for name in names] == ["chat", "small-model", "small-1", 30, 9]
    assert call.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert (call.attributes["gen_ai.provider.name"], call.attributes["headrace.route"]) == ("openai", "small")
    assert "gen_ai.request.stream" not in call.attributes
    assert "moon" not in repr((search, call))


def test_a_function_that_answers_in_place_of_a_model_has_no_model():
    answer = answered("Where is the moon?")
    (asked,) = answer.calls
    local = replace(asked, route="", model="", requested="", provider="", call_id="")
    (call,) = spans_of(replace(answer, calls=[local], searches=[]), contents=False)
    assert (call.name, call.attributes["gen_ai.provider.name"]) == ("chat", "headrace")
    assert not {"gen_ai.request.model", "gen_ai.response.model", "headrace.route"} & set(call.attributes)


def test_the_time_to_the_first_piece_is_there_where_it_streamed():
    answer = answered("Where is the moon?")
    (asked,) = answer.calls
    _, call = spans_of(replace(answer, calls=[replace(asked, first_ms=250.0)]), contents=False)
    assert call.attributes["gen_ai.request.stream"] is True
    assert call.attributes["gen_ai.response.time_to_first_chunk"] == 0.25


def test_contents_are_there_where_they_are_asked_for():
    search, call = spans_of(answered("Where is the moon?"), contents=True)
    assert search.attributes["gen_ai.retrieval.query.text"] == "Where is the moon?"
    assert "Where is the moon?" in call.attributes["gen_ai.input.messages"]
    assert "os.path.join" in call.attributes["gen_ai.output.messages"]
