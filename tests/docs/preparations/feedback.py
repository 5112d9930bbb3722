"""What the blocks refer to: a server that takes any feedback, and the id of an answer."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer


class Taking(BaseHTTPRequestHandler):
    """Acknowledges what it gets."""

    def do_POST(self):
        """One row for each message."""
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps({"feedback_ids": ["1"]}).encode()
        self.send_response(202)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nothing is told."""


server = HTTPServer(("127.0.0.1", 0), Taking)
threading.Thread(target=server.serve_forever, daemon=True).start()
url, prediction_id = f"http://127.0.0.1:{server.server_port}", "3f1c"
