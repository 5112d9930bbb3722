"""`headrace run stream --once`, against a real broker and real tables."""

import json
import signal
import time

import pytest

from headrace.scoring.columns import MADE

from .conftest import kafka, lake, predicted, ride, rows


def once(headrace, folder, *options):
    done = headrace.run(folder, "run", "stream", "--once", "--json", *options)
    assert done.code == 0, done.stderr
    return done.json()


def test_a_message_gets_the_record_that_batch_scoring_gives_the_decision(headrace, project, broker):
    topic = broker.topic(4)
    folder = project(kafka(topic))
    done = headrace.run(
        folder, "run", "score", "--since", "2024-01-01", "--until", "2024-03-01", "--as-of", "2024-03-01"
    )
    assert done.code == 0, done.stderr
    decisions = rows(folder, "city.asked")
    values = [
        json.dumps({**each, "requested_at": each["requested_at"].isoformat(), "other": [1]}) for each in decisions
    ]
    broker.send(topic, [each.encode() for each in values], partitions=4)
    told = once(headrace, folder)
    assert (told["messages"], told["predictions"], told["dead_letters"], told["lag"]) == (200, 200, 0, 0)
    batch = {row["prediction_id"]: row for row in rows(folder, "answers.minutes")}
    stream = {row["prediction_id"]: row for row in rows(folder, "gold.minutes")}
    assert set(batch) <= set(stream)
    assert lake(folder).snapshot("gold.minutes").schema == lake(folder).snapshot("answers.minutes").schema
    same = [each for each in batch if stream[each]["features"] == batch[each]["features"]]
    assert len(same) >= 3  # elsewhere the online store knows a later row than the decision could
    for each in same:
        assert {**stream[each], **dict.fromkeys(MADE)} == {**batch[each], **dict.fromkeys(MADE)}
        told = json.loads(batch[each]["feature_versions"])
        assert json.loads(stream[each]["feature_versions"]) == {"stats.busy": told["stats.busy"]}
    assert once(headrace, folder)["messages"] == 0


def test_what_cannot_be_scored_is_a_dead_letter_with_its_reason(headrace, project, broker):
    topic = broker.topic()
    wrong = {
        b"{": "the value is no JSON: ",
        None: "the message has no value.",
        b"[1]": "the value is no JSON object.",
        b'{"ride": NaN}': "the value is no JSON: ",
        b"\xff": "the value is no JSON: ",
        json.dumps({"ride": 1, "kind": "city"}).encode(): "'battery' is missing.",
        ride(1, ride=None): "'ride' is null: a decision is known by its key.",
        ride(1, ride="one"): "'ride' is int64; str was given.",
        ride(1, ride=2**70): "'ride' is int64; a number that it cannot hold was given.",
        ride(1, ride=1.5): "'ride' is int64; a number that it cannot hold was given.",
        ride(1, station=7): "'station' is string; int was given.",
        ride(1, battery="full"): "'battery' is no number.",
        ride(1, battery=[1]): "'battery' is no number.",
        ride(1, kind=3): "'kind' is no text.",
        ride(1, requested_at="soon"): "'requested_at' is no time in ISO 8601.",
        ride(1, battery=13): "on-demand feature half() raised ValueError",
    }
    good = [ride(100 + each) for each in range(40)]
    broker.send(topic, [*good[:20], *wrong, *good[20:]], keys=[f"k{each}" for each in range(40 + len(wrong))])
    folder = project(kafka(topic))
    told = once(headrace, folder)
    assert (told["messages"], told["predictions"], told["dead_letters"]) == (40 + len(wrong), 40, len(wrong))
    letters = sorted(rows(folder, "gold.minutes_dead_letters"), key=lambda row: row["offset"])
    assert [(row["offset"], row["value"], row["key"]) for row in letters] == [
        (20 + place, value, f"k{20 + place}".encode()) for place, value in enumerate(wrong)
    ]
    for row, (value, reason) in zip(letters, wrong.items(), strict=True):
        assert reason in row["reason"], value
        assert (row["topic"], row["partition"], row["model"]) == (topic, 0, "minutes")
    assert once(headrace, folder)["messages"] == 0


def test_a_dead_letter_stays_one_though_the_next_version_could_score_it(headrace, project, broker):
    """Killed between the two commits; then a version is deployed that would predict for it."""
    topic = broker.topic()
    broker.send(topic, [ride(0), ride(1, battery=13), ride(2)])
    folder = project(kafka(topic))
    assert headrace.run(folder, "run", "stream", "--once", failpoint="stream.refused:minutes").signal == signal.SIGKILL
    program = folder / "rides.py"
    program.write_text(program.read_text().replace("battery == 13", "battery == 14"))
    for arguments in (["train", "--as-of", "2024-02-20"], ["deploy", "--as-of", "2024-02-20"]):
        assert headrace.run(folder, "run", *arguments).code == 0
    broker.send(topic, [ride(3, battery=13)])
    told = once(headrace, folder)
    assert (told["version"], told["messages"], told["predictions"], told["dead_letters"]) == (2, 4, 3, 0)
    assert sorted(row["ride"] for row in predicted(folder)) == [0, 2, 3]
    assert [row["offset"] for row in rows(folder, "gold.minutes_dead_letters")] == [1]


def test_a_version_that_fails_on_everything_is_told_and_nothing_is_refused(headrace, project, broker):
    topic = broker.topic()
    broker.send(topic, [ride(each, battery=13) for each in range(5)])
    folder = project(kafka(topic))
    done = headrace.run(folder, "run", "stream", "--once")
    assert done.code == 1
    assert "minutes version 1 fails on each of 5 messages: " in done.stderr
    assert not lake(folder).exists("gold.minutes_dead_letters")


def test_a_message_without_a_moment_has_that_of_the_message_however_often_it_is_read(headrace, project, broker):
    topic, out = broker.topic(), broker.topic()
    value = json.loads(ride(1))
    del value["requested_at"]
    broker.send(topic, [json.dumps(value).encode()])
    dead = broker.topic()
    first = project(kafka(topic, f'hr.kafka("{out}")', f', dead_letters=hr.kafka("{dead}"), group="one{out}"'))
    once(headrace, first)
    again = project(kafka(topic, f'hr.kafka("{out}")', f', dead_letters=hr.kafka("{dead}"), group="two{out}"'))
    once(headrace, again)
    one, two = broker.read(out)
    assert one.key() == two.key()
    sent = broker.read(topic)[0].timestamp()[1] / 1000
    assert json.loads(one.value())["decision_time"].startswith(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(sent)))


def test_from_topic_to_topic(headrace, project, broker):
    topic, out, dead = broker.topic(2), broker.topic(2), broker.topic()
    broker.send(topic, [*(ride(each) for each in range(100)), b"{"], partitions=2)
    folder = project(kafka(topic, f'hr.kafka("{out}")', f', dead_letters=hr.kafka("{dead}")'))
    told = once(headrace, folder)
    assert (told["predictions"], told["dead_letters"]) == (100, 1)
    found = broker.read(out, 2)
    assert sorted(json.loads(each.value())["ride"] for each in found) == list(range(100))
    assert all(json.loads(each.value())["prediction_id"].encode() == each.key() for each in found)
    (letter,) = broker.read(dead)
    assert (letter.key(), letter.value()) == (f"{topic}/0/50".encode(), b"{")
    assert once(headrace, folder)["messages"] == 0  # the group remembers
    assert len(broker.read(out, 2)) == 100


@pytest.mark.parametrize("into_topic", [True, False])
def test_a_prediction_that_its_topic_never_takes_is_a_dead_letter(headrace, project, broker, into_topic):
    topic, out, dead = broker.topic(), broker.topic(), broker.topic()
    broker.send(topic, [ride(0), ride(1, kind="a" * 60_000), b"{", ride(2)])
    letters = f'hr.kafka("{dead}")' if into_topic else '"gold.refused"'
    folder = project(kafka(topic, f'hr.kafka("{out}")', f", dead_letters={letters}"))
    with (folder / "headrace.toml").open("a") as file:
        file.write("message.max.bytes = 50000\n")
    told = once(headrace, folder)
    assert (told["messages"], told["predictions"], told["dead_letters"], told["lag"]) == (4, 2, 2, 0)
    assert [json.loads(each.value())["ride"] for each in broker.read(out)] == [0, 2]
    if into_topic:
        found = {each.key().decode().rpartition("/")[2]: dict(each.headers()) for each in broker.read(dead)}
        assert b"message.max.bytes" in found["1"]["reason"]
        assert found["1"]["value_left_out"].startswith(b"60")
    else:
        found = {str(row["offset"]): row for row in rows(folder, "gold.refused")}
        assert "message.max.bytes" in found["1"]["reason"]
        assert len(found["1"]["value"]) > 60_000
    assert sorted(found) == ["1", "2"]
    assert once(headrace, folder)["messages"] == 0


def test_a_change_feed_is_scored_version_by_version(headrace, project):
    folder = project('source=hr.change_feed("city.asked"), into="gold.minutes", max_messages=30')
    killed = headrace.run(folder, "run", "stream", "--once", failpoint="commit.committed:gold.minutes")
    assert killed.signal == signal.SIGKILL
    assert once(headrace, folder)["messages"] == 170
    assert sorted(row["ride"] for row in predicted(folder)) == list(range(200))
    source = folder / "data" / "rides.csv"
    lines = source.read_text().splitlines()
    changed = [line.replace(",0.5,", ",7.5,") if line.startswith("10,") else line for line in lines]
    added = "900,s1,city,2024-02-28T00:00:00+00:00,2024-02-28T03:00:00+00:00,2.5,4"
    source.write_text("\n".join([*changed, added]) + "\n")
    assert headrace.run(folder, "run", "refresh").code == 0
    told = once(headrace, folder)
    assert (told["messages"], told["predictions"]) == (2, 2)
    found = {row["ride"]: row for row in predicted(folder)}
    assert sorted(found) == [*range(200), 900]
    assert found[10]["features"]["battery"] == 7.5  # the same decision, so the same row
    assert len(predicted(folder)) == 201


def test_a_change_feed_into_a_topic_remembers_where_it_was(headrace, project, broker):
    out, dead = broker.topic(), broker.topic()
    folder = project(f'source=hr.change_feed(asked), into=hr.kafka("{out}"), dead_letters=hr.kafka("{dead}")')
    killed = headrace.run(folder, "run", "stream", "--once", failpoint="stream.written:minutes")
    assert killed.signal == signal.SIGKILL
    assert once(headrace, folder)["messages"] == 200
    found = broker.read(out)
    assert len(found) == 400  # at least once
    assert len({each.key() for each in found}) == 200
    assert once(headrace, folder)["messages"] == 0


@pytest.mark.parametrize(
    ("stream", "code", "said"),
    [
        ('source=hr.kafka("no such"), into="gold.m"', 2, "is not the name of a topic"),
        ('source=hr.kafka("nowhere"), into="gold.m"', 2, "no topic of the Kafka cluster 'main', 'nowhere'"),
        ('source=hr.kafka("t", cluster="mian"), into="gold.m"', 2, "did you mean 'main'?"),
        ('source=hr.kafka("t"), into=hr.kafka("t")', 2, "would read what it writes"),
        ('source=hr.change_feed("city.asked"), into="city.asked"', 2, "would read what it writes"),
        ('source="t", into="gold.m"', 2, "is no source"),
        ('source=hr.change_feed("city.back"), into="gold.m"', 3, "change_feed=True"),
        ('source=hr.change_feed("city.nothing"), into="gold.m"', 2, "no table 'city.nothing'"),
        ('source=hr.kafka("t"), into="gold.m", max_wait="1"', 2, "is no wait"),
    ],
)
def test_mistakes_are_told_with_the_way_out(headrace, project, stream, code, said):
    done = headrace.run(project(stream), "run", "stream", "--once")
    assert (done.code, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_broker_it_is_told_and_no_secret_with_it(headrace, project):
    folder = project('source=hr.kafka("t"), into="gold.m"')
    toml = folder / "headrace.toml"
    text = toml.read_text().split("[env.dev.kafka.main]")[0]
    toml.write_text(
        f'{text}[env.dev.kafka.main]\nbootstrap.servers = "127.0.0.1:1"\nsasl.mechanism = "PLAIN"\n'
        'security.protocol = "SASL_PLAINTEXT"\nsasl.username = "me"\nsasl.password = {secret = "KAFKA_WORD"}\n'
    )
    missing = headrace.run(folder, "run", "stream", "--once")
    assert (missing.code, "KAFKA_WORD" in missing.stderr) == (2, True)
    done = headrace.run(folder, "run", "stream", "--once", env={"KAFKA_WORD": "hunter2"})
    assert (done.code, "no broker of the Kafka cluster 'main' answers" in done.stderr) == (1, True)
    toml.write_text(f'{text}[env.dev.kafka.main]\nbootstrap.servers = "127.0.0.1:1"\nsession.timout.ms = 5\n')
    typo = headrace.run(folder, "run", "stream", "--once")
    assert (typo.code, 'No such configuration property: "session.timout.ms"' in typo.stderr) == (2, True)
    toml.write_text(f'{text}[env.dev.kafka.main]\nbootstrap.servers = "127.0.0.1:1"\nsasl.password = "hunter2"\n')
    clear = headrace.run(folder, "run", "stream", "--once")
    assert clear.code == 2
    assert "does not belong in a file" in clear.stderr
    assert "hunter2" not in done.stderr + typo.stderr + clear.stderr
