"""The step of a stream in an integration test, on a real broker: its topics are its own, and nothing of anybody else's is touched."""

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from confluent_kafka import KafkaError
from tests.operations.integration.test_commit_test import make
from tests.support.broker import Broker

from headrace.core.errors import DataError, RefusedError, UnavailableError
from headrace.environments import config
from headrace.environments.kafka import Cluster
from headrace.inference.streaming import own_topics
from headrace.operations.deploy import deploy
from headrace.operations.integration.commit_test import run_integration_test
from headrace.operations.integration.stream import SkippedError, check_stream
from headrace.operations.integration.topics import delete_left
from headrace.operations.operation import At
from headrace.operations.refresh import refresh
from headrace.operations.train import train

TEMPORARY = "HEADRACE_ENV__dev__temporary"
SERVERS = "HEADRACE_ENV__dev__kafka__main__bootstrap_servers"
ID = "x"  # of the test in this process
OTHERS = [b"of others", b"{}"]  # messages that a stream would read as dead letters
NAMES = itertools.count()


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    broker = Broker(tmp_path_factory.mktemp("broker"))
    yield broker
    broker.close()


def kafka_of(env, broker):
    """The variables of a cluster whose groups settle soon."""
    properties = {"bootstrap_servers": broker.at, "session_timeout_ms": "2000", "heartbeat_interval_ms": "300"}
    return {f"HEADRACE_ENV__{env}__kafka__main__{name}": value for name, value in properties.items()}


def program(folder, stream):
    """Declares the stream; the spine has a change feed, and its features are published."""
    file = folder / "mini.py"
    text = file.read_text().replace('    key="customer",\n', '    key="customer", online=True,\n')
    text = text.replace('from raw.orders")\nlabels', 'from raw.orders", change_feed=True)\nlabels')
    deployment = f'deployment = hr.Deployment(model, score=hr.Score(into="answers.days"), stream=hr.Stream({stream}))\n'
    file.write_text(re.sub(r"deployment = .*\n", deployment, text))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A temporary environment with a version in Production: where it is, and its stores."""
    folder = make(tmp_path_factory.mktemp("project") / "mini", deployment="")
    program(folder, 'source=hr.kafka("never"), into="gold.never"')
    at = At(env="dev", folder=folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(TEMPORARY, str(folder / ".headrace" / "tests" / ID / "stores"))
        refresh(at)
        train(at, "days")
        assert deploy(at, "days").ending == "in production"
    return at


@pytest.fixture
def at(prepared, monkeypatch):
    monkeypatch.setenv(TEMPORARY, str(prepared.folder / ".headrace" / "tests" / ID / "stores"))
    return prepared


@pytest.fixture
def declare(at, broker, monkeypatch):
    for name, value in kafka_of("dev", broker).items():
        monkeypatch.setenv(name, value)

    def declare(stream):
        program(at.folder, stream)
        return at

    return declare


def topics(broker):
    return set(broker.admin.list_topics(timeout=10).topics)


def groups(broker):
    return {each.group_id for each in broker.admin.list_consumer_groups().result(10).valid}


def values(broker, topic):
    return [each.value() for each in broker.read(topic)]


TOPIC, TABLE = 'hr.kafka("{}")', '"gold.p{}"'


@pytest.mark.parametrize(
    ("source", "into", "letters"),
    [
        (TOPIC, TABLE, None),
        (TOPIC, '"answers.days"', TOPIC),
        (TOPIC, TOPIC, TOPIC),
        ('hr.change_feed("shop.orders")', TOPIC, TABLE),
        ('hr.change_feed("shop.orders")', TABLE, TOPIC),
    ],
    ids=["topic-table", "topic-batch-table", "topic-topic", "feed-topic", "feed-table"],
)
def test_every_message_is_predicted_and_declared_topics_are_as_they_were(broker, declare, source, into, letters):
    declared = [broker.topic() for _ in range(3)]
    for each in declared:
        broker.send(each, OTHERS)
    before, group = topics(broker), f"g{next(NAMES)}"
    ends = {"source": source, "into": into, "dead_letters": letters}
    stream = ", ".join(
        f"{end}={what.format(name)}" for (end, what), name in zip(ends.items(), declared, strict=True) if what
    )
    told = check_stream(declare(f'{stream}, group="{group}"'), "days")

    assert told == "50 messages, 50 predictions"
    assert topics(broker) == before
    for each in declared:
        assert values(broker, each) == OTHERS
    assert not {each for each in groups(broker) if group in each}


def test_a_test_leaves_the_position_of_the_declared_group(broker, declare):
    """The group reads on where it was, though the test read and committed as its stream does."""
    source, into, group = broker.topic(), broker.topic(), f"g{next(NAMES)}"
    broker.send(source, OTHERS)
    offset = committed(broker, group, source, 1)
    check_stream(declare(f'source=hr.kafka("{source}"), into=hr.kafka("{into}"), group="{group}"'), "days")
    assert committed(broker, group, source) == offset
    assert group in groups(broker)


def committed(broker, group, topic, offset=None):
    from confluent_kafka import Consumer, TopicPartition

    member = Consumer({"bootstrap.servers": broker.at, "group.id": group, "log_level": "0"})
    if offset is not None:
        member.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    (found,) = member.committed([TopicPartition(topic, 0)], timeout=10)
    member.close()
    return found.offset


def test_a_dead_letter_fails_the_step_with_its_reason(broker, declare, monkeypatch):
    """One of the messages is spoiled on its way."""
    send, before = own_topics.send, topics(broker)
    monkeypatch.setattr(own_topics, "send", lambda topic, values: send(topic, [*values[1:], b'{"id": "one"}']))
    for number, letters in enumerate(('"gold.letters"', 'hr.kafka("letters")')):
        with pytest.raises(DataError, match="1 message of days cannot be scored") as told:
            check_stream(declare(f'source=hr.kafka("in"), into="gold.spoiled{number}", dead_letters={letters}'), "days")
        assert told.value.findings == ("'amount' is missing.",)
    assert topics(broker) == before


def test_an_interruption_leaves_no_topic(broker, declare, monkeypatch):
    send, before, own = own_topics.send, topics(broker), []

    def interrupted(topic, values):
        send(topic, values)
        own.extend(own_of(broker))
        raise KeyboardInterrupt

    monkeypatch.setattr(own_topics, "send", interrupted)
    with pytest.raises(KeyboardInterrupt):
        check_stream(declare('source=hr.kafka("in"), into=hr.kafka("out")'), "days")
    assert sorted(own) == [f"headrace-test-{ID}-{name}" for name in ("in", "out", "out-dead-letters")]
    assert topics(broker) == before


def test_without_a_cluster_it_is_skipped_with_the_way(at, monkeypatch):
    program(at.folder, 'source=hr.kafka("in"), into="gold.p"')
    with pytest.raises(SkippedError) as told:
        check_stream(at, "days")
    assert str(told.value) == (
        'dev declares no Kafka cluster: [env.dev.kafka.main] in headrace.toml, with bootstrap.servers = "host:9092"'
    )


def test_a_broker_that_does_not_answer_fails_it(declare, monkeypatch):
    at = declare('source=hr.kafka("in"), into="gold.p"')
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv(SERVERS, f"127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setattr("headrace.inference.streaming.clients.PATIENCE", 0.5)
        with pytest.raises(UnavailableError, match="no broker of the Kafka cluster 'main' answers") as told:
            check_stream(at, "days")
    assert told.value.hint == "See kafka.main in headrace.toml."


def test_a_broker_that_refuses_says_what_its_user_needs(broker):
    """Here because the topic is there; a broker that knows rights answers in the same way."""
    cluster = Cluster(name="main", properties={"bootstrap.servers": broker.at}, test="refused")
    own_topics.create(cluster, ["in"])
    with pytest.raises(RefusedError, match="topic headrace-test-refused-in cannot be created: ") as told:
        own_topics.create(cluster, ["in"])
    assert "kafka.main needs the rights Create, " in told.value.hint
    assert "headrace-test-" in told.value.hint
    own_topics.delete(cluster, ["in", "never"], ["never"])
    assert not any(each.startswith("headrace-test-refused") for each in topics(broker))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, RefusedError),
        (KafkaError.POLICY_VIOLATION, RefusedError),
        (KafkaError._TIMED_OUT, UnavailableError),
    ],
)
def test_what_a_broker_answers_is_told_apart_from_none(code, kind):
    """No broker from a wheel knows rights: the client's own error is given."""
    cluster = Cluster(name="main", properties={}, test="x")
    assert type(own_topics._wrong(cluster, KafkaError(code), "topic t cannot be created")) is kind


@pytest.mark.parametrize(
    "act",
    [
        lambda cluster: own_topics.create(cluster, ["in"]),
        lambda cluster: own_topics.delete(cluster, ["in"], []),
        lambda cluster: own_topics.delete(cluster, [], ["group"]),
        lambda cluster: own_topics.send(cluster.topic("in"), [b"{}"]),
        lambda cluster: own_topics.read(cluster.topic("in")),
    ],
    ids=["create", "delete", "delete-group", "send", "read"],
)
def test_outside_of_a_test_nothing_is_created_deleted_sent_or_read(act):
    with pytest.raises(RefusedError, match="are not a test's"):
        act(Cluster(name="main", properties={"bootstrap.servers": "127.0.0.1:1"}))


def leave(folder, broker, test, noted):
    """What a test that was killed long ago left: its note, and two topics and a message of its own."""
    cluster = Cluster(name="main", properties={"bootstrap.servers": broker.at}, test=test)
    own_topics.create(cluster, ["in", "out"])
    own_topics.send(cluster.topic("in"), [b"{}"])
    root = folder / ".headrace" / "tests" / test / "stores"
    root.mkdir(parents=True)
    (root / "kafka.json").write_text(noted if isinstance(noted, str) else json.dumps(noted))
    os.utime(root.parent, (0, 0))
    return root.parent


def test_the_next_test_deletes_the_topics_that_a_killed_one_left(tmp_path, broker, monkeypatch):
    monkeypatch.setenv("HEADRACE_ENV__staging__kafka__main__bootstrap_servers", broker.at)
    folder, before = make(tmp_path / "mini", model=False), topics(broker)
    left = leave(
        folder, broker, "left", {"environment": "staging", "topics": {"main": ["in", "out"]}, "groups": {"main": ["g"]}}
    )
    assert topics(broker) - before == {"headrace-test-left-in", "headrace-test-left-out"}
    assert run_integration_test(At(folder=folder)).passed
    assert topics(broker) == before
    assert not left.exists()


def test_a_folder_whose_topics_cannot_be_deleted_now_stays_for_the_next_test(tmp_path, broker, monkeypatch):
    folder, before = make(tmp_path / "mini", model=False), topics(broker)
    left = leave(folder, broker, "later", {"environment": "staging", "topics": {"main": ["in", "out"]}, "groups": {}})
    monkeypatch.setattr("headrace.inference.streaming.clients.PATIENCE", 0.5)
    monkeypatch.setenv("HEADRACE_ENV__staging__kafka__main__bootstrap_servers", "127.0.0.1:1")
    assert not delete_left(config.load(folder), left)
    monkeypatch.setattr("headrace.inference.streaming.clients.PATIENCE", 5)
    monkeypatch.setenv("HEADRACE_ENV__staging__kafka__main__bootstrap_servers", broker.at)
    assert delete_left(config.load(folder), left)
    assert topics(broker) == before


@pytest.mark.parametrize(
    "noted",
    [
        "rubbish",
        "[" * 100_000,
        [],
        {"environment": "staging", "topics": {"main": "TOPIC"}, "groups": {}},
        {"environment": "staging", "topics": {"main": ["TOPIC"]}, "groups": {"main": ["TOPIC"]}},
        {"environment": "prod", "topics": {"main": ["TOPIC"]}, "groups": {}},
        {"environment": "nowhere", "topics": {"main": ["TOPIC"]}, "groups": {}},
        {"environment": ["staging"], "topics": {"main": ["TOPIC"]}, "groups": {}},
        {"environment": "staging", "topics": {"other": ["TOPIC"]}, "groups": {}},
    ],
    ids=["no-json", "deep", "list", "text", "declared", "prod", "nowhere", "no-name", "no-cluster"],
)
def test_no_note_deletes_a_declared_topic(tmp_path, broker, monkeypatch, noted):
    """The code that is tested can write one."""
    for env in ("staging", "prod"):
        monkeypatch.setenv(f"HEADRACE_ENV__{env}__kafka__main__bootstrap_servers", broker.at)
    folder, declared = make(tmp_path / "mini", model=False), broker.topic()
    broker.send(declared, OTHERS)
    root = folder / ".headrace" / "tests" / "evil" / "stores"
    root.mkdir(parents=True)
    (root / "kafka.json").write_text(noted if isinstance(noted, str) else json.dumps(noted).replace("TOPIC", declared))
    assert delete_left(config.load(folder), root.parent)
    assert values(broker, declared) == OTHERS


def own_of(broker):
    return {each for each in topics(broker) if each.startswith("headrace-test-")}


def committed_project(folder, stream):
    program(make(folder), stream)
    subprocess.run(
        ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qam", "a"], cwd=folder, check=True
    )
    return folder


def test_a_test_that_is_stopped_in_its_stream_deletes_its_topics(tmp_path, broker):
    """The worker waits for more messages meanwhile."""
    folder = committed_project(tmp_path / "mini", 'source=hr.kafka("in"), into=hr.kafka("out"), max_wait="600000ms"')
    env, before = {**os.environ, **kafka_of("staging", broker)}, topics(broker)
    command = [sys.executable, "-P", "-m", "headrace.cli", "test", "integration"]
    begun = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert any("batch days" in line for line in iter(begun.stdout.readline, ""))
    until = time.monotonic() + 60
    while len(own_of(broker)) < 3 or not any(len(values(broker, each)) == 50 for each in own_of(broker)):
        assert begun.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    begun.send_signal(signal.SIGTERM)
    assert begun.wait(60) == 130
    begun.stdout.close()
    assert topics(broker) == before
    assert list((folder / ".headrace" / "tests").iterdir()) == []


def test_a_stream_is_a_step_of_the_integration_test(tmp_path, broker, monkeypatch):
    source = broker.topic()
    broker.send(source, OTHERS)
    folder, before = (
        committed_project(tmp_path / "mini", f'source=hr.kafka("{source}"), into="answers.days"'),
        topics(broker),
    )
    for name, value in kafka_of("staging", broker).items():
        monkeypatch.setenv(name, value)
    report = run_integration_test(At(folder=folder))
    steps = {step.step: step for step in report.steps}
    assert report.passed, report.to_json()
    assert steps["stream days"].summary == "50 messages, 50 predictions"
    assert topics(broker) == before
    assert values(broker, source) == OTHERS
