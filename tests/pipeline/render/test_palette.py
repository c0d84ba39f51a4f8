"""Colours of classes: the same wherever a class is shown."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from hrpro.pipeline.render.palette import class_colors, result_colors
from hrpro.pipeline.results.model import Detection, Results, VideoResult

NAMES = st.text(min_size=1, max_size=8)


@given(st.sets(NAMES, max_size=30), st.randoms(use_true_random=False))
def test_every_class_has_a_colour_of_its_own_in_any_order(names, random):
    colors = class_colors(names)
    assert colors.keys() == names
    assert len(set(colors.values())) == len(names)
    assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in colors.values())
    shuffled = sorted(names)
    random.shuffle(shuffled)
    assert class_colors(shuffled) == colors


@given(st.sets(NAMES, min_size=1, max_size=12), NAMES)
def test_a_new_class_takes_the_colour_of_one_other_at_most(names, new):
    before, after = class_colors(names), class_colors({*names, new})
    alone = class_colors([new])[new]
    picked = {name for name in names if before[name] == class_colors([name])[name]}
    moved = {name for name in picked if after[name] != before[name]}
    assert moved <= {name for name in names if before[name] == alone}


def test_the_classes_of_the_model_count_though_nothing_was_found_of_them():
    classes = ["HandShaking", "Kicking", "Pushing", "Running"]
    found = VideoResult("v", detections=(Detection("Kicking", 0.5, 0, 1),))
    whole = class_colors(classes)
    assert result_colors(Results((found,), {"classes": classes})).items() >= whole.items()
    assert result_colors(Results((found,)), ["Pushing"]).keys() == {"Kicking", "Pushing"}
    assert result_colors(Results((found,), {"classes": "damaged"})).keys() == {"Kicking"}


def test_four_hundred_classes_differ():
    assert len(set(class_colors(f"class {number}" for number in range(400)).values())) == 400


def test_a_chosen_colour_is_taken_and_nobody_else_gets_it():
    plain = class_colors(["a", "b", "c"])
    chosen = class_colors(["a", "b", "c"], {"b": plain["a"], "gone": "#000000"})
    assert chosen["b"] == plain["a"] and chosen["a"] != plain["a"]
    assert chosen.keys() == plain.keys()
