"""Writes the characters that a report's font keeps to `characters.txt`, one `U+XXXX` a line."""

keep = set(range(0x20, 0x7F)) | set(range(0xA0, 0x180)) | set(range(0x2010, 0x2028))
# ‰ ′ ″ ‹ › € ℃ № ™ − ≠ ≤ ≥ □
keep |= {0x2030, 0x2032, 0x2033, 0x2039, 0x203A, 0x20AC, 0x2103, 0x2116, 0x2122, 0x2212, 0x2260, 0x2264, 0x2265, 0x25A1}
for row in range(0xA1, 0xF8):
    for cell in range(0xA1, 0xFF):
        try:
            keep.add(ord(bytes([row, cell]).decode("gb2312")))
        except UnicodeDecodeError:
            pass  # GB 2312 has holes.

with open("characters.txt", "w") as file:
    file.write("\n".join(f"U+{character:04X}" for character in sorted(keep)))
