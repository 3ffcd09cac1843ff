"""The value of MONOLITH_TF_FAIL_AT."""

from __future__ import annotations

import re

import pytest

from monolith_tf import failpoints


def test_an_entry_has_a_name_a_hit_and_an_action():
    first, second, third = failpoints.parse(
        "delta_log.after_rename:3:kill,other.one:1:sleep=2.5,third.one::raise"
    )
    assert first == failpoints.Failpoint("delta_log.after_rename", 3, "kill")
    assert second == failpoints.Failpoint("other.one", 1, "sleep", 2.5)
    assert third == failpoints.Failpoint("third.one", 0, "raise")


def test_no_value_is_no_failpoint():
    assert failpoints.parse("") == ()


# tests/cc/failpoints_test.cc has the same list.
@pytest.mark.parametrize(
    "entry",
    [
        *("a.b", "a.b:1", "a.b:1:kill:", "a:1:kill", "a.b.c:1:kill"),
        *(".b:1:kill", "A.b:1:kill", "a.b:0:kill", "a.b:-1:kill"),
        *("a.b:x:kill", "a.b:1234567890123456789:kill", "a.b:1:", "a.b:1:die"),
        *("a.b:1:kill=1", "a.b:1:sleep", "a.b:1:sleep=", "a.b:1:sleep=-1"),
        *("a.b:1:sleep=1.", "a.b:1:sleep=1e3", "a.b:1:sleep=1=2"),
        *("a.b:1:kill,", ",a.b:1:kill", " a.b:1:kill"),
    ],
)
def test_a_malformed_entry_is_refused(entry):
    with pytest.raises(ValueError, match="MONOLITH_TF_FAIL_AT must have"):
        failpoints.parse(entry)


def test_the_error_names_the_entry_and_the_form():
    message = (
        "MONOLITH_TF_FAIL_AT must have entries of the form name:hit:action, "
        "separated by commas; hit is a positive number, or empty for each "
        "hit; action is kill, raise, sleep=seconds, enospc or eio. Received: "
        "'a.b:1:die'. Example: delta_log.after_rename:3:kill."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        failpoints.parse("a.b::kill,a.b:1:die")
