"""CSV files for the tests of a new project."""

from datetime import date, timedelta


def csv(header, rows):
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]).encode() + b"\n"


def plain(label, rows=60):
    """Two numbers and a label."""
    return csv("size,weight,label", [(number % 7, number / 3, label(number)) for number in range(rows)])


def visits(rows=120):
    """Decisions with a key, a day and a label of two words; names that Python cannot take."""
    first = date(2025, 1, 1)
    return csv(
        "visit_id,Visited At,order,Seen By,comment,returned",
        [
            (
                f"v{number}",
                first + timedelta(days=number),
                number % 11,
                ("ann", "bob", "")[number % 3],
                f"text {number}",
                "yes" if number % 4 else "no",
            )
            for number in range(rows)
        ],
    )
