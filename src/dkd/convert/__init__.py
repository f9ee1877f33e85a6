"""What annotation tools export, made into a folder data set; each tool has a module of its own."""

from pathlib import Path

from dkd.convert import coco, colour, cvat, labelme
from dkd.convert.images import Export, files
from dkd.convert.write import Summary, write
from dkd.errors import InputError
from dkd.files import check_regular

__all__ = ["FORMATS", "Summary", "convert"]

FORMATS = ("coco", "labelme", "cvat", "colour")


def convert(source: Path, out: Path, *, format: str, split: float, seed: int) -> Summary:
    """Make the folder data set `out` from an export: a folder, or one .json (COCO, labelme) or .xml file (CVAT) of it.

    `format` is one of FORMATS, or auto; `split` the share of images for training, 0 < split < 1, drawn by `seed`.
    Nothing of `source` is changed. Raises InputError, and leaves nothing, where something is wrong with the export.
    """
    if not 0 < split < 1:
        raise InputError(f"--split: {split} is not between 0 and 1; it is the share of images for training")
    if not source.exists():
        raise InputError(f"{source}: No such file or directory; name the folder of the export")
    if out.exists():
        raise InputError(f"{out}: exists already; remove it or name another folder")
    if source.is_dir() and source.resolve() in out.resolve().parents:
        raise InputError(f"--out: {out} lies within the export, which stays as it is; name a place outside of it")
    if format == "auto":
        format = _detect(source)
    elif format not in FORMATS:
        raise InputError(f"--format: unknown format {format!r}; known are auto, {', '.join(FORMATS)}")
    export = _read(source, format)
    return write(export, out, source=source, format=format, split=split, seed=seed)


def _read(source: Path, format: str) -> Export:
    if format == "colour" or (format == "cvat" and source.is_dir() and colour.there(source)):
        return colour.read(source)
    suffix = ".xml" if format == "cvat" else ".json"
    paths = files(source, [suffix]) if source.is_dir() else [source]
    if not paths:
        raise InputError(f"{source}: holds no {suffix} file, which {format} exports; name the folder that does")
    root = source if source.is_dir() else source.parent
    # A file named alone: COCO's lies in a folder beside those of the images.
    if root != source and root.name == "annotations":
        root = root.parent
    return {"coco": coco, "labelme": labelme, "cvat": cvat}[format].read(paths, root)


def _detect(source: Path) -> str:
    """The format that the files of an export show; InputError where they show none, or more than one."""
    found: dict[str, Path] = {}
    if source.is_dir() and colour.there(source):
        found["colour"] = source
    for path in files(source, [".json", ".xml"]) if source.is_dir() else [source]:
        check_regular(path)
        content = path.read_bytes()
        if path.suffix.lower() == ".xml":
            if b"<annotations" in content:
                found.setdefault("cvat", path)
        elif b'"shapes"' in content and b'"imagePath"' in content:
            found.setdefault("labelme", path)
        elif all(f'"{key}"'.encode() in content for key in coco.KEYS):
            found.setdefault("coco", path)
    if len(found) > 1:
        seen = ", ".join(f"{format} ({path})" for format, path in found.items())
        raise InputError(f"{source}: may be {seen}; say which with --format")
    if not found:
        raise InputError(f"{source}: shows none of the formats {', '.join(FORMATS)}; say which it is with --format")
    return next(iter(found))
