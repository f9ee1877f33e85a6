"""The page in a real browser: Chromium without a window, driven by Selenium.

`make browser-test` installs what this needs. Besides a page made here, it opens those of finished runs in the checkout.
Screenshots of each go to logs/browser/.
"""

import base64
import io
import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dkd.data.shapes import SHAPES
from dkd.report import page, tables
from tests.dkd.report.conftest import results

ROOT = Path(__file__).parents[3]
SHOTS = ROOT / "logs" / "browser"
FINISHED = [path for path in (ROOT / "report/index.html", *ROOT.glob("runs/*/report/index.html")) if path.is_file()]
FLAGS = (
    "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update "
    "disable-sync"
).split()
ENTER, RIGHT, ESCAPE = "\ue007", "\ue014", "\ue00c"

pytestmark = pytest.mark.browser


class Browser:
    """A reader of the page: a session of Selenium."""

    def __init__(self, driver):
        self.driver, self.run, self.log = driver, driver.execute_script, driver.get_log

    def open(self, path):
        self.driver.get(path.as_uri())

    def click(self, selector):
        element = self.driver.find_element("css selector", selector)
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def press(self, key):
        self.driver.switch_to.active_element.send_keys(key)

    def until(self, condition):
        for _ in range(100):
            if self.run(f"return {condition}"):
                return
            time.sleep(0.1)
        raise AssertionError(f"not within ten seconds: {condition}")

    def choose(self, name, value):
        self.run(
            "const s = document.querySelector(`select[name=${arguments[0]}]`); s.value = arguments[1];"
            "s.dispatchEvent(new Event('input', {bubbles: true}))",
            name,
            value,
        )

    def devtools(self, command, **params):
        return self.driver.execute_cdp_cmd(command, params)

    def size(self, width, height=900):
        facts = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", **facts)

    def shoot(self, name):
        SHOTS.mkdir(parents=True, exist_ok=True)
        found = self.devtools("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        (SHOTS / f"{name}.png").write_bytes(base64.b64decode(found["data"]))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    # An extra that only `make browser-test` installs; the other tests are collected without it.
    from selenium import webdriver

    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
    assert driver and chromium, "chromium or chromedriver is missing: run `make browser-test`"
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as made:
        yield Browser(made)


@pytest.fixture(params=["made here", *FINISHED], ids=lambda each: str(each).removeprefix(f"{ROOT}/").replace("/", "-"))
def opened(request, browser):
    """The browser with a page. After the test, the browser must have logged no error and requested no other file."""
    path, name = request.param, "made-here"
    if path == "made here":
        path = request.getfixturevalue("written") / "index.html"
    else:
        name = str(path.relative_to(ROOT).parent).replace("/", "-")
    browser.size(1200)
    browser.log("browser"), browser.log("performance")
    browser.open(path)
    browser.name = name
    yield browser
    said = [entry for entry in browser.log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert not said
    messages = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    asked = [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    assert asked and all(url.startswith("data:") or url == path.as_uri() for url in asked)


COLUMN = "return [...document.querySelectorAll('#cost ~ .wide tbody tr')].map(r => +r.cells[4].dataset.value)"


def test_tables_sort_by_pointer_and_by_keyboard(opened):
    button = "#cost ~ .wide th:nth-child(5) button"
    opened.click(button)
    up = opened.run(COLUMN)
    assert len(up) > 1 and up == sorted(up)
    opened.run(f"document.querySelector('{button}').focus()")
    opened.press(ENTER)
    assert opened.run(COLUMN) == sorted(up, reverse=True)
    assert opened.run("return document.querySelector('#cost ~ .wide th:nth-child(5)').ariaSort") == "descending"


# Inside an SVG, checkVisibility says yes to what is not displayed.
VISIBLE = "e => e.checkVisibility() && getComputedStyle(e).display !== 'none'"
SHOWN = f"return [...document.querySelectorAll(arguments[0])].filter({VISIBLE}).length"


def test_filters_hide_and_reset_shows_all(opened):
    count = {what: opened.run(SHOWN, what) for what in ("#cost ~ .wide tbody tr", "svg [data-class]", ".sample")}
    runs = opened.run("return [...document.querySelectorAll('select[name=run] option')].map(o => o.value)")[1:]
    names = opened.run("return [...document.querySelectorAll('select[name=class] option')].map(o => o.value)")[1:]
    opened.choose("run", runs[0])
    assert 0 < opened.run(SHOWN, "#cost ~ .wide tbody tr") < count["#cost ~ .wide tbody tr"]
    left = f"return [...document.querySelectorAll('[data-runs]')].filter({VISIBLE}).map(e => e.dataset.runs)"
    assert {runs[0]} == set.intersection(*(set(each.split()) for each in opened.run(left)))
    opened.choose("run", "")
    opened.choose("class", names[-1])
    assert 0 < opened.run(SHOWN, "svg [data-class]") < count["svg [data-class]"]
    assert 0 < opened.run(SHOWN, ".sample") <= count[".sample"]
    opened.shoot(f"{opened.name}-class")
    opened.click("#filters button")
    time.sleep(0.1)
    assert {what: opened.run(SHOWN, what) for what in count} == count


def test_an_image_opens_and_arrows_lead_to_the_next(opened):
    button = ".tiles button"
    opened.run(f"document.querySelector('{button}').focus()")
    opened.press(ENTER)
    words = "return document.querySelector('#large p').textContent"
    state = (
        "const i = document.querySelector('#large img'); return document.querySelector('#large').open && i.naturalWidth"
    )
    assert opened.run(state) > 0
    first = opened.run(words)
    opened.press(RIGHT)
    second = opened.run(words)
    assert first.endswith(": image") and second.endswith(": ground truth")
    opened.shoot(f"{opened.name}-image")
    opened.press(ESCAPE)
    assert not opened.run("return document.querySelector('#large').open")
    assert opened.run("return document.activeElement === document.querySelector(arguments[0])", button)


def test_a_link_leads_to_the_record_of_a_node(opened):
    opened.click("#cost ~ .wide tbody a")
    time.sleep(0.1)
    assert opened.run("return document.querySelector(location.hash).open")


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_reads_in_light_and_dark(opened, width, scheme):
    opened.size(width)
    opened.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    assert opened.run("return document.documentElement.scrollWidth") <= width
    paper, ink = (
        sum(map(int, opened.run(f"return getComputedStyle(document.body).{what}").strip("rgb()").split(",")))
        for what in ("backgroundColor", "color")
    )
    assert (paper < 150 and ink > 600) if scheme == "dark" else (paper > 700 and ink < 150)
    fills = opened.run("return [...document.querySelectorAll('svg[role] text')].map(t => getComputedStyle(t).fill)")
    assert ink in {sum(map(int, fill.strip("rgb()").split(","))) for fill in set(fills)}
    opened.shoot(f"{opened.name}-{width}-{scheme}")
    opened.devtools("Emulation.setEmulatedMedia", features=[])


def test_on_paper_there_is_no_form_and_nothing_is_cut(opened):
    opened.devtools("Emulation.setEmulatedMedia", media="print")
    opened.size(720)
    assert opened.run(SHOWN, "#filters select, #filters > button, nav a") == 0
    assert opened.run(SHOWN, ".figure svg") > 3
    assert opened.run("return document.documentElement.scrollWidth") <= 720
    opened.shoot(f"{opened.name}-print")
    opened.devtools("Emulation.setEmulatedMedia", media="")
    opened.size(1200)
    paper = base64.b64decode(opened.driver.print_page())
    assert paper.startswith(b"%PDF") and len(paper) > 20_000


ROWS = "return [...document.querySelectorAll('.evidence tbody tr')].map(r => [...r.cells].map(c => c.textContent))"


@pytest.mark.parametrize("opened", ["made here"], indirect=True)
def test_a_click_on_a_prediction_opens_the_evidence_at_that_place(opened):
    [tile, *_] = opened.driver.find_elements("css selector", ".tiles img[data-evidence]")
    facts = json.loads(tile.get_attribute("data-evidence"))
    gray = np.array(Image.open(io.BytesIO(base64.b64decode(tile.get_attribute("data-maps").partition(",")[2]))))
    opened.run("arguments[0].scrollIntoView({block: 'center'})", tile)
    tile.click()
    opened.until(f"{ROWS.removeprefix('return ')}.length > 0")
    opened.until("document.querySelector('#large img').clientHeight > 0")
    assert "positive evidence (z+), negative evidence (z-) and logit" in opened.run(
        "return document.querySelector('.evidence').innerText"
    )
    caption = "return document.querySelector('.evidence caption').textContent"
    assert re.fullmatch("(49|50|51)% from the left, (49|50|51)% from above", opened.run(caption))
    # Near the corner, beyond the middle of the last cell, there is the value of this cell alone.
    opened.run(
        "const b = document.querySelector('#large .place').getBoundingClientRect();"
        "document.querySelector('#large .place').dispatchEvent(new MouseEvent('click', {bubbles: true,"
        "clientX: b.left + b.width * (1 - .2 / arguments[1]), clientY: b.top + b.height * (1 - .2 / arguments[0])}))",
        *facts["cells"],
    )
    (height, width), rows = facts["cells"], opened.run(ROWS)
    expected = []
    for k, (name, bias) in enumerate(zip(facts["names"], facts["biases"], strict=True)):
        corner = (k + 1) * height - 1
        terms = [gray[corner, x - 1] / 255 * end for x, end in zip((width, 2 * width), facts["ends"], strict=True)]
        expected.append([name, *terms, bias, sum(terms) + bias])
    expected.sort(key=lambda each: -each[-1])
    assert [row[0] for row in rows] == [row[0] for row in expected]
    for row, values in zip(rows, expected, strict=True):
        assert [float(word) for word in row[1:]] == pytest.approx(values[1:], abs=0.006)
    # The canvas shows the same bytes, as opacity.
    alpha = (
        "const rows = [...document.querySelectorAll('.evidence tbody tr')];"
        "const r = rows.find(r => r.cells[0].textContent === arguments[0]);"
        "return [...r.querySelector('canvas').getContext('2d').getImageData(0, 0, arguments[2], arguments[1]).data]"
        ".filter((v, k) => k % 4 === 3)"
    )
    assert opened.run(alpha, facts["names"][0], height, width) == gray[:height, :width].ravel().tolist()
    opened.shoot(f"{opened.name}-evidence")
    before = opened.run(caption)
    opened.run(
        "const key = new KeyboardEvent('keydown', {key: 'ArrowLeft', shiftKey: true});"
        "document.querySelector('#large').dispatchEvent(key)"
    )
    assert opened.run(caption) != before and opened.run(ROWS) != rows
    opened.size(390)
    assert opened.run("const d = document.querySelector('#large'); return d.scrollWidth <= d.clientWidth")
    opened.shoot(f"{opened.name}-evidence-390")
    opened.press(ESCAPE)
    opened.size(1200)
    opened.click(".tiles button")
    assert opened.run("return document.querySelector('.evidence').hidden"), "of an image there is no evidence"
    opened.press(ESCAPE)


FADED = f"return [...document.querySelectorAll('svg[role] .faded')].filter({VISIBLE}).map(e => e.dataset.method)"


def test_a_method_is_highlighted_by_pointer_and_by_keyboard(compared):
    assert compared.run(FADED) == []
    compared.run("document.querySelector('.legend [data-method=kd]').focus()")
    assert set(compared.run(FADED)) == {"dkd"}
    compared.shoot("highlighted-1200")
    compared.run("document.activeElement.blur()")
    assert compared.run(FADED) == []
    compared.run(
        "document.querySelector('svg[role] [data-method=dkd]')"
        ".dispatchEvent(new PointerEvent('pointerover', {bubbles: true}))"
    )
    assert set(compared.run(FADED)) == {"kd"}
    compared.run("document.querySelector('h1').dispatchEvent(new PointerEvent('pointerover', {bubbles: true}))")
    assert compared.run(FADED) == []


@pytest.mark.parametrize("opened", ["made here"], indirect=True)
def test_loss_over_iterations_and_the_learning_rate_are_shown_with_links_to_their_files(opened):
    section = "document.querySelector('section[aria-labelledby=training]')"
    titles = f"return [...{section}.querySelectorAll('svg[role]')].map(s => s.getAttribute('aria-label'))"
    assert {"Total loss, mean of a few iterations each", "Learning rate"} <= set(opened.run(titles))
    links = f"return [...{section}.querySelectorAll('a')].map(a => a.getAttribute('href'))"
    assert opened.run(links) == [f"../metrics/training.{kind}" for kind in ("csv", "pdf", "png")]


def test_a_run_that_failed_is_shown_with_its_reason_and_sorted_last(browser, inputs, tmp_path):
    runs, found = inputs
    names = [run["name"] for run in runs]
    some = {name: path for name, path in found.items() if not name.startswith(f"{names[0]}/1") and name != "summary"}
    reason = "dkd: out of memory (dkd-s0 4+2, log: logs/a.log)"
    page.write(runs, some, 1, {f"{names[0]}/1/checkpoint": reason}, tmp_path)
    browser.size(390)
    browser.open(tmp_path / "index.html")
    rows = "return [...document.querySelectorAll('#runs tbody tr')].map(r => r.innerText)"
    words = "failed, 1 of 2 steps evaluated: step 1: training: dkd: out of memory (dkd-s0 4+2) log"
    assert words in browser.run(rows)[0]
    notice = "return document.querySelector('.notice').innerText"
    assert browser.run(notice).startswith("1 of 2 runs is not finished")
    assert browser.run("return document.querySelector('#runs .state a').getAttribute('href')") == "../logs/a.log"
    assert browser.run("return document.documentElement.scrollWidth") <= 390
    for column in (3, 5, 5):
        browser.click(f"#runs th:nth-child({column}) button")
        assert names[0] in browser.run(rows)[1], "in both directions"
    browser.shoot("failed-390")
    browser.size(1200)
    browser.shoot("failed-1200")


@pytest.fixture
def compared(browser, inputs, tmp_path):
    """The browser with a page of two methods; `kd` is 5 points better over all classes."""
    runs, found = list(inputs[0]), dict(inputs[1])
    for seed in (0, 1):
        run = {**runs[seed], "method": "kd", "name": f"kd_s{seed}"}
        runs.append(run)
        for step in run["steps"]:
            names = SHAPES[: 5 + 2 * step]
            found[f"{run['name']}/{step}"] = results(tmp_path / f"{seed}-{step}", step, seed + 5, names)
            for kind in ("checkpoint", "panels"):
                found[f"{run['name']}/{step}/{kind}"] = found[f"{runs[seed]['name']}/{step}/{kind}"]
    metrics = {run["name"]: [found[f"{run['name']}/{step}"] / "metrics.json" for step in run["steps"]] for run in runs}
    found["summary"] = tmp_path / "summary"
    for folder in ("summary", "page"):
        (tmp_path / folder).mkdir()
    tables.write(runs, metrics, 1, found["summary"])
    page.write(runs, found, 1, {}, tmp_path / "page")
    browser.size(1200)
    browser.open(tmp_path / "page" / "index.html")
    yield browser


def test_differences_to_the_baseline_that_is_chosen(compared):
    rows = f"return [...document.querySelectorAll('[data-than]')].filter({VISIBLE}).map(r => r.innerText.trim())"
    [line] = compared.run(rows)
    assert line.startswith("kd\t2\t+5.0 [+5.0, +5.0]")
    compared.run(
        "const s = document.querySelector('select.baseline'); s.value = 'kd'; s.dispatchEvent(new Event('change'))"
    )
    [line] = compared.run(rows)
    assert line.startswith("dkd\t2\t-5.0 [-5.0, -5.0]")
    compared.choose("method", "kd")
    assert compared.run(rows) == [], "the filter holds here as well"
    compared.choose("method", "")
    assert compared.run("return getComputedStyle(document.querySelector('[data-than] td.best')).fontWeight") == "700"
    bold = "return [...document.querySelectorAll('[data-than] td.best')].map(cell => cell.textContent)"
    assert compared.run(bold) == ["+5.0 [+5.0, +5.0]", "-5.0 [-5.0, -5.0]"], "what is 0 is not bold"
    best = "return document.querySelector('#headline ~ .wide tbody tr:nth-child(2) td.best').textContent"
    assert compared.run(best) == "55.5 ± 0.7"


def test_headings_say_what_they_mean_and_numbers_come_first_on_a_phone(compared):
    title = (
        "return [...document.querySelectorAll('#headline ~ .wide th')].find(h => h.textContent === 'harmonic').title"
    )
    assert compared.run(title) == "Harmonic mean of base and new: high only if both are."
    compared.size(360)
    top = "return document.querySelector('#headline ~ .wide table').getBoundingClientRect().top"
    assert compared.run(top) < 900, "on the first screen"
    compared.shoot("compared-360")
    compared.size(1200)
    compared.shoot("compared-1200")
