"""Strategies: damaged bytes, and nested JSON-like values with some replaced."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates too
any_number = st.one_of(st.integers(-2, 9), st.integers(), st.sampled_from([2**31, 2**63, 10**30]), st.floats())
any_value = st.recursive(
    st.none() | st.booleans() | any_number | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=6,
)
indices = st.integers(0, 2**16)  # modulo a length; sampling would prefer the first ones


@st.composite
def damaged(draw: st.DrawFn, *wholes: bytes) -> bytes:
    """One of `wholes` with bits flipped and parts cut, doubled, added, or taken from another."""
    blob, other = bytearray(draw(st.sampled_from(wholes))), draw(st.sampled_from(wholes))
    for kind in draw(st.lists(st.sampled_from(["flip", "cut", "truncate", "add", "double", "splice"]), max_size=4)):
        start = draw(st.integers(0, len(blob)))
        end = min(len(blob), start + draw(st.sampled_from([1, 2, 4, 8, 64, 1024])))
        match kind:
            case "flip" if start < len(blob):
                blob[start] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del blob[start:end]
            case "truncate":
                del blob[start:]
            case "add":
                blob[start:start] = draw(st.binary(max_size=8))
            case "double":
                blob[start:start] = blob[start:end]
            case "splice":
                blob[start:] = other[draw(st.integers(0, len(other))) :]
    return bytes(blob)


def like(value: object) -> st.SearchStrategy[Any]:
    """A value of the same type, in a plausible range."""
    match value:
        case bool():
            return st.booleans()
        case int():
            return st.integers(-2, 40)
        case float():
            return st.floats()
        case str() if len(value) < 20:  # as a vocabulary is: sorted and distinct
            same = st.sets(st.characters(exclude_categories=()), min_size=len(value), max_size=len(value))
            return same.map(lambda characters: "".join(sorted(characters)))
        case str():
            return any_text
    return any_value


@st.composite
def altered(draw: st.DrawFn, whole: Any) -> Any:
    """`whole`, nested dicts and lists, with some values replaced, deleted, copied elsewhere, or added."""
    content = deepcopy(whole)
    for change in draw(st.lists(st.sampled_from([*3 * ["like"], "replace", "delete", "copy", "add"]), max_size=3)):
        entries = list(_entries(content))
        if change == "like":  # innermost values alone
            entries = [(parent, key) for parent, key in entries if not isinstance(parent[key], dict | list)]
        if not entries:
            break
        parent, key = entries[draw(indices) % len(entries)]
        match change:
            case "like":
                parent[key] = draw(like(parent[key]))
            case "replace":
                parent[key] = draw(any_value)
            case "delete":
                del parent[key]
            case "copy":
                other, name = entries[draw(indices) % len(entries)]
                parent[key] = deepcopy(other[name])
            case "add" if isinstance(parent, dict):
                parent[draw(any_text)] = draw(any_value)
            case "add":
                parent.append(draw(any_value))
    return content


def _entries(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each value in `value`, as the dict or list that holds it and its key there."""
    if isinstance(value, dict | list):
        for key, each in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, key
            yield from _entries(each)
