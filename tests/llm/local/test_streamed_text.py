from hypothesis import given
from hypothesis import strategies as st

from headrace.llm.local.streamed_text import StreamedText

TEXTS = st.text("abé ", max_size=30)
STOPS = st.lists(st.text("abé ", min_size=1, max_size=4), max_size=3)


def stream(text, stops, steps):
    """What is sent while the text grows by `steps` characters each time, until a stop sequence is found."""
    growing, sent = StreamedText(stops), []
    for end in [*range(steps, len(text), steps), len(text)]:
        sent.append(growing.grow(text[:end]))
        if growing.stopped:
            break
    return "".join([*sent, growing.finish()]), growing.stopped


@given(TEXTS, STOPS)
def test_a_stream_ends_where_the_first_stop_sequence_is_complete(text, stops):
    sent, stopped = stream(text, stops, 1)

    assert text.startswith(sent)
    assert stopped == any(stop in text for stop in stops)
    assert not any(stop in sent for stop in stops)
    if not stopped:
        assert sent == text


@given(TEXTS, STOPS, st.integers(1, 5))
def test_nothing_that_was_sent_is_part_of_a_stop_sequence(text, stops, steps):
    sent, _ = stream(text, stops, steps)

    assert not any(stop in sent for stop in stops)


def test_half_a_character_waits_for_its_other_half():
    growing = StreamedText()

    assert growing.grow("caf\ufffd") == "caf"
    assert growing.grow("café") == "é"
    assert growing.finish() == ""
