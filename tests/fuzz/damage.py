"""Ways in which bytes and nested values can be other than they were."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates too
any_number = st.one_of(st.integers(-2, 9), st.integers(), st.sampled_from([2**31, 2**63, 10**30]), st.floats())
anywhere = st.integers(0, 2**16)  # which finds the first places less often than sampling
plain = st.recursive(
    st.none() | st.booleans() | any_number | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn, *wholes: bytes) -> bytes:
    """One of `wholes` after a few accidents: bits flipped, parts lost, doubled, added, or taken from another."""
    blob, other = bytearray(draw(st.sampled_from(wholes))), draw(st.sampled_from(wholes))
    for accident in draw(st.lists(st.sampled_from(["flip", "cut", "end", "add", "double", "splice"]), max_size=4)):
        start = draw(st.integers(0, len(blob)))
        end = min(len(blob), start + draw(st.sampled_from([1, 2, 4, 8, 64, 1024])))
        match accident:
            case "flip" if start < len(blob):
                blob[start] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del blob[start:end]
            case "end":
                del blob[start:]
            case "add":
                blob[start:start] = draw(st.binary(max_size=8))
            case "double":
                blob[start:start] = blob[start:end]
            case "splice":
                blob[start:] = other[draw(st.integers(0, len(other))) :]
    return bytes(blob)


def like(value: object) -> st.SearchStrategy[Any]:
    """What could stand in its place, or nearly."""
    match value:
        case bool():
            return st.booleans()
        case int():
            return st.integers(-2, 40)
        case float():
            return st.floats()
        case str():  # as a vocabulary is: sorted and distinct
            same = st.sets(st.characters(exclude_categories=()), min_size=len(value), max_size=len(value))
            return same.map(lambda characters: "".join(sorted(characters))) if len(value) < 20 else any_text
    return plain


@st.composite
def altered(draw: st.DrawFn, whole: Any, values: Callable[[Any], st.SearchStrategy[Any]] = like) -> Any:
    """`whole`, nested dicts and lists, after some of its values were replaced, lost, or are elsewhere too."""
    content = deepcopy(whole)
    for change in draw(
        st.lists(st.sampled_from(["like", "like", "like", "like", "replace", "lose", "again", "add"]), max_size=3)
    ):
        places = list(_places(content))
        if change == "like":  # of its innermost values
            places = [(holder, key) for holder, key in places if not isinstance(holder[key], dict | list)]
        if not places:
            break
        holder, key = places[draw(anywhere) % len(places)]
        match change:
            case "like":
                holder[key] = draw(values(holder[key]))
            case "replace":
                holder[key] = draw(plain)
            case "lose":
                del holder[key]
            case "again":
                other, name = places[draw(anywhere) % len(places)]
                holder[key] = deepcopy(other[name])
            case "add" if isinstance(holder, dict):
                holder[draw(any_text | st.integers())] = draw(plain)
            case "add":
                holder.append(draw(plain))
    return content


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Where each value in `value` is: what holds it, and by which key."""
    if isinstance(value, dict | list):
        for key, each in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, key
            yield from _places(each)
