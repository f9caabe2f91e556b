"""The one exception that reaches a user as a sentence."""


class UserError(Exception):
    """Bad input. The message is one sentence: the place, what was expected, what to do. Commands exit with status 2."""
