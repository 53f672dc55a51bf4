"""Reject ONNX files that refer to other files.

ONNX Runtime reads the "external data" of a tensor from any file that the tensor names, relative to
the current folder. A tensor may occur anywhere: in the initializers, an attribute, a subgraph, a
function, a sparse tensor or the training information. Protobuf also merges repeated messages.
`check_self_contained` therefore parses the whole file by the message types of ONNX (`_MESSAGES`)
and rejects unknown fields and repetitions of fields that must occur once.

Neither ``onnx`` nor ``protobuf`` is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hematovision.errors import BundleError

__all__ = ["MAX_DEPTH", "MAX_FIELDS", "check_self_contained"]

MAX_DEPTH = 32
"""Nesting limit of messages; a subgraph adds three, and HematoVision's graphs have none."""

MAX_FIELDS = 500_000
"""Limit of fields in a file; HematoVision's graphs have under 10,000. Takes about a second."""

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5

# A field is described by its allowed wire types or its message type; "*" marks repeated fields.
# Numbers and types: onnx/onnx.in.proto of ONNX 1.19 (IR version 12).
_INT, _TEXT, _FLOAT = (_VARINT,), (_LENGTH,), (_FIXED32,)
_INTS, _FLOATS, _DOUBLES = (_VARINT, _LENGTH), (_FIXED32, _LENGTH), (_FIXED64, _LENGTH)


@dataclass(frozen=True)
class _Field:
    """The allowed content of a field: scalars of these wire types, or a message."""

    wires: tuple[int, ...] = _TEXT
    message: str = ""
    repeated: bool = False


def _one(message: str) -> _Field:
    return _Field(message=message)


def _many(message: str) -> _Field:
    return _Field(message=message, repeated=True)


_I, _S, _F = _Field(_INT), _Field(_TEXT), _Field(_FLOAT)
_II, _SS, _FF, _DD = (_Field(wires, repeated=True) for wires in (_INTS, _TEXT, _FLOATS, _DOUBLES))

# Types, shapes, operator sets and devices have no tensors or graphs and are not parsed (_S, _SS).
_MESSAGES: Mapping[str, Mapping[int, _Field]] = MappingProxyType(
    {
        "Model": {
            1: _I, 2: _S, 3: _S, 4: _S, 5: _I, 6: _S, 7: _one("Graph"), 8: _SS, 14: _SS,
            20: _many("TrainingInfo"), 25: _many("Function"), 26: _SS,
        },
        "Graph": {
            1: _many("Node"), 2: _S, 5: _many("Tensor"), 10: _S, 11: _SS, 12: _SS, 13: _SS,
            14: _SS, 15: _many("SparseTensor"), 16: _SS,
        },
        "Node": {
            1: _SS, 2: _SS, 3: _S, 4: _S, 5: _many("Attribute"), 6: _S, 7: _S, 8: _S, 9: _SS,
            10: _SS,
        },
        "Attribute": {
            1: _S, 2: _F, 3: _I, 4: _S, 5: _one("Tensor"), 6: _one("Graph"), 7: _FF, 8: _II,
            9: _SS, 10: _many("Tensor"), 11: _many("Graph"), 13: _S, 14: _S, 15: _SS, 20: _I,
            21: _S, 22: _one("SparseTensor"), 23: _many("SparseTensor"),
        },
        "Tensor": {
            1: _II, 2: _I, 3: _S, 4: _FF, 5: _II, 6: _SS, 7: _II, 8: _S, 9: _S, 10: _DD, 11: _II,
            12: _S, 13: _many("Entry"), 14: _I, 16: _SS,
        },
        "Entry": {1: _S, 2: _S},
        "SparseTensor": {1: _one("Tensor"), 2: _one("Tensor"), 3: _II},
        "TrainingInfo": {1: _one("Graph"), 2: _one("Graph"), 3: _SS, 4: _SS},
        "Function": {
            1: _S, 4: _SS, 5: _SS, 6: _SS, 7: _many("Node"), 8: _S, 9: _SS, 10: _S,
            11: _many("Attribute"), 12: _SS, 13: _S, 14: _SS,
        },
    }
)  # fmt: skip

_OP_TYPE, _EXTERNAL_DATA, _DATA_LOCATION = 4, 13, 14
_KEY, _VALUE = 1, 2

_INITIALIZER_DEPTH = 2
"""Depth of a tensor in the main graph: the model is 0, its graph 1. No other tensor has it."""

# An operator whose attribute names a file with a compiled graph.
_FILE_OPERATORS = frozenset({b"EPContext"})


def check_self_contained(data: bytes, given: Mapping[str, bytes], *, name: str) -> None:
    """Make sure that an ONNX file makes ONNX Runtime read no file that it is not given.

    `given` has the content of the files of external data that it may refer to, by the name it gives
    them. Errors call the model `name`. Raises `BundleError` if it refers to another file, or to
    bytes beyond the end of a given one; if it is no ONNX model, or one of a form that cannot be
    vouched for.
    """
    sizes = {file.encode("utf-8"): len(content) for file, content in given.items()}
    _Walk(data, sizes, name).message("Model", 0, len(data), 0)


class _Walk:
    """Parses one file."""

    def __init__(self, data: bytes, sizes: Mapping[bytes, int], name: str) -> None:
        self._data = data
        self._sizes = sizes
        self._name = name
        self._left = MAX_FIELDS

    def message(self, kind: str, start: int, end: int, depth: int) -> dict[int, bytes | int]:
        """Check a message and everything in it; return the scalars that matter for `kind`."""
        if depth > MAX_DEPTH:
            raise self._odd(f"has messages nested deeper than {MAX_DEPTH}")
        seen = set[int]()
        values: dict[int, bytes | int] = {}
        external: list[dict[int, bytes | int]] = []
        for number, wire, begin, stop in self._fields(start, end):
            field = self._known(kind, number, wire, seen)
            if field.message:
                inner = self.message(field.message, begin, stop, depth + 1)
                if field.message == "Entry":
                    external.append(inner)
            elif kind == "Entry" or (kind == "Node" and number == _OP_TYPE):
                values[number] = self._data[begin:stop]
            elif kind == "Tensor" and number == _DATA_LOCATION:
                values[number] = self._varint(begin)[0]
        if values.get(_OP_TYPE) in _FILE_OPERATORS:
            raise self._foreign()
        if external or values.get(_DATA_LOCATION):
            if depth != _INITIALIZER_DEPTH:
                raise self._foreign()  # ONNX Runtime always looks for these on disk.
            self._check_external(values.get(_DATA_LOCATION), external)
        return values

    def _known(self, kind: str, number: int, wire: int, seen: set[int]) -> _Field:
        """Return the description of a field after checking that parsers agree on it."""
        field = _MESSAGES[kind].get(number)
        if field is None or wire not in field.wires:
            raise self._odd(f"has an unknown field {number} in {kind}")
        if not field.repeated and number in seen:
            raise self._odd(f"has field {number} of {kind} twice")
        seen.add(number)
        return field

    def _fields(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield each field's number, wire type, and the start and end of its value."""
        place = start
        while place < end:
            self._left -= 1
            if self._left < 0:
                raise self._odd(f"has more than {MAX_FIELDS:,} fields")
            tag, begin = self._varint(place)
            number, wire = tag >> 3, tag & 7
            if wire == _LENGTH:
                length, begin = self._varint(begin)
                place = begin + length
            elif wire == _VARINT:
                place = self._varint(begin)[1]
            elif wire == _FIXED32:
                place = begin + 4
            elif wire == _FIXED64:
                place = begin + 8
            else:
                raise self._odd("is damaged or not an ONNX model")
            if place > end:
                raise self._odd("is truncated or not an ONNX model")
            yield number, wire, begin, place

    def _varint(self, place: int) -> tuple[int, int]:
        """Return a number of at most 10 bytes and its end position."""
        value = shift = 0
        for position in range(place, min(place + 10, len(self._data))):
            byte = self._data[position]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position + 1
            shift += 7
        raise self._odd("is truncated or not an ONNX model")

    def _check_external(
        self, location: bytes | int | None, entries: list[dict[int, bytes | int]]
    ) -> None:
        """Check that a tensor refers to bytes of a given file, in the form that writers use."""
        found = {entry.get(_KEY): entry.get(_VALUE) for entry in entries}
        size = self._sizes.get(found.get(b"location"))  # type: ignore[arg-type]
        if location != 1 or size is None or len(found) != len(entries):
            raise self._foreign()
        if not set(found) <= {b"location", b"offset", b"length", b"checksum"}:
            raise self._foreign()
        offset, length = (self._number(found.get(key, b"0")) for key in (b"offset", b"length"))
        if offset + length > size:
            raise self._odd("refers to bytes beyond the end of the packaged weights")

    def _number(self, text: bytes | int | None) -> int:
        if not isinstance(text, bytes) or not text.isdigit() or len(text) > 15:
            raise self._odd("has an offset into the packaged weights that is not a number")
        return int(text)

    def _foreign(self) -> BundleError:
        return BundleError(
            f"{self._name}: the ONNX file refers to data in another file. A model must contain its "
            "weights or use the packaged ones; do not use it unless you know who made it."
        )

    def _odd(self, what: str) -> BundleError:
        return BundleError(
            f"{self._name}: the ONNX file {what}. Expected a HematoVision or onnx model; "
            "copy the file again, or train again."
        )
