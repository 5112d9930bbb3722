"""A declaration names what people may say, and refuses what it cannot mean."""

import pytest

import headrace as hr
from headrace.core.errors import DeclarationError


def test_a_declaration_survives_the_files_of_a_server():
    import json

    declared = hr.Feedback("thumbs", "correction", implicit=["retry", "copy"], within="2d", widget=True, scale=(0, 1))
    assert hr.Feedback.from_json(json.loads(json.dumps(declared.to_json()))) == declared
    assert declared.takes == ("thumbs", "correction", "retry", "copy")


@pytest.mark.parametrize(
    ("kinds", "references"),
    [
        (("thumbs", "correction"), ("correction",)),
        (("text", "thumbs"), ("thumbs",)),
        (("score",), ()),
    ],
)
def test_references_default_to_the_surest_kind_that_is_declared(kinds, references):
    assert hr.Feedback(*kinds).references == references


@pytest.mark.parametrize(
    ("kinds", "options", "said"),
    [
        ((), {}, "takes nothing"),
        (("stars",), {}, "'stars'"),
        (("thumbs", "thumbs"), {}, "twice"),
        ((["thumbs"],), {}, "is not known"),
        (("copy",), {}, "'copy'"),
        (("thumbs",), {"implicit": "copy"}, "implicit="),
        (("thumbs",), {"implicit": ["click"]}, "'click'"),
        (("score",), {"scale": (5, 1)}, "scale="),
        (("score",), {"scale": 5}, "scale="),
        (("score",), {"scale": (0, float("inf"))}, "scale="),
        (("thumbs",), {"within": "soon"}, "within="),
        (("thumbs",), {"widget": 1}, "widget="),
        (("score",), {"widget": True}, "thumbs"),
        (("thumbs",), {"references": ["correction"]}, "'correction'"),
        (("thumbs",), {"references": "thumbs"}, "references="),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_declared(kinds, options, said):
    with pytest.raises(DeclarationError, match=None) as refused:
        hr.Feedback(*kinds, **options)
    assert said in str(refused.value)


def deployment(**options):
    asked = hr.Table("city.asked", key="ride", sql="select * from raw.rides")
    back = hr.Table("city.back", key="ride", time="back_at", sql="select * from raw.rides")
    model = hr.Model("late", task=hr.Binary(label=back["late"]), spine=asked.at("at"), features=[asked.select("x")])
    return hr.Deployment(model, **options)


def test_a_deployment_takes_feedback_where_it_serves():
    assert deployment(serve=hr.Serve(), feedback=hr.Feedback("thumbs")).feedback.kinds == ("thumbs",)
    with pytest.raises(DeclarationError, match="declares no serving"):
        deployment(feedback=hr.Feedback("thumbs"))
    with pytest.raises(DeclarationError, match="feedback="):
        deployment(serve=hr.Serve(), feedback="thumbs")
