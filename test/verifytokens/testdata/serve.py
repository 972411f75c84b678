import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from page import authorize


class Handler(BaseHTTPRequestHandler):
    """Serves GET / to whom the page's authorize lets through."""

    def do_GET(self):
        claims, status, challenge = authorize(self.headers["Authorization"], "deploy:staging")
        self.send_response(status)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.end_headers()
        if claims:
            self.wfile.write(json.dumps({"sub": claims["sub"], "repository": claims["workload"]["repository"]}).encode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
