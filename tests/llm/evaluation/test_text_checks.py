# ruff: noqa: RUF001  # letters of many scripts
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import DataError
from headrace.llm.evaluation.language import language
from headrace.llm.evaluation.text_checks import empty, lengths_in_words, refusals

REFUSED = [
    "I'm sorry, but I can't help with that.",
    "I\u2019m sorry, I cannot assist with this request.",
    "I CANNOT PROVIDE medical advice.",
    "Unfortunately, I am unable to answer this question.",
    "As an AI language model, I do not have opinions.",
    "I must respectfully decline to answer. I decline this request.",
    "Tut mir leid, dabei kann ich nicht helfen.",
    "Das kann ich nicht sagen; ich kann Ihnen dabei leider nicht helfen.",
    "Je suis désolé, mais je ne peux pas vous aider.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "Desculpe, mas não posso ajudar com isso.",
    "Mi dispiace, ma non posso aiutarti.",
    "Het spijt me, maar ik kan daar niet bij helpen.",
    "Przykro mi, nie mogę pomóc.",
    "Извините, но я не могу помочь с этим.",
    "抱歉，我无法回答这个问题。",
    "申し訳ありませんが、お答えできません。",
    "죄송하지만 도와드릴 수 없습니다.",
    "عذرا، لا يمكنني المساعدة في ذلك.",
]
ANSWERED = [
    "Paris is the capital of France.",
    "I can help you with that.",
    "I'm sorry for the delay: the answer is 5.",
    "The passages say that dogs cannot help barking.",
    "Das kann ich gern beantworten: Paris.",
    "巴黎是法国的首都。",
    "Long answer. " * 50 + "I can't help with that.",
    "",
    None,
]
LANGUAGES = {
    "en": "What is the capital of France, and how long has it been there?",
    "de": "Wie heißt die Hauptstadt von Frankreich, und seit wann ist sie das?",
    "fr": "Quelle est la capitale de la France et depuis quand est-ce que c'est le cas ?",
    "es": "¿Cuál es la capital de Francia y desde cuándo lo es?",
    "it": "Qual è la capitale della Francia e da quando lo è? Non lo so.",
    "pt": "Qual é a capital da França e desde quando? Não sei como isso é.",
    "nl": "Wat is de hoofdstad van Frankrijk en hoe lang is het dat al?",
    "pl": "Jaka jest stolica Francji i od kiedy nią jest? Nie wiem, czy to prawda.",
    "tr": "Fransa'nın başkenti nedir ve ne kadar zamandır bu böyle?",
    "ru": "Какой город является столицей Франции и как давно это так?",
    "uk": "Яке місто є столицею Франції та як довго це так?",
    "ar": "ما هي عاصمة فرنسا وكيف كان ذلك من قبل؟",
    "fa": "پایتخت فرانسه چیست و از چه زمانی این است؟",
    "zh": "法国的首都是哪里?",
    "ja": "フランスの首都はどこですか?",
    "ko": "프랑스의 수도는 어디입니까?",
    "el": "Ποια είναι η πρωτεύουσα της Γαλλίας;",
    "he": "מהי בירת צרפת?",
    "hi": "फ्रांस की राजधानी क्या है?",
    "th": "เมืองหลวงของฝรั่งเศสคืออะไร",
    "und": "12345 :-) \u200b 🎉",
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_refusal_is_found(text):
    assert refusals([text]).tolist() == [True]
    assert refusals(["\u200b".join(text)]).tolist() == [True]


@pytest.mark.parametrize("text", ANSWERED)
def test_an_answer_is_no_refusal(text):
    assert refusals([text]).tolist() == [False]


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_language_is_guessed(code):
    assert language(LANGUAGES[code]) == code


@given(st.text(max_size=200))
def test_any_text_has_values(text):
    assert language(text) == language(text)
    assert lengths_in_words([text])[0] <= len(text) * 18  # a ligature of NFKC has up to 18 characters
    assert not (empty([text])[0] and text.strip().isalnum())
    assert refusals([text]).dtype == bool


def test_lengths_and_emptiness():
    texts = ["", None, math.nan, " \n\t", "\u200b\u202e\x00", "one two-three", "東京です", "🎉"]

    assert empty(texts).tolist() == [True] * 5 + [False] * 3
    assert lengths_in_words(texts).tolist() == [0, 0, 0, 0, 0, 3, 4, 0]


@pytest.mark.parametrize("big", ["i can not " * 100_000, "我" * 1_000_000, "\x00" * 1_000_000, "je suis " * 120_000])
def test_a_text_of_a_megabyte_has_values(big):
    assert refusals([big]).tolist() == [False]
    assert isinstance(language(big), str)


@pytest.mark.parametrize("check", [refusals, empty, lengths_in_words])
def test_what_is_no_text_is_named(check):
    with pytest.raises(DataError, match="the text of row 1 is 5, not a text"):
        check(["a", 5])
    assert len(check([])) == 0
