"""Everything a user may turn: YAML groups, the types that check them, and the command that composes them."""
