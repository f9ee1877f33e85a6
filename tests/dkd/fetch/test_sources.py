"""The table of sources agrees with torchvision and with the page on data."""

from pathlib import Path

from dkd.fetch.sources import BENCHMARKS, SBD, VOC


def test_addresses_and_digests_are_those_of_torchvision():
    from torchvision.datasets import SBDataset, voc

    there = voc.DATASET_YEAR_DICT["2012"]
    assert (VOC.name, VOC.url, VOC.digest) == (there["filename"], there["url"], f"md5:{there['md5']}")
    assert (SBD.name, SBD.url, SBD.digest) == (SBDataset.filename, SBDataset.url, f"md5:{SBDataset.md5}")


def test_the_page_on_data_agrees():
    text = (Path(__file__).parents[3] / "data" / "README.md").read_text()
    for name, benchmark in BENCHMARKS.items():
        need = benchmark.unpacked + sum(source.size for source in benchmark.sources if source.url)
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}`"))
        assert f"| {need / 1e9:.1f} GB |" in row
        for split, count in benchmark.counts.items():
            assert f"{split} {count:,}" in row
        for source in benchmark.sources:
            assert source.name in text and (source.url or benchmark.page) in text
            assert (source.digest or "").rpartition(":")[2] in text
