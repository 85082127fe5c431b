"""Text up to a stop string, whatever pieces it comes in."""

from hypothesis import given
from hypothesis import strategies as st

from viva.infer.stop import Guard

LETTERS = st.text("abc", min_size=1, max_size=4)


def fed(stops: tuple[str, ...], pieces: list[str]) -> tuple[str, list[str], bool]:
    guard = Guard(stops)
    emitted = [guard.push(piece) for piece in pieces]
    return "".join(emitted) + guard.end(), emitted, guard.hit


@given(st.lists(LETTERS, max_size=3), st.lists(st.text("abc", max_size=3), max_size=8))
def test_the_text_is_cut_at_the_first_stop_string(stops, pieces):
    whole = "".join(pieces)
    found = [whole.find(stop) for stop in stops if stop in whole]
    text, _, hit = fed(tuple(stops), pieces)
    if found:
        # a string may be complete before another that begins earlier is, so the cut is at one of them
        assert hit and text in {whole[:at] for at in found}
    else:
        assert (text, hit) == (whole, False)


def test_a_stop_string_that_straddles_pieces_is_never_shown():
    assert fed(("END",), ["one E", "N", "D two"]) == ("one ", ["one ", "", ""], True)


def test_what_only_looked_like_a_stop_string_comes_out_at_once():
    assert fed(("END",), ["E", "N", "E", "R"]) == ("ENER", ["", "", "EN", "ER"], False)


def test_what_is_held_at_the_end_is_text():
    assert fed(("END",), ["the EN"]) == ("the EN", ["the "], False)


def test_the_earlier_of_two_wins():
    assert fed(("cd", "b"), ["abcd"]) == ("a", ["a"], True)
