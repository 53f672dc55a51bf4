"""Numbers with their nouns: ``1 cell``, ``2 cells``."""

__all__ = ["counted"]


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun; the plural is that with an ``s`` by default.

    >>> counted(1, "cell"), counted(1200, "cell"), counted(2, "box", "boxes")
    ('1 cell', '1,200 cells', '2 boxes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
