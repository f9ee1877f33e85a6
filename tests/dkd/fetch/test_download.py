"""One file over HTTP, from a server that misbehaves in the ways that servers do."""

import hashlib
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dkd.errors import InputError
from dkd.fetch import download

CONTENT = bytes(range(256)) * 12_000
DIGEST = f"md5:{hashlib.md5(CONTENT).hexdigest()}"


class Server:
    """Serves CONTENT; `script` says how the next requests are answered, `seen` what was asked."""

    def __init__(self):
        self.content, self.etag, self.script, self.seen = CONTENT, '"v1"', [], []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self.base = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def url(self, name="x.tar"):
        return f"{self.base}/{name}"


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, server, *words):
        self.say = server
        super().__init__(*words)

    def log_message(self, *words):
        pass

    def do_GET(self):
        say, range_ = self.say, self.headers.get("Range")
        say.seen.append((self.path, range_))
        how = say.script.pop(0) if say.script else {}
        if "status" in how:
            return self.send_error(how["status"])
        if "to" in how:
            self.send_response(302)
            self.send_header("Location", how["to"])
            return self.end_headers()
        start, content = 0, say.content
        same = self.headers.get("If-Range") in (None, say.etag)
        if range_ and same and not how.get("ignore_range"):
            start = int(range_.removeprefix("bytes=").split("-")[0])
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206)
            at = start + how.get("shift", 0)
            self.send_header("Content-Range", f"bytes {at}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if say.etag:
            self.send_header("ETag", say.etag)
        self.send_header("Content-Type", how.get("type", "application/x-tar"))
        if not how.get("no_length"):
            self.send_header("Content-Length", str(how.get("length", len(content) - start)))
        self.end_headers()
        self.wfile.write(content[start : how.get("until")])


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.0))
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def get(server, folder, digest=DIGEST):
    download.download(server.url(), folder / "x.tar", digest)
    assert [path.name for path in folder.iterdir()] == ["x.tar"], "nothing but the file remains"
    return (folder / "x.tar").read_bytes()


def refused(server, folder, words, digest=DIGEST):
    with pytest.raises(InputError, match=words) as caught:
        download.download(server.url(), folder / "x.tar", digest)
    assert "\n" not in str(caught.value) and server.url() in str(caught.value)
    assert not (folder / "x.tar").exists()


BROKEN = {"until": 1_000_000}


@pytest.mark.parametrize(
    ("script", "ranges"),
    [
        pytest.param([{}], [None], id="at once"),
        pytest.param([{"no_length": True}], [None], id="no length"),
        pytest.param([BROKEN, {"until": 2_500_000}], [None, "bytes=1000000-", "bytes=2500000-"], id="resumes twice"),
        pytest.param([BROKEN, {"ignore_range": True}], [None, "bytes=1000000-"], id="server without ranges"),
        pytest.param([BROKEN, {"shift": 5}], [None, "bytes=1000000-", None], id="wrong part"),
        pytest.param(
            [{"to": "/b"}, BROKEN, {"to": "/c"}], [None, None, "bytes=1000000-", "bytes=1000000-"], id="redirects"
        ),
    ],
)
def test_the_file_arrives_whole(server, tmp_path, script, ranges):
    server.script = list(script)
    assert get(server, tmp_path) == CONTENT
    assert [asked for _, asked in server.seen] == ranges


def test_the_next_call_resumes(server, tmp_path):
    server.script = [BROKEN, {"status": 503}]
    refused(server, tmp_path, r"failed .503")
    assert download.received(tmp_path / "x.tar") == 1_000_000
    assert get(server, tmp_path) == CONTENT and server.seen[-1][1] == "bytes=1000000-"


def test_a_server_that_does_not_identify_its_file_starts_again(server, tmp_path):
    server.etag = ""
    server.script = [BROKEN]
    assert get(server, tmp_path) == CONTENT and server.seen[-1][1] is None


@pytest.mark.parametrize(("content", "etag"), [(CONTENT[::-1], '"v2"'), (CONTENT[:1000], '"v1"')])
def test_a_file_that_changed_meanwhile_is_not_mixed_with_the_old_one(server, tmp_path, content, etag):
    server.script = [BROKEN, {"status": 500}]
    refused(server, tmp_path, "500")
    server.content, server.etag = content, etag
    assert get(server, tmp_path, None) == content


def test_a_length_too_long_is_not_the_end(server, tmp_path):
    server.script = [{"length": len(CONTENT) + 10}] + [{"length": 99, "until": 0}] * 9
    refused(server, tmp_path, r"interrupted after 3072000 bytes .*call again to resume")


@pytest.mark.parametrize("how", [{"length": 1000}, {"no_length": True, "until": 1000}, {"until": 99, "length": 99}])
def test_a_wrong_digest_removes_the_file(server, tmp_path, how):
    server.script = [how]
    refused(server, tmp_path, r"x.tar: not the documented file: md5 is .* expected .*; it was removed")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"status": 401}, "access denied .401 Unauthorized.; a login or licence may be needed"),
        ({"status": 403}, "access denied .403 Forbidden.; a login or licence"),
        ({"status": 404}, "not found .404 Not Found.; name a mirror"),
        ({"status": 500}, "failed .500 Internal Server Error.; call again later"),
        ({"type": "text/html; charset=utf-8", "until": 0}, "the server sent a web page, not a file; a login"),
        ({"to": "/x.tar"}, "failed .302"),
    ],
)
def test_refusals_are_one_line(server, tmp_path, how, words):
    server.script = [how] * 20
    refused(server, tmp_path, words)
    assert not list(tmp_path.iterdir())


def test_nobody_listens(server, tmp_path):
    server.http.shutdown()
    server.http.server_close()
    refused(server, tmp_path, r"can't be reached .*refused")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_not_taken_for_a_broken_connection(server, tmp_path):
    (tmp_path / "x.tar.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        download.download(server.url(), tmp_path / "x.tar", DIGEST)
    assert len(server.seen) == 1
