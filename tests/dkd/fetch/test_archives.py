"""Archives that try to write elsewhere, and archives that are damaged."""

import io
import stat
import tarfile
import zipfile

import pytest

from dkd.errors import InputError
from dkd.fetch import archives

WANTED = {r"top/(\w+\.txt)": r"kept/\1"}
KINDS = {
    "file": (tarfile.REGTYPE, stat.S_IFREG),
    "link": (tarfile.SYMTYPE, stat.S_IFLNK),
    "pipe": (tarfile.FIFOTYPE, stat.S_IFIFO),
    "device": (tarfile.CHRTYPE, stat.S_IFCHR),
    "hard link": (tarfile.LNKTYPE, stat.S_IFLNK),
}


@pytest.fixture(params=["tar", "tgz", "zip"])
def pack(request, tmp_path):
    """Makes an archive of top/a.txt and further (name, kind, content or target of a link)."""

    def pack(*members):
        path = tmp_path / f"x.{request.param}"
        members = (("top/a.txt", "file", "good"), *members)
        if request.param == "zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
                for name, kind, content in members:
                    info = zipfile.ZipInfo(name)
                    info.external_attr = (KINDS[kind][1] | 0o4777) << 16
                    file.writestr(info, content)
            return path
        with tarfile.open(path, "w:gz" if request.param == "tgz" else "w") as file:
            for name, kind, content in members:
                member = tarfile.TarInfo(name)
                member.type, member.mode, data = KINDS[kind][0], 0o4777, content.encode() if kind == "file" else b""
                member.linkname, member.size = "" if kind == "file" else content, len(data)
                file.addfile(member, io.BytesIO(data))
        return path

    return pack


def files(folder):
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize(
    "member",
    [
        *((name, "file", "x") for name in ("../evil.txt", "top/../../evil.txt", "/evil.txt", "top\\..\\evil.txt")),
        *(("top/link", "link", target) for target in ("/etc", "../../evil", ".")),
        ("top/hard", "hard link", "/etc/passwd"),
        ("top/pipe", "pipe", ""),
    ],
)
def test_what_matches_no_pattern_reaches_no_disk(tmp_path, pack, member):
    archive = pack(member, ("top/link/b.txt", "file", "evil"), ("top/b.png", "file", "x"), ("./top/c.txt", "file", "c"))
    archives.unpack(archive, tmp_path / "deep/out", WANTED)
    assert files(tmp_path) == {archive.name, "deep/out/kept/a.txt", "deep/out/kept/c.txt"}
    kept = tmp_path / "deep/out/kept/a.txt"
    assert kept.read_text() == "good" and not kept.stat().st_mode & 0o7111


@pytest.mark.parametrize(
    ("name", "kind", "content"),
    [
        ("top/b.txt", "link", "a.txt"),
        ("top/b.txt", "hard link", "top/a.txt"),
        ("top/b.txt", "device", ""),
        ("../b.txt", "file", "evil"),
        ("/b.txt", "file", "evil"),
    ],
)
def test_what_matches_a_pattern_has_to_be_a_file_inside(tmp_path, pack, name, kind, content):
    archive = pack((name, kind, content))
    with pytest.raises(InputError, match="the archive is not used") as caught:
        archives.unpack(archive, tmp_path / "deep/out", {"(.*)": r"\1"})
    assert "\n" not in str(caught.value) and str(archive) in str(caught.value) and name in str(caught.value)
    assert files(tmp_path) == {archive.name, "deep/out/top/a.txt"}


def test_an_archive_of_something_else(tmp_path, pack):
    with pytest.raises(InputError, match="contains no file other/x"):
        archives.unpack(pack(), tmp_path / "out", WANTED | {"other/x": "x"})


def test_damage_is_one_line(tmp_path, pack):
    archive = pack(("top/b.txt", "file", "".join(chr(33 + i * i % 90) for i in range(50_000))))
    whole = archive.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    damaged = [whole[: len(whole) // 2], b"<html>please log in</html>", b""]
    # A plain tar has no checksum of its contents.
    for content in damaged if archive.suffix == ".tar" else [*damaged, bytes(flipped)]:
        archive.write_bytes(content)
        with pytest.raises(InputError, match="not an archive, or damaged") as caught:
            archives.unpack(archive, tmp_path / "out", WANTED)
        assert "\n" not in str(caught.value)
