import json
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.llm.prompts.quoting import quoted
from headrace.testing.extractive import RULES, UNKNOWN, extractive, judge, reflect

PASSAGES = """[os.path.join] os.path.join(a, *p)
Join two or more pathname components, inserting '/' as needed. If any component is absolute, all before it are discarded.

[math.gcd] math.gcd(*integers)
Greatest Common Divisor of integers. Zero is returned without any."""
REFERENCE = "Joins two or more pathname components, inserting '/' as needed."
BEST = "Join two or more pathname components, inserting '/' as needed."
EVERYTHING = " ".join(rule.instruction for rule in RULES.values())


def ask(instruction, question="How do I join pathname components?", **how):
    user = f"{PASSAGES}\n\nQuestion: {question}"
    return extractive([{"role": "system", "content": instruction}, {"role": "user", "content": user}], **how)


def f1(answer, reference=REFERENCE):
    one, other = (Counter(re.findall(r"\w+", each.lower())) for each in (answer, reference))
    return 2 * (one & other).total() / (one.total() + other.total())


def test_an_instruction_that_asks_for_everything_gets_the_sentence_and_its_source():
    assert ask(EVERYTHING) == f"{BEST} [os.path.join]"


def test_what_a_prompt_quotes_is_read_as_what_it_does_not():
    blocks = [each.split("] ", 1) for each in PASSAGES.split("\n\n")]
    fenced = "\n\n".join(f"{label}] {quoted(text)}" for label, text in blocks)
    user = f"{fenced}\n\nQuestion: {quoted('How do I join pathname components?')}"
    messages = [{"role": "system", "content": EVERYTHING}, {"role": "user", "content": user}]
    assert extractive(messages) == ask(EVERYTHING)


def test_each_rule_changes_the_answer():
    answers = {ask(rule.instruction) for rule in RULES.values() if rule is not RULES["grounded"]}

    assert len(answers | {ask("Answer.")}) == len(RULES)


def test_better_instructions_give_better_answers():
    instructions = ["Answer.", "Answer in one sentence.", "Answer in one sentence. Quote the passage."]
    instructions.append(instructions[-1] + " No preamble.")
    scores = [f1(ask(each)) for each in instructions]

    assert scores == sorted(set(scores))
    assert scores[-1] > 0.8 > 0.5 > scores[0]


def test_what_no_passage_answers_is_unknown_only_where_the_instruction_says_so():
    question = "Who painted the ceiling of a chapel in Rome?"

    assert ask("Answer only from the passages. No preamble.", question) == UNKNOWN
    assert UNKNOWN not in ask("No preamble.", question)


def test_a_smaller_model_reads_fewer_passages():
    question = "What is the greatest common divisor of integers?"

    assert "Greatest" in ask(EVERYTHING, question)
    assert "Greatest" not in ask(EVERYTHING, question, passages=1)


def test_a_question_needs_no_label():
    user = f"What is the greatest common divisor?\n\n{PASSAGES}"

    assert extractive([{"role": "user", "content": user}]).find("Greatest Common Divisor of integers.") > 0


@given(st.lists(st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": st.text()}), max_size=4))
def test_whatever_is_asked_gets_an_answer(messages):
    assert extractive(messages) == extractive(messages) != ""
    assert set(json.loads(judge(messages))) == {"score", "reason"}
    assert all(reflect(each["content"]).startswith("```\n") for each in messages)


@pytest.mark.parametrize(
    ("feedback", "name"),
    [
        ("The answer is too long.", "short"),
        ("The wording differs from the reference.", "quote"),
        ("There was a greeting. There was a preamble. It is verbose.", "direct"),
        ("The claim is unsupported.", "grounded"),
        ("There is no citation.", "cite"),
        ("It is wrong.", "short"),  # nothing known: the first that is lacking
    ],
)
def test_reflection_adds_what_the_feedback_misses_most(feedback, name):
    proposed = reflect(f"The instruction:\n```\nAnswer.\n```\nFeedback: {feedback}")

    assert proposed == f"```\nAnswer. {RULES[name].instruction}\n```"


def test_reflection_comes_to_an_end():
    instruction, seen = "Answer.", set()
    while instruction not in seen:
        seen.add(instruction)
        instruction = reflect(f"```\n{instruction}\n```\n").strip("`\n")

    assert all(rule.asked.search(instruction) for rule in RULES.values())
    assert len(seen) == len(RULES) + 1


def verdict(answer, system="The score is a whole number from 1, the worst, to 5, the best."):
    user = f"[k passages]\n{PASSAGES}\n[k end of passages]\n\n[k answer]\n{answer}\n[k end of answer]"
    return json.loads(judge([{"role": "system", "content": system}, {"role": "user", "content": user}]))


def test_a_faithful_answer_has_the_highest_score_and_an_invented_one_the_lowest():
    assert verdict(BEST)["score"] == 5
    assert verdict("Elephants dance under purple moonlight")["score"] == 1
    assert verdict(UNKNOWN)["score"] == 5
    assert verdict(BEST, system="Is it faithful?") == {
        "score": 1,
        "reason": "100% of the answer's words are in the material.",
    }


@pytest.mark.parametrize(
    ("answer", "score"), [("Elephants join pathname components", 1), ("Purple elephants dance", 0)]
)
def test_sections_may_be_lines_with_a_name(answer, score):
    user = f"Passages: {BEST}\nQuestion: How?\nAnswer: {answer}"

    assert json.loads(judge([{"role": "user", "content": user}]))["score"] == score
