"""A web server and a mail server of one test: they keep what they take, and refuse what they are told to refuse."""

import json
import socket
import socketserver
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest


class Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.asked.append((self.path, dict(self.headers), body))
        status = server.statuses.pop(0) if server.statuses else 204
        if status == "hang up":
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(status)
        if status == 302:
            self.send_header("Location", server.elsewhere)
        if status < 300:
            server.taken.append(json.loads(body))  # before whoever sent it can go on
        self.end_headers()

    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers), b""))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def running(server):
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def hook():
    server = HTTPServer(("127.0.0.1", 0), Hook)
    server.asked, server.taken, server.statuses, server.elsewhere = [], [], [], ""
    with running(server):
        yield server


def url(server, path="/hook", user=""):
    return f"http://{user}127.0.0.1:{server.server_port}{path}"


class Post(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as a client needs."""

    def handle(self):
        say = lambda line: self.wfile.write(f"{line}\r\n".encode())  # noqa: E731
        say("220 here")
        while line := self.rfile.readline().decode().strip():
            verb = line.split()[0].upper()
            if verb == "DATA":
                say("354 go on")
                lines = []
                while (data := self.rfile.readline()) != b".\r\n":
                    lines.append(data)
                self.server.taken.append(b"".join(lines))
                say("250 taken")
            elif verb == "RCPT" and any(name in line for name in self.server.unknown):
                say("550 nobody of that name")
            else:
                say("221 bye" if verb == "QUIT" else "250 fine")
            if verb == "QUIT":
                return


@pytest.fixture
def post():
    server = socketserver.TCPServer(("127.0.0.1", 0), Post)
    server.taken, server.unknown = [], []
    with running(server):
        yield server
