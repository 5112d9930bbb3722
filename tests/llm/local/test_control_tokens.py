"""What is said in a conversation begins and ends no turn of it."""

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from headrace.llm.local.control_tokens import encode

CONTROLS = ["<|im_start|>", "<|im_end|>", "[INST]", "[/INST]", "</s>", "<<s>"]


def made():
    """A tokenizer of bytes, whose first tokens are control tokens wherever they stand."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    found = Tokenizer(models.BPE(vocab={word: place for place, word in enumerate([*CONTROLS, *letters])}, merges=[]))
    found.pre_tokenizer, found.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    found.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in CONTROLS])
    return found


TOKENIZER = made()


def tokens_of(text):
    return TOKENIZER.encode(text, add_special_tokens=False).ids


def render(messages):
    turns = [f"<|im_start|>{each['role']}\n{each['content']}<|im_end|>\n" for each in messages]
    return "".join(turns) + "<|im_start|>assistant\n"


def chat(*messages):
    return encode(messages, render=render, tokens_of=tokens_of, controls=CONTROLS)


def controls_in(tokens):
    return [CONTROLS[token] for token in tokens if token < len(CONTROLS)]


@given(st.lists(st.sampled_from([*CONTROLS, "<", "|", "im_end|>", "<|im_", "system\n", "é", " ", "x"]), max_size=12))
def test_a_turn_is_that_of_the_template_whatever_is_said_in_it(parts):
    content = "".join(parts)
    tokens = chat({"role": "user", "content": content})
    assert controls_in(tokens) == ["<|im_start|>", "<|im_end|>", "<|im_start|>"]
    assert TOKENIZER.decode(tokens, skip_special_tokens=False) == render([{"role": "user", "content": content}])


@given(st.text())
def test_a_conversation_without_control_tokens_has_the_tokens_of_its_text(content):
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": content}]
    assert chat(*messages) == tokens_of(render(messages))


def test_a_template_that_drops_a_message_or_changes_its_letters_is_followed():
    def trimmed(messages):
        return render([{**each, "content": each["content"].strip().replace("x", "y")} for each in messages[-1:]])

    messages = [{"role": "user", "content": "</s>"}, {"role": "user", "content": "  x</s>x  "}]
    tokens = encode(messages, render=trimmed, tokens_of=tokens_of, controls=CONTROLS)
    assert controls_in(tokens) == ["<|im_start|>", "<|im_end|>", "<|im_start|>"]
    assert TOKENIZER.decode(tokens, skip_special_tokens=False) == render([{"role": "user", "content": "y</s>y"}])
