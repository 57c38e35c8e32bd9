"""A Hugging Face Hub on this machine: enough of its protocol to push to and pull from."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator


class _Hub(http.server.BaseHTTPRequestHandler):
    files: dict[str, dict[str, bytes]]  # by repository and path

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[:3] == ["api", "repos", "create"]:
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.files.setdefault(name, {})
            return self._json({"url": f"{self._address}/{name}", "name": name})
        if parts[:2] == ["api", "validate-yaml"]:
            return self._json({"errors": [], "warnings": []})
        repository = "/".join(parts[2:4])
        if repository not in self.files:
            return self._missing()
        if parts[4] == "preupload":
            paths = [each["path"] for each in json.loads(body)["files"]]
            modes = [
                {"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths
            ]
            return self._json({"files": modes})
        assert parts[4] == "commit", self.path
        for line in body.splitlines():
            each = json.loads(line)
            if each["key"] == "file":
                content = base64.b64decode(each["value"]["content"])
                self.files[repository][each["value"]["path"]] = content
        address = f"{self._address}/{repository}/commit/{self._commit(repository)}"
        return self._json({"commitUrl": address, "commitOid": self._commit(repository)})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            repository = "/".join(parts[2:4])
            if repository not in self.files:
                return self._missing()
            if "tree" in parts:
                return self._json(
                    [
                        {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
                        for path, content in self.files[repository].items()
                    ]
                )
            siblings = [{"rfilename": path} for path in self.files[repository]]
            return self._json(
                {"id": repository, "sha": self._commit(repository), "siblings": siblings}
            )
        repository, path = "/".join(parts[:2]), "/".join(parts[4:])
        content = self.files.get(repository, {}).get(path)
        if content is None:
            return self._missing()
        etag = hashlib.sha1(content).hexdigest()
        self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": self._commit(repository)})

    def log_message(self, *arguments: object) -> None:
        pass

    @property
    def _address(self) -> str:
        return f"http://{self.headers['Host']}"

    def _commit(self, repository: str) -> str:
        """Another one whenever the content is another."""
        return hashlib.sha1(repr(sorted(self.files[repository].items())).encode()).hexdigest()

    def _missing(self) -> None:
        self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextlib.contextmanager
def local_hub() -> Iterator[tuple[str, dict[str, dict[str, bytes]]]]:
    """Serves a hub; its address, for the environment variable HF_ENDPOINT, and what it holds."""
    files: dict[str, dict[str, bytes]] = {}
    handler = type("Hub", (_Hub,), {"files": files})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
