"""The page as a reader meets it: Chromium, wide and narrow, light and dark, on screen and on paper."""

import re

import pytest

from pipeline.clinical.report.page import render
from tests.browser import browser

pytestmark = pytest.mark.acceptance

#: Every element with words of its own: its contrast by WCAG 2.2 (1.4.3), what is behind it blended from the page up.
CONTRAST = """
(() => {
  const parse = text => { const m = text.match(/[\\d.]+/g).map(Number); return [...m.slice(0, 3), m[3] ?? 1]; };
  const over = (top, under) => top.slice(0, 3).map((v, i) => v * top[3] + under[i] * (1 - top[3]));
  const light = rgb => rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = node => {
    const chain = [];
    for (let n = node; n; n = n.parentElement) chain.unshift(parse(getComputedStyle(n).backgroundColor));
    return chain.reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const poor = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some(c => c.nodeType === 3 && c.textContent.trim());
    if (!own || !node.getClientRects().length || node.closest("title, desc")) continue;
    const style = getComputedStyle(node), svg = node.namespaceURI.endsWith("svg");
    const under = behind(svg ? node.ownerSVGElement.parentElement : node);
    const ink = over(parse(svg ? style.fill : style.color), under);
    const [a, b] = [light(ink), light(under)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) poor.push([node.tagName, node.outerHTML.slice(0, 60), ratio]);
  }
  return poor;
})()
"""
#: Drawings whose lines and dots stand out less than 3 to 1 from their card (1.4.11); hairlines of the grid decorate.
GRAPHICS = (
    CONTRAST.replace('"body *"', '"svg .line, svg .dot, svg .whisker, svg .icon"')
    .replace('if (!own || !node.getClientRects().length || node.closest("title, desc")) continue;', "")
    .replace("style.fill : style.color", '(node.matches(".dot") ? style.fill : style.stroke) : style.color')
    .replace("(large ? 3 : 4.5)", "3")
)
#: Words that stick out of the window, but for what lies in a part that scrolls by itself.
OUTSIDE = """
[...document.querySelectorAll("main *")].filter(n => n.getClientRects().length && !n.closest(".wide, svg")
  && (n.getBoundingClientRect().right > innerWidth + 1 || n.getBoundingClientRect().left < -1))
  .map(n => [n.tagName, n.className, n.textContent.slice(0, 30)])
"""


@pytest.fixture(scope="module")
def chromium(program, tmp_path_factory):
    with browser(program("chromium"), tmp_path_factory.mktemp("profile")) as driven:
        yield driven


@pytest.fixture(scope="module", params=["full", "content", "one_class"])
def file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / f"{request.param}.html"
    path.write_text(render(request.getfixturevalue(request.param)), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_it_fits_reads_well_and_asks_for_nothing(chromium, file, width, scheme):
    chromium.open(file, width, scheme)
    chromium.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert chromium.errors == []
    assert chromium.requests == [file.as_uri()]
    assert chromium.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert chromium.evaluate(OUTSIDE) == []
    assert chromium.evaluate(CONTRAST) == []
    assert chromium.evaluate(GRAPHICS) == []
    assert chromium.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")


def test_every_link_leads_to_a_heading(chromium, file):
    chromium.open(file, 1280)
    lost = "[...document.querySelectorAll('a')].filter(a => !document.querySelector(a.getAttribute('href'))).length"
    assert chromium.evaluate(lost) == 0


def test_what_scrolls_by_itself_can_be_reached_by_keyboard(chromium, file):
    chromium.open(file, 400)
    stuck = "[...document.querySelectorAll('main *')].filter(n => n.scrollWidth > n.clientWidth + 1"
    stuck += " && ['auto', 'scroll'].includes(getComputedStyle(n).overflowX) && n.tabIndex < 0).map(n => n.className)"
    assert chromium.evaluate(stuck) == []


def test_on_paper_no_drawing_is_cut(chromium, file):
    """No drawing, picture or tile is higher than a page, and Chromium is told to break inside none of them."""
    chromium.open(file, 703)  # the width of A4 between the margins, in CSS pixels
    chromium.call("Emulation.setEmulatedMedia", media="print")
    cut = (
        "[...document.querySelectorAll('svg, img, .tiles li')].filter(n => getComputedStyle(n).breakInside !== 'avoid'"
    )
    cut += " || n.getBoundingClientRect().height > 1000).length"
    assert chromium.evaluate(cut) == 0
    assert chromium.evaluate("document.documentElement.scrollWidth") <= 704
    pdf = chromium.pdf()
    chromium.call("Emulation.setEmulatedMedia", media="")
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert 10 <= pages <= 32
