"""Archives that try to write elsewhere, and archives that are damaged."""

import io
import stat
import tarfile
import zipfile

import pytest

from dkd.errors import InputError
from dkd.fetch import archives

WANTED = {r"top/(\w+\.txt)": r"kept/\1"}


def tar(path, *members, mode="w"):
    """A tar of (name, type, link name or content)."""
    with tarfile.open(path, mode) as file:
        for name, kind, value in (("top/a.txt", tarfile.REGTYPE, "good"), *members):
            member = tarfile.TarInfo(name)
            member.type, content = kind, b""
            if kind == tarfile.REGTYPE:
                content = value.encode()
            else:
                member.linkname = value
            member.size = len(content)
            member.mode = 0o4777
            file.addfile(member, io.BytesIO(content))
    return path


def zipped(path, *members):
    """A zip of (name, kind of file, content)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, kind, content in (("top/a.txt", stat.S_IFREG, "good"), *members):
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | 0o644) << 16
            file.writestr(info, content)
    return path


ESCAPES = [
    ("../evil.txt", "F", "x"),
    ("top/../../evil.txt", "F", "x"),
    ("/evil.txt", "F", "x"),
    ("top\\..\\..\\evil.txt", "F", "x"),
    ("C:/evil.txt", "F", "x"),
    ("top/link", "L", "/etc"),
    ("top/link", "L", "../../evil"),
    ("top/l.txt", "L", "a.txt"),
]


@pytest.mark.parametrize(("name", "kind", "value"), ESCAPES)
@pytest.mark.parametrize("make", ["tar", "tgz", "zip"])
def test_nothing_is_written_outside(tmp_path, make, name, kind, value):
    if make == "zip":
        archive = zipped(tmp_path / "x.zip", (name, {"F": stat.S_IFREG, "L": stat.S_IFLNK}[kind], value))
    else:
        member = (name, {"F": tarfile.REGTYPE, "L": tarfile.SYMTYPE}[kind], value)
        archive = tar(tmp_path / f"x.{make}", member, mode="w:gz" if make == "tgz" else "w")
    _refused(tmp_path, archive)


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("top/hard", tarfile.LNKTYPE, "../evil"),
        ("top/hard", tarfile.LNKTYPE, "/etc/passwd"),
        ("top/h.txt", tarfile.LNKTYPE, "top/a.txt"),
        ("top/pipe", tarfile.FIFOTYPE, ""),
        ("top/dev", tarfile.CHRTYPE, ""),
        ("top/dev", tarfile.BLKTYPE, ""),
    ],
)
def test_hard_links_and_devices(tmp_path, name, kind, value):
    _refused(tmp_path, tar(tmp_path / "x.tar", (name, kind, value)))


def _refused(tmp_path, archive):
    out = tmp_path / "deep" / "out"
    with pytest.raises(InputError, match="not used") as caught:
        archives.unpack(archive, out, WANTED)
    assert "\n" not in str(caught.value) and str(archive) in str(caught.value)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if not path.is_dir()}
    assert files <= {archive.name, "deep/out/kept/a.txt"}
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_a_link_through_a_link_reaches_nothing(tmp_path):
    """The classic: a folder that is a link, then a file beneath it."""
    (tmp_path / "target").mkdir()
    inside = (("top/dir", tarfile.SYMTYPE, "."), ("top/dir/b.txt", tarfile.REGTYPE, "evil"))
    archives.unpack(tar(tmp_path / "x.tar", *inside), tmp_path / "out", WANTED)
    assert [path.name for path in (tmp_path / "out").rglob("*.txt")] == ["a.txt"]


@pytest.mark.parametrize("make", ["tar", "tgz", "zip"])
def test_only_what_is_wanted_and_no_modes(tmp_path, make):
    if make == "zip":
        archive = zipped(tmp_path / "x.zip", ("top/b.png", stat.S_IFREG, "x"), ("./top/c.txt", stat.S_IFREG, "y"))
    else:
        more = (("top/b.png", tarfile.REGTYPE, "x"), ("./top/c.txt", tarfile.REGTYPE, "y"))
        archive = tar(tmp_path / f"x.{make}", *more, mode="w:gz" if make == "tgz" else "w")
    archives.unpack(archive, tmp_path / "out", WANTED)
    files = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.*")}
    assert files.keys() == {"kept/a.txt", "kept/c.txt"}
    assert files["kept/a.txt"].read_text() == "good" and not files["kept/a.txt"].stat().st_mode & 0o7111


def test_an_archive_of_something_else(tmp_path):
    with pytest.raises(InputError, match="holds nothing that is called other/x"):
        archives.unpack(tar(tmp_path / "x.tar"), tmp_path / "out", WANTED | {"other/x": "x"})


@pytest.mark.parametrize("make", ["tgz", "zip"])
def test_damage_is_one_line(tmp_path, make):
    big = "".join(chr(33 + i * i % 90) for i in range(50_000))
    if make == "zip":
        archive = zipped(tmp_path / "x.zip", ("top/b.txt", stat.S_IFREG, big))
    else:
        archive = tar(tmp_path / "x.tgz", ("top/b.txt", tarfile.REGTYPE, big), mode="w:gz")
    whole = archive.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for content in (whole[: len(whole) // 2], bytes(flipped), b"<html>please log in</html>", b""):
        archive.write_bytes(content)
        with pytest.raises(InputError, match="not an archive, or damaged") as caught:
            archives.unpack(archive, tmp_path / "out", WANTED)
        assert "\n" not in str(caught.value)
