"""One file over HTTP, from a server that misbehaves in every way that servers do."""

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


@pytest.mark.parametrize("how", [{}, {"no_length": True}])
def test_plain(server, tmp_path, how):
    server.script = [how]
    assert get(server, tmp_path) == CONTENT


def test_goes_on_where_the_connection_broke(server, tmp_path):
    server.script = [{"until": 1_000_000}, {"until": 2_500_000}]
    assert get(server, tmp_path) == CONTENT
    assert [asked for _, asked in server.seen] == [None, "bytes=1000000-", "bytes=2500000-"]


def test_the_next_call_goes_on(server, tmp_path):
    server.script = [{"until": 1_000_000}, {"status": 503}]
    with pytest.raises(InputError, match=r"failed .503"):
        download.download(server.url(), tmp_path / "x.tar", DIGEST)
    assert not (tmp_path / "x.tar").exists() and download.received(tmp_path / "x.tar") == 1_000_000
    assert get(server, tmp_path) == CONTENT and server.seen[-1][1] == "bytes=1000000-"


def test_a_server_without_ranges_starts_anew(server, tmp_path):
    server.script = [{"until": 1_000_000}, {"ignore_range": True}]
    assert get(server, tmp_path) == CONTENT


def test_a_server_that_says_nothing_of_its_file_starts_anew(server, tmp_path):
    server.etag = ""
    server.script = [{"until": 1_000_000}]
    assert get(server, tmp_path) == CONTENT and server.seen[-1][1] is None


def test_a_file_that_changed_meanwhile_is_not_mixed_with_the_old_one(server, tmp_path):
    server.script = [{"until": 1_000_000}, {"status": 500}]
    with pytest.raises(InputError, match="500"):
        download.download(server.url(), tmp_path / "x.tar")
    server.content, server.etag = CONTENT[::-1], '"v2"'
    assert get(server, tmp_path, None) == CONTENT[::-1]


def test_a_wrong_part_is_not_used(server, tmp_path):
    server.script = [{"until": 1_000_000}, {"shift": 5}]
    assert get(server, tmp_path) == CONTENT


def test_a_file_that_shrank(server, tmp_path):
    server.script = [{"until": 1_000_000}, {"status": 500}]
    with pytest.raises(InputError, match="500"):
        download.download(server.url(), tmp_path / "x.tar")
    server.content = CONTENT[:1000]
    assert get(server, tmp_path, None) == CONTENT[:1000]


def test_redirects_keep_the_range(server, tmp_path):
    server.script = [{"to": "/b"}, {"until": 1_000_000}, {"to": server.base + "/c"}]
    assert get(server, tmp_path) == CONTENT
    assert server.seen[-1] == ("/c", "bytes=1000000-")


def test_a_length_too_long_is_no_end(server, tmp_path):
    server.script = [{"length": len(CONTENT) + 10}] + [{"length": 99, "until": 0}] * 9
    with pytest.raises(InputError, match=r"broke off after 3072000 bytes .*call again to go on"):
        download.download(server.url(), tmp_path / "x.tar", DIGEST)
    assert not (tmp_path / "x.tar").exists()


@pytest.mark.parametrize("how", [{"length": 1000}, {"no_length": True, "until": 1000}])
def test_a_length_too_short_is_found_by_the_digest(server, tmp_path, how):
    server.script = [how]
    with pytest.raises(InputError, match="not the file that is documented: md5 is"):
        download.download(server.url(), tmp_path / "x.tar", DIGEST)
    assert not list(tmp_path.iterdir())


def test_a_wrong_file_is_removed(server, tmp_path):
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(InputError, match=r"x.tar: not the file .* expected .*; it was removed"):
        download.download(server.url(), tmp_path / "x.tar", DIGEST)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"status": 401}, "refused .401 Unauthorized.; a login or licence may stand in the way"),
        ({"status": 403}, "refused .403 Forbidden.; a login or licence"),
        ({"status": 404}, "is not there .404 Not Found.; name a mirror"),
        ({"status": 500}, "failed .500 Internal Server Error.; call again later"),
        ({"type": "text/html; charset=utf-8"}, "answered with a web page, not a file; a login"),
    ],
)
def test_refusals_are_one_line(server, tmp_path, how, said):
    server.script = [how]
    with pytest.raises(InputError, match=said) as caught:
        download.download(server.url(), tmp_path / "x.tar", DIGEST)
    assert "\n" not in str(caught.value) and server.url() in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_redirects_in_a_circle(server, tmp_path):
    server.script = [{"to": "/x.tar"}] * 20
    with pytest.raises(InputError, match=r"failed .302") as caught:
        download.download(server.url(), tmp_path / "x.tar", DIGEST)
    assert "\n" not in str(caught.value)


def test_nobody_listens(server, tmp_path):
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(InputError, match=r"can't be reached .*refused"):
        download.download(server.url(), tmp_path / "x.tar", DIGEST)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_not_taken_for_a_broken_line(server, tmp_path):
    (tmp_path / "x.tar.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        download.download(server.url(), tmp_path / "x.tar", DIGEST)
    assert len(server.seen) == 1
