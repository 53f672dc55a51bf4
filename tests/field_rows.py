"""Rows of cells for tests: a cell of any class, and fields with many."""

from hematovision.fields.rows import CellRow, FieldRow

FIELD = FieldRow("a.png", "", 640, 480, 36.0, None, "red cells", 0, 0, 0, 0, 2.0, 0.1, 0.0)


def cell(label="RBC", subtype="", x=100.0, y=100.0, width=36.0, height=None, image="a.png", **more):
    """A counted, accepted cell in the middle of a field; `more` are other columns."""
    height = width if height is None else height
    values = {
        "confidence": 0.97,
        "decision": "accepted",
        "reason": "",
        "subtype": subtype,
        "subtype_confidence": 0.9 if subtype else None,
        **{f"p_{name}": 0.97 if name == label else 0.01 for name in ("RBC", "WBC", "Platelets")},
        "on_edge": False,
        "counted": True,
        **more,
    }
    return CellRow(image, x, y, x + width, y + height, label, **values)
