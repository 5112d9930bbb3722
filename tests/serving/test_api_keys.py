"""Who may call: API keys made, listed and revoked at the command line, and what a server makes of them. HTTPS."""

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import time

import pytest
from tests.serving.conftest import serving
from tests.serving.listening import all_of
from tests.serving.test_server import ROW

BODY = {"instances": [list(ROW.values())]}
PREDICTING = ["/invocations", "/predict", "/v2/models/late/infer"]
TOLD = ["/version", "/openapi.json", "/v2", "/v2/models/late", "/nowhere"]
OPEN = ["/health", "/ready", "/v2/health/live", "/v2/health/ready"]


@pytest.fixture
def project(bikes, tmp_path, headrace):
    """The project's program and settings, without what it has made; and the API keys that are made in it."""
    folder = tmp_path / "bikes"
    folder.mkdir()
    for name in ("headrace.toml", "bikes.py"):
        shutil.copy(bikes / name, folder)

    def run(*arguments):
        return headrace.run(folder, "api-key", *arguments)

    run.file = folder / ".headrace" / "dev" / "api-keys.json"
    return run


def made(project, name, *arguments):
    done = project("create", name, *arguments)
    assert done.code == 0, done.stderr
    return done.stdout.strip()


def status(server, path, token=None, body=None, scheme="Bearer"):
    headers = {} if token is None else {"authorization": f"{scheme} {token}"}
    return server.ask(path, body, headers=headers)[0]


def soon(what, expected, seconds=5):
    end = time.monotonic() + seconds
    while (found := what()) != expected:
        assert time.monotonic() < end, found
        time.sleep(0.02)


class TestCommands:
    def test_an_api_key_is_shown_once_and_kept_as_its_hash(self, project):
        text = made(project, "check-out", "--scope", "predict", "--scope", "metrics", "--days", "30")
        assert text.startswith("hr_")
        assert len(text) > 40
        kept = project.file.read_text()
        assert text not in kept
        assert text.removeprefix("hr_") not in kept
        assert project.file.stat().st_mode & 0o077 == 0
        for arguments in (["list"], ["list", "--json"]):
            listed = project(*arguments)
            assert "check-out" in listed.stdout
            for each in (text, json.loads(kept)["keys"][0]["hash"]):
                assert each not in listed.stdout + listed.stderr
        assert made(project, "other") != text

    def test_mistakes_are_told(self, project):
        made(project, "check-out")
        for arguments, said in (
            (["create", "check-out"], "there is an API key"),
            (["create", " "], "no name"),
            (["create", "a\nb"], "no name"),
            (["create", "x", "--scope", "everything"], "everything"),
            (["create", "x", "--days", "0"], "--days"),
            (["revoke", "chek-out"], "check-out"),
        ):
            done = project(*arguments)
            assert done.code != 0
            assert said in done.stderr
            assert "Traceback" not in done.stderr
        assert [each["name"] for each in project("list", "--json").json()] == ["check-out"]


class TestServer:
    def test_without_a_valid_token_nothing_but_health_is_told(self, project, home):
        good = made(project, "check-out")
        with serving(home, arguments=["--api-keys", project.file]) as server:
            for path in OPEN:
                assert status(server, path) == 200
            for path in [*PREDICTING, *TOLD, "/metrics"]:
                body = BODY if path in PREDICTING else None
                for token in (None, "", "hr_", "hr_" + "a" * 43, good[:-1], good + "a", good.upper(), "é"):
                    assert status(server, path, token, body) == 401, (path, token)
                assert status(server, path, good, body, scheme="Basic") == 401
            _, answer, headers = server.ask("/invocations", BODY)
            assert headers["www-authenticate"] == "Bearer"
            assert answer["error_code"] == "UNAUTHENTICATED"
            assert [*server.ask("/v2")[1]] == [*server.ask("/v2/models/late/infer", BODY)[1]] == ["error"]
            assert server.ask("/invocations?token=" + good, BODY)[0] == 401
            assert status(server, "/invocations", good, BODY, scheme="bearer") == 200

    def test_a_server_that_runs_asks_for_keys_from_the_first_one_on(self, project, home):
        with serving(home, arguments=["--api-keys", project.file, "--open-without-keys"]) as server:
            assert status(server, "/version") == status(server, "/metrics") == 200
            good = made(project, "check-out")
            soon(lambda: status(server, "/version"), 401)
            assert status(server, "/version", good) == 200
            assert project("revoke", "check-out").code == 0
            soon(lambda: status(server, "/version", good), 401)
            assert status(server, "/version") == 401

    def test_a_token_is_good_for_its_scopes_only(self, project, home):
        predicts = made(project, "check-out")
        measures = made(project, "prometheus", "--scope", "metrics")
        both = made(project, "both", "--scope", "metrics", "--scope", "predict")
        with serving(home, arguments=["--api-keys", project.file]) as server:
            assert status(server, "/invocations", predicts, BODY) == 200
            assert status(server, "/metrics", predicts) == 403
            assert status(server, "/metrics", measures) == 200
            for path in [*PREDICTING, *TOLD]:
                assert status(server, path, measures, BODY if path in PREDICTING else None) == 403, path
            assert status(server, "/metrics", both) == status(server, "/version", both) == 200

    def test_what_is_revoked_made_or_expired_meanwhile_is_noticed_without_a_restart(self, project, home):
        first = made(project, "check-out")
        lasting = made(project, "short", "--days", "1")
        with serving(home, arguments=["--api-keys", project.file]) as server:
            assert status(server, "/version", first) == status(server, "/version", lasting) == 200
            assert project("revoke", "check-out").code == 0
            soon(lambda: status(server, "/version", first), 401, seconds=1.5)
            second = made(project, "check-out")
            soon(lambda: status(server, "/version", second), 200)
            assert status(server, "/version", first) == 401
            stored = json.loads(project.file.read_text())  # as a day later
            for each in stored["keys"]:
                if each["name"] == "short":
                    each["expires"] = "2024-01-01T00:00:00+00:00"
            making = project.file.with_suffix(".new")
            making.write_text(json.dumps(stored))
            making.replace(project.file)
            soon(lambda: status(server, "/version", lasting), 401)
            assert project("revoke", "check-out").code == project("revoke", "short").code == 0
            soon(lambda: status(server, "/version", second), 401)  # none is left, and that opens nothing
            project.file.unlink()
            assert status(server, "/version") == 401

    def test_a_file_that_is_broken_meanwhile_leaves_things_as_they_are(self, project, home):
        token = made(project, "check-out")
        with serving(home, arguments=["--api-keys", project.file]) as server:
            project.file.write_text('{"keys": [{"name": 1')
            time.sleep(0.5)  # two looks at the file
            assert status(server, "/version", token) == 200
            assert status(server, "/version") == 401
            assert "api-keys.json" in server.end()[1]

    def test_no_token_is_in_what_the_server_says_or_logs(self, project, home):
        token = made(project, "check-out")
        with serving(home, arguments=["--api-keys", project.file]) as server:
            told = [server.ask(path, headers={"authorization": f"Bearer {token}"})[1] for path in TOLD]
            assert status(server, "/invocations", token, BODY) == 200
            assert status(server, "/invocations", token, {"instances": "no"}) == 400
            code, said = server.end()
        assert code == 0
        secret = token.removeprefix("hr_").encode()
        assert secret not in said.encode() + json.dumps(told).encode()
        for file in home.parent.parent.rglob("*"):
            assert not file.is_file() or secret not in file.read_bytes(), file

    def test_requests_of_one_token_at_the_same_time_are_limited(self, project, home):
        from tests.serving.conftest import manifest
        from tests.serving.test_drain import SLOWLY, answered, begun, body

        manifest(home, concurrency=1)
        one, other = made(project, "one"), made(project, "other")
        with serving(home, program=SLOWLY, arguments=["--api-keys", project.file]) as server:
            busy = begun(server, 1.0, authorization=f"Bearer {one}")
            soon(lambda: status(server, "/invocations", one, body(0)), 429)
            _, answer, headers = server.ask("/invocations", body(0), headers={"authorization": f"Bearer {one}"})
            assert headers["retry-after"] == "1"
            assert "1 requests of this API key" in answer["message"]
            assert status(server, "/invocations", other, body(0)) == 200
            assert answered(busy)[0] == 200
            assert status(server, "/invocations", one, body(0)) == 200


class TestAddress:
    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "somewhere.example"])
    def test_beyond_this_machine_only_with_tokens_or_when_said(self, home, host):
        with serving(home, wait=False, arguments=["--host", host]) as server:
            assert server.process.wait(120) == 2
            said = server.end()[1]
        assert "headrace api-key create" in said
        assert "--anonymous" in said
        assert "Traceback" not in said

    def test_with_tokens_or_anonymous_it_is_one_address_of_many(self, project, home):
        token = made(project, "check-out")
        everywhere = ["--host", "0.0.0.0"]
        with serving(home, arguments=[*everywhere, "--api-keys", project.file]) as server:
            assert status(server, "/version") == 401
            assert status(server, "/version", token) == 200
        with serving(home, arguments=[*everywhere, "--anonymous"]) as server:
            assert status(server, "/invocations", body=BODY) == 200

    def test_without_tokens_everybody_on_this_machine_may_ask(self, live):
        for path in [*OPEN, "/version", "/metrics", "/openapi.json"]:
            assert live.ask(path)[0] == 200
        assert live.ask("/invocations", BODY, headers={"authorization": "Bearer hr_any"})[0] == 200


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return signed(tmp_path_factory.mktemp("tls"))


def signed(folder):
    """Makes a certificate and its key."""
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    return folder


def listening(server):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        assert server.process.poll() is None, server.end()[1]
        try:
            socket.create_connection(("127.0.0.1", server.port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("not in time")


class TestHttps:
    def test_it_is_spoken_and_nothing_else(self, home, certificate):
        given = ["--tls-certificate", certificate / "certificate.pem", "--tls-key", certificate / "key.pem"]
        trusted = ssl.create_default_context(cafile=certificate / "certificate.pem")
        with serving(home, wait=False, arguments=given) as server:
            listening(server)
            caller = http.client.HTTPSConnection("127.0.0.1", server.port, context=trusted, timeout=10)
            for _ in range(2):  # on one connection
                caller.request("POST", "/invocations", json.dumps(BODY))
                answer = caller.getresponse()
                assert (answer.status, len(json.loads(answer.read())["predictions"])) == (200, 1)
            caller.request("POST", "/invocations", b"a" * 17_000_000)  # refused before it has come
            assert caller.getresponse().status == 413
            caller.close()
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
                plain.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
                assert b"HTTP/1.1 200" not in all_of(plain)
            old = ssl.create_default_context(cafile=certificate / "certificate.pem")
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            raw = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            with old.wrap_socket(raw, server_hostname="localhost") as wrapped:
                assert wrapped.version() == "TLSv1.2"
            code, said = server.end()
        assert (code, "Traceback" in said) == (0, False), said

    @pytest.mark.parametrize("given", [["certificate.pem", None], ["key.pem", "key.pem"], ["none.pem", "key.pem"]])
    def test_files_that_are_none_are_told(self, home, certificate, given):
        names = zip(("--tls-certificate", "--tls-key"), given, strict=True)
        arguments = [each for name, file in names if file for each in (name, certificate / file)]
        with serving(home, wait=False, arguments=arguments) as server:
            assert server.process.wait(120) == 2
            said = server.end()[1]
        assert "certificate" in said
        assert "Traceback" not in said

    def test_one_that_is_replaced_is_used_from_then_on(self, home, tmp_path):
        at_work = signed(tmp_path)
        (tmp_path / "new").mkdir()
        new = signed(tmp_path / "new")
        given = ["--tls-certificate", at_work / "certificate.pem", "--tls-key", at_work / "key.pem"]
        before, after = (
            ssl.create_default_context(cafile=folder / "certificate.pem")
            for folder in (shutil.copytree(at_work, tmp_path / "old"), new)
        )

        def status(trusted):
            caller = http.client.HTTPSConnection("127.0.0.1", server.port, context=trusted, timeout=10)
            try:
                caller.request("GET", "/health")
                return caller.getresponse().status
            except ssl.SSLCertVerificationError:
                return None
            finally:
                caller.close()

        with serving(home, wait=False, arguments=given) as server:
            listening(server)
            kept = http.client.HTTPSConnection("127.0.0.1", server.port, context=before, timeout=10)
            kept.request("GET", "/health")
            assert kept.getresponse().read()
            (new / "key.pem").replace(at_work / "key.pem")  # half of the new one, as it is between two files
            time.sleep(0.5)
            assert (status(before), status(after)) == (200, None)
            (new / "certificate.pem").replace(at_work / "certificate.pem")
            soon(lambda: (status(before), status(after)), (None, 200))
            kept.request("GET", "/health")  # a connection that is open stays
            assert kept.getresponse().status == 200
            kept.close()
            code, said = server.end()
        assert (code, "Traceback" in said) == (0, False), said
        assert "cannot be used" in said
        assert "was read again" in said
