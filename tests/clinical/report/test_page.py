import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from pipeline.clinical.acceptance import Result
from pipeline.clinical.report import answer
from pipeline.clinical.report.images import grey_png, overlay_png
from pipeline.clinical.report.page import render
from pipeline.validation_config import Waiver

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Sees that every element is closed in turn, and keeps what the tests ask for."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words += data


@pytest.fixture(scope="module")
def html(content):
    return render(content)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_it_is_html_that_closes_what_it_opens(page, html):
    assert html.startswith("<!DOCTYPE html>")
    names = [tag for tag, _ in page.attributes]
    assert names.count("h1") == 1
    ids = [attributes["id"] for _, attributes in page.attributes if "id" in attributes]
    assert len(ids) == len(set(ids))
    linked = {attributes["href"] for tag, attributes in page.attributes if tag == "a"}
    assert linked
    assert linked <= {f"#{name}" for name in ids}


def test_equal_contents_give_equal_bytes(content, html):
    assert render(content) == html


def test_nothing_outside_the_file_is_asked_for(page, html):
    assert "<script" not in html
    without_images = re.sub(r'"data:image/png;base64,[^"]*"', "", html)
    assert not re.search(r"https?:|url\(|@import|//\w", without_images)
    for tag, attributes in page.attributes:
        assert not attributes.keys() & {"srcset", "action", "xlink:href"}, tag
        assert attributes.get("href", "#").startswith("#") or attributes["href"] == "data:,", tag
        if "src" in attributes:
            assert attributes["src"].startswith("data:image/png;base64,")


def test_the_first_lines_say_what_a_reader_needs(page, content):
    start = " ".join(page.words.split())[:1200]
    for words in (
        "Research use only",
        "The model gives every series of MRI (FLAIR) a probability of being positive",
        f"{sum(result.passed for result in content.results)} of {len(content.results)} criteria are met",
        "At the threshold 0.52, fixed on validation patients, it finds",
        "Transfer helped",
        "Measured on 60 series (28 positive) of 30 patients, none of whom stands on another side by name",
    ):
        assert words in start


def test_it_says_where_weights_and_data_are_from(page):
    words = " ".join(page.words.split())
    for said in (
        f"mobilenetv2_100, file: mobilenetv2_100.safetensors. Licence: apache-2.0. SHA-256 {'12' * 32}, not verified",
        "Embedded demo, simulated",
        "MNI152 template ©",
        "168 in all: 84 to learn from, 34 to choose by, 50 to test on",
        "Python 3.11.4, torch 2.15.0",
        "12 min on Linux on x86_64; GPU Example",
        "not recorded for this model",
    ):
        assert said in words


def test_the_first_sentence_names_the_planes_that_the_model_is_for(content):
    rules = {"planes": ["axial", "oblique"], "acquisition_types": ["3D"], "contrasts": None}
    ingest = content.params.ingest.model_copy(update=rules)
    params = content.params.model_copy(update={"ingest": ingest})
    html = render(replace(content, params=params))
    assert "every series of MRI (any contrast, axial or oblique, 3D) a probability" in html


def test_the_headline_figures_are_those_of_the_metrics(page, content):
    words = " ".join(page.words.split())
    for figure in (
        content.found.figures["finetuned"]["auroc"],
        content.found.figures["operating_point"]["sensitivity"],
        content.found.figures["operating_point"]["specificity"],
    ):
        assert f"{figure['value']:.2f}{figure['low']:.2f} to {figure['high']:.2f}" in words
    assert "Wilson" not in words


def test_criteria_stand_with_what_was_asked_and_what_came(content, page):
    words = " ".join(page.words.split())
    area = content.figures["finetuned"]["auroc"]
    assert f"AUROC finetuned.auroc.valueat least 0.7{area['value']:.3f}met" in words


def test_a_waiver_is_said_with_its_name_and_reason(content, page):
    assert "Waived" not in page.words
    waiver = Waiver(by="Dr. Ada <Example>", reason="read side by side with the older model")
    result = Result("transfer.verdict", "other than negative", "negative", False, "is negative", waiver)
    html = render(replace(content, results=[result]))
    words = " ".join(Page(html).words.split())
    assert "“transfer.verdict other than negative” is missed. Dr. Ada <Example> answers for it: read side by" in words
    assert "Dr. Ada &lt;Example&gt;" in html
    assert "Met, with waivers" in words


@pytest.mark.parametrize(
    ("value", "reason", "said"),
    [
        (0.3, "0.3", ""),
        ("true", "is true", ""),
        (2, "2", ""),
        (0.84, "0.84; even without an error", "0.84; even without an error"),
        (None, "undefined (one class)", "undefined (one class)"),
    ],
)
def test_a_reason_that_only_repeats_what_came_is_left_out(value, reason, said):
    (row,) = answer.criteria([Result("finetuned.auroc.low", "at least 0.99", value, False, reason)])
    assert row["reason"] == said


def test_a_missed_criterion_is_the_first_thing_said(content):
    result = Result("finetuned.auroc.low", "at least 0.99", 0.88, False, "0.88")
    words = " ".join(Page(render(replace(content, results=[result]))).words.split())
    assert "Falls short 0 of 1 criteria are met. Missed: AUROC, lower end of the interval." in words[:600]


def test_what_the_advisor_said_is_shown_where_it_said_something(content, page):
    assert "advisor" not in page.words
    words = Page(render(replace(content, advice=["Freeze everything, as features suffice."]))).words
    assert "What the advisor recommended" in words
    assert "Freeze everything, as features suffice." in words


def test_every_picture_and_drawing_has_words(page, html):
    images = [attributes for tag, attributes in page.attributes if tag == "img"]
    assert len(images) == 2 * 8  # the synthetic figures have no false negative
    assert all(attributes["alt"] for attributes in images)
    for drawing in re.findall(r"<svg.*?</svg>", html, re.S):
        root = ET.fromstring(drawing)
        if root.get("aria-hidden") == "true":  # of a forest, whose rows say the numbers beside it
            continue
        assert root.find("title").text
        assert len(root.find("desc").text) > 20
        assert root.get("role") == "img"


def test_table_headers_have_a_scope(page):
    assert all(attributes.get("scope") for tag, attributes in page.attributes if tag == "th")


def test_text_from_the_data_is_escaped(html):
    assert "SIEMENS &amp; &lt;Co&gt;" in html
    assert "<Co>" not in html


def test_light_dark_and_paper(html):
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_simulated_data_is_said_and_real_data_is_not_called_so(content):
    real = replace(
        content,
        params=content.params.model_copy(
            update={"data": content.params.data.model_copy(update={"source": "TCGA-LGG, five hospitals"})}
        ),
    )
    assert "The scans are simulated" in Page(render(content)).words
    assert "simulated" not in Page(render(real)).words


def test_undefined_figures_are_said_to_be_so(one_class):
    words = " ".join(Page(render(one_class)).words.split())
    assert "n/a" in words
    assert "only one class among the units" in words
    assert "nan" not in words.lower().split()


def test_several_classes_have_a_table_and_what_one_of_them_is_called(several):
    html = re.sub(r'<section aria-labelledby="h-checklists".*?</section>', "", render(several), flags=re.S)
    page, found = Page(html), several.found
    words = " ".join(page.words.split())
    assert "a probability of each of the classes “low”, “mid & <high>”, “none”" in words
    assert "<high>" not in html
    for figure in (
        found.figures["finetuned"]["auroc"],
        found.figures["operating_point"]["sensitivity"],
        *(found.figures["finetuned"]["classes"]["low"][name] for name in ("auroc", "sensitivity", "specificity")),
    ):
        assert f"{figure['value']:.2f}" in words
        assert f"{figure['low']:.2f} to {figure['high']:.2f}" in words
    assert words.count("low, rightly called") == 1
    about = (
        words.lower()
        .replace("false positive rate", "")
        .replace("positive transfer", "")
        .replace("negativepositivemet", "")
    )
    assert [about[match.start() - 40 : match.end() + 20] for match in re.finditer("positive", about)] == []
    multiclass = found.targets.kind == "multiclass"
    assert ("Confusion matrix: 60 test series" in words) == multiclass
    assert ("Each class has a threshold of its own" in words) == (not multiclass)
    assert all(attributes.get("scope") for tag, attributes in page.attributes if tag == "th")


def test_the_overlay_is_the_slice_where_nothing_is_salient():
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    saliency = np.zeros((8, 8), np.float32)
    saliency[2, 3] = 1
    plain, overlay = (_pixels(uri) for uri in (grey_png(image), overlay_png(image, saliency)))
    np.testing.assert_array_equal(plain, image)
    elsewhere = saliency == 0
    np.testing.assert_array_equal(overlay[elsewhere], np.repeat(image[elsewhere][:, None], 3, axis=1))
    assert overlay[2, 3, 0] > overlay[2, 3, 2] + 80


def _pixels(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))
