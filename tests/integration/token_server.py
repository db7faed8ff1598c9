#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A token service for a registry, as small as the registry's documentation allows (Docker Registry v2 authentication):

    token_server.py DIRECTORY USER:PASSWORD VALID_SECONDS

DIRECTORY holds key.pem and cert.pem. Listens on a free port of 127.0.0.1 and prints it. Gives a token for whatever is asked
to whoever shows the password, and tells the client that it is valid for five minutes; the registry will refuse it after
VALID_SECONDS (one that allows a push lasts as long as it is said to). Writes a line for each token given to DIRECTORY/tokens."""
import base64
import http.server
import json
import pathlib
import subprocess
import sys
import time
import urllib.parse

directory, login, valid_seconds = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
LEEWAY_SECONDS = 60  # that the registry grants after a token's end


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def certificate():
    lines = (directory / "cert.pem").read_text().splitlines()
    return "".join(line for line in lines if not line.startswith("-----"))


def token(service, scopes):
    now = int(time.time())
    access = []
    for scope in scopes:
        kind, name, actions = scope.split(":", 2)
        access.append({"type": kind, "name": name, "actions": actions.split(",")})
    head = {"typ": "JWT", "alg": "RS256", "x5c": [certificate()]}
    seconds = 300 if any("push" in item["actions"] for item in access) else valid_seconds
    claims = {"iss": "caisson-test", "sub": "", "aud": service, "exp": now + seconds - LEEWAY_SECONDS, "nbf": now - 600,
              "iat": now - 600, "jti": str(time.time_ns()), "access": access}
    text = encoded(json.dumps(head).encode()) + "." + encoded(json.dumps(claims).encode())
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(directory / "key.pem")], input=text.encode(),
                               stdout=subprocess.PIPE, check=True).stdout
    return text + "." + encoded(signature)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        basic = self.headers.get("Authorization", "")
        known = basic == "Basic " + base64.b64encode(login.encode()).decode()
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        if not known:
            self.answer(401, {"details": "incorrect username or password"})
            return
        scopes = [scope for text in query.get("scope", []) for scope in text.split()]
        given = token(query.get("service", [""])[0], scopes)
        with open(directory / "tokens", "a") as log:
            log.write(" ".join(scopes) + "\n")
        self.answer(200, {"token": given, "access_token": given, "expires_in": 300})

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
