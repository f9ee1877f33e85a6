"""Obtains the benchmarks: which archives, from where, what of them is kept, and whether a copy is complete.

Knows how VOC 2012 with SBD (train_aug), ADE20K and Cityscapes are published, not how they are indexed or read. What is
made lies at

    voc2012     JPEGImages/ID.jpg, SegmentationClassAug/ID.png, ImageSets/Segmentation/{trainaug,val}.txt
    ade20k      images/{training,validation}/ID.jpg, annotations/{training,validation}/ID.png
    cityscapes  leftImg8bit/{train,val}/CITY/ID_leftImg8bit.png, gtFine/{train,val}/CITY/ID_gtFine_labelTrainIds.png

Archives and the half-made tree lie in `.NAME.fetch` beside the result, which appears complete or not at all.
"""

import fcntl
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from dkd import cores
from dkd.data import catalog, reader
from dkd.errors import InputError
from dkd.fetch import archives
from dkd.fetch.download import download, received, verify

log = logging.getLogger(__name__)

Pairs = dict[str, list[tuple[str, str]]]


class Source(NamedTuple):
    """An archive: `url` None = only behind a login; `size` in bytes; `digest` None = none is documented.

    `files` maps patterns of member names to where they are put.
    """

    name: str
    url: str | None
    size: int
    digest: str | None
    files: dict[str, str]


class Benchmark(NamedTuple):
    """A data set: `unpacked` = bytes that unpacking may take; `counts` = pictures of each split.

    `finish(tree)` turns unpacked archives into the layout; `pairs(root)` lists (image, mask) of each split.
    """

    sources: tuple[Source, ...]
    unpacked: int
    counts: dict[str, int]
    terms: str
    page: str
    finish: Callable[[Path], None]
    pairs: Callable[[Path], Pairs]


def fetch(name: str, out: Path, source: str | None = None, masks: Path | None = None) -> None:
    """Make data set `name` (of BENCHMARKS) at `out`; does nothing where it is complete.

    `source` is a folder with the archives or the address of one; `masks` (voc2012) a folder or zip SegmentationClassAug
    that takes the place of SBD's archive. Raises InputError where a login, a library, a file or disk space is missing,
    a file is not the documented one, or `out` holds something else. Stopped at any time, the next call goes on.
    """
    out, benchmark = out.resolve(), BENCHMARKS[name]
    work = out.with_name(f".{out.name}.fetch")
    if out.exists() and any(out.iterdir()):
        if name == "cityscapes":
            train_ids(out)
        if problem := fault(name, out):
            raise InputError(f"{out}: is there but not a complete {name} ({problem}); name another folder with --out")
        shutil.rmtree(work, ignore_errors=True)
        log.info("%s: %s is complete (%s); nothing to do", name, out, _counted(benchmark))
        return
    if masks is not None and name != "voc2012":
        raise InputError(f"--masks: only voc2012 takes masks of one's own, not {name}")
    sources = benchmark.sources[:1] if masks is not None else benchmark.sources
    if name == "voc2012" and masks is None and find_spec("scipy") is None:
        raise InputError(
            "voc2012: SBD's labels are MATLAB files, which scipy reads: pip install 'dkd[sbd]', or name a ready "
            "SegmentationClassAug with --masks"
        )
    folder = None if source is None or "://" in source else Path(source)
    for each in sources:
        if folder is not None and not (folder / each.name).is_file():
            raise InputError(f"{folder / each.name}: missing; get it from {each.url or benchmark.page}")
        if source is None and each.url is None:
            raise InputError(
                f"{name}: a login is needed. Register at {benchmark.page}, download "
                f"{' and '.join(x.name for x in sources)} into one folder, and name it with --from"
            )
    if masks is not None and not masks.exists():
        raise InputError(f"{masks}: No such file or directory (--masks)")
    log.info("%s: %s", name, benchmark.terms)
    _check_space(name, out, benchmark.unpacked, [] if folder else sources, work)
    with _alone(work):
        tree = work / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        for each in sources:
            archive = (folder or work) / each.name
            if folder is not None:
                _verify(archive, each.digest)
            elif not archive.exists():
                address = each.url if source is None else f"{source.rstrip('/')}/{each.name}"
                download(address, archive, each.digest)
            archives.unpack(archive, tree, each.files)
        if masks is not None:
            _given_masks(masks, tree / "given")
        benchmark.finish(tree)
        if problem := fault(name, tree):
            raise InputError(f"{name}: the archives do not make a complete data set ({problem})")
        tree.replace(out)
        shutil.rmtree(work)
    log.info("%s: %s holds %s", name, out, _counted(benchmark))


def fault(name: str, root: Path) -> str | None:
    """What is missing for `root` to be a complete copy of data set `name`, or None. Pictures and masks are not read.

    Raises InputError where a list of pictures is not UTF-8 text.
    """
    benchmark = BENCHMARKS[name]
    try:
        pairs = benchmark.pairs(root)
        for split, count in benchmark.counts.items():
            if len(pairs[split]) != count:
                return f"{split}: {len(pairs[split])} pictures, expected {count}"
            for file in (file for pair in pairs[split] for file in pair):
                if not (root / file).stat().st_size:
                    return f"{file} is empty"
    except OSError as error:
        return f"{Path(error.filename).relative_to(root)}: {error.strerror}"
    return None


def _counted(benchmark: Benchmark) -> str:
    return ", ".join(f"{count} pictures {split}" for split, count in benchmark.counts.items())


def _verify(archive: Path, digest: str | None) -> None:
    try:
        verify(archive, digest)
    except InputError as error:
        raise InputError(f"{archive}: {error}") from None


def _check_space(name: str, out: Path, unpacked: int, sources: Iterable[Source], work: Path) -> None:
    need = unpacked + sum(max(each.size - received(work / each.name), 0) for each in sources)
    place = next(folder for folder in out.parents if folder.exists())
    free = shutil.disk_usage(place).free
    if free < need:
        raise InputError(
            f"{out}: {name} needs {need / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; make room, or name another disk "
            "with --out"
        )


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """The work folder, held by one process at a time; removed where it was left with nothing worth keeping."""
    work.mkdir(parents=True, exist_ok=True)
    (work / ".gitignore").write_text("*\n")
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{work}: another fetch is at work there") from None
        try:
            yield
        finally:
            shutil.rmtree(work / "tree", ignore_errors=True)
            if work.exists() and {file.name for file in work.iterdir()} <= {".gitignore", "lock"}:
                shutil.rmtree(work)


# -- VOC 2012 and SBD


def _voc_lists(root: Path, *names: str) -> list[list[str]]:
    return [catalog.ids(root / "ImageSets/Segmentation" / f"{name}.txt") for name in names]


def _voc(tree: Path) -> None:
    """Complete SegmentationClassAug, which holds VOC's own masks so far, and write the list of train_aug.

    VOC's annotation stands wherever VOC has one; train_aug = VOC train, SBD train and SBD val, less VOC val.
    """
    train, val = _voc_lists(tree, "train", "val")
    own, masks = {*train, *val}, tree / "SegmentationClassAug"
    if (tree / "given").exists():
        added = {path.stem for path in (tree / "given").iterdir()}
        for id in added - own:
            (tree / "given" / f"{id}.png").replace(masks / f"{id}.png")
        shutil.rmtree(tree / "given")
    else:
        from scipy.io import loadmat

        added = {id for name in ("train", "val") for id in catalog.ids(tree / "sbd" / f"{name}.txt")}
        for id in tqdm(sorted(added - own), desc="SBD labels", disable=None, leave=False):
            labels = loadmat(tree / "sbd/cls" / f"{id}.mat")["GTcls"][0]["Segmentation"][0]
            Image.fromarray(labels.astype(np.uint8)).save(masks / f"{id}.png")
        shutil.rmtree(tree / "sbd")
    ids = sorted((added | set(train)) - set(val))
    (tree / "ImageSets/Segmentation/trainaug.txt").write_text("\n".join(ids) + "\n")


def _given_masks(masks: Path, out: Path) -> None:
    """Copy the masks of a folder or zip SegmentationClassAug to `out`; InputError where one holds no labels."""
    if masks.is_dir():
        inner = masks / "SegmentationClassAug"
        out.mkdir(parents=True)
        for path in (inner if inner.is_dir() else masks).glob("*.png"):
            shutil.copyfile(path, out / path.name)
        if not any(out.iterdir()):
            raise InputError(f"{masks}: holds no .png, nor a folder SegmentationClassAug with some")
    else:
        archives.unpack(masks, out, {r"(?:.*/)?SegmentationClassAug/(\w+\.png)": r"\1"})
    for path in tqdm(sorted(out.iterdir()), desc="masks", disable=None, leave=False):
        try:
            reader.read_mask(path)
        except InputError as error:
            raise InputError(str(error).replace(str(path), str(masks / path.name))) from None


def _voc_pairs(root: Path) -> Pairs:
    names = ("trainaug", "val")
    return {
        name: [(f"JPEGImages/{id}.jpg", f"SegmentationClassAug/{id}.png") for id in ids]
        for name, ids in zip(names, _voc_lists(root, *names), strict=True)
    }


# -- ADE20K


def _ade20k_pairs(root: Path) -> Pairs:
    return {
        split: [
            (f"images/{split}/{path.name}", f"annotations/{split}/{path.stem}.png")
            for path in sorted((root / "images" / split).glob("*.jpg"))
        ]
        for split in ("training", "validation")
    }


# -- Cityscapes


def train_ids(root: Path) -> None:
    """Write ID_gtFine_labelTrainIds.png beside every ID_gtFine_labelIds.png of train and val that has none.

    Cityscapes hands out label ids only; the table is torchvision's: 0..18, 255 for classes that are not judged.
    """
    from torchvision.datasets import Cityscapes

    table = np.full(256, 255, dtype=np.uint8)
    for label in Cityscapes.classes:
        if label.id >= 0:
            table[label.id] = label.train_id

    def write(path: Path) -> None:
        target = path.with_name(path.name.replace("_labelIds", "_labelTrainIds"))
        if not target.exists():
            scratch = target.with_name(f".{target.name}.part")
            Image.fromarray(table[reader.read_mask(path)]).save(scratch, "PNG")
            scratch.replace(target)

    paths = [path for split in ("train", "val") for path in (root / "gtFine" / split).glob("*/*_gtFine_labelIds.png")]
    with ThreadPoolExecutor(cores.available()) as pool:
        list(tqdm(pool.map(write, paths), total=len(paths), desc="train ids", disable=None, leave=False))


def _cityscapes_pairs(root: Path) -> Pairs:
    return {
        split: [
            (
                f"leftImg8bit/{split}/{path.parent.name}/{path.name}",
                f"gtFine/{split}/{path.parent.name}/{path.name.replace('_leftImg8bit', '_gtFine_labelTrainIds')}",
            )
            for path in sorted((root / "leftImg8bit" / split).glob("*/*_leftImg8bit.png"))
        ]
        for split in ("train", "val")
    }


VOC = Source(
    name="VOCtrainval_11-May-2012.tar",
    url="https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    size=1_999_639_040,
    digest="md5:6cd6e144f989b92b3379bac3b3de84fd",
    files={
        r"VOCdevkit/VOC2012/(JPEGImages/\w+\.jpg)": r"\1",
        r"VOCdevkit/VOC2012/SegmentationClass/(\w+\.png)": r"SegmentationClassAug/\1",
        r"VOCdevkit/VOC2012/(ImageSets/Segmentation/(?:train|val)\.txt)": r"\1",
    },
)
SBD = Source(
    name="benchmark.tgz",
    url="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
    size=1_419_539_633,
    digest="md5:82b4d87ceb2ed10f6038a1cba92111cb",
    files={
        r"benchmark_RELEASE/dataset/(cls/\w+\.mat)": r"sbd/\1",
        r"benchmark_RELEASE/dataset/((?:train|val)\.txt)": r"sbd/\1",
    },
)
ADE20K = Source(
    name="ADEChallengeData2016.zip",
    url="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    size=970_000_000,
    digest="sha1:219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",
    files={
        r"ADEChallengeData2016/(images/(?:training|validation)/\w+\.jpg)": r"\1",
        r"ADEChallengeData2016/(annotations/(?:training|validation)/\w+\.png)": r"\1",
    },
)
CITYSCAPES = (
    Source(
        name="leftImg8bit_trainvaltest.zip",
        url=None,
        size=11_700_000_000,
        digest=None,
        files={r"(leftImg8bit/(?:train|val)/\w+/\w+_leftImg8bit\.png)": r"\1"},
    ),
    Source(
        name="gtFine_trainvaltest.zip",
        url=None,
        size=260_000_000,
        digest=None,
        files={r"(gtFine/(?:train|val)/\w+/\w+_gtFine_label(?:Train)?Ids\.png)": r"\1"},
    ),
)

BENCHMARKS = {
    "voc2012": Benchmark(
        sources=(VOC, SBD),
        unpacked=2_500_000_000,
        counts={"trainaug": 10_582, "val": 1_449},
        terms="the pictures are Flickr's and come under its terms of use; see http://host.robots.ox.ac.uk/pascal/VOC/",
        page="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        finish=_voc,
        pairs=_voc_pairs,
    ),
    "ade20k": Benchmark(
        sources=(ADE20K,),
        unpacked=1_300_000_000,
        counts={"training": 20_210, "validation": 2_000},
        terms="for non-commercial research and education; see https://groups.csail.mit.edu/vision/datasets/ADE20K/terms/",
        page="https://groups.csail.mit.edu/vision/datasets/ADE20K/",
        finish=lambda tree: None,
        pairs=_ade20k_pairs,
    ),
    "cityscapes": Benchmark(
        sources=CITYSCAPES,
        unpacked=9_000_000_000,
        counts={"train": 2_975, "val": 500},
        terms="for non-commercial use, not to be passed on; see https://www.cityscapes-dataset.com/license/",
        page="https://www.cityscapes-dataset.com/downloads/",
        finish=train_ids,
        pairs=_cityscapes_pairs,
    ),
}
