import pytest

from dkd.files import replacing


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with replacing(path) as scratch:
        scratch.write_text("one")
        assert not path.exists() and scratch.suffix == path.suffix
    with pytest.raises(OSError, match="full"), replacing(path) as scratch:
        scratch.write_text("ha")
        raise OSError("the disk is full")
    assert path.read_text() == "one" and list(path.parent.iterdir()) == [path]


def test_a_link_is_replaced_and_not_written_through(tmp_path):
    (tmp_path / "cached").write_text("of another run")
    (tmp_path / "cached").chmod(0o444)
    (tmp_path / "link").symlink_to("cached")
    with replacing(tmp_path / "link") as scratch:
        scratch.write_text("new")
    assert (tmp_path / "link").read_text() == "new" and not (tmp_path / "link").is_symlink()
    assert (tmp_path / "cached").read_text() == "of another run"
