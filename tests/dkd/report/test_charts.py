"""Charts show their values, leave gaps where there are none, and fit their labels in."""

import re
from itertools import combinations

import numpy as np
import pytest

from dkd.report import charts, sheet, svg
from dkd.report.charts import Bar, Series
from dkd.use import figure

LOOKS = sheet.styles(["finetune", "dkd", "own", "own[a=1]"])
NAMES = ["background", *(f"diningtable {k}" for k in range(20))]
STEPS = [*[0] * 16, 1, 2, 3, 4, 5]


def curves(y, sd=None, markers=True, x=range(5)):
    series = [Series("dkd", "dkd", ["a", "b"], list(x), y, sd)]
    return charts.curves("mIoU", series, ("step", "mIoU (%)"), LOOKS, (), markers)


def test_a_missing_value_is_a_gap():
    element = curves([10.0, 20.0, None, 40.0, 50.0], markers=False).svg("a")
    [line] = re.findall(r'<path d="([^"]*)" style="fill: none; stroke: #009e73', element)
    assert line.count("M") == 2 and line.count("L") == 2
    assert "<use" not in element
    assert curves([10.0, None, 30.0, 40.0, 50.0], markers=False).svg("a").count("<use") == 1


def test_every_point_has_a_hover_text_and_what_to_filter_by():
    element = curves([10.0, 20.0, None, 40.0, 50.0], [1.25, None, None, 2.0, 0.0]).svg("a")
    shown = re.findall(r'data-method="dkd" data-runs="a b"[^>]*><title>(.*?)</title>', element)
    assert shown == ["dkd", "dkd, step 0: 10 ± 1.2", "dkd, step 1: 20", "dkd, step 3: 40 ± 2.0", "dkd, step 4: 50"]


def test_equal_values_are_drawn_beside_each_other():
    equal = [Series(name, name, [name], [0, 1], [50.0, 40.0], None) for name in ("finetune", "dkd", "own")]
    element = charts.curves("mIoU", equal, ("step", "mIoU (%)"), LOOKS, (), markers=True).svg("a")
    point = r'<use x="([\d.]+)" y="([\d.]+)"[^>]* data-method="(\w+)"[^>]*><title>\w+, step 1: 40</title>'
    points = re.findall(point, element)
    assert [name for *_, name in points] == ["finetune", "dkd", "own"] and len({y for _, y, _ in points}) == 1
    places = [float(x) for x, *_ in points]
    assert places[1] - places[0] > 3 and places[2] - places[1] == pytest.approx(places[1] - places[0], abs=0.1)


def test_colours_of_text_and_grid_are_the_pages():
    element = curves([10.0] * 5).svg("a")
    assert "var(--soft)" in element and "var(--faint)" in element and "font-family" not in element
    assert not [colour for colour in (figure.INK, figure.SOFT, figure.FAINT) if colour in element]
    assert curves([10.0] * 5).svg("a") == element and "id=" in element
    ids = [set(re.findall(' id="(.*?)"', curves([10.0] * 5).svg(name))) for name in ("a", "b")]
    assert not ids[0] & ids[1]


def test_methods_look_different():
    assert len({look.colour for look in LOOKS.values()}) == len({look.dash for look in LOOKS.values()}) == 4
    assert sheet.styles(["own", "dkd"])["dkd"] == LOOKS["dkd"]


def test_a_heat_map_draws_only_what_there_is():
    values = np.array([[90.0, 80.0], [np.nan, 12.0]])
    element = charts.heat("dkd", "dkd", ["a"], [("cat", 0), ("dog", 1)], values).svg("a")
    assert re.findall("<title>(.*?)</title>", element) == [
        "cat, step 0: 90.0",
        "cat, step 1: 80.0",
        "dog, step 1: 12.0",
    ]
    assert re.findall(r'data-class="dog"', element) == ['data-class="dog"'] * 3, "label, cell and number"


@pytest.mark.parametrize("count", [7, 21, 60])
def test_confusion_is_in_shares_of_the_true_class(count):
    counts = np.eye(count, dtype=int) * 3
    counts[1, 2] = 1
    element = charts.confusion("dkd", "dkd", ["a"], [f"c{k}" for k in range(count)], 5, counts).svg("a")
    titles = re.findall("<title>(.*?)</title>", element)
    if count < 60:
        assert (
            len(titles) == count**2 and "c1 predicted as c2: 25.0%" in titles and "c0 predicted as c0: 100.0%" in titles
        )
    else:
        assert not titles and element.count("<image") == 1


BARS = [(name, [Bar("finetune", ["a"], 40.0 - 3 * k), Bar("own[a=1]", ["b"], 0.125)]) for k, name in enumerate(NAMES)]


def labels_of(axis):
    """The labels of the ticks that are drawn."""
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [label for tick in ticks for label in (tick.label1, tick.label2) if label.get_visible()]


@pytest.mark.parametrize(
    "chart",
    [
        curves([10.0, 20.0, None, 40.0, 1e3]),
        charts.heat("a title of many words " * 4, "dkd", [], list(zip(NAMES, STEPS, strict=True)), np.ones((21, 6))),
        charts.confusion("dkd", "dkd", [], NAMES, 16, np.eye(21)),
        charts.bars("Forgetting", "points", BARS, LOOKS),
    ],
    ids=["curves", "heat", "confusion", "bars"],
)
def test_labels_fit_in_and_do_not_overlap(chart):
    with figure.style("a"):
        drawn = chart.alone(svg.Marks())
        [axes] = drawn.axes
        for labels in ([drawn._suptitle, axes.xaxis.label, *labels_of(axes.xaxis)], labels_of(axes.yaxis), axes.texts):
            boxes = [label.get_window_extent() for label in labels if label.get_text()]
            assert all(drawn.bbox.x0 <= box.x0 and box.x1 <= drawn.bbox.x1 for box in boxes)
            assert all(drawn.bbox.y0 <= box.y0 and box.y1 <= drawn.bbox.y1 for box in boxes)
            assert not [pair for pair in combinations(boxes, 2) if pair[0].padded(-1).overlaps(pair[1].padded(-1))]


def test_a_sheet_holds_all_charts_and_explains_the_methods():
    with figure.style("a"):
        drawn = sheet.sheet([curves([1.0] * 5), charts.bars("Forgetting", "points", BARS, LOOKS)] * 2, LOOKS)
        [legend] = [legend for area in drawn.subfigs for legend in area.legends]
        assert [text.get_text() for text in legend.get_texts()] == ["finetune", "dkd", "own[a=1]"]
        assert len([axes for row in drawn.subfigs for part in row.subfigs for axes in part.axes]) == 4
        assert sheet.sheet([], LOOKS).texts[0].get_text() == "no data yet"
