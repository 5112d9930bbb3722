"""A GitHub and a GitLab of one test: HTTP servers with the comments of merge requests, which record what they are asked.

They keep to what the hosts document: pages of at most 100, `Link` headers, limits of length, statuses of tokens. What is
queued in `answers` comes first, in place of the next answers.
"""

import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TOKEN = "ghp_only-for-this-test"


class Host(ThreadingHTTPServer):
    """What both have.

    Attributes:
        notes: the comments, as objects of the host's API, in the order in which they were made.
        requests: (method, path, headers, body) of each request.
        answers: (status, headers, body) to give instead; a callable is called with the handler; None: the usual answer.
        done_but_failed: a POST is done, and answered with 502, that many times.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.notes, self.requests, self.answers, self.done_but_failed = [], [], [], 0
        self.url = f"http://127.0.0.1:{self.server_port}{self.prefix}"
        self.lock = threading.Lock()

    def asked(self, method=None):
        return [(verb, path) for verb, path, _, _ in self.requests if method in (None, verb)]


class GitHubHost(Host):
    """Pull request 7 of `shop/shop`; the token is that of a job (a bot), or of a person."""

    prefix, limit = "", 65_536
    numbered = "/repos/shop/shop/issues/7/comments"
    bot = True

    def token(self, headers):
        return headers.get("Authorization", "").removeprefix("Bearer ")

    def me(self):
        return (403, {"message": "Resource not accessible by integration"}) if self.bot else (200, {"login": "ann"})

    def author(self):
        return {
            "user": {"login": "github-actions[bot]", "type": "Bot"} if self.bot else {"login": "ann", "type": "User"}
        }

    def somebody(self):
        return {"user": {"login": "eve", "type": "User"}}

    def one(self, path):
        return re.fullmatch(r"/repos/shop/shop/issues/comments/(\d+)", path)

    variables_of = staticmethod(
        lambda url, event: {
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": "shop/shop",
            "GITHUB_API_URL": url,
            "GITHUB_EVENT_PATH": event,
            "GITHUB_REF": "refs/pull/7/merge",
            "GITHUB_TOKEN": TOKEN,
        }
    )


class GitLabHost(Host):
    """Merge request 7 of project 42."""

    prefix, limit = "/api/v4", 1_000_000
    numbered = "/api/v4/projects/42/merge_requests/7/notes"

    def token(self, headers):
        return headers.get("PRIVATE-TOKEN", "")

    def me(self):
        return 200, {"id": 5, "username": "project_42_bot"}

    def author(self):
        return {"author": {"id": 5}}

    def somebody(self):
        return {"author": {"id": 6}}

    def one(self, path):
        return re.fullmatch(rf"{self.numbered}/(\d+)", path)

    variables_of = staticmethod(
        lambda url, event: {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": url,
            "CI_PROJECT_ID": "42",
            "CI_MERGE_REQUEST_IID": "7",
            "HEADRACE_GITLAB_TOKEN": TOKEN,
        }
    )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        host = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with host.lock:
            host.requests.append((self.command, self.path, dict(self.headers), body))
            queued = host.answers.pop(0) if host.answers else None
            if callable(queued):
                queued(self)
            elif queued is not None:
                self.say(*queued)
            else:
                self.say(*self.usual(json.loads(body) if body else None))

    do_GET = do_POST = do_PATCH = do_PUT = answer  # noqa: N815

    def usual(self, body):
        host, asked = self.server, urlsplit(self.path)
        if host.token(self.headers) != TOKEN:
            return 401, {}, {"message": f"Bad credentials: {host.token(self.headers)}"}
        if asked.path == f"{host.prefix}/user":
            status, told = host.me()
            return status, {}, told
        if body is not None and len(body["body"]) > host.limit:
            return 422, {}, {"message": f"body is too long (maximum is {host.limit} characters)"}
        if asked.path == host.numbered and self.command == "GET":
            return self.page(parse_qs(asked.query))
        if asked.path == host.numbered and self.command == "POST":
            host.notes.append({"id": len(host.notes) + 1, **host.author(), **body})
            if host.done_but_failed:
                host.done_but_failed -= 1
                return 502, {}, None
            return 201, {}, host.notes[-1]
        found = host.one(asked.path)
        note = next((each for each in host.notes if found and each["id"] == int(found[1])), None)
        if note is None or self.command not in ("PATCH", "PUT"):
            return 404, {}, {"message": "Not Found"}
        note |= body
        return 200, {}, note

    def page(self, query):
        number, size = int(query["page"][0]), min(int(query["per_page"][0]), 100)
        notes = self.server.notes
        following = {"Link": f'<{self.server.url}/next>; rel="next"'} if number * size < len(notes) else {}
        return 200, following, notes[(number - 1) * size : number * size]

    def say(self, status, headers, body):
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@contextmanager
def running(kind):
    host = kind()
    thread = threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield host
    finally:
        host.shutdown()
        thread.join()
        host.server_close()


STEPS = [
    {"step": "refresh", "result": "passed", "seconds": 1.25, "summary": "4 tables", "reason": "", "log": ""},
    {
        "step": "train",
        "result": "failed",
        "seconds": 2.0,
        "summary": "",
        "reason": "no labelled decision",
        "log": "reading\nno labelled decision",
    },
    {"step": "batch", "result": "skipped", "seconds": 0.0, "summary": "", "reason": "train failed", "log": ""},
]


def document(**changes):
    """A report of a test that failed at `train`."""
    return {
        "project": "shop",
        "environment": "staging",
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "tree": "fedcba98765432100123456789abcdef01234567",
        "lock": None,
        "started_at": "2024-01-31T12:00:00Z",
        "finished_at": "2024-01-31T12:01:30Z",
        "passed": False,
        "signed_by": None,
        "steps": STEPS,
        **changes,
    }


PASSED = {"passed": True, "signed_by": "ci", "steps": STEPS[:1]}
