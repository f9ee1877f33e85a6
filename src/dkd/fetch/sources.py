"""The public benchmarks: archives, addresses, digests, sizes and licences.

A table without code. What is made of the archives is written in `dkd.fetch.layout`.
"""

from typing import NamedTuple


class Source(NamedTuple):
    """An archive."""

    name: str
    url: str | None
    """None where a login is needed."""
    size: int
    """Bytes."""
    digest: str | None
    """"md5:..." or "sha1:..."; None where none is documented."""
    files: dict[str, str]
    """Patterns of member names, and where matching members are written (`dkd.fetch.archives.unpack`)."""


class Benchmark(NamedTuple):
    """A data set."""

    sources: tuple[Source, ...]
    unpacked: int
    """Bytes that the unpacked files may take."""
    counts: dict[str, int]
    """Images of each split."""
    terms: str
    page: str


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
        terms="the images are subject to Flickr's terms of use; see http://host.robots.ox.ac.uk/pascal/VOC/",
        page="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    ),
    "ade20k": Benchmark(
        sources=(ADE20K,),
        unpacked=1_300_000_000,
        counts={"training": 20_210, "validation": 2_000},
        terms="for non-commercial research and education; see https://groups.csail.mit.edu/vision/datasets/ADE20K/terms/",
        page="https://groups.csail.mit.edu/vision/datasets/ADE20K/",
    ),
    "cityscapes": Benchmark(
        sources=CITYSCAPES,
        unpacked=9_000_000_000,
        counts={"train": 2_975, "val": 500},
        terms="for non-commercial use, redistribution not allowed; see https://www.cityscapes-dataset.com/license/",
        page="https://www.cityscapes-dataset.com/downloads/",
    ),
}
