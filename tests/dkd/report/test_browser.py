"""The page in a real browser: Chromium without a window, driven by Selenium.

`make browser-test` installs what this needs. Besides a page made here, it opens those of finished runs in the checkout.
Screenshots of each go to logs/browser/.
"""

import base64
import json
import shutil
import time
from pathlib import Path

import pytest

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
    assert opened.run(SHOWN, "#filters select, #filters button, nav a") == 0
    assert opened.run(SHOWN, ".figure svg") > 3
    assert opened.run("return document.documentElement.scrollWidth") <= 720
    opened.shoot(f"{opened.name}-print")
    opened.devtools("Emulation.setEmulatedMedia", media="")
    opened.size(1200)
    paper = base64.b64decode(opened.driver.print_page())
    assert paper.startswith(b"%PDF") and len(paper) > 20_000


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
