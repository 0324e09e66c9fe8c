# SPDX-License-Identifier: MIT
"""A second reader of trace format 2, written from hmm-trace(5) alone.

    python3 read_ht2.py FILE

Prints the trace as text. Blocks in zstd are given to the zstd command.
"""

import struct
import subprocess
import sys
import zlib


class Bytes:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        assert self.at + count <= len(self.data), "beyond the end"
        self.at += count
        return self.data[self.at - count : self.at]

    def u32(self):
        return struct.unpack("<I", self.take(4))[0]

    def u64(self):
        return struct.unpack("<Q", self.take(8))[0]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                assert value < 1 << 64 and shift <= 70
                return value

    def signed(self):
        v = self.varint()
        return -(v + 1) // 2 if v & 1 else v // 2

    def end(self):
        return self.at == len(self.data)


def block(file):
    begin = file.at
    kind = file.take(4)
    stored, plain, count = file.u32(), file.u32(), file.u32()
    first, codec = file.u64(), file.u32()
    head = file.data[begin : file.at]
    checksum = file.u32()
    payload = file.take(stored)
    assert zlib.crc32(head + payload) == checksum, "checksum"
    if codec == 1:
        payload = subprocess.run(
            ["zstd", "-dqc"], input=payload, stdout=subprocess.PIPE, check=True
        ).stdout
    assert codec <= 1 and len(payload) == plain
    return begin, kind, count, first, Bytes(payload)


def operations(count, payload):
    lengths = [payload.u32() for _ in range(5)]
    kinds, ids, sizes, aligns, comments = (Bytes(payload.take(n)) for n in lengths)
    assert payload.end()
    previous, allocated, freed = 0, -1, []
    done, comment_at = 0, comments.varint() if not comments.end() else None
    while done <= count:
        while comment_at == done:
            yield comments.take(comments.varint()).decode("latin-1")
            comment_at = comment_at + comments.varint() if not comments.end() else None
        if done == count:
            break
        byte = kinds.take(1)[0]
        letter, how = "amrf"[byte & 3], byte >> 2
        if how == 0:
            number = previous + ids.signed()
        elif how == 1:
            number = allocated + 1
        else:
            assert how == 2
            number = freed.pop()
        assert how == 0 or letter in "am"
        fields = [letter, number]
        if letter == "m":
            fields.append(1 << aligns.take(1)[0])
        if letter != "f":
            fields.append(sizes.varint())
        else:
            freed.append(number)
        if letter in "am":
            allocated = number
        previous = number
        yield " ".join(map(str, fields))
        done += 1
    assert all(c.end() for c in (kinds, ids, sizes, aligns, comments))


def main():
    file = Bytes(open(sys.argv[1], "rb").read())
    header = file.take(12)
    assert header == b"\x89HMT\r\n\x1a\n\2\0\0\0" and file.u32() == zlib.crc32(header)
    print("# hmm-trace 1")
    total, entries = 0, []
    while True:
        begin, kind, count, first, payload = block(file)
        assert first == total
        if kind == b"INDX":
            break
        entries.append((begin, first, kind, count))
        if kind == b"OPS ":
            for line in operations(count, payload):
                print(line)
                total += line[0] != "#"
    assert payload.u64() == total
    payload.take(72)
    for entry in entries:
        assert (payload.u64(), payload.u64(), payload.take(4), payload.u32()) == entry
    assert payload.end() and count == len(entries)
    assert file.u64() == begin and file.take(8) == b"HMT end\n" and file.end()


main()
