"""Configurations as plain values, which a checkpoint may hold, and back without trust in them."""

from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar, cast, get_args, get_origin

T = TypeVar("T")


def plain(config: Any) -> dict[str, Any]:
    """The fields of a dataclass, without enums, which are more than plain values."""
    return cast(dict[str, Any], _plain(asdict(config)))


def from_plain(kind: type[T], values: Any, name: str = "") -> T:
    """The dataclass `kind` of which `plain` made `values`. Raises ValueError if it made no such.

    `name` says in the error where the values are.
    """
    assert is_dataclass(kind)
    names = [each.name for each in fields(kind)]
    if not isinstance(values, dict) or set(values) != set(names):
        raise ValueError(f"{name or kind.__name__}: expected {', '.join(names)}, got {_shown(values)}")
    found = {each.name: _restored(each.type, values[each.name], f"{name}.{each.name}") for each in fields(kind)}
    return cast(T, kind(**found))


def _plain(value: Any) -> Any:
    match value:
        case Enum():
            return value.value
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case list():
            return [_plain(each) for each in value]
    return value


def _restored(kind: Any, value: Any, name: str) -> Any:
    if is_dataclass(kind):
        return from_plain(cast(type, kind), value, name)
    if get_origin(kind) is list:
        if not isinstance(value, list):
            raise ValueError(f"{name}: expected a list, got {_shown(value)}")
        return [_restored(get_args(kind)[0], each, name) for each in value]
    if get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{name}: expected names and values, got {_shown(value)}")
        return {
            _restored(get_args(kind)[0], key, name): _restored(get_args(kind)[1], value[key], name) for key in value
        }
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if not isinstance(value, kind | int if kind is float else kind):
        raise ValueError(f"{name}: expected {kind}, got {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:50]!r}"
