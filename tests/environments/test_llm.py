import pytest

from headrace.core.errors import ConfigError
from headrace.environments.config import load
from headrace.environments.llm import LlmBudgets, is_loopback

START = '[project]\nname = "shop"\nmodule = "shop.project"\n[env.dev]\n'
SMALL = '[env.dev.llm.routes.small]\nprotocol = "openai"\nurl = "http://127.0.0.1:8000/v1/"\nmodel = "tiny"\n'


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "headrace.toml").write_text(START + text)
        return load(tmp_path).environment("dev").llm

    return read


def test_without_routes_there_are_none(read):
    llm = read("")

    assert llm.routes == {}
    assert llm.budgets == LlmBudgets(day=None, user=None, model=None)


def test_a_route_has_defaults(read):
    small = read(SMALL).routes["small"]

    assert (small.url, small.model, small.key, small.timeout, small.attempts) == (
        "http://127.0.0.1:8000/v1",
        "tiny",
        None,
        60,
        3,
    )
    assert (small.fallback, small.concurrency, small.cache, small.input_price) == (None, None, None, 0)


def test_a_route_has_settings_and_its_key_is_a_reference(read, monkeypatch):
    monkeypatch.setenv("LLM_KEY", "sk-clear")
    text = SMALL + (
        'key = {secret = "LLM_KEY"}\ntimeout = "5s"\nattempts = 1\nfallback = "large"\nconcurrency = 4\ncache = "1h"\n'
        'input_price = "0.15"\noutput_price = 0.6\nmax_tokens = 100\nattempt_timeout = "2s"\n'
    )
    routes = read(text + SMALL.replace("small", "large")).routes
    small = routes["small"]

    assert (small.timeout, small.attempts, small.fallback, small.concurrency, small.cache) == (5, 1, "large", 4, 3600)
    assert (small.input_price, small.output_price, small.max_tokens) == (150_000_000, 600_000_000, 100)
    assert small.key.read("test") == "sk-clear"
    assert "LLM_KEY" not in repr(small)


def test_budgets_are_dollars_and_zero_is_nothing(read):
    budgets = read('[env.dev.llm.budgets]\nday = "5.00"\nuser = 0\nmodel = 0.0000000001\n').budgets

    assert budgets == LlmBudgets(day=5_000_000_000, user=0, model=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SMALL + 'protocol2 = "x"', "unknown key 'protocol2'"),
        (SMALL.replace("openai", "grpc"), "'grpc' is not known"),
        (SMALL.replace('model = "tiny"\n', ""), "there is no 'model'"),
        (SMALL.replace("http://", "ftp://"), "is not the URL of an endpoint"),
        (SMALL.replace("127.0.0.1:8000", "127.0.0.1:x"), "is not the URL of an endpoint"),
        (SMALL + 'timeout = "soon"', "is not a duration"),
        (SMALL + "timeout = 5", "is not a duration"),
        (SMALL + 'timeout = "2h"', "is not a duration"),
        (SMALL + "attempts = 0", "is not possible"),
        (SMALL + "attempts = true", "is not possible"),
        (SMALL + "concurrency = 1.5", "is not possible"),
        (SMALL + "input_price = -1", "is not an amount of money"),
        (SMALL + 'output_price = "free"', "is not an amount of money"),
        (SMALL + "output_price = nan", "is not an amount of money"),
        (SMALL + 'fallback = "smal"', "Did you mean 'small'?"),
        (SMALL + 'fallback = "small"', "form a circle: small → small"),
        (SMALL.replace("small", "Small!"), "is not the name of a route|this is not TOML"),
        ("[env.dev.llm.routes]\nsmall = 3", "is not a table"),
        ("[env.dev]\nllm = 3".removeprefix("[env.dev]\n"), "is not a table"),
        ("[env.dev.llm]\nroute = {}", "unknown key 'route'"),
        ("[env.dev.llm.budgets]\nyear = 1", "unknown key 'year'"),
        ('[env.dev.llm.budgets]\nday = "lots"', "is not an amount of money"),
    ],
)
def test_what_is_not_possible_is_refused(read, text, said):
    with pytest.raises(ConfigError, match=said):
        read(text)


def test_a_circle_of_fallbacks_is_refused_however_long(read):
    def chained(name, fallback):
        return SMALL.replace("small", name) + f'fallback = "{fallback}"\n'

    with pytest.raises(ConfigError, match=r"b → c → b|a → b → c → b"):
        read(chained("a", "b") + chained("b", "c") + chained("c", "b"))


@pytest.mark.parametrize("host", ["api.example.com", "10.0.0.1", "127.0.0.1.example.com", "localhost.example.com"])
def test_a_key_is_not_sent_in_clear(read, host):
    text = SMALL.replace("127.0.0.1:8000", host)

    assert read(text).routes["small"].url == f"http://{host}/v1"
    with pytest.raises(ConfigError, match="not encrypted"):
        read(text + 'key = {secret = "LLM_KEY"}\n')
    read(text.replace("http:", "https:") + 'key = {secret = "LLM_KEY"}\n')


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "api.localhost"])
def test_this_machine_is_known_by_its_names(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "line", ['key = "sk-very-secret"', 'key = ["sk-very-secret"]', "url = 'https://u:sk-very-secret@host/v1'"]
)
def test_a_key_in_clear_is_refused_and_not_repeated(read, line):
    text = SMALL.replace('url = "http://127.0.0.1:8000/v1/"\n', "") if line.startswith("url") else SMALL
    with pytest.raises(ConfigError) as error:
        read(text + line)
    assert "sk-very-secret" not in str(error.value)


def test_no_variable_stands_for_the_whole_table(read, monkeypatch):
    monkeypatch.setenv("HEADRACE_ENV__dev__llm", "3")
    with pytest.raises(ConfigError, match="is not a table"):
        read("")
