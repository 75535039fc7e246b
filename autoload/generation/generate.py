"""generate(): interim."""


class GenerationMixin:
    """Interim."""
