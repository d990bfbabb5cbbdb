"""The one error that users, not programmers, are meant to read."""


class UserError(ValueError):
    """A mistake in a command, a file or a text: says in one line what was expected and what was got."""
