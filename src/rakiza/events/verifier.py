"""Verify an exported audit trail with nothing but this file and Python 3.8 or newer.

    python verify.py FOLDER [--anchor FILE_OR_FOLDER] [--key NAME+ID+KEY]

Exit code 0: everything is as it was sealed; 1: something was changed, the lines say what and where; 2: the export cannot be read.
Formats: RFC 6962/9162 (Merkle tree), C2SP signed notes, RFC 8032 (Ed25519). It shares no code with the program that wrote the export.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import sys
from functools import reduce
from itertools import accumulate
from typing import Any, Iterator, Tuple  # noqa: UP035 - Python 3.8

Point = Tuple[int, int, int, int]  # noqa: UP006 - Python 3.8
P, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ZERO: Point = (0, 1, 1, 0)
COLUMNS = ["position", "tenant_id", "aggregate_type", "aggregate_id", "version", "event_id", "event_type", "schema_version"]
COLUMNS += ["payload", "sealed", "metadata", "user_id", "correlation_id", "causation_id", "tags", "recorded_at"]


def add(a: Point, b: Point) -> Point:
    """Add two points in extended coordinates (RFC 8032, 5.1.4)."""
    u, v, w, z = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P, 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = v - u, z - w, z + w, v + u
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiples(point: Point) -> list[list[Point]]:
    """Return 0 to 15 times 16^n times the point, so that a product is 64 additions."""
    rows: list[list[Point]] = []
    for _ in range(64):
        rows.append(list(accumulate([ZERO, *[point] * 15], add)))
        point = add(rows[-1][15], point)
    return rows


def times(number: int, rows: list[list[Point]]) -> Point:
    """Return the product of a number below 16^64 and a point."""
    return reduce(add, [row[number >> 4 * place & 15] for place, row in enumerate(rows)])


def point_of(raw: bytes) -> Point:
    """Decode a point (RFC 8032, 5.1.3); raise ValueError."""
    sign, y = raw[31] >> 7, int.from_bytes(raw, "little") & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - square) % P or (not x and sign):
        raise ValueError("no point of the curve")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = multiples(point_of((4 * pow(5, -1, P) % P).to_bytes(32, "little")))


class Key:
    """Hold a public key; made of its text form NAME+ID+KEY."""

    def __init__(self, text: str) -> None:
        self.name, _, rest = text.partition("+")
        raw = base64.b64decode(rest.partition("+")[2], validate=True)[1:]
        self.raw, self.number = raw, hashlib.sha256(self.name.encode() + b"\n\x01" + raw).digest()[:4]
        if len(raw) != 32 or rest != self.number.hex() + "+" + base64.b64encode(b"\x01" + raw).decode():
            raise ValueError(f"the public key {text!r} is not of the form name+id+base64")
        x, y, z, t = point_of(raw)
        self.minus = multiples((P - x, y, z, P - t))

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Tell whether the signature is right (RFC 8032, 5.1.7)."""
        s = int.from_bytes(signature[32:], "little")
        h = int.from_bytes(hashlib.sha512(signature[:32] + self.raw + message).digest(), "little") % ORDER
        x, y, z, _ = add(times(s, BASE), times(h, self.minus))
        x, y = x * pow(z, -1, P) % P, y * pow(z, -1, P) % P
        return len(signature) == 64 and s < ORDER and (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]


def hash_of(event: dict[str, Any]) -> bytes:
    """Return the leaf hash over the canonical bytes of an event: netstrings of its columns, long texts by their SHA-256."""
    data = b"\x00"
    for name in COLUMNS:
        raw = b"" if event[name] is None else str(event[name]).encode("utf-8", "surrogateescape")
        raw = hashlib.sha256(raw).digest() if name in ("payload", "sealed", "metadata") else raw
        data += b"-," if event[name] is None else b"%d:%b," % (len(raw), raw)
    return hashlib.sha256(data).digest()


def leaf_hash(line: str) -> bytes | None:
    """Return the hash that a line holds in its one form, or none."""
    return bytes.fromhex(line[:64]) if line[64:] == "\n" and not set(line[:64]) - set("0123456789abcdef") else None


class Verifier:
    """Compare an export with its seals, and its seals with anchors; `findings` counts what is wrong."""

    def __init__(self, folder: str, keys: list[Key]) -> None:
        self.folder, self.keys, self.findings = folder, keys, 0
        self.size, self.read, self.roots = 0, 0, {0: b""}
        self.stack: list[bytes] = []
        self.hashes = self.lines("hashes.txt")
        self.events = self.records("events.jsonl", [*COLUMNS, "leaf"], "position")
        self.event = next(self.events, None)

    def wrong(self, english: str, arabic: str, *words: object) -> None:
        """Tell what is wrong in both languages."""
        self.findings += 1
        sys.stdout.write(f"WRONG: {english.format(*words)}\n  خطأ: {arabic.format(*words)}\n")

    def lines(self, path: str) -> Iterator[tuple[str, str]]:
        """Yield place and text of each line, its end included."""
        with open(os.path.join(self.folder, path), "rb") as file:
            for number, raw in enumerate(file, 1):
                yield f"{path}:{number}", raw.decode("utf-8", "surrogateescape")

    def records(self, path: str, fields: list[str], number: str) -> Iterator[dict[str, Any]]:
        """Yield the objects of lines that are byte for byte as they were written."""
        for place, line in self.lines(path):
            try:
                found = dict(json.loads(line))
            except (ValueError, TypeError, RecursionError):
                found = {}
            if list(found) == fields and type(found[number]) is int and json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n" == line:
                yield {**found, "place": place}
            else:
                self.wrong("{}: the line was changed and cannot be read", "{}: السطر معدل ولا يمكن قراءته", place)

    def note(self, text: str) -> tuple[int, bytes, bytes, str]:
        """Return the size, root, root before and time of a note; raise ValueError when no key signed it as it stands."""
        body, _, signature = text.partition("\n\n")
        lines = [*body.split("\n"), "", ""]
        encoded = signature.rpartition(" ")[2].rstrip("\n")
        raw = base64.b64decode(encoded, validate=True)
        if signature == f"— {lines[0]} {base64.b64encode(raw).decode()}\n":
            for key in self.keys:
                if key.name == lines[0] and key.number == raw[:4] and key.signed((body + "\n").encode(), raw[4:]):
                    more = dict(line.partition(" ")[::2] for line in lines[3:])
                    return int(lines[1]), base64.b64decode(lines[2]), base64.b64decode(more.get("previous", "")), more.get("time", "")
        raise ValueError("no known key signed this text")

    def leaf(self, position: int) -> bytes:
        """Return the leaf hash of the event at a position, or the one listed for an event that was not exported."""
        while self.event and self.event["position"] < position:
            self.wrong("{}: event {} stands out of order", "{}: الحدث {} في غير موضعه", self.event["place"], self.event["position"])
            self.event = next(self.events, None)
        if self.event and self.event["position"] == position:
            event, self.event, self.read = self.event, next(self.events, None), self.read + 1
            leaf = hash_of(event)
            if event["leaf"] != leaf.hex():
                self.wrong("{}: event {} is not what was sealed", "{}: الحدث {} ليس كما خُتم", event["place"], position)
            return leaf_hash(f"{event['leaf']}\n") or leaf
        place, text = next(self.hashes, ("", ""))
        listed = leaf_hash(text)
        if listed is None and (place or not self.findings):
            self.wrong("event {} or its hash{} is missing or changed", "الحدث {} أو بصمته{} مفقود أو معدل", position, place and f" ({place})")
        return listed or bytes(32)

    def grow(self, size: int) -> bytes:
        """Add leaves up to a size and return the root (RFC 9162, 2.1.1)."""
        while self.size < size:
            node, rest = self.leaf(self.size + 1), self.size
            while rest & 1:
                node, rest = hashlib.sha256(b"\x01" + self.stack.pop() + node).digest(), rest >> 1
            self.stack.append(node)
            self.size += 1
        root = self.stack[-1]
        for left in reversed(self.stack[:-1]):
            root = hashlib.sha256(b"\x01" + left + root).digest()
        return root

    def seals(self) -> None:
        """Verify seal after seal."""
        before = right = 0
        for seal in self.records("seals.jsonl", ["size", "root", "note", "sealed_at"], "size"):
            try:
                size, root, previous, time = self.note(str(seal["note"]))
            except ValueError as error:
                self.wrong("{}: {}", "{}: التوقيع غير صحيح ({})", seal["place"], error)
                continue
            if (size, root.hex(), time) != (seal["size"], seal["root"], seal["sealed_at"]) or size <= before:
                self.wrong("{}: it is not what was signed", "{}: ليس كما وُقع", seal["place"])
                continue
            if previous != self.roots[before]:
                self.wrong("a seal between {} and {} events is missing or changed", "ختم بين {} و{} حدث مفقود أو معدل", before, size)
            if self.grow(size) == root:
                right = size
            else:
                self.wrong("events {} to {} do not give the signed root", "الأحداث من {} إلى {} لا تعطي الجذر الموقع", right + 1, size)
            before, self.roots[size] = size, root
        if self.event or next(self.hashes, None):
            self.wrong("there is more than the {} events the last seal covers", "يوجد أكثر من {} حدث يشملها آخر ختم", self.size)

    def anchor(self, path: str) -> None:
        """Compare the checkpoints kept elsewhere with the seals."""
        kept = list(self.kept(os.path.abspath(path)))
        if not kept:
            self.wrong("{} holds no checkpoint", "{} لا تحفظ أي نقطة تحقق", path)
        for place, text in kept:
            try:
                size, root, _, _ = self.note(text)
            except ValueError as error:
                self.wrong("{}: {}", "{}: توقيع المرساة غير صحيح ({})", place, error)
                continue
            if size > self.size:
                self.wrong("{}: the export ends before the {} events sealed there", "{}: ينتهي التصدير قبل {} حدث مختوم هناك", place, size)
            elif self.roots.get(size) != root:
                self.wrong("{}: another history of the first {} events", "{}: تاريخ آخر لأول {} حدث", place, size)

    def kept(self, path: str) -> Iterator[tuple[str, str]]:
        """Yield the notes of a file of JSON strings, or of a folder with a file for each note."""
        if os.path.isdir(path):
            for name in sorted(os.listdir(path)):
                with open(os.path.join(path, name), "rb") as file:
                    yield name, file.read().decode("utf-8", "surrogateescape")
            return
        lines = list(self.lines(path))
        for (place, line), (_, following) in zip(lines, [*lines[1:], ("", "")]):  # noqa: B905 - Python 3.8
            if line != "\n" and following not in {"", line} and following.startswith(line[:-1]):
                continue  # cut short by a crash and written whole right after it
            try:
                note = json.loads(line)
            except (ValueError, RecursionError):
                note = None
            yield place, note if isinstance(note, str) and json.dumps(note, ensure_ascii=False) + "\n" == line else line


def main(arguments: list[str] | None = None) -> int:
    """Verify the export that the arguments name; return the exit code."""
    own = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description="Verify an exported audit trail. / التحقق من سجل تدقيق مصدّر")
    parser.add_argument("folder", nargs="?", default=own, help="the export, when not this file's folder / مجلد التصدير إن لم يكن مجلد هذا الملف")
    parser.add_argument("--anchor", action="append", default=[], help="checkpoints kept elsewhere / نقاط تحقق محفوظة خارج النظام")
    parser.add_argument("--key", action="append", default=[], help="a public key you trust, instead of public_key.txt / مفتاح عام موثوق")
    given = parser.parse_args(arguments)
    try:
        with open(os.path.join(given.folder, "public_key.txt"), encoding="ascii", errors="replace", newline="") as file:
            keys = [Key(line) for line in given.key or file.read().split("\n")[:-1]]
        verifier = Verifier(given.folder, keys)
        verifier.seals()
        for path in given.anchor:
            verifier.anchor(path)
    except (OSError, ValueError) as error:
        sys.stdout.write(f"UNREADABLE: {error}\n  تعذرت القراءة: {error}\n")
        return 2
    if not verifier.findings:
        read, size, seals = verifier.read, verifier.size, len(verifier.roots) - 1
        sys.stdout.write(f"RIGHT: {read} of {size} events, under {seals} seals, are here as they were sealed\n")
        sys.stdout.write(f"  صحيح: الأحداث كما خُتمت ({read} من {size})\n")
        sys.stdout.writelines(f"Key / المفتاح: {key.name} {key.raw.hex()} (compare it / قارنه بما لديك)\n" for key in keys)
    return 1 if verifier.findings else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    sys.exit(main())
